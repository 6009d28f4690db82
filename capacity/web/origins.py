"""Where a request comes from: the client's address, the address it was sent to, and whether its origin may connect.

A WebSocket is not held back by the browser's same-origin policy (CWE-1385), so the server must look at `Origin`. The
headers of proxies count only from trusted ones, and are read from right to left: what stands further left anybody may
have written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Fields = Mapping[bytes, bytes]
"""Header fields by lower-case name; several of one name are joined by commas (RFC 9110, section 5.3)."""

DEFAULT_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
TRUST_CACHE_MAX: Final = 1024
_NOT_IN_HOSTS: Final = frozenset("/?#@:[] ,\t\\\"'")
_IN_IPV6: Final = frozenset("0123456789abcdef:.%")


class Route(NamedTuple):
    """How a request came. `authority` (host, maybe with port), `scheme` and `port` only if a trusted proxy said so."""

    address: str
    authority: str | None = None
    scheme: str | None = None
    port: str | None = None


DIRECT: Final = Route("")
"""A request that no trusted proxy can have passed on; for where the address does not matter."""


class Proxies:
    """The trusted proxies, and what they say."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._trusted)

    def trusts(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        if not self._trusted:
            return False
        known = self._known.get(address)
        if known is None:
            parsed = _address(address)
            known = parsed is not None and any(parsed in network for network in self._trusted)
            if len(self._known) >= TRUST_CACHE_MAX:
                self._known.clear()
            self._known[address] = known
        return known

    def route(self, peer: str, fields: Fields) -> Route:
        """Return how the request came. `peer` is the address at the other end of the connection.

        X-Forwarded-… is preferred to Forwarded (RFC 7239): what a proxy does not write itself it often lets through.
        """
        if not self.trusts(peer):
            return Route(peer)
        hosts, schemes = _items(fields, b"x-forwarded-host"), _items(fields, b"x-forwarded-proto")
        ports, addresses = _items(fields, b"x-forwarded-port"), _items(fields, b"x-forwarded-for")
        if not (hosts or schemes or ports or addresses):
            return self._forwarded(peer, _items(fields, b"forwarded"))
        address, hops = self._walk(peer, addresses)
        return Route(address, _nth(hosts, hops), _nth(schemes, hops), _nth(ports, hops))

    def _forwarded(self, peer: str, elements: Sequence[str]) -> Route:
        pairs = [_pairs(element) for element in elements]
        address, hops = self._walk(peer, [pair.get("for", "") for pair in pairs])
        if not pairs:
            return Route(address)
        said = pairs[-min(hops, len(pairs))]
        return Route(address, said.get("host"), said.get("proto"))

    def _walk(self, peer: str, addresses: Sequence[str]) -> tuple[str, int]:
        """Return the nearest address that is not a trusted proxy's, and how many trusted proxies lie before it."""
        address, hops = peer, 1
        for text in reversed(addresses):
            parsed = _address(text)
            if parsed is None:
                break
            address = str(parsed)
            if not self.trusts(address):
                break
            hops += 1
        return address, hops


class Origins:
    """Which origins may open a WebSocket: the own one, and the allowed ones (`scheme://host[:port]`)."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin for text in allowed if (origin := parse_origin(text)) is not None)

    def admits(self, raw: bytes, host: bytes, route: Route) -> bool:
        """Whether a page of this origin may connect. The own origin is `Host`'s, or what a trusted proxy was asked for.

        `Host` counts also behind a trusted proxy: many pass on the browser's, and name the forwarded host without its
        port.
        """
        if route.scheme is None and raw in (b"https://" + host, b"http://" + host):
            return True
        origin = parse_origin(raw.decode("latin-1"))
        if origin is None:
            return False
        if origin in self._allowed:
            return True
        if origin.scheme not in ("http", "https"):
            return False
        if _is_own(origin, host.decode("latin-1"), route):
            return True
        return route.authority is not None and _is_own(origin, route.authority, route)


class Origin(NamedTuple):
    """An origin with its port spelled out; "" for a scheme that has no default port."""

    scheme: str
    host: str
    port: str


def parse_origin(text: str) -> Origin | None:
    """Return the origin, or None for `null` and for everything else that is no `scheme://host[:port]`."""
    scheme, separator, authority = text.strip().lower().partition("://")
    if not separator or not scheme:
        return None
    host, port = split_authority(authority)
    return Origin(scheme, host, port or DEFAULT_PORTS.get(scheme, "")) if host else None


@lru_cache(maxsize=128)
def split_authority(authority: str) -> tuple[str, str]:
    """Return host and port ("" if not given) of `host[:port]`, in lower case; ("", "") if it is none."""
    authority = authority.strip().lower()
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, ""
    elif not (port.isascii() and port.isdigit()):
        return "", ""
    if host.startswith("["):
        inner = host[1:-1] if host.endswith("]") else ""
        return (host, port) if inner and _IN_IPV6.issuperset(inner) else ("", "")
    return (host, port) if host and _NOT_IN_HOSTS.isdisjoint(host) else ("", "")


def _is_own(origin: Origin, authority: str, route: Route) -> bool:
    host, port = split_authority(authority)
    if not port:
        port = route.port or DEFAULT_PORTS.get((route.scheme or origin.scheme).lower(), "")
    return bool(host) and host == origin.host and port == origin.port


def _items(fields: Fields, name: bytes) -> list[str]:
    value = fields.get(name)
    return [item.strip() for item in value.decode("latin-1").split(",") if item.strip()] if value else []


def _nth(items: Sequence[str], hops: int) -> str | None:
    """What the outermost trusted proxy wrote: each has added at most one item, on the right."""
    return items[-min(hops, len(items))] if items else None


def _pairs(element: str) -> dict[str, str]:
    """The parameters of one element of Forwarded. A quoted value with a comma or semicolon in it is not understood."""
    pairs = {}
    for part in element.split(";"):
        name, _, value = part.partition("=")
        pairs[name.strip().lower()] = value.strip().strip('"')
    return pairs


def _address(text: str) -> Address | None:
    """The address of `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:567`, else None."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
