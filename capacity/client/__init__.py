"""The client for those who integrate: `from capacity.client import Attendee, Host, Service, WebhookPublisher`.

Speaks the contract and nothing else: it imports the wire's types (`protocol`, `domain`), and of the store only what
writes into the stream. docs/client.md shows it at work.
"""

from capacity.client.connection import Change, Connected, Lost, Options, Refreshing, Reloading, Token
from capacity.client.errors import (
    ClientError,
    Conflict,
    Forbidden,
    Malformed,
    NotConnected,
    NotFound,
    PaymentDeclined,
    Problem,
    Stopped,
    StopReason,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from capacity.client.people import Attendee, AttendeeMessage, Host, HostMessage
from capacity.client.publishing import PlanChange, PlanEvent, PlanPublisher, StreamPublisher, WebhookPublisher
from capacity.client.service import Service

__all__ = [
    "Attendee",
    "AttendeeMessage",
    "Change",
    "ClientError",
    "Conflict",
    "Connected",
    "Forbidden",
    "Host",
    "HostMessage",
    "Lost",
    "Malformed",
    "NotConnected",
    "NotFound",
    "Options",
    "PaymentDeclined",
    "PlanChange",
    "PlanEvent",
    "PlanPublisher",
    "Problem",
    "Refreshing",
    "Reloading",
    "Service",
    "StopReason",
    "Stopped",
    "StreamPublisher",
    "Token",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "WebhookPublisher",
]
