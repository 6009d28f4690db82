"""What must never be said: a real service at its most talkative is given every secret in every place, and nothing of it comes out.

Neither a token nor a part of one, no key, no webhook secret, no signature and no password of the store stands in a log
line, in an answer over HTTP, or in a message or close of a WebSocket. The one exception is a seat pass, for who asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from capacity.protocol.signatures import sign
from tests.ops.programs import Program
from tests.support.servers import Server, binaries, free_port
from tests.support.service import TOKEN_SECONDS

TALKATIVE = ("--log-level", "debug")
MARK = "s3cret"
KEY = f"{MARK}-token-key-{secrets.token_hex(16)}"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(f"{MARK}-webhook-{secrets.token_hex(8)}".encode()).decode()
OTHER_WEBHOOK_SECRET = "whsec_" + base64.b64encode(f"{MARK}-another-{secrets.token_hex(8)}".encode()).decode()
PASSWORD = f"{MARK}:p@ss/{secrets.token_hex(8)}"
PATIENCE_SECONDS = 20
START_SECONDS = 60
"""For processes that all start at once, on a machine that has more to do."""


def signed(key: str = KEY, **claims: Any) -> str:
    found = {"sub": "ann", "account": "acme", "room": "launch", "role": "attendee", "aud": "capacity"}
    return jwt.encode(found | {"exp": int(time.time()) + TOKEN_SECONDS} | claims, key, "HS256", headers={"kid": MARK})


GOOD = [signed(), signed(role="host", billing=True), signed(role="service", account="*")]
BAD = [
    signed(exp=1),
    signed(sub="a b"),
    signed(f"another-{KEY}"),
    GOOD[0][:-4] + "AAAA",
    GOOD[0].rpartition(".")[0] + ".",
    jwt.encode({"sub": MARK}, "", "none"),
    f"garbage-{MARK}-{secrets.token_hex(16)}",
    f"{MARK}." * 2000,
]
TOKENS = [*GOOD, *BAD]


class Heard:
    """Everything that the service said, and what must not be among it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        parts = {part for token in TOKENS for part in token.split(".") if len(part) > 8}
        self.secrets = {MARK, "eyJ", *parts, WEBHOOK_SECRET, OTHER_WEBHOOK_SECRET, PASSWORD, quote(PASSWORD, safe="")}
        self.secrets |= {WEBHOOK_SECRET.removeprefix("whsec_"), "whsec_"}

    def answer(self, answer: httpx.Response) -> int:
        """Write an answer down; returns its status."""
        self.said.append(f"{answer.headers!r}\n{answer.text}")
        return answer.status_code

    def leaked(self, log: str) -> list[tuple[str, str]]:
        """Return each secret with what it was found in."""
        return [(secret, text[:2000]) for text in (*self.said, log) for secret in self.secrets if secret in text]


