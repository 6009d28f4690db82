"""The program as people run it: `python -m capacity …` as a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jwt
import pytest
import redis

from capacity import __version__, cli, settings
from capacity.protocol import events, signatures
from capacity.store.embedded import EmbeddedValkey
from capacity.store.keys import PLAN_CHANGES

SECRET = "a secret of thirty-two bytes or so"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Done(NamedTuple):
    """What a run of the program left."""

    code: int
    out: str
    err: str


def run(*arguments: str, environ: Mapping[str, str] | None = None, **variables: str) -> Done:
    """Run the program here, with these CAPACITY_* variables and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")}
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.dict(os.environ, {**others, **(environ or {}), **variables}, clear=True),
        mock.patch.object(sys, "argv", ["capacity", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def refused(*arguments: str, code: int = 2, environ: Mapping[str, str] | None = None, **variables: str) -> str:
    """Return the one line that the program says instead of doing it."""
    done = run(*arguments, environ=environ, **variables)
    assert done.code == code and done.out == "", done
    assert done.err.count("\n") == 1 and done.err.startswith("capacity: "), done.err
    return done.err


def claims_of(done: Done) -> dict[str, object]:
    assert done.code == 0, done.err
    return jwt.decode(done.out.strip(), SECRET, algorithms=["HS256"], audience="capacity")


def test_it_is_python_m_capacity_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "capacity", "--version"]
    importable = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=importable, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"capacity {__version__}\n", "")


def test_every_setting_has_a_flag() -> None:
    assert tuple(cli.SETTINGS) == settings.FLAGS


def test_help_names_every_setting() -> None:
    text = run("serve", "--help", COLUMNS="200").out
    for flag in settings.FLAGS:
        assert f"--{flag.replace('_', '-')}" in text
        assert settings.variable_of(flag) in text


def test_a_token() -> None:
    of = ("--account", "acme", "--room", "launch", "--sub", "auth0|ann")
    claims = claims_of(run("token", *of, "--role", "attendee", CAPACITY_TOKEN_KEY=SECRET))
    assert claims.pop("exp") == pytest.approx(time.time() + 12 * 3600, abs=60)
    assert claims == {
        "aud": "capacity",
        "account": "acme",
        "room": "launch",
        "sub": "auth0|ann",
        "role": "attendee",
    }


def test_a_token_with_everything() -> None:
    of = ("--account", "acme", "--room", "launch", "--sub", "ann", "--role", "host", "--name", "Ann Ö.", "--billing")
    claims = claims_of(run("token", *of, "--ttl", "90m", "--token-key", SECRET, CAPACITY_TOKEN_KEY="x"))
    assert claims["exp"] == pytest.approx(time.time() + 90 * 60, abs=60)
    assert (claims["name"], claims["billing"], claims["role"]) == ("Ann Ö.", True, "host")


def test_a_token_of_a_service_needs_no_room() -> None:
    claims = claims_of(
        run("token", "--account", "*", "--sub", "platform", "--role", "service", CAPACITY_TOKEN_KEY=SECRET)
    )
    assert (claims["account"], "room" in claims) == ("*", False)


