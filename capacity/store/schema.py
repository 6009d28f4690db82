"""Which schema the data of the store has, written down there: a release that does not know it leaves the data alone.

The 1 of `capacity:1:` is the contract's version, by which other programs write to the stream; the schema is ours, and may rise under the
same keys. A release that keeps data which the one before cannot go on with raises `keys.SCHEMA`, brings the data over and writes the
new number. Should somebody start the older release after that, it does not start, and a hub that runs already is not ready (`/readyz`).
"""

from __future__ import annotations

from typing import Any

from capacity.errors import Unavailable
from capacity.store import keys
from capacity.store.scripts import guarded


class Schema:
    """The schema of one store. `unknown` is what is written there, if it is not ours."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.unknown: str | None = None

    async def agree(self) -> None:
        """Write our schema where there is none yet; a store that lost its data has none. Raises Unavailable, also for an unknown one."""
        found = await guarded(self._client.get(keys.SCHEMA_KEY))
        if found is None:
            await guarded(self._client.set(keys.SCHEMA_KEY, keys.SCHEMA, nx=True))
            found = await guarded(self._client.get(keys.SCHEMA_KEY))
        if found == str(keys.SCHEMA).encode():
            self.unknown = None
            return
        self.unknown = (found or b"").decode(errors="replace")
        raise Unavailable(f"the data has schema {self.unknown!a}")
