"""The demo's scene, set by the public interface alone: an account on a plan, an open room, addresses, an audience."""

from __future__ import annotations

import http.client
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console

import capacity
from capacity.demo.api import Answer, Api, NoAnswer
from capacity.demo.audience import SECRET_VARIABLE
from capacity.demo.tokens import mint
from capacity.domain.plans import Plan

ROOM = "welcome"
READY_SECONDS = 30.0
SCENE_SECONDS = 15.0
AUDIENCE_STOP_SECONDS = 3.0


class Scene:
    """Is set by a thread of its own while the service runs in the main one, and taken down with the block.

    `status` is the exit code for it: 1 after it failed, which also ends the service.
    """

    def __init__(self, api: Api, plan: Plan, secret: str, *, rate: float | None, give_up: Callable[[], None]) -> None:
        """`plan` is the account's at first, `secret` signs the demo's tokens.

        `rate`: how many of the audience arrive a second; None: nobody does. `give_up` ends the service.
        """
        self.status = 0
        self._api = api
        self._plan = plan
        # Each run has an account of its own: what an account has bought cannot be undone, and a demo begins small.
        self._account = f"demo-{secrets.token_hex(3)}"
        self._secret = secret
        self._rate = rate
        self._give_up = give_up
        self._audience: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._set, name="demo-scene")

    def __enter__(self) -> Scene:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._audience is not None:
            assert self._audience.stdin is not None
            self._audience.stdin.close()
            try:
                self._audience.wait(AUDIENCE_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._audience.kill()
                self._audience.wait()

    def _set(self) -> None:
        try:
            self._bring_the_account_and_open_the_room()
        except (NoAnswer, OSError, http.client.HTTPException) as error:
            if not self._over.is_set():
                print(f"capacity: the demo could not be set up: {error}", file=sys.stderr)
                self.status = 1
                self._give_up()
            return
        if not self._over.is_set():
            self._say_where_to_look()
            if self._rate is not None:
                self._audience = self._start_the_audience(self._rate)

    def _bring_the_account_and_open_the_room(self) -> None:
        """As a platform does, which leaves all buying to its hosts."""
        token = mint(self._secret, "demo-platform", account=self._account, room=None, role="service")
        account = f"/v1/accounts/{self._account}"
        order = msgspec.json.encode({"plan": self._plan.id})

        self._until_done(lambda: self._api.request("GET", "/readyz"), what="readiness", seconds=READY_SECONDS)
        self._until_done(lambda: self._api.request("PUT", account, token=token, body=order), what=f"PUT {account}")
        room = f"{account}/rooms/{ROOM}"
        self._until_done(lambda: self._api.request("PUT", room, token=token), what=f"PUT {room}")

    def _until_done(self, ask: Callable[[], Answer], *, what: str, seconds: float = SCENE_SECONDS) -> None:
        self._api.until(200, ask, what=what, seconds=seconds, stop=self._over.is_set)

    def _say_where_to_look(self) -> None:
        host = mint(self._secret, "host", account=self._account, room=ROOM, role="host", name="Demo host", billing=True)
        # Soft wrap: an address that is broken into lines cannot be clicked or copied.
        console = Console(highlight=False, soft_wrap=True)
        comes = "is empty: nobody comes but you" if self._rate is None else "fills as a simulated audience arrives"
        console.print(f"\n[bold]Capacity demo[/] at {self._api.url}")
        console.print(f"The room {ROOM!r} has {self._plan.seats} seats (plan {self._plan.name}) and {comes}.\n")
        console.print("[bold]Host page[/]: the room as it fills; when the banner comes, press Upgrade")
        console.print(f"  {self._api.url}/host#{host}\n", markup=False)
        for number, what in enumerate(("who comes to the full room, and waits", "for another tab or browser"), start=1):
            guest = mint(
                self._secret,
                f"you-{number}",
                account=self._account,
                room=ROOM,
                role="attendee",
                name=f"Attendee {number}",
            )
            console.print(f"[bold]Attendee {number}[/]: {what}")
            console.print(f"  {self._api.url}/join#{guest}\n", markup=False)
        console.print("Upgrading raises the seat limit at once: waiting pages reload themselves and show their seat.")
        console.print("Ctrl-C ends the demo.\n")
        console.file.flush()

    def _start_the_audience(self, rate: float) -> subprocess.Popen[bytes]:
        importable = [str(Path(capacity.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "capacity.demo.audience", self._api.url),
                *("--account", self._account, "--room", ROOM, "--rate", str(rate)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its audience by closing this pipe
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("CAPACITY_")},
                "PYTHONPATH": os.pathsep.join(path for path in importable if path),
                SECRET_VARIABLE: self._secret,
            },
        )
