"""Which origins may connect, and what forwarded headers count for."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from capacity.web.origins import Origins, Proxies, Route, parse_origin, split_authority
from tests.edge.conftest import Served, handshake, serving

DIRECT = Route("203.0.113.9")
PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")))


@pytest.mark.parametrize(
    ("origin", "host", "admitted"),
    [
        ("http://rooms.example", "rooms.example", True),
        ("https://rooms.example", "rooms.example", True),
        ("https://ROOMS.example", "rooms.EXAMPLE", True),
        ("https://rooms.example", "rooms.example:443", True),
        ("https://rooms.example:443", "rooms.example", True),
        ("http://rooms.example", "rooms.example:80", True),
        ("http://rooms.example", "rooms.example:443", False),
        ("https://rooms.example", "rooms.example:8443", False),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8001", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://[::1]", "[::1]:80", True),
        ("https://evil.example", "rooms.example", False),
        ("https://rooms.example.evil.example", "rooms.example", False),
        ("https://evilrooms.example", "rooms.example", False),
        ("https://rooms.example@evil.example", "rooms.example", False),
        ("https://evil.example/rooms.example", "rooms.example", False),
        ("https://rooms.example, https://evil.example", "rooms.example", False),
        ("null", "rooms.example", False),
        ("", "rooms.example", False),
        ("rooms.example", "rooms.example", False),
        ("file://rooms.example", "rooms.example", False),
        ("https://", "rooms.example", False),
        ("https://partner.example", "rooms.example", True),
        ("https://partner.example:443", "rooms.example", True),
        ("HTTPS://Partner.Example", "rooms.example", True),
        ("http://partner.example", "rooms.example", False),
        ("https://partner.example:8443", "rooms.example", False),
        ("http://dev.example:3000", "rooms.example", True),
        ("app://capacity", "rooms.example", True),
    ],
)
def test_the_own_origin_and_the_allowed_ones(origin: str, host: str, admitted: bool) -> None:
    origins = Origins(["https://partner.example", "http://dev.example:3000", "app://capacity"])
    assert origins.admits(origin.encode(), host.encode(), DIRECT) is admitted


@pytest.mark.parametrize(
    ("peer", "fields", "route"),
    [
        ("203.0.113.9", {"x-forwarded-for": "198.51.100.1", "x-forwarded-host": "evil.example"}, Route("203.0.113.9")),
        ("10.0.0.1", {}, Route("10.0.0.1")),
        ("::ffff:10.0.0.1", {"x-forwarded-for": "198.51.100.1"}, Route("198.51.100.1")),
        ("10.0.0.1", {"x-forwarded-for": "6.6.6.6, 198.51.100.1"}, Route("198.51.100.1")),
        ("10.0.0.1", {"x-forwarded-for": "6.6.6.6, 198.51.100.1, 10.0.0.2"}, Route("198.51.100.1")),
        ("10.0.0.1", {"x-forwarded-for": "10.0.0.2"}, Route("10.0.0.2")),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1, nonsense"}, Route("10.0.0.1")),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1:5000"}, Route("198.51.100.1")),
        ("2001:db8:1::7", {"x-forwarded-for": "[2001:db8:9::1]:5000"}, Route("2001:db8:9::1")),
        (
            "10.0.0.1",
            {"x-forwarded-host": "evil.example, rooms.example", "x-forwarded-proto": "https", "x-forwarded-port": "1"},
            Route("10.0.0.1", "rooms.example", "https", "1"),
        ),
        (
            "10.0.0.1",
            {"x-forwarded-for": "198.51.100.1, 10.0.0.2", "x-forwarded-host": "evil.example, rooms.example, inner:80"},
            Route("198.51.100.1", "rooms.example"),
        ),
        (
            "10.0.0.1",
            {"forwarded": 'for=6.6.6.6;host=evil.example, for="[2001:db8:9::1]:5";host="rooms.example";proto=https'},
            Route("2001:db8:9::1", "rooms.example", "https"),
        ),
        (
            "10.0.0.1",
            {"forwarded": "for=198.51.100.1;Host=rooms.example;Proto=https, for=10.0.0.2;host=inner"},
            Route("198.51.100.1", "rooms.example", "https"),
        ),
        ("10.0.0.1", {"forwarded": "for=_hidden;;=;x"}, Route("10.0.0.1")),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1", "forwarded": "for=6.6.6.6"}, Route("198.51.100.1")),
    ],
)
def test_forwarded_headers_are_read_from_right_to_left(peer: str, fields: dict[str, str], route: Route) -> None:
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    assert PROXIES.route(peer, raw) == route


@pytest.mark.parametrize(
    ("origin", "route", "admitted"),
    [
        ("https://rooms.example", Route("", "rooms.example", "https"), True),
        ("https://rooms.example", Route("", "rooms.example"), True),
        ("https://rooms.example:8443", Route("", "rooms.example", "https", "8443"), True),
        ("https://rooms.example:8443", Route("", "rooms.example:8443", "https", "443"), True),
        ("https://rooms.example", Route("", "rooms.example", "https", "8443"), False),
        ("http://rooms.example", Route("", "rooms.example", "https"), False),
        ("https://evil.example", Route("", "rooms.example", "https"), False),
        ("http://inner:8000", Route("", "rooms.example", "https"), True),
        ("https://inner:8443", Route("", None, "https", "8443"), False),
    ],
)
def test_the_own_origin_behind_a_proxy(origin: str, route: Route, admitted: bool) -> None:
    assert Origins([]).admits(origin.encode(), b"inner:8000", route) is admitted


def test_trust_is_remembered_for_a_bounded_number_of_addresses() -> None:
    proxies = Proxies((ip_network("10.0.0.0/8"),))
    for i in range(5000):
        assert not proxies.trusts(f"11.0.{i // 256}.{i % 256}")
    assert len(proxies._known) <= 1024
    assert not Proxies(())
    assert not Proxies(()).trusts("10.0.0.1")
    assert not proxies.trusts("")


@pytest.mark.parametrize("authority", ["", ":80", "a b", "a:b", "a/b", "u@a", "[::1", "::1", "[]", "[x]:80", "a,b"])
def test_what_is_no_authority(authority: str) -> None:
    assert split_authority(authority) == ("", "")
    assert parse_origin(f"https://{authority}") is None


@pytest.mark.anyio
async def test_a_foreign_origin_is_refused_before_its_token_is_read(edge: Served) -> None:
    for origin in ("https://evil.example", "null", "https://rooms.example:444"):
        async with await edge.client() as client:
            await client.send(handshake("good-ann", Origin=origin))
            status, _, body = await client.answer()
            assert (status, b'"foreign_origin"' in body) == (403, True)
    assert "ann" not in edge.hub.connections
    assert edge.stats.refused == {"foreign_origin": 3}
    async with await edge.client() as client:
        await client.send(handshake("good-ann", Origin="https://rooms.example"))
        assert (await client.head())[0] == 101


@pytest.mark.anyio
@pytest.mark.parametrize(("trusted", "status"), [(("127.0.0.0/8",), 101), (("10.0.0.0/8",), 403), ((), 403)])
async def test_only_a_trusted_proxy_names_the_forwarded_host(trusted: tuple[str, ...], status: int) -> None:
    async with (
        serving(trusted_proxies=tuple(ip_network(text) for text in trusted)) as served,
        await served.client() as client,
    ):
        await client.send(
            handshake(
                "good-ann",
                Host="inner:8000",
                Origin="https://rooms.example",
                X_Forwarded_Host="rooms.example",
                X_Forwarded_Proto="https",
            )
        )
        assert (await client.head())[0] == status


@pytest.mark.anyio
async def test_an_allowed_origin_may_connect() -> None:
    async with serving(allowed_origins=("https://partner.example",)) as served, await served.client() as client:
        await client.send(handshake("good-ann", Origin="https://partner.example"))
        assert (await client.head())[0] == 101
