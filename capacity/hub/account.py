"""What a hub knows of an account while it has rooms of it; the source from which a lost account is brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capacity.protocol.messages import NearFullCleared, UpgradeRequested
from capacity.store import keys
from capacity.store.rooms import Account, AccountChange, decode_account_change

if TYPE_CHECKING:
    from capacity.hub.hub import Hub
    from capacity.hub.room import LiveRoom


class LiveAccount:
    """An account with rooms on this hub."""

    def __init__(self, hub: Hub, id: str) -> None:
        self._hub = hub
        self.id = id
        self.known: Account | None = None
        self.rooms: dict[LiveRoom, None] = {}

    async def load(self) -> bool:
        """Read the account from the store; False for one that no event has named."""
        known = await self._hub.rooms.account(self.id)
        if known is not None:
            self._learn(known)
        return known is not None

    def _learn(self, known: Account) -> None:
        """Take what was read or heard; the feed may have overtaken what is read."""
        if self.known is None or not known.older_than(self.known):
            self.known = known

    async def listen(self) -> None:
        """Subscribe to the account's feed."""
        await self._hub.feed.subscribe(keys.account_feed(self.id), self._heard)

    async def restore(self) -> bool:
        """Bring the account back into a store that lost it."""
        if self.known is None:
            return False
        await self._hub.rooms.restore_account(self.id, self.known)
        return True

    def _heard(self, raw: bytes) -> None:
        change = decode_account_change(raw)
        if change.seat_limit is not None:
            # Before the rooms say what follows from it: a notice names the price of this plan, not of the last one.
            if change.account is not None:
                self._learn(Account.of(change.account))
            else:  # a hub of the release before applied it
                self._hub.spawn(self.load())
            for room in self.rooms:
                room.lane.add("sweep")
        if change.room is not None:
            self._tell_billing_hosts(change, change.room)

    def _tell_billing_hosts(self, change: AccountChange, room_id: str) -> None:
        """Pass on what concerns those who may buy, in whichever room of the account they are."""
        for room in self.rooms:
            for host in room.hosts.answered():
                if not host.claims.billing:
                    continue
                if change.requested_by is not None:
                    host.send(
                        UpgradeRequested(
                            room=room_id,
                            participant=change.requested_by,
                            name=change.requested_name,
                            plan=change.plan,
                        )
                    )
                elif room.name.room == room_id:
                    continue  # told by the room's own feed
                elif change.near is not None:
                    host.send(room.hosts.notice(change.near, billing=True, room=room_id))
                elif change.cleared:
                    host.send(
                        NearFullCleared(room=room_id, occupied=change.occupied, seat_limit=change.seat_limit_there)
                    )