def wherever(heard: Heard, http: httpx.Client, token: str) -> Iterator[int]:
    """Put a token where somebody may have put it, but for the WebSocket; yields what it was answered."""
    bearer = {"Authorization": f"Bearer {token}"}
    short = token[:100]
    room = "/v1/accounts/acme/rooms/launch"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        *(
            ("GET", path, {"headers": bearer})
            for path in ("/v1/plans", "/v1/accounts/acme", room, "/v1/events", "/nowhere")
        ),
        *(
            ("GET", path, {"headers": bearer})
            for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/ws")
        ),
        *(
            ("GET", f"{path}?token={token}&access_token={token}", {})
            for path in ("/v1/plans", "/v1/ws", "/nowhere", "/join", room)
        ),
        *(
            ("GET", f"/v1/events?{name}={token}", {"headers": bearer})
            for name in ("account", "before", "limit", "verdict", token)
        ),
        *(
            ("GET", path, {"headers": bearer})
            for path in (f"/{token}", f"/v1/accounts/{token}", f"/v1/accounts/{short}/rooms/x")
        ),
        *(
            ("POST", f"/v1/accounts/acme/{what}", {"content": token, "headers": bearer})
            for what in ("quotes", "purchases")
        ),
        ("POST", "/v1/accounts/acme/quotes", {"json": {token: 1, "plan": [token]}, "headers": bearer}),
        (
            "POST",
            "/v1/accounts/acme/purchases",
            {"json": {"quote": token}, "headers": bearer | {"Idempotency-Key": short}},
        ),
        ("POST", "/v1/events", {"content": token, "headers": bearer}),
        ("POST", "/v1/payments/card", {"json": {"reference": token, "confirmed": True}}),
        ("POST", f"/v1/events/{short}/replay", {"headers": bearer}),
        *(
            ("PUT", "/v1/accounts/other", {"json": wish, "headers": {"Authorization": f"Bearer {GOOD[2]}"}})
            for wish in ({"plan": token}, {"plan": "growth", "customer": [token]})
        ),
        *(
            ("GET", "/v1/plans", {"headers": {"Authorization": f"{scheme} {token}"}})
            for scheme in ("Basic", "Token", "bearer  ")
        ),
        *(
            ("GET", "/v1/plans", {"headers": {name: token}})
            for name in ("Cookie", "Origin", "Referer", "X-Token", "User-Agent")
        ),
        ("OPTIONS", "/v1/plans", {"headers": {"Origin": token, "Access-Control-Request-Method": token}}),
    ]
    for method, path, rest in requests:
        try:
            yield heard.answer(http.request(method, path, **rest))
        except httpx.InvalidURL:  # the longest one
            continue


