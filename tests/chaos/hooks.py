"""Whether the platform was told what happened, all of it and nothing else: pure, from the audit and from what came to its endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from capacity.store.keys import RoomName
from tests.chaos.audit import Entry
from tests.chaos.platform import Came
from tests.hooks.implied import Told, implied

Place = tuple[str, int]
"""An epoch and a revision: where in its history a room is."""
Change = tuple[str, str, str, int]
"""Account, room, epoch and revision."""


class Story(NamedTuple):
    """What the audit of all rooms implies."""

    happened: list[tuple[float, Told]]
    """When (monotonic), and what is to be told of it."""
    unknown: set[Change]
    """Changes of which no more is known than that they were: their history begins in its middle."""

    def wanted(self, since: float) -> set[Told]:
        """Return what must be told in the end: all that happened since an instant, at which the store last lost data (0: it never did)."""
        return {told for at, told in self.happened if at > since}


def story(audit: Mapping[RoomName, Sequence[Entry]]) -> Story:
    """Return what an audit implies, by the model."""
    found = Story([], set())
    for name, entries in audit.items():
        for shared, lineage in lineages(entries):
            begins_at = _place(lineage[0].body["before"])[1]
            facts = implied(name, [entry.body for entry in lineage])
            for number, (entry, of_entry) in enumerate(zip(lineage, facts, strict=True)):
                if begins_at:
                    found.unknown.add((*name, *_place(entry.body["after"])))
                elif number >= shared:
                    found.happened.extend((entry.at, told) for told in of_entry)
    return found


def lineages(entries: Sequence[Entry]) -> list[tuple[int, list[Entry]]]:
    """Return every history of a room from its beginning, and how many of its entries are another's, from which it branched off.

    A store that lost its last writes goes on from an earlier place; one that lost all begins anew.
    """
    found: list[tuple[int, list[Entry]]] = []
    for entry in entries:
        before = _place(entry.body["before"])
        if not found or before != _place(found[-1][1][-1].body["after"]):
            shared = _up_to(before, found[-1][1]) if found else []
            found.append((len(shared), shared))
        found[-1][1].append(entry)
    return found


def _up_to(place: Place, entries: Sequence[Entry]) -> list[Entry]:
    places = [_place(entry.body["after"]) for entry in entries]
    return list(entries[: places.index(place) + 1]) if place in places else []


def _place(snapshot: Mapping[str, object]) -> Place:
    return str(snapshot["epoch"]), int(str(snapshot["revision"]))


def untrue(of: Story, came: Sequence[Came], since: float = 0.0) -> list[str]:
    """Return what was not told, did not happen, or came under two ids.

    What happened before `since`, when the store last lost data, may have been told or not, and stand in the audit or not.
    """
    taken = {one.told for one in came if one.taken}
    later = {one.told for one in came if one.happened_at > since or not since}
    ids = Counter(told for _, told in {(one.id, one.told) for one in came})
    untold = sorted(of.wanted(since) - taken)
    false = sorted(told for told in later - of.wanted(0) if told[:4] not in of.unknown)
    return [
        *(f"webhooks: {told} was never told" for told in untold),
        *(f"webhooks: {told} did not happen" for told in false),
        *(f"webhooks: {told} came under {count} ids" for told, count in ids.items() if count > 1),
    ]
