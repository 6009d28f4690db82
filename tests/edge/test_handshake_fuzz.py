"""Handshakes by chance: read the same in any pieces, answered as documented, and believed no more than they may be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.web import limits
from capacity.web.edge import Gate
from capacity.web.handshake import Head, Offer, examine, read
from capacity.web.limits import Rate
from capacity.web.origins import Origins, Proxies, Route, parse_origin
from capacity.web.problems import STATUS
from capacity.web.refusals import Refusal
from tests.edge.conftest import Client, Served, handshake, serving
from tests.support.waiting import wait_until

bounded = settings(max_examples=100)

GOOD = handshake("good-ann")
STATUSES = {400, 403, 404, 405, 408, 426, 431}

# ---- the head as a function

lines = st.sampled_from(GOOD.split(b"\r\n")[1:-2])
values = st.sampled_from(
    [
        b"websocket", b"WebSocket, h2c", b"upgrade", b"keep-alive, Upgrade", b"close", b"13", b"13, 8", b"0", b"3", b"chunked",
        b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ", b"a b", b"rooms.example", b"rooms.example:80", b"[::1]", b"null",
        b"http://rooms.example", b"https://evil.example", b"capacity.v1", b"bearer.good-bob", b"capacity.v1,bearer.bad",
        b"Bearer good-carl", b"Bearer", b"Basic x", b"", b"\xff", b"a,b,,c", b"\t",
    ]
)  # fmt: skip
names = st.sampled_from(
    [
        b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol",
        b"Sec-WebSocket-Extensions", b"Authorization", b"Origin", b"Content-Length", b"Transfer-Encoding", b"X-Forwarded-For",
        b"Expect", b"TE", b"host", b"X-A",
    ]
)  # fmt: skip
fields = st.tuples(names, values | st.binary(max_size=12)).map(lambda pair: pair[0] + b": " + pair[1])
starts = st.sampled_from([b"GET /v1/ws HTTP/1.1"] * 8) | st.sampled_from(
    [
        b"GET /v1/ws?token=good-x HTTP/1.1", b"GET /v1/ws# HTTP/1.1", b"GET http://rooms.example/v1/ws HTTP/1.1",
        b"GET /v1/wss HTTP/1.1", b"GET //v1/ws HTTP/1.1", b"GET /v1/ws/ HTTP/1.1", b"GET /v1/%77s HTTP/1.1", b"get /v1/ws HTTP/1.1",
        b"GET /v1/ws HTTP/1.0", b"GET /v1/ws HTTP/2.0", b"GET /v1/ws", b"HEAD /v1/ws HTTP/1.1", b"POST /v1/ws HTTP/1.1",
        b"OPTIONS /v1/ws HTTP/1.1", b"CONNECT /v1/ws HTTP/1.1", b"GET  /v1/ws HTTP/1.1", b"GET /v1/ws\xff HTTP/1.1",
    ]
)  # fmt: skip
heads = st.builds(
    lambda start, kept, more, end: b"\r\n".join([start, *kept, *more]) + end,
    starts,
    st.lists(st.sampled_from(range(6)), max_size=2, unique=True).map(
        lambda gone: [line for number, line in enumerate(GOOD.split(b"\r\n")[1:-2]) if number not in gone]
    ),
    st.lists(fields | lines, max_size=3),
    st.sampled_from([b"\r\n\r\n"] * 8 + [b"\n\n", b"\r\n \r\n\r\n", b"\r\n\r\nabc", b"\r\n: x\r\n\r\n"]),
)


@given(data=heads | st.binary(max_size=200))
def test_any_head_is_an_offer_or_a_refusal(data: bytes) -> None:
    head = read(data)
    if head is None:
        return
    answer = examine(head)
    if isinstance(answer, Refusal):
        assert answer.status in STATUSES
    else:
        assert answer.accepted.startswith(b"HTTP/1.1 101 ") and answer.accepted.endswith(b"\r\n\r\n")
        assert answer.accepted.count(b"\n") in (5, 6), "nothing of the client's gets into the answer"


@given(given_fields=st.dictionaries(names.map(bytes.lower), values | st.binary(max_size=40)), upgrade=st.booleans())
def test_any_fields_are_an_offer_or_a_refusal(given_fields: dict[bytes, bytes], upgrade: bool) -> None:
    head = Head()
    head.url, head.upgrade, head.fields = b"/v1/ws", upgrade, given_fields
    assert isinstance(examine(head), Offer | Refusal)


# ---- what proxies say

PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")))
trusted = st.sampled_from(["10.0.0.1", "10.9.9.9:4711", "[2001:db8:1::1]", "::ffff:10.0.0.1", '"[2001:db8:1::2]:80"'])
strangers = st.sampled_from(["203.0.113.9", "198.51.100.7:99", "2001:db8:2::1", "[2001:db8:2::1]:1"])
odd = st.sampled_from(
    ["", "unknown", "_hidden", "10.0.0", "1.2.3.4.5", "[", "]", "::1%eth0", "٣", "10.0.0.1;x", " "]
) | st.text(st.characters(max_codepoint=255, exclude_characters=","), max_size=8)
anybody = trusted | strangers | odd
chains = st.lists(anybody, max_size=5)
forwarded = st.sampled_from(
    [b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"forwarded"]
)
anything = st.binary(max_size=40) | chains.map(lambda found: ",".join(found).encode("latin-1", "replace"))


@given(peer=anybody, said=st.dictionaries(forwarded, anything), origin=anything, host=anything)
def test_any_forwarded_fields_are_read(peer: str, said: dict[bytes, bytes], origin: bytes, host: bytes) -> None:
    route = PROXIES.route(peer, said)
    assert route.address == peer or ip_address(route.address)
    if not PROXIES.trusts(peer):
        assert route == Route(peer)
    Origins(["https://partner.example"]).admits(origin, host, route)


def joined(*chain: str) -> bytes:
    return ",".join(part for one in chain for part in one.split(",")).encode("latin-1", "replace")


@given(claimed=chains, stranger=strangers, passed=st.lists(trusted, max_size=3), element=st.booleans())
def test_what_a_stranger_claims_changes_nothing(
    claimed: list[str], stranger: str, passed: list[str], element: bool
) -> None:
    """Proxies append: what stands left of the first stranger's address, the stranger wrote."""
    name, form = (b"forwarded", "for={}") if element else (b"x-forwarded-for", "{}")
    honest = [form.format(part) for part in (stranger, *passed)]
    claims = [form.format(part) for part in claimed]
    found = PROXIES.route("10.0.0.1", {name: joined(*honest)})
    assert PROXIES.route("10.0.0.1", {name: joined(*claims, *honest)}) == found
    assert not PROXIES.trusts(found.address)


