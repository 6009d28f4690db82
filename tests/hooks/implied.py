"""What webhooks must tell of a room, read off its audit: the pure model of tests/support, driven by what each call wrote down.

The audit is another stream than the outbox, and the model was not made from the scripts: an event that is missing, untrue or
repeated differs from what stands here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from capacity.protocol import hooks
from capacity.protocol.hooks import Event
from capacity.store.keys import RoomName
from tests.support import checker, hook_facts


class Told(NamedTuple):
    """One event: the room's change that it tells of, its type, and all that it says (`hook_facts.in_short`) as JSON."""

    account: str
    room: str
    epoch: str
    revision: int
    type: str
    said: str


class Telling(checker.Replay):
    """A replay of one history of a room, from its first entry on."""

    def tells(self, entry: checker.Entry) -> list[hook_facts.Fact]:
        """Make the model do what an entry says, and return what is to be told of it. That both agree is `check_audit`'s to say."""
        for _ in self.step(entry):
            pass
        return hook_facts.told_by(self._room) if self._room is not None else []


def implied(name: RoomName, entries: Iterable[checker.Entry]) -> Iterator[list[Told]]:
    """Yield what each entry of one history implies."""
    telling = Telling()
    for entry in entries:
        after = entry["after"]
        yield [
            Told(name.account, name.room, after["epoch"], after["revision"], type, _text(said))
            for type, said in telling.tells(entry)
        ]


def told_in(event: Event) -> Told:
    """Return what an event tells."""
    data = event.data
    type, said = hook_facts.in_short(event)
    return Told(data.account, data.room, data.epoch, data.revision, type, _text(said))


def decode(body: bytes) -> Told:
    """Return what a request's body tells. Raises msgspec.DecodeError for one that is no event."""
    return told_in(hooks.decode(body))


def _text(said: object) -> str:
    return json.dumps(said, sort_keys=True)
