"""The scripts of the last release and of this one on one room: whatever either wrote the other must go on with.

The machine of tests/store/test_machine.py draws the calls. Each of its two hubs is of one release, and of the other after an
upgrade or a roll-back; the model knows nothing of releases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from capacity.store import keys, scripts
from capacity.store.keys import RoomName
from capacity.store.outbox import Outbox
from capacity.store.rooms import Reply, Rooms, Rules
from tests.store.test_machine import HUBS, NAME, SHARES, Machine, hubs, steps
from tests.upgrade import frozen


class Unread:
    """An outbox that nobody empties: this release's scripts write what webhooks are told, and the last one's do not."""

    async def note(self, account: str) -> None:
        """Expect entries."""

    def written(self, account: str) -> None:
        """Leave them there."""


class EitherRooms(Rooms):
    """The rooms of a hub that is of this release, or of the last one."""

    def __init__(self, ours: Rooms, theirs: Any, *, upgraded: bool) -> None:
        vars(self).update(vars(ours))
        self.outbox = cast(Outbox, Unread())
        self._theirs = theirs
        self.upgraded = upgraded
        self.calls = {True: 0, False: 0}

    async def call(self, verb: str, name: RoomName, arguments: Any = (), **options: Any) -> Reply:
        """Make the call as the hub's release does."""
        options = {"operation": self.operation()} | options
        self.calls[self.upgraded] += 1
        if self.upgraded:
            reply = await super().call(verb, name, arguments, **options)
            return msgspec.structs.replace(reply, hooked=False)  # the last release does not know the word
        reply = await self._theirs.call(verb, name, arguments, **options)
        return msgspec.convert(msgspec.to_builtins(reply), Reply)


class TwoReleases(Machine):
    """One room, one hub of each release, each of which is upgraded or rolled back now and then."""

    last_rooms: Any
    last_scripts: Any
    calls: dict[bool, int]

    def rooms_of(self, hub: str, rules: Rules) -> Rooms:
        """Return the rooms of a hub: the first begins under the last release."""
        shares = self.last_rooms.Shares(SHARES.near_millionths, SHARES.clear_millionths)
        values = {name: getattr(rules, name) for name in rules.__struct_fields__} | {"shares": shares}
        theirs = self.last_rooms.Rooms(
            self.client, self.last_rooms.Rules(**values), hub, server=lambda: f"server-{self.server}"
        )
        return EitherRooms(super().rooms_of(hub, rules), theirs, upgraded=hub != HUBS[0])

    def apply(self, seats: int) -> None:
        """Apply a plan change by a consumer of either release."""
        self.apply_script = self.last_scripts.APPLY if self.version % 2 else scripts.APPLY
        super().apply(seats)

    @precondition(lambda self: hasattr(self, "rooms"))
    @rule(hub=hubs)
    def change_release(self, hub: str) -> None:
        """The hub is upgraded, or rolled back."""
        rooms = self.rooms[hub]
        assert isinstance(rooms, EitherRooms)
        rooms.upgraded = not rooms.upgraded

    def teardown(self) -> None:
        for rooms in getattr(self, "rooms", {}).values():
            for upgraded, count in rooms.calls.items():
                self.calls[upgraded] += count
        self.raw.delete(keys.hooks(NAME.account))
        super().teardown()


@pytest.mark.timeout(7200)
def test_the_scripts_of_two_releases_agree_with_the_model(redis_url: str, last_release: Path) -> None:
    last_rooms, last_scripts = frozen.modules(last_release, "capacity.store.rooms", "capacity.store.scripts")
    assert last_rooms.__file__ is not None and Path(last_rooms.__file__).is_relative_to(last_release)
    calls = {True: 0, False: 0}
    given = {"url": redis_url, "last_rooms": last_rooms, "last_scripts": last_scripts, "calls": calls, "TestCase": None}
    run_state_machine_as_test(
        type("OnServer", (TwoReleases,), given),
        settings=settings(
            max_examples=steps() // 600,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    assert min(calls.values()) > sum(calls.values()) / 4, calls


def test_the_two_releases_name_the_same_keys(last_release: Path) -> None:
    """What the last release wrote under a key is looked for under it: the data has one schema."""
    (last,) = frozen.modules(last_release, "capacity.store.keys")
    name, theirs = RoomName("acme", "launch"), last.RoomName("acme", "launch")
    assert keys.room_keys(name)[: len(last.room_keys(theirs))] == last.room_keys(theirs)
    for constant in ("PREFIX", "PLAN_CHANGES", "VERDICTS", "REJECTED", "DUE", "NOTICES", "BEATS", "PASS_KEY"):
        assert getattr(keys, constant) == getattr(last, constant)
    for function, arguments in {
        "audit": (name,),
        "event_key": ("acme", "/source", "1"),
        "desk_account": ("acme",),
        "ledger": ("acme",),
        "purchase": ("acme", "order-1"),
        "quote": ("acme", "q1"),
        "asked": ("acme",),
        "payment_event": ("stripe", "evt_1"),
        "card_payment": ("ref",),
        "set_aside": ("1-1",),
        "hub_rooms": ("h1",),
    }.items():
        assert getattr(keys, function)(*arguments) == getattr(last, function)(*arguments), function
