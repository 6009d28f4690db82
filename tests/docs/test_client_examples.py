"""Every example of docs/client.md runs, as it stands, against a real hub."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from capacity import client
from capacity.client import errors
from tests.docs.documents import ROOT, rows, section
from tests.support.service import WEBHOOK_SECRET, Billing, serving, settings
from tests.support.service import service_token as token_of_service
from tests.support.service import token as token_of

DOCUMENT: Path = ROOT / "docs" / "client.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.anyio
async def test_every_example_runs(redis_url: str, capsys: Any) -> None:
    billing = Billing(redis_url)
    async with serving(settings(redis_url)) as hub:
        await billing.account(25)
        given = {
            "server": hub.address,
            "attendee_token": token_of("ada"),
            "host_token": token_of("hanna", role="host"),
            "service_token": token_of_service(),
            "webhook_secret": WEBHOOK_SECRET,
        }
        async with client.Host(hub.address, token_of("hugo", role="host")):  # the room is open
            for example in EXAMPLES:
                names: dict[str, Any] = dict(given)
                code = compile(example, str(DOCUMENT), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                result = eval(code, names)
                if inspect.iscoroutine(result):
                    await result
        await billing.seats("acme", 120)
        assert (await hub.call("GET", "/v1/accounts/globex")).json()["plan"] == "growth"
    await billing.close()
    said = capsys.readouterr().out
    assert len(EXAMPLES) == 6 and "in, as one of" in said and "unknown_participant" in said and "completed" in said


def test_every_option_and_exception_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    options = {row[0].strip("`") for row in rows(section(DOCUMENT, "An attendee"))[1:]}
    assert options == {"refresh", *client.Options.__annotations__}
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, errors.ClientError):
            assert f"`{name}`" in text, name
    for name, _ in inspect.getmembers(client.Service, inspect.iscoroutinefunction):
        assert f"`{name}`" in text or name in ("close", "_ask") or name.startswith("__"), name
