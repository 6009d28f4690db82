"""The queues of outbound webhooks: for each endpoint the events that it has not taken, and the dead letters of all.

An endpoint is named by a digest of its address: the address itself comes from the settings alone, so that nobody who can write to the
store can make this service call somewhere. Every clock here is the store's. Everything raises Unavailable when the store cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from capacity.protocol import hooks
from capacity.protocol.hooks import Event
from capacity.store import keys, scripts
from capacity.store.scripts import guarded

WAITING_MAX = 100_000
"""The most deliveries that wait for one endpoint; what comes beyond that is dropped."""
PUT_MAX = 100
PUT_BYTES_MAX = 200_000
"""The most deliveries, and bytes of them, that one script writes: it stays under 5 ms."""
LETTERS_PIECE = 500


class Delivery(msgspec.Struct, frozen=True):
    """An event on its way to one endpoint. `body` is sent as it is, every time."""

    type: str
    account: str
    room: str
    body: msgspec.Raw
    attempts: int = 0

    @classmethod
    def of(cls, event: Event) -> Delivery:
        """Return the delivery of an event that was not tried yet."""
        return cls(hooks.type_of(event), event.data.account, event.data.room, msgspec.Raw(hooks.encode(event)))


class Taken(NamedTuple):
    """What a hub was given to deliver. `waiting` counts what waits for the endpoint, due or not; `now_seconds` since the epoch."""

    waiting: int
    now_seconds: int
    deliveries: list[tuple[str, Delivery]]


class Letter(msgspec.Struct, frozen=True):
    """A dead letter: a delivery that was given up. `to` is where it should have gone, without path and credentials."""

    id: str
    endpoint: str
    to: str
    reason: str
    delivery: Delivery


class Dead(NamedTuple):
    """A dead letter with its entry in the store and the instant (ms) at which it was given up."""

    entry: str
    died_at: int
    letter: Letter


_encode = msgspec.json.Encoder().encode
_decode_delivery = msgspec.json.Decoder(Delivery).decode
_decode_letter = msgspec.json.Decoder(Letter).decode


class HookQueue:
    """The queues, by one client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def put(self, endpoints: Sequence[str], events: Sequence[Event]) -> int:
        """Put events into the queue of each endpoint, each event once; returns how many deliveries found no room there."""
        queues = [key for endpoint in endpoints for key in keys.hook_queue(endpoint)]
        refused = 0
        for piece in _pieces([(hooks.id_of(event), _encode(Delivery.of(event))) for event in events], len(endpoints)):
            known = [keys.known_hook(id) for id, _ in piece]
            arguments = [len(endpoints), WAITING_MAX, *(part for pair in piece for part in pair)]
            refused += int(await scripts.HOOK_PUT.run(self._client, (*queues, *known), arguments))
        return refused

    async def take(self, endpoint: str, lease_ms: int, count: int) -> Taken:
        """Take deliveries that are due; nobody else is given them before the lease is over."""
        waiting, now_seconds, *pairs = await scripts.HOOK_TAKE.run(
            self._client, keys.hook_queue(endpoint), [lease_ms, count]
        )
        found = zip(pairs[::2], pairs[1::2], strict=True)
        return Taken(waiting, now_seconds, [(id.decode(), _decode_delivery(raw)) for id, raw in found])

    async def done(self, endpoint: str, id: str) -> bool:
        """The endpoint has taken the event. False: somebody else has settled it meanwhile, as in all that follow."""
        return await self._settle(endpoint, id, "", b"", b"")

    async def again(self, endpoint: str, id: str, delivery: Delivery, after_ms: int) -> bool:
        """Try it again after a time."""
        return await self._settle(endpoint, id, after_ms, _encode(delivery), b"")

    async def give_up(self, letter: Letter) -> bool:
        """Make it a dead letter."""
        return await self._settle(letter.endpoint, letter.id, "", b"", _encode(letter))

    async def _settle(self, endpoint: str, id: str, after_ms: str | int, delivery: bytes, letter: bytes) -> bool:
        settled = await scripts.HOOK_SETTLE.run(
            self._client, (*keys.hook_queue(endpoint), keys.DEAD_HOOKS), [id, after_ms, delivery, letter]
        )
        return bool(settled)

    async def waiting(self, endpoint: str) -> int:
        """Return how many deliveries wait for the endpoint."""
        due, _ = keys.hook_queue(endpoint)
        return int(await guarded(self._client.zcard(due)))

    async def dead(self, *, before: str | None = None, count: int = LETTERS_PIECE) -> list[Dead]:
        """Return dead letters, newest first, older than the entry `before`."""
        end = f"({before}" if before is not None else "+"
        found = await guarded(self._client.xrevrange(keys.DEAD_HOOKS, end, "-", count=count))
        return [_dead(id.decode(), fields) for id, fields in found]

    async def letter(self, entry: str) -> Dead | None:
        """Return a dead letter, or None if there is none under the entry."""
        found = await guarded(self._client.xrange(keys.DEAD_HOOKS, entry, entry))
        return _dead(entry, found[0][1]) if found else None

    async def replay(self, dead: Dead) -> bool:
        """Make a dead letter a delivery again, as if it had not been tried; False if somebody else has done so."""
        fresh = msgspec.structs.replace(dead.letter.delivery, attempts=0)
        replayed = await scripts.HOOK_REPLAY.run(
            self._client,
            (*keys.hook_queue(dead.letter.endpoint), keys.DEAD_HOOKS),
            [dead.entry, dead.letter.id, _encode(fresh)],
        )
        return bool(replayed)


def _pieces(deliveries: list[tuple[str, bytes]], times: int) -> Iterator[list[tuple[str, bytes]]]:
    """Divide what is to be written so many times each into what one script may write."""
    piece: list[tuple[str, bytes]] = []
    count, size = 0, 0
    for id, delivery in deliveries:
        count, size = count + times, size + times * len(delivery)
        if piece and (count > PUT_MAX or size > PUT_BYTES_MAX):
            yield piece
            piece, count, size = [], times, times * len(delivery)
        piece.append((id, delivery))
    if piece:
        yield piece


def _dead(entry: str, fields: dict[bytes, bytes]) -> Dead:
    return Dead(entry, int(entry.partition("-")[0]), _decode_letter(fields[b"letter"]))
