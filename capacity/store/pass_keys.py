"""The key that signs seat passes, shared by all hubs through the store, so that it does not matter which one signed.

capacity:1:{hubs}:pass-key   string, a private Ed25519 JWK, no TTL; written once by whichever hub starts first
"""

from __future__ import annotations

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError

from capacity.errors import SettingError, Unavailable
from capacity.protocol.passes import PassKey
from capacity.store.keys import PASS_KEY
from capacity.store.scripts import guarded

log = structlog.get_logger(__name__)


async def load_or_create(redis: Redis | RedisCluster, mine: PassKey | None = None) -> PassKey:
    """Return the key that all hubs sign with; the first to ask creates it.

    `mine` is put there if there is none: a hub that already signs gives its key back after the store lost its data, and
    media servers notice nothing. Of several that ask at once one wins, and all get the winner's (SET NX, then GET).
    Raises Unavailable, and SettingError for a value that is no key: it is not replaced, since others may sign with it.
    """
    candidate = mine or PassKey.generate()
    try:
        await guarded(redis.set(PASS_KEY, candidate.private_jwk(), nx=True))
        stored = await guarded(redis.get(PASS_KEY))
    except RedisError as error:
        raise SettingError(f"CAPACITY_REDIS_URL: {PASS_KEY} cannot be used: {error}") from None
    if stored is None:
        raise Unavailable("the key of the seat passes vanished between two commands")
    try:
        key = PassKey.from_private_jwk(stored)
    except ValueError as error:
        raise SettingError(
            f"CAPACITY_REDIS_URL: the value of {PASS_KEY} is damaged ({error}); delete that key to have a new one made"
        ) from None
    if mine is None or key.kid != mine.kid:
        log.info("pass_key_taken", kid=key.kid, made=key.kid == candidate.kid)
    return key
