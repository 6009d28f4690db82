"""HTTP of the service itself: health, readiness, metrics, its descriptions, its public keys, and the plans on sale."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from capacity import __version__
from capacity.errors import ErrorCode, Unavailable
from capacity.protocol.answers import Health, Plans, Readiness
from capacity.protocol.passes import PassKey, PublicKeys
from capacity.web import asyncapi
from capacity.web.answers import answer
from capacity.web.auth import KeyRing, bearer
from capacity.web.metrics import MEDIA_TYPE, Metrics
from capacity.web.operations import Answer, Operation
from capacity.web.ports import RoomHub
from capacity.web.problems import RETRY_AFTER_SECONDS

JWKS_MAX_AGE_SECONDS = 300


class ServiceApi:
    """The handlers. `pass_key` returns None until the key of the seat passes has been read from the store."""

    def __init__(
        self,
        hub: RoomHub,
        keyring: KeyRing,
        metrics: Metrics,
        plans: Plans,
        pass_key: Callable[[], PassKey | None],
    ) -> None:
        self._hub = hub
        self._keyring = keyring
        self._metrics = metrics
        self._plans = msgspec.json.encode(plans)
        self._pass_key = pass_key
        self._description = b"{}"
        self._messages = msgspec.json.encode(asyncapi.document())

    def operations(self) -> list[Operation]:
        """Return the table."""
        token = (ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED, ErrorCode.INVALID_ID)
        readiness = (Answer(200, "Ready.", Readiness), Answer(503, "Not ready, and why.", Readiness))
        metrics = (Answer(200, "The metrics, in the Prometheus text format.", None, MEDIA_TYPE),)
        description = (Answer(200, "This document.", dict[str, Any]),)
        keys = (Answer(200, "The public keys as a JWK set.", PublicKeys),)
        plans = (Answer(200, "The plans, and how purchases are paid.", Plans),)
        return [
            Operation(
                "GET",
                "/healthz",
                "getHealth",
                "Whether the process runs",
                "open",
                self._health,
                (Answer(200, "It runs.", Health),),
            ),
            Operation("GET", "/readyz", "getReadiness", "Whether it is ready", "open", self._readiness, readiness),
            Operation("GET", "/metrics", "getMetrics", "Metrics", "open", self._show_metrics, metrics),
            Operation("GET", "/openapi.json", "getOpenApi", "OpenAPI", "open", self._describe, description),
            Operation("GET", "/asyncapi.json", "getAsyncApi", "AsyncAPI", "open", self._describe_messages, description),
            Operation(
                "GET",
                "/v1/jwks.json",
                "getPassKeys",
                "The public keys of seat passes",
                "open",
                self._jwks,
                keys,
                (ErrorCode.UNAVAILABLE,),
            ),
            Operation("GET", "/v1/plans", "getPlans", "The plans on sale", "token", self._get_plans, plans, token),
        ]

    def describe(self, description: bytes) -> None:
        """Set what `/openapi.json` answers: the document can only be made when every operation is known."""
        self._description = description

    async def _health(self, _: Request) -> Response:
        return answer(Health("ok", __version__))

    async def _readiness(self, _: Request) -> Response:
        problems = self._hub.problems()
        if not problems:
            return answer(Readiness("ready", []))
        response = answer(Readiness("not_ready", problems), 503)
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS[HTTPStatus.SERVICE_UNAVAILABLE])
        return response

    async def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"Content-Type": MEDIA_TYPE})

    async def _describe(self, _: Request) -> Response:
        return Response(self._description, media_type="application/json")

    async def _describe_messages(self, _: Request) -> Response:
        return Response(self._messages, media_type="application/json")

    async def _jwks(self, _: Request) -> Response:
        key = self._pass_key()
        if key is None:
            raise Unavailable("the key of the seat passes has not been read yet")
        response = answer(key.jwks())
        response.headers["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_SECONDS}"
        return response

    async def _get_plans(self, request: Request) -> Response:
        bearer(request, self._keyring)
        return Response(self._plans, media_type="application/json")
