"""`/openapi.json`: OpenAPI 3.1, made from the table of operations and the types of their bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from types import NoneType
from typing import Any, Union, get_args

import msgspec

from capacity import __version__
from capacity.domain import ids
from capacity.protocol import events, hooks, signatures
from capacity.protocol.answers import Problem
from capacity.web.answers import JSON
from capacity.web.operations import Answer, Operation
from capacity.web.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, STATUS, title

_REF = "#/components/schemas/{name}"
_PATTERNS = {
    "account": ids.ACCOUNT_OR_ROOM,
    "room": ids.ACCOUNT_OR_ROOM,
    "participant": ids.PARTICIPANT,
    "entry": ids.ENTRY,
}
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "open": [],
    "token": [{"token": []}],
    "signature": [{"webhook": []}],
    "gateway": [],
}
_DESCRIPTION = (
    "Seats, waiting rooms and live seat limits for webinar platforms. The live part is the WebSocket at /v1/ws; "
    "docs/protocol.md describes it."
)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of the operations."""
    table = list(operations)
    types = {answer.type: None for operation in table for answer in operation.answers if answer.type is not None}
    bodies = {operation.body: None for operation in table if operation.body is not None}
    told = get_args(hooks.Event)
    kinds = [*types, *bodies, *told, Problem]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Capacity", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "webhooks": {str(kind.__struct_config__.tag): _webhook(kind, schema_of[kind]) for kind in told},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A JWT with aud capacity: a service's, or a host's for their room.",
                },
                "webhook": {
                    "type": "apiKey",
                    "in": "header",
                    "name": signatures.SIGNATURE_HEADER,
                    "description": "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature.",
                },
            },
        },
    }


def _operation(operation: Operation, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": _SECURITY[operation.access],
        "parameters": _parameters(operation),
        "responses": {
            **_answers(operation.answers, schema_of),
            **_refusals(operation.refusals, schema_of[Problem]),
        },
    }
    if operation.body is not None:
        content = {"schema": schema_of[operation.body]}
        media_types = (events.MEDIA_TYPE, JSON) if operation.access == "signature" else (JSON,)
        described["requestBody"] = {"required": True, "content": dict.fromkeys(media_types, content)}
    return described


def _webhook(kind: type[msgspec.Struct], schema: dict[str, Any]) -> dict[str, Any]:
    """What the service posts to each address of CAPACITY_HOOK_URLS."""
    headers = (signatures.ID_HEADER, signatures.TIMESTAMP_HEADER, signatures.SIGNATURE_HEADER)
    return {
        "post": {
            "operationId": f"hear{kind.__name__}",
            "summary": " ".join((kind.__doc__ or "").split()),
            "security": _SECURITY["signature"],
            "parameters": [_header(name) for name in headers],
            "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
            "responses": {
                "2XX": {"description": "Taken."},
                "410": {"description": "The address is gone: this event is not sent to it again."},
                "default": {"description": "Sent again later, for about three days."},
            },
        }
    }


def _header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{_PATTERNS[name]}$"},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query is not None:
        found += [_query_parameter(field) for field in msgspec.structs.fields(operation.query)]
    signed = (signatures.ID_HEADER, signatures.TIMESTAMP_HEADER) if operation.access == "signature" else ()
    for name in (*operation.headers, *signed):
        found.append(_header(name))
    return found


def _query_parameter(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    """One field of the query's type. None is what a parameter is that does not come: no text in a query says it."""
    kinds = [kind for kind in get_args(field.type) if kind is not NoneType]
    optional = len(kinds) < len(get_args(field.type))
    schema = msgspec.json.schema(Union[tuple(kinds)] if optional else field.type)  # noqa: UP007
    if not field.required and field.default is not None:
        schema["default"] = field.default
    return {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}


def _answers(answers: Iterable[Answer], schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """The answers by status; several of one status are the same in another media type."""
    responses: dict[str, Any] = {}
    for answer in answers:
        schema = {"type": "string"} if answer.type is None else schema_of[answer.type]
        described = responses.setdefault(str(answer.status), {"description": answer.description, "content": {}})
        described["content"][answer.media_type] = {"schema": schema}
    return responses


def _refusals(codes: Iterable[str], base: dict[str, Any]) -> dict[str, Any]:
    """The refusals by status; each names the codes that it may carry."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(str(code))
    responses: dict[str, Any] = {}
    for status, found in sorted(by_status.items()):
        narrowed = {"properties": {"status": {"const": status}, "code": {"enum": found}}}
        described: dict[str, Any] = {
            "description": " ".join(title(code) for code in codes if STATUS[code] == status),
            "content": {MEDIA_TYPE: {"schema": {"allOf": [base, narrowed]}}},
        }
        if header := _HEADERS.get(HTTPStatus(status)):
            described["headers"] = {header: {"required": True, "schema": {"type": "string"}}}
        responses[str(status)] = described
    return responses


_HEADERS = dict.fromkeys(RETRY_AFTER_SECONDS, "Retry-After")
