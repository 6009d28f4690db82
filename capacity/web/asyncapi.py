"""`/asyncapi.json`: AsyncAPI 3.0, made from the types of the messages, of the close codes and of the events.

Source of the form: https://www.asyncapi.com/docs/reference/specification/v3.0.0. `send` and `receive` are the server's.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from capacity import __version__, errors
from capacity.errors import Close
from capacity.protocol import messages
from capacity.protocol.codec import MESSAGE_BYTES_MAX
from capacity.protocol.events import MEDIA_TYPE, PlanChangedEvent
from capacity.protocol.messages import (
    AskPass,
    Claim,
    ClientMessage,
    End,
    Ended,
    Error,
    Leave,
    Message,
    Occupancy,
    Open,
    Pass,
    RequestUpgrade,
    Seated,
    ServerMessage,
    UpgradeRequested,
)
from capacity.protocol.notices import Notice
from capacity.store.keys import NOTICES, PLAN_CHANGES, REJECTED

Described = dict[str, Any]


class SetAside(msgspec.Struct, frozen=True):
    """The fields of an entry that was set aside: the event as it came, whatever it is, and why, in a word."""

    event: str
    reason: str


_ANSWERS: dict[type[Message], tuple[type[Message], ...]] = {
    Leave: (),
    Claim: (Seated, Error),
    AskPass: (Pass, Error),
    Open: (Occupancy, Error),
    End: (Ended, Error),
    RequestUpgrade: (UpgradeRequested, Error),
}
"""What follows on a message of a client. `upgrade_requested` goes to those who may buy, not to who asked."""
_SERVER: tuple[type[Message], ...] = get_args(ServerMessage)
_CLIENT: tuple[type[Message], ...] = get_args(ClientMessage)
_CLOSES = [value for value in vars(errors).values() if isinstance(value, Close)]
_STREAMS = (PlanChangedEvent, SetAside, Notice)
_HASH_TAG = "A hash tag of Redis, as it stands, braces included: all keys of billing are in one slot."


def document() -> Described:
    """Return the AsyncAPI document."""
    types: list[type[msgspec.Struct]] = [*_SERVER, *_CLIENT, *_STREAMS]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    payloads = dict(zip(types, schemas, strict=True))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Capacity",
            "version": __version__,
            "description": "Seats, waiting rooms and live seat limits for webinar platforms: the WebSocket, and the streams "
            "beside it. HTTP is described by /openapi.json, and both in words by docs/protocol.md.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "hub": {
                "host": "seats.example.com",
                "protocol": "wss",
                "description": "Any server process; a participant may come back to another.",
                "security": [_ref("securitySchemes", "token"), _ref("securitySchemes", "subprotocol")],
            },
            "store": {
                "host": "redis.example.com:6379",
                "protocol": "redis",
                "description": "The Redis or Valkey that all server processes share.",
            },
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": {kind.__name__: _message(kind, payloads[kind]) for kind in types},
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A JWT with aud capacity, of a host or an attendee, in the header Authorization.",
                },
                "subprotocol": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "Sec-WebSocket-Protocol",
                    "description": "The same token from a browser: the subprotocols capacity.v1 and bearer.TOKEN are offered.",
                },
            },
        },
    }


def _channels() -> Described:
    return {
        "room": {
            "address": "/v1/ws",
            "description": f"One JSON object a text frame, of at most {MESSAGE_BYTES_MAX} bytes; `type` says which. Account, room, "
            "participant and role are those of the token.",
            "servers": [{"$ref": "#/servers/hub"}],
            "messages": {kind.__name__: _ref("messages", kind.__name__) for kind in (*_SERVER, *_CLIENT)},
            "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            "x-subprotocol": "capacity.v1",
            "x-close-codes": [{"code": close.code, "reason": close.reason} for close in _CLOSES],
        },
        "planChanges": _stream(
            PLAN_CHANGES,
            PlanChangedEvent,
            "Written by whoever bills: XADD with the event in the field `event`. POST /v1/events of /openapi.json appends to it too.",
        ),
        "rejected": _stream(REJECTED, SetAside, "What could not be read or applied, 7 days."),
        "notices": _stream(NOTICES, Notice, "What an account should be told of by the platform, in the field `event`."),
    }


def _stream(key: str, kind: type[msgspec.Struct], description: str) -> Described:
    return {
        "address": key,
        "parameters": {"billing": {"enum": ["{billing}"], "default": "{billing}", "description": _HASH_TAG}},
        "description": description,
        "servers": [{"$ref": "#/servers/store"}],
        "messages": {kind.__name__: _ref("messages", kind.__name__)},
    }


def _operations() -> Described:
    found: Described = {
        "tell": {
            "action": "send",
            "channel": {"$ref": "#/channels/room"},
            "summary": "What participants are told, unasked and in answer.",
            "messages": [_on("room", kind) for kind in _SERVER],
        }
    }
    for kind in _CLIENT:
        heard: Described = {
            "action": "receive",
            "channel": {"$ref": "#/channels/room"},
            "summary": _sentence(kind),
            "messages": [_on("room", kind)],
        }
        if answers := _ANSWERS[kind]:
            heard["reply"] = {
                "channel": {"$ref": "#/channels/room"},
                "messages": [_on("room", answer) for answer in answers],
            }
        found[kind.__name__[0].lower() + kind.__name__[1:]] = heard
    found["applyPlanChange"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/planChanges"},
        "summary": "Every open room of the account takes the new seat limit.",
        "messages": [_on("planChanges", PlanChangedEvent)],
    }
    found["setAside"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/rejected"},
        "summary": "An event that cannot be read or applied is set aside, and those behind it go on.",
        "messages": [_on("rejected", SetAside)],
    }
    found["giveNotice"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/notices"},
        "summary": "The billing desk says what an account should be told of.",
        "messages": [_on("notices", Notice)],
    }
    return found


def _message(kind: type[msgspec.Struct], payload: Described) -> Described:
    tag = kind.__struct_config__.tag
    name = tag if isinstance(tag, str) and issubclass(kind, messages.Message) else kind.__name__
    content_type = MEDIA_TYPE if kind in (PlanChangedEvent, Notice) else "application/json"
    return {"name": name, "summary": _sentence(kind), "contentType": content_type, "payload": payload}


def _sentence(kind: type[msgspec.Struct]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _on(channel: str, kind: type[msgspec.Struct]) -> Described:
    return {"$ref": f"#/channels/{channel}/messages/{kind.__name__}"}


def _ref(part: str, name: str) -> Described:
    return {"$ref": f"#/components/{part}/{name}"}