def test_tokens_that_nobody_could_use(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PUBLIC KEY-----")
    of = ("token", "--account", "acme", "--sub", "ann", "--role", "host")
    assert "CAPACITY_TOKEN_KEY" in refused(*of, "--room", "r")
    assert "public key" in refused(*of, "--room", "r", CAPACITY_TOKEN_KEY=f"file:{tmp_path}/key.pem")
    assert "room" in refused(*of, CAPACITY_TOKEN_KEY=SECRET)
    assert "room" in refused(*of, "--room", "a/b", CAPACITY_TOKEN_KEY=SECRET)
    assert "account" in refused(*of, "--room", "r", "--account", "*", CAPACITY_TOKEN_KEY=SECRET)
    assert "--ttl" in refused(*of, "--room", "r", "--ttl", "0", CAPACITY_TOKEN_KEY=SECRET)
    billing = (*of[:-1], "attendee", "--room", "r", "--billing")
    assert "--billing" in refused(*billing, CAPACITY_TOKEN_KEY=SECRET)


def test_publishing_to_the_stream(redis_url: str) -> None:
    cluster = redis_url.replace("redis://", "redis+cluster://")
    done = run("publish", "acme", "--seats", "120", "--version", "7", CAPACITY_REDIS_URL=cluster)
    assert done.code == 0 and done.out.count("\n") == 1, done.err
    with redis.Redis.from_url(redis_url) as store:
        ((entry, fields),) = store.xrange(PLAN_CHANGES)
        assert list(fields) == [b"event"]
        event = events.parse(fields[b"event"])
    assert entry.decode() in done.out and event.id in done.out
    assert (event.account, event.plan, event.seats, event.version) == ("acme", "custom", 120, 7)
    assert event.concurrent_sessions is None
    assert event.time_ms == pytest.approx(time.time() * 1000, abs=60_000)


def test_publishing_to_the_running_embedded_server(tmp_path: Path) -> None:
    arguments = ("publish", "acme", "--seats", "100", "--concurrent-sessions", "2", "--data-dir", str(tmp_path))
    assert str(tmp_path) in refused(*arguments)
    with EmbeddedValkey(tmp_path) as valkey:
        assert run(*arguments).code == 0
        with redis.Redis.from_url(valkey.url) as store:
            ((_, fields),) = store.xrange(PLAN_CHANGES)
    event = events.parse(fields[b"event"])
    assert (event.plan, event.concurrent_sessions) == ("business", 2)
    assert str(tmp_path) in refused(*arguments)


def test_publishing_what_cannot_be() -> None:
    somewhere = {"CAPACITY_REDIS_URL": "redis://127.0.0.1:1"}
    assert "account" in refused("publish", "no account", "--seats", "1", environ=somewhere)
    assert "seats" in refused("publish", "acme", "--seats", "-1", environ=somewhere)
    assert "seats" in refused("publish", "acme", "--seats", "1000001", environ=somewhere)
    assert "CAPACITY_WEBHOOK_SECRET" in refused("publish", "acme", "--seats", "1", "--url", "http://127.0.0.1:1")
    assert "--url" in refused("publish", "acme", "--seats", "1", "--url", "localhost", CAPACITY_WEBHOOK_SECRET=WHSEC)
    assert "not published" in refused("publish", "acme", "--seats", "1", code=1, environ=somewhere)
    line = refused(
        "publish", "acme", "--seats", "1", "--url", "http://127.0.0.1:1", code=1, CAPACITY_WEBHOOK_SECRET=WHSEC
    )
    assert "cannot be reached" in line and WHSEC not in line


class Receiver(HTTPServer):
    """Takes webhooks and keeps them; answers with `status`, and a problem detail if that is an error."""

    status = 202

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Webhook)
        self.received: list[tuple[str, dict[str, str], bytes]] = []


class Webhook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers.items()), body))
        answer = json.dumps({"code": "invalid_signature", "detail": "No signature matches."}).encode()
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["", "/", "/v1/events"])
def test_publishing_by_webhook(receiver: Receiver, path: str) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}{path}"
    secrets = f"{WHSEC} whsec_{'A' * 32}"
    done = run("publish", "acme", "--seats", "50", "--plan", "gold", "--url", url, CAPACITY_WEBHOOK_SECRET=secrets)
    assert done.code == 0 and "202" in done.out, done.err
    ((target, headers, body),) = receiver.received
    assert target == "/v1/events"
    signatures.verify([WHSEC], headers, body, time.time())
    assert events.parse(body).plan == "gold"


@pytest.mark.parametrize(("status", "says"), [(401, "401 invalid_signature: No signature matches."), (307, "307")])
def test_a_webhook_that_is_refused(receiver: Receiver, status: int, says: str) -> None:
    receiver.status = status
    url = f"http://127.0.0.1:{receiver.server_port}"
    assert says in refused("publish", "acme", "--seats", "5", "--url", url, code=1, CAPACITY_WEBHOOK_SECRET=WHSEC)
    assert len(receiver.received) == 1  # a redirect is not followed
