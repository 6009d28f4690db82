"""The stage: the account, the room and the host of a rehearsal, the raise in the middle, and the taking down at the end.

The account is one of its own unless somebody named one. Whatever happens, a failure or Ctrl-C, the room is ended and
the account put back: to what it was if it was there before, else to no seats at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

from capacity.client import (
    ClientError,
    NotFound,
    PlanChange,
    PlanEvent,
    PlanPublisher,
    Problem,
    Service,
    Unauthorized,
    Unreachable,
)
from capacity.demo.tokens import mint
from capacity.flags import Failed
from capacity.protocol.desk_bodies import Account
from capacity.rehearsal.audience import Audience
from capacity.rehearsal.journal import HOST, Curtain, Journal, Raised
from capacity.rehearsal.script import Script

READY_SECONDS = 15.0
PATIENCE_SECONDS = 5.0
"""How long a service may be without an answer, as it may while a process of it is replaced in the middle."""
POLL_SECONDS = 0.1
PLAN = "rehearsal"
SOURCE = "capacity-rehearse"


class Stage:
    """One rehearsal at one server."""

    def __init__(
        self, script: Script, url: str, secret: str, publisher: PlanPublisher, *, warn: Callable[[str], None]
    ) -> None:
        """`secret` signs the tokens, `warn` is told what could not be cleared away."""
        self.journal = Journal(script)
        self._script = script
        self._url = url
        self._secret = secret
        self._publisher = publisher
        self._warn = warn
        self._touched = False
        """The account may have our seats."""

    async def play(self, looks: Callable[[float], None]) -> Journal:
        """Play the script and return what happened. `looks` is called some times a second with the seconds that passed.

        Raises Failed for what stood in the way, after clearing up.
        """
        script = self._script
        token = mint(self._secret, SOURCE, account=script.account, room=None, role="service")
        async with self._publisher, Service(self._url, token) as service:
            with _one_line():
                before = await self._before(service)
            try:
                with _one_line():
                    await self._give_seats(service)
                    await self._perform(service, looks)
            finally:
                await self._clear_away(service, before)
        return self.journal

    async def _before(self, service: Service) -> Account | None:
        """What the account was; None if it is new. Raises Failed for one that a rehearsal shall not touch."""
        account, room = self._script.account, self._script.room
        try:
            numbers = await service.get_room(account, room)
        except NotFound as missing:
            if missing.code != "unknown_account":
                raise Failed(f"there is no Capacity at {self._url}: {missing}") from None
            return None
        if not self._script.account_given:
            raise Failed(f"the account {account} is there already; try again, or name one with --account")
        if numbers.state != "not_started":
            raise Failed(f"the room {room} of {account} is or was open for others; name another with --room")
        try:
            before = await service.get_account(account)
        except NotFound:
            raise Failed(
                f"the account {account} is there already, and its plan cannot be read to be put back afterwards, "
                "because the server has CAPACITY_DESK=off; name an account that is not there"
            ) from None
        if before.managed_by == "desk":
            raise Failed(f"the plan of {account} changes by purchases alone; name an account that is not the desk's")
        self._warn(f"{account} is there already: until the end, all of its rooms have the seats of the rehearsal")
        return before

    async def _give_seats(self, service: Service) -> None:
        """Make the account exist with its first seats, and wait until that is in force."""
        script = self._script
        try:
            await self._publish(script.seats)
        except Problem:
            raise  # answered no: nothing was written
        except ClientError:
            self._touched = True
            raise
        self._touched = True
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(NotFound):
                if (await service.get_room(script.account, script.room)).seat_limit == script.seats:
                    return
            await asyncio.sleep(POLL_SECONDS)
        raise Failed(
            f"the plan change of {script.account} was published and did not come into force in {READY_SECONDS:g} s: "
            "do the server and this command use the same store, or is its stream held up? (capacity events)"
        )

    async def _perform(self, service: Service, looks: Callable[[float], None]) -> None:
        """Let the audience come, raise the plan, and end the room when the time is over."""
        script = self._script
        await service.open_room(script.account, script.room)
        audience = Audience(script, self.journal, self._url, self._secret)
        host = asyncio.create_task(audience.look_on())
        try:
            audience.begin()
            for until, act in ((script.raise_at_seconds, self._raise), (script.duration_seconds, None)):
                while (passed := time.monotonic() - audience.began_at) < until:
                    looks(passed)
                    await asyncio.sleep(min(POLL_SECONDS, until - passed))
                if act is not None:
                    await act(audience)
            audience.note(HOST, Curtain())
            await _patiently(lambda: service.end_room(script.account, script.room))
            await audience.leave()
        finally:
            await audience.stop()
            host.cancel()
            await asyncio.gather(host, return_exceptions=True)

    async def _raise(self, audience: Audience) -> None:
        audience.note(HOST, Raised(self._script.raise_to))
        await self._publish(self._script.raise_to)

    async def _publish(self, seats: int, plan: str = PLAN) -> None:
        change = PlanChange(account=self._script.account, plan=plan, seats=seats)
        event = PlanEvent.of(change, source=SOURCE)
        if self._touched:
            await _patiently(lambda: self._publisher.send(event))
        else:
            await self._publisher.send(event)

    async def _clear_away(self, service: Service, before: Account | None) -> None:
        """End the room and put the account back; what cannot be is told."""
        if not self._touched:
            return
        account, room = self._script.account, self._script.room
        try:
            with contextlib.suppress(NotFound):  # the account did not come to be
                await _patiently(lambda: service.end_room(account, room))
        except ClientError as error:
            self._warn(f"the room {room} of {account} could not be ended ({error}); it ends by itself when it is idle")
        seats, plan = (0, PLAN) if before is None else (before.seats, before.plan)
        try:
            await self._publish(seats, plan)
        except ClientError as error:
            self._warn(
                f"{account} could not be put back to {seats} seats ({error}): capacity publish {account} --seats {seats}"
            )


async def _patiently(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until there is an answer, for as long as PATIENCE_SECONDS; all that is asked for here may be asked twice."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            await ask()
            return
        except (Problem, Unreachable) as error:
            if time.monotonic() > deadline or (isinstance(error, Problem) and not error.retryable):
                raise
        await asyncio.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Say in one line what the service refused."""
    try:
        yield
    except Unauthorized as error:
        secret = "CAPACITY_WEBHOOK_SECRET" if error.code == "invalid_signature" else "CAPACITY_TOKEN_KEY"
        raise Failed(f"the server answered {error} Is {secret} here what it is there?") from None
    except Problem as error:
        raise Failed(f"the server answered {error}") from None
    except ClientError as error:
        raise Failed(str(error)) from None
