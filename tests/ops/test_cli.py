"""The program as people run it: `python -m capacity …` as a process of its own."""

from __future__ import annotations

import asyncio
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

from capacity import __version__, cli, flags, settings
from capacity.protocol import events, signatures
from capacity.store import verdicts
from capacity.store.embedded import EmbeddedValkey
from capacity.store.keys import PLAN_CHANGES, REJECTED, account_key
from capacity.store.plan_changes import Entry, PlanChanges
from capacity.store.redis import Clients

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
    assert tuple(flags.SETTINGS) == settings.FLAGS


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


def handled(url: str, *outcomes: str, account: str = "acme", plan: str = "pro") -> list[str]:
    """Leave an entry with each of these outcomes, as a hub does; returns their ids."""

    async def settle() -> list[str]:
        clients = Clients(url)
        stream = PlanChanges(clients, "test")
        await stream.join_group()
        for number, outcome in enumerate(outcomes):
            event = events.build(account, plan, 100 + number, source="/t", id=f"e{number}", time_ms=1)
            await stream.append(event)
            ((_, ((id, _),)),) = await clients.reads.xreadgroup("capacity", "test", {PLAN_CHANGES: ">"})
            entries.append(id.decode())
            assert await stream.settle(Entry(entries[-1], event), outcome, events.parse(event))
        await clients.aclose()
        return entries

    entries: list[str] = []
    return asyncio.run(settle())


def test_the_events_for_people(redis_url: str) -> None:
    entries = handled(redis_url, "applied", "duplicate", "stale", "managed_by_desk")
    done = run("events", CAPACITY_REDIS_URL=redis_url, COLUMNS="80")
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    assert head.split() == ["entry", "handled", "(UTC)", "verdict", "account", "what"]
    assert [line.split()[0] for line in lines] == entries[::-1]
    assert [line.split()[3:] for line in lines] == [
        ["rejected", "acme", "managed_by_desk"],
        ["stale", "acme", "102", "seats,", "pro"],
        ["duplicate", "acme", "101", "seats,", "pro"],
        ["applied", "acme", "100", "seats,", "pro"],
    ]


def test_the_table_is_cut_and_never_wrapped_and_obeys_nobody(redis_url: str) -> None:
    handled(redis_url, "applied", "subject_mismatch", account="a" * 128, plan="\x1b[31m[red]\n" + "ö" * 100)
    done = run("events", CAPACITY_REDIS_URL=redis_url, COLUMNS="80")
    lines = done.out.splitlines()
    assert len(lines) == 3 and all(len(line) <= 80 for line in lines)
    assert "subject_mismatch" in lines[1] and "100 seats, \ufffd[31m[" in lines[2]
    assert "\x1b" not in done.out


def test_the_events_as_json_narrowed_and_limited(redis_url: str) -> None:
    entries = handled(redis_url, "applied", "malformed", "applied", "applied")
    handled(redis_url, "applied", account="other")
    narrowed = ("events", "--account", "acme", "--verdict", "applied", "--json")
    page = json.loads(run(*narrowed, CAPACITY_REDIS_URL=redis_url).out)
    assert [event["entry"] for event in page["events"]] == [entries[3], entries[2], entries[0]]
    assert page["next"] is None
    page = json.loads(run(*narrowed, "--limit", "2", CAPACITY_REDIS_URL=redis_url).out)
    assert [event["seats"] for event in page["events"]] == [103, 102] and page["next"] is not None


def test_all_pages_are_looked_through(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "PIECE", 1)
    monkeypatch.setattr(verdicts, "PIECES_MAX", 1)
    entries = handled(redis_url, "applied", "stale", "stale", "stale")
    page = json.loads(run("events", "--verdict", "applied", "--json", CAPACITY_REDIS_URL=redis_url).out)
    assert [event["entry"] for event in page["events"]] == entries[:1]
    monkeypatch.setattr(verdicts, "PIECE", 2)
    page = json.loads(run("events", "--limit", "3", "--json", CAPACITY_REDIS_URL=redis_url).out)
    assert [event["entry"] for event in page["events"]] == entries[:0:-1]


@pytest.mark.parametrize("as_json", [False, True])
def test_replaying(redis_url: str, as_json: bool) -> None:
    (entry,) = handled(redis_url, "internal_error")
    arguments = ("events", "--replay", entry, *(["--json"] if as_json else []))
    done = run(*arguments, CAPACITY_REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url) as store:
        _, (new, fields) = store.xrange(PLAN_CHANGES)
        assert fields[b"replay_of"].decode() == entry and store.xlen(REJECTED) == 0
    if as_json:
        assert json.loads(done.out) == {"entry": new.decode(), "replay_of": entry}
    else:
        assert done.out == f"replayed {entry} as entry {new.decode()}\n"
    assert "not replayed" in refused(*arguments, code=1, CAPACITY_REDIS_URL=redis_url)


def test_a_replay_whose_cause_stands(redis_url: str) -> None:
    (entry,) = handled(redis_url, "managed_by_desk")
    with redis.Redis.from_url(redis_url) as store:
        store.hset(account_key("acme"), "source", "desk")
    line = refused("events", "--replay", entry, code=1, CAPACITY_REDIS_URL=redis_url)
    assert "not replayed" in line and "managed_by_desk" in line


def test_events_of_the_running_embedded_server(tmp_path: Path) -> None:
    arguments = ("events", "--data-dir", str(tmp_path))
    line = refused(*arguments)
    assert str(tmp_path) in line and "--url" not in line
    with EmbeddedValkey(tmp_path) as valkey:
        (entry,) = handled(valkey.url, "applied")
        assert entry in run(*arguments).out


def test_events_that_cannot_be_asked_for() -> None:
    somewhere = {"CAPACITY_REDIS_URL": "redis://127.0.0.1:1"}
    assert "--account" in refused("events", "--account", "a b", environ=somewhere)
    assert "--replay" in refused("events", "--replay", "latest", environ=somewhere)
    assert "--replay" in refused("events", "--replay", "1-1", "--account", "acme", environ=somewhere)
    assert run("events", "--verdict", "fine", environ=somewhere).code == 2
    assert run("events", "--limit", "0", environ=somewhere).code == 2
    assert "not shown" in refused("events", code=1, environ=somewhere)


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