@given(text=st.text(max_size=40) | anything.map(lambda raw: raw.decode("latin-1")))
def test_an_origin_is_one_or_none(text: str) -> None:
    origin = parse_origin(text)
    assert origin is None or (origin.host and origin.scheme)


# ---- on the wire


@pytest.fixture(scope="module")
async def patient() -> AsyncIterator[Served]:
    """A server that minds neither floods of handshakes nor one participant's many connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HANDSHAKES", Rate(1e6, 1_000_000))
        patch.setattr(limits, "CONNECTIONS_MAX", 1_000_000)
        async with serving(head_seconds=0.2, closing_seconds=0.2) as served:
            yield served


async def outcome(client: Client) -> tuple[int, object]:
    """The answer to a handshake: status, and what came with it. 0: none."""
    try:
        status, headers = await client.head()
    except EOFError:
        return 0, None
    if status == 101:
        await client.send(b"\x88\x80mask")
        return status, (headers, await client.end())
    if status >= 400 and headers.get("content-type") == "application/problem+json":
        body = await client.end()
        if body:
            problem = json.loads(body)
            assert STATUS.get(problem["code"], status) == status and status in STATUSES
        return status, body
    assert status < 500
    return status, None


async def asked(served: Served, pieces: Sequence[bytes]) -> tuple[int, object]:
    """Send the pieces, each after the one before it was read, and return what was answered."""
    async with await served.client() as client:
        await wait_until(lambda: served.connections, what="it was accepted")
        for piece in pieces:
            await client.send(piece)
            await wait_until(lambda: not any(isinstance(one, Gate) for one in served.connections), what="it was read")
        return await outcome(client)


@pytest.mark.anyio
@bounded
@given(data=heads, place=st.integers(1, 10_000))
async def test_a_handshake_is_answered_the_same_in_any_pieces(patient: Served, data: bytes, place: int) -> None:
    """Whole it goes the fast way, in pieces it does not."""
    place %= len(data)
    whole = await asked(patient, [data])
    assert whole == await asked(patient, [piece for piece in (data[:place], data[place:]) if piece])
    await wait_until(lambda: not patient.connections, what="nothing is left open")
