"""The settings, `capacity hooks`, and the commands of docs/operations.md, "Outbound webhooks", as they are typed there."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import msgspec
import pytest
import redis
from standardwebhooks.webhooks import Webhook

from capacity import dead_letters
from capacity.console import NotShown
from capacity.dead_letters import State
from capacity.domain.instants import EPOCH
from capacity.errors import SettingError
from capacity.hooks.endpoint import id_of, shown
from capacity.protocol import hooks, signatures
from capacity.settings import Settings, load
from capacity.store import keys
from capacity.store.hook_queue import Delivery, Letter
from tests.docs.documents import ROOT, blocks
from tests.hooks.platform import SECRET
from tests.support.servers import free_port
from tests.support.terminal import Terminal

OPERATIONS = ROOT / "docs" / "operations.md"
KEY = "a secret of thirty-two bytes or so"
DOCUMENTED = "https://platform.example.com/hooks/capacity"
HOST = "http://127.0.0.1:9"
URL = f"{HOST}/hooks/capacity"
"""Where nobody listens, on this machine."""
OTHER = "https://other.example.com/x"
EVENT = hooks.Full(EPOCH, hooks.Crossing("acme", "launch", "1:h.1", 7, 100, 100, 3))


def loaded(**values: str) -> Settings:
    environ = {f"CAPACITY_{name.upper()}": value for name, value in values.items()}
    return load({"CAPACITY_TOKEN_KEY": KEY} | environ)


@pytest.mark.parametrize(
    "url", [URL, "https://u:p@h.example:8443/a?b=c", "http://localhost:1/", "http://127.0.0.2", "http://[::1]:80/x"]
)
def test_addresses_that_are_taken(url: str) -> None:
    found = loaded(hook_urls=f" {url}  {OTHER} {url}", hook_secret=SECRET)
    assert (found.hook_urls, found.hook_secrets) == ((url, OTHER), (SECRET,))
    assert url not in repr(found) and SECRET not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/s3cret",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com/",
        "ftp://h/s3cret",
        "s3cret",
        "https://",
        "https://h:0/",
        "https://h:x/s3cret",
        "https://h/#s3cret",
        "https://h/\u00e4",
    ],
)
def test_addresses_that_are_refused_are_not_shown(url: str) -> None:
    with pytest.raises(SettingError) as refused:
        loaded(hook_urls=f"{OTHER} {url}", hook_secret=SECRET)
    line = str(refused.value)
    assert line.startswith("CAPACITY_HOOK_URLS: expected ") and "number 2 of 2" in line and "s3cret" not in line


def test_too_many_addresses_and_none_to_sign_with() -> None:
    with pytest.raises(SettingError, match="at most 10 addresses, got 11"):
        loaded(hook_urls=" ".join(f"{URL}/{number}" for number in range(11)), hook_secret=SECRET)
    with pytest.raises(SettingError, match=r"CAPACITY_HOOK_SECRET: expected .* got nothing"):
        loaded(hook_urls=URL)
    with pytest.raises(SettingError, match=r"CAPACITY_HOOK_SECRET: expected secrets .*openssl rand"):
        loaded(hook_urls=URL, hook_secret="whsec_short")


def test_each_secret_has_its_signature() -> None:
    new, body = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", b"{}"
    headers = signatures.sign_with_all([new, SECRET], "msg_1", int(time.time()), body)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, SECRET):
        Webhook(secret).verify(body.decode(), headers)


@pytest.fixture
def store(redis_url: str) -> redis.Redis:
    """A store with dead letters: two of an endpoint of the settings, and one of another."""
    client = redis.Redis.from_url(redis_url)
    for number, url in enumerate((URL, OTHER, URL)):
        delivery = msgspec.structs.replace(Delivery.of(EVENT), attempts=10)
        letter = Letter(f"msg_{number}", id_of(url), shown(url), "500", delivery)
        client.xadd(keys.DEAD_HOOKS, {"letter": msgspec.json.encode(letter)})
    client.expire(keys.DEAD_HOOKS, 60)
    return client


def waiting(store: redis.Redis, url: str) -> int:
    return int(store.zcard(keys.hook_queue(id_of(url))[0]))


def test_the_commands_of_the_document(tmp_path: Path, redis_url: str, store: redis.Redis) -> None:
    (serve,) = blocks(OPERATIONS, "sh", "Set it up")
    (looks,) = blocks(OPERATIONS, "sh", "Dead letters")
    port = free_port()
    instead = {"capacity serve": f"capacity serve --port {port}", DOCUMENTED: URL}
    with Terminal(tmp_path, instead=instead, CAPACITY_REDIS_URL=redis_url, CAPACITY_TOKEN_KEY=KEY) as terminal:
        terminal.leaves_running(serve, f"http://localhost:{port}/readyz")
        table, document, replay = (terminal.types(line) for line in looks.splitlines())
    assert HOST in table and "hooks/capacity" not in table
    assert re.search(rf"^\d+-0 +\S+ \S+ +500 +full +acme launch +{HOST}", table, re.MULTILINE)
    state = msgspec.json.decode(document, type=State)
    assert [queue.endpoint for queue in state.queues] == [HOST] and [one.id for one in state.letters] == [
        "msg_2",
        "msg_1",
        "msg_0",
    ]
    assert not state.more and json.loads(bytes(state.letters[0].event)) == json.loads(hooks.encode(EVENT))
    assert replay == "2 on their way again; 1 left alone, their endpoint is not in CAPACITY_HOOK_URLS\n"


def test_one_letter_is_sent_again_and_what_cannot_be_is_said(redis_url: str, store: redis.Redis) -> None:
    settings = loaded(redis_url=redis_url, hook_urls=URL, hook_secret=SECRET)
    state = dead_letters.state(settings, 2)
    assert len(state.letters) == 2 and state.more and not dead_letters.state(settings, 3).more
    assert dead_letters.replay(settings, state.letters[0].entry) == dead_letters.Replayed(1, 0)
    assert (waiting(store, URL), store.xlen(keys.DEAD_HOOKS)) == (1, 2)
    for entry, said in (
        (state.letters[0].entry, "there is no dead letter"),
        (state.letters[1].entry, "is not in CAPACITY_HOOK_URLS"),
    ):
        with pytest.raises(NotShown, match=said):
            dead_letters.replay(settings, entry)
    with pytest.raises(SettingError, match="--replay: expected all, or the entry"):
        dead_letters.replay(settings, "everything")
    with pytest.raises(SettingError, match="CAPACITY_HOOK_URLS: expected"):
        dead_letters.replay(loaded(redis_url=redis_url), "all")
    with pytest.raises(NotShown, match="the store did not answer"):
        dead_letters.state(loaded(redis_url="redis://127.0.0.1:1"), 1)