def raw(heard: Heard, port: int, *lines: str) -> None:
    """Send a head as it is, and write down what comes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            heard.said.append(b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1"))


def malformed(heard: Heard, port: int, token: str) -> None:
    """Handshakes and requests that are none, with a token in them."""
    host, bearer = "Host: x", f"Authorization: Bearer {token}"
    upgrade = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
    raw(heard, port, "GET /v1/ws HTTP/1.1", host, bearer, "no field at all")
    raw(heard, port, "GET /v1/ws HTTP/1.1", host, bearer, *upgrade)
    raw(heard, port, "GET /v1/ws HTTP/1.1", host, *upgrade[:3], f"Sec-WebSocket-Key: {token}")
    raw(heard, port, "GET /v1/ws HTTP/1.1", host, *upgrade, f"Sec-WebSocket-Protocol: {token}, bearer.{token}")
    raw(heard, port, "GET /v1/ws HTTP/1.1", f"Host: {token} x", bearer, *upgrade)
    raw(heard, port, f"GET /v1/ws?{token} HTTP/3.7", host, bearer)
    raw(heard, port, f"{token} /v1/plans HTTP/1.1", host, bearer)
    raw(heard, port, f"GET {token}", host)
    raw(heard, port, "GET /v1/plans HTTP/1.1", host, bearer, f"Transfer-Encoding: {token}")
    raw(heard, port, "POST /v1/events HTTP/1.1", host, f"Content-Length: {token}")
    raw(heard, port, "GET /v1/plans HTTP/1.1", host, bearer, f"X-Large: {token * 20_000}"[:30_000])
    raw(heard, port, token, token)


def on_sockets(heard: Heard, address: str, token: str) -> None:
    """Open WebSockets with a token, and say it on them; what was answered is written down."""
    url = address.replace("http", "ws", 1) + "/v1/ws"
    bearer = {"Authorization": f"Bearer {token}"}
    ways: list[tuple[str, dict[str, Any]]] = [
        (url, {"subprotocols": ["capacity.v1", f"bearer.{token}"]}),
        (url, {"additional_headers": bearer}),
        (f"{url}?token={token}", {}),
        (url, {"additional_headers": bearer, "origin": f"https://{MARK}.example"}),
    ]
    said: list[str | bytes] = [
        token,
        token.encode(),
        json.dumps({"type": token}),
        json.dumps({"type": "leave", "token": [token], token: token}),
        json.dumps({"type": "request_upgrade", "token": token}),
        json.dumps({"type": ["open", token]}),
        f'{{"type": "claim", "token": "{token}',
    ]
    for where, options in ways:
        for text in said if options.get("subprotocols") else said[:1]:
            try:
                with connect(where, compression=None, open_timeout=PATIENCE_SECONDS, **options) as client:
                    client.send(text)
                    client.send("and then what is no message at all")  # so that it ends
                    while True:
                        heard.said.append(str(client.recv(PATIENCE_SECONDS)))
            except InvalidStatus as refused:
                heard.said.append(f"{refused.response.headers!r} {refused.response.body!r}")
            except ConnectionClosed as closed:
                heard.said.append(f"closed {closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "cut")
    with contextlib.suppress(ConnectionClosed), connect(url, compression=None, additional_headers=bearer) as client:
        client.close(3000, token[:100])


def webhooks(heard: Heard, http: httpx.Client) -> Iterator[int]:
    """Events with good and with bad signatures; the signatures are secrets from now on."""
    now = int(time.time())
    event = {
        "specversion": "1.0", "id": f"{now}", "source": "/tests", "type": "capacity.plan.changed", "subject": "events-co",
        "time": "2026-11-22T12:00:00Z", "data": {"account": "events-co", "plan": "pro", "seats": 5},
    }  # fmt: skip
    good = json.dumps(event).encode()
    for secret, body, at in (
        (WEBHOOK_SECRET, good, now),
        (WEBHOOK_SECRET, good[:-9], now),
        (WEBHOOK_SECRET, b"[]", now),
        (WEBHOOK_SECRET, json.dumps(event | {"subject": "other"}).encode(), now),
        (WEBHOOK_SECRET, good, now - 900),
        (OTHER_WEBHOOK_SECRET, good, now),
        (OTHER_WEBHOOK_SECRET, b"x" * 100_000, now),
    ):
        headers = sign(secret, f"msg_{now}", at, body)
        for signature in (
            headers["webhook-signature"],
            headers["webhook-signature"] + "A",
            f"v1,{WEBHOOK_SECRET}",
            secret,
        ):
            heard.secrets.add(signature.removeprefix("v1,"))
            yield heard.answer(
                http.post("/v1/events", content=body, headers=headers | {"webhook-signature": signature})
            )
    stripe = hmac.new(WEBHOOK_SECRET.encode(), b"1." + good, hashlib.sha256).hexdigest()
    heard.secrets.add(stripe)
    yield heard.answer(http.post("/v1/payments/events", content=good, headers={"Stripe-Signature": f"t=1,v1={stripe}"}))


def test_nothing_of_a_secret_comes_out(start: Callable[..., Program]) -> None:
    program = start(
        *TALKATIVE, CAPACITY_TOKEN_KEY=KEY, CAPACITY_WEBHOOK_SECRET=WEBHOOK_SECRET, CAPACITY_PAYMENTS="test"
    )
    address, heard = program.ready(), Heard()
    port = int(address.rpartition(":")[2])
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as http:
        service = {"Authorization": f"Bearer {GOOD[2]}"}
        assert heard.answer(http.put("/v1/accounts/acme", headers=service, json={"plan": "growth"})) == 200
        assert {202, 400, 401, 413} <= set(webhooks(heard, http))
        statuses: set[int] = set()
        for token in TOKENS:
            statuses.update(wherever(heard, http, token))
            malformed(heard, port, token)
            on_sockets(heard, address, token)
    assert {200, 400, 401, 403, 404} <= statuses and max(statuses) < 500
    assert program.end(signal.SIGTERM)[0] == 0
    log = program.log_file.read_text()
    assert "event_handled" in log and "request_refused" in log, "it is the service's, and it had something to say"
    assert not heard.leaked(log)
    assert "Traceback" not in log


def complains(program: Program) -> bool:
    """Whether something was logged that is no good news."""
    return any(line["level"] in ("warning", "error") for line in program.log())


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[int]:
    """The port of a store that wants another password than ours."""
    directory = tmp_path / "locked"
    directory.mkdir()
    server = Server(binaries()["valkey"], directory)
    server.start()
    store: Any = redis.Redis(port=server.port)
    store.config_set("requirepass", "another")
    store.close()
    yield server.port
    server.kill()


def test_no_password_of_a_store_that_cannot_be_used_comes_out(start: Callable[..., Program], locked: int) -> None:
    """Wrong, or of a store that is down, does not speak TLS, or is no cluster of ours."""
    user = f"hub:{quote(PASSWORD, safe='')}@"
    nobody = free_port()
    stores = {
        "the password is wrong": f"redis://{user}127.0.0.1:{locked}",
        "the cluster is not ours": f"redis+cluster://{user}127.0.0.1:{locked}",
        "it is down": f"redis://{user}127.0.0.1:{nobody}",
        "it speaks no TLS": f"rediss://{user}127.0.0.1:{locked}",
        "there are no sentinels": f"redis+sentinel://{user}127.0.0.1:{nobody},127.0.0.1:{locked}/main",
    }
    programs = {
        what: start(*TALKATIVE, CAPACITY_TOKEN_KEY=KEY, CAPACITY_REDIS_URL=url, CAPACITY_WEBHOOK_SECRET=WEBHOOK_SECRET)
        for what, url in stores.items()
    }
    heard = Heard()
    room = "/v1/accounts/acme/rooms/launch"
    for what, program in programs.items():
        program.until(program.listening, START_SECONDS)
        address = str(program.listening()[0]["address"])
        with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as http:
            service = {"Authorization": f"Bearer {GOOD[2]}"}
            assert heard.answer(http.get("/readyz")) == 503, what
            for method, path in (("PUT", room), ("GET", "/v1/jwks.json")):
                assert heard.answer(http.request(method, path, headers=service)) == 503, what
            heard.answer(http.get("/metrics"))
            signature = sign(WEBHOOK_SECRET, "msg_1", int(time.time()), b"{}")
            heard.answer(http.post("/v1/events", content=b"{}", headers=signature))
            heard.secrets.add(signature["webhook-signature"])
        on_sockets(heard, address, GOOD[0])
        assert "closed 1013 unavailable" in heard.said, what
        heard.said.remove("closed 1013 unavailable")
        program.until(partial(complains, program))
    for what, program in programs.items():
        assert program.end(signal.SIGTERM)[0] == 0, what
        log = program.log_file.read_text()
        assert not heard.leaked(log), what
        assert "Traceback" not in log, log


def test_no_key_of_a_file_that_is_damaged_comes_out(start: Callable[..., Program], tmp_path: Path) -> None:
    """At the start, where it is the one line that ends it, and later, when somebody puts the wrong file there."""
    private = Ed25519PrivateKey.generate()
    whole = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = base64.urlsafe_b64encode(private.private_bytes_raw()).decode().rstrip("=")
    damaged: list[bytes] = [
        whole,
        KEY.encode(),
        json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": secret, "d": secret}]}).encode(),
        json.dumps({"keys": [{"kty": "RSA", "n": secret, "e": secret}]}).encode()[:-3],
    ]
    heard = Heard()
    heard.secrets |= {secret, *(line for content in (whole, public) for line in content.decode().splitlines()[1:2])}
    path = tmp_path / "key"
    path.write_bytes(damaged[0])
    program = start(*TALKATIVE, CAPACITY_TOKEN_KEY=f"file:{path}")
    assert program.process.wait(START_SECONDS) == 2
    said = program.log_file.read_text()
    assert len(said.splitlines()) == 1 and "CAPACITY_TOKEN_KEY" in said
    assert not heard.leaked(said)
    path.write_bytes(public)
    program = start(*TALKATIVE, CAPACITY_TOKEN_KEY=f"file:{path}")
    program.ready()
    for number, content in enumerate(damaged, 1):
        path.write_bytes(content)
        program.until(partial(unusable, program, number))  # each is wrong in another way than the one before
    assert not heard.leaked(program.log_file.read_text())


def unusable(program: Program, times: int) -> bool:
    """Whether it was said so often that the keys cannot be used."""
    return [line["event"] for line in program.log()].count("token_keys_unusable") >= times
