"""The only place that spells a key. The data model, schema 1:

The hash tag is the account, so that a room, its line and the account's limits change in one script; `{billing}` holds what
billing writes and `{hubs}` what hub processes say of themselves. The kind stands before the id, so that no id can imitate another key.
All instants are ms since the epoch.

Of an account, without TTL (`capacity:1:{ACCOUNT}:…`)
    account          hash    plan, seats, sessions, version, time, entry, source (`events` or `desk`), of a desk's account desk (what the
                             desk wrote beside the event, opaque), desk_version (of the desk's last event, also when the account is
                             not the desk's any more) and released (the entry by which it left); written by apply.lua and restore.lua
    open             zset    open rooms; score = when the room ends for idleness, +inf while somebody is there
    event:ID         string  VERDICT ENTRY of an event id (applied or stale, and in which stream entry it came), 7 days; ID is a digest
                             of source and id
    feed             channel Changes of the account: the limit, near-full notices, upgrade requests
    hooks            stream  with CAPACITY_HOOK_URLS alone: field `entry`, what happened in the account's rooms, JSON (_prelude.lua,
                             `write_hook`), until it is on its way; the last 10,000 or so, gone 7 days after the last

Of a room (`capacity:1:{ACCOUNT}:room:KIND:ROOM`), written by the room's scripts alone; 24 hours while not started, without TTL
while open, gone (state: the ended time, report: 30 days) after the end
    state            hash    state, seat_limit, revision, epoch (GENERATION:ID), sequence, peak, told (0, 1 near full, 2 full), opened_at,
                             ended_at, ended_reason, idle_at, settling_at, barred (put out without having had a seat), cause and
                             cause_told (an allotment in pieces), clock (the room's, at the last call) and wall (the server's, then; 0
                             where nothing ran), over (seats beyond the limit that were given back after a loss), past and survived
                             (the epoch before this one and its last revision here, until the room has settled), server (run id of
                             the server that wrote it last)
    people           hash    participant → LEASE[@SINCE]: everybody with a seat, a held seat or a place. LEASE is HUB.CONNECTION while
                             connected, `-` or `-UNTIL` while away (UNTIL: when the place is lost); SINCE: waiting since
    line             zset    everybody waiting without a held seat; score = order of arrival
    ready            zset    those of them who are connected; same scores
    holds            zset    everybody with a held seat; score = held until
    seat_away        zset    everybody away with a seat; score = when the seat is lost
    line_away        zset    everybody of `line` who is away; score = when the place is lost
    hubs             hash    hubs that may act on the room → their number of host connections
    operations       hash    hub → NUMBER ANSWER of its last operation: for a repetition, and against what comes late
    met              hash    participant → s (had a seat), w (waits for the first time), t (gave up), x (put out, seldom sx)
    report           hash    opened_at, ended_at, peak, joined, turned_away, limit_changes, waited, w:SECONDS (histogram)
    feed             channel every Change of the room, in order of revision
    audit            stream  with CAPACITY_AUDIT alone: field `entry`, what each call changed, JSON (_prelude.lua, `write_down`); the last
                             million or so, gone 7 days after the last

Whoever is in `people` and neither in `line` nor in `holds` has a seat; so the counts are differences of cardinalities and cannot drift.

Of the hubs (`capacity:1:{hubs}:…`)
    beats            hash    hub → counter; whose counter stands still for the lease is dead
    status:HUB       string  what the hub says of itself, JSON (capacity/hub/status.py); written by beat.lua, a minute from the last beat
    rooms:HUB        set     "ACCOUNT ROOM" of every room that the hub watches, written before it acts on the room
    pass-key         string  the private key that signs seat passes
    schema           string  the number of this schema, written by the first hub (capacity/store/schema.py)

Of outbound webhooks, in the same slot; ENDPOINT is a digest of an address of CAPACITY_HOOK_URLS
    hooks:accounts            zset    accounts in whose rooms something may have happened; score = when to look for it next
    hooks:noted               zset    the same accounts; score = when a hub last said so, before it made calls
                                      (both hook_note.lua, hook_look.lua)
    hooks:known:ID            string  an event that was put into the queues, a day: what is found twice is sent once
    hooks:due:ENDPOINT        zset    ids of events that the endpoint has not taken; score = when it is tried next
    hooks:deliveries:ENDPOINT hash    the same ids → the delivery, JSON; both gone 7 days after the last was put in (hook_put.lua)
    hooks:dead                stream  what was given up: field `letter`, JSON; the last 10,000 or so, 30 days (hook_settle.lua)

`capacity:1:{hubs.N}:beacon:HUB` is a channel: what a hub says to itself, to prove that its subscription to a node lives.

Of billing (`capacity:1:{billing}:…`)
    plan-changes                  stream  events: `event`, `desk` (of the desk's own alone) and `replay_of` (the rejected entry that
                                          this one repeats); all three streams are trimmed after 7 days
    plan-changes:verdicts         stream  what became of each entry, written by settle.lua: the fields of `verdicts.Verdict`
    plan-changes:rejected         stream  what could not be applied: `event`, `reason`, `desk`; replay.lua takes it out again
    plan-changes:rejected:ENTRY   string  the id in `plan-changes:rejected` of a rejected entry of `plan-changes`, 7 days

Of the billing desk, in the same slot, so that a purchase and its event are one step; written by commit.lua, but for quotes,
payment events, refusals (note.lua) and the test card's bank (card.lua)
    desk:ACCOUNT             hash    revision, and state: the account at the desk, JSON (capacity/billing/account.py)
    ledger:ACCOUNT           stream  everything that happened to the account, field `entry`, JSON; never trimmed
    due                      zset    accounts of the desk; score = when something is to be done for one (take_due.lua moves it)
    purchase:ACCOUNT:ID      string  a purchase under its Idempotency-Key, JSON; ID is a digest of the key; 30 days
    quote:ACCOUNT:ID         string  a quote, JSON; ID is a digest; a day
    asked:ACCOUNT            string  how many requests that change or refuse something came, a minute from the first
    notices                  stream  what an account should be told of, field `event`: a CloudEvent; about the last 100,000
    payment-event:ID         string  a gateway's notification that was dealt with, 7 days; ID is a digest
    card:ID                  hash    a payment at the test card's bank: account, amount, currency, card, status; 7 days
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

PREFIX = "capacity:1:"
SCHEMA = 1
"""Of the data model above. It rises when a release keeps data that the one before cannot go on with."""
PLAN_CHANGES = PREFIX + "{billing}:plan-changes"
VERDICTS = PREFIX + "{billing}:plan-changes:verdicts"
REJECTED = PREFIX + "{billing}:plan-changes:rejected"
DUE = PREFIX + "{billing}:due"
NOTICES = PREFIX + "{billing}:notices"
BEATS = PREFIX + "{hubs}:beats"
PASS_KEY = PREFIX + "{hubs}:pass-key"
SCHEMA_KEY = PREFIX + "{hubs}:schema"
HOOK_ACCOUNTS = PREFIX + "{hubs}:hooks:accounts"
HOOK_NOTED = PREFIX + "{hubs}:hooks:noted"
DEAD_HOOKS = PREFIX + "{hubs}:hooks:dead"

ROOM_KINDS = (
    "state",
    "people",
    "line",
    "ready",
    "holds",
    "seat_away",
    "line_away",
    "hubs",
    "operations",
    "met",
    "report",
)


class RoomName(NamedTuple):
    """A room is named by its account and its own id."""

    account: str
    room: str


def account_key(account: str) -> str:
    """Return the key of the account's hash."""
    return f"{PREFIX}{{{account}}}:account"


def open_rooms(account: str) -> str:
    """Return the key of the account's open rooms."""
    return f"{PREFIX}{{{account}}}:open"


def account_feed(account: str) -> str:
    """Return the account's channel."""
    return f"{PREFIX}{{{account}}}:feed"


def room_key(name: RoomName, kind: str) -> str:
    """Return one key of a room; `kind` as in the module's docstring."""
    return f"{PREFIX}{{{name.account}}}:room:{kind}:{name.room}"


def room_keys(name: RoomName) -> tuple[str, ...]:
    """Return the KEYS of every room script, in the order in which `_prelude.lua` names them."""
    account = name.account
    return (
        account_key(account),
        open_rooms(account),
        *(room_key(name, kind) for kind in ROOM_KINDS),
        room_key(name, "feed"),
        account_feed(account),
    )


def audit(name: RoomName) -> str:
    """Return the key of the room's audit: in the KEYS of a room script it comes after `room_keys`, where there is one."""
    return room_key(name, "audit")


def hooks(account: str) -> str:
    """Return the key of the account's hooks: the last of the KEYS of a room script, where they are wanted."""
    return f"{PREFIX}{{{account}}}:hooks"


def event_key(account: str, source: str, id: str) -> str:
    """Return the key that remembers an event id of a source; the id is free text, so its digest stands in the key."""
    return f"{PREFIX}{{{account}}}:event:{_digest(source, id)}"


def desk_account(account: str) -> str:
    """Return the key of an account at the billing desk."""
    return f"{PREFIX}{{billing}}:desk:{account}"


def ledger(account: str) -> str:
    """Return the key of an account's ledger."""
    return f"{PREFIX}{{billing}}:ledger:{account}"


def purchase(account: str, idempotency_key: str) -> str:
    """Return the key of a purchase."""
    return f"{PREFIX}{{billing}}:purchase:{account}:{_digest(idempotency_key)}"


def quote(account: str, id: str) -> str:
    """Return the key of a quote; its id may be any text that a client sent."""
    return f"{PREFIX}{{billing}}:quote:{account}:{_digest(id)}"


def asked(account: str) -> str:
    """Return the key that counts what is asked of the desk for an account."""
    return f"{PREFIX}{{billing}}:asked:{account}"


def payment_event(gateway: str, id: str) -> str:
    """Return the key that remembers a gateway's notification."""
    return f"{PREFIX}{{billing}}:payment-event:{_digest(gateway, id)}"


def card_payment(reference: str) -> str:
    """Return the key of a payment at the test card's bank."""
    return f"{PREFIX}{{billing}}:card:{_digest(reference)}"


def _digest(*texts: str) -> str:
    """Return free text as it may stand in a key."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def set_aside(entry: str) -> str:
    """Return the key that says where a rejected entry of the stream is set aside."""
    return f"{REJECTED}:{entry}"


def hub_rooms(hub: str) -> str:
    """Return the key of the rooms that a hub watches."""
    return f"{PREFIX}{{hubs}}:rooms:{hub}"


def known_hook(id: str) -> str:
    """Return the key that remembers an event of the outbound webhooks."""
    return f"{PREFIX}{{hubs}}:hooks:known:{id}"


def hook_queue(endpoint: str) -> tuple[str, str]:
    """Return the keys of an endpoint's queue: what is due, and the deliveries."""
    return f"{PREFIX}{{hubs}}:hooks:due:{endpoint}", f"{PREFIX}{{hubs}}:hooks:deliveries:{endpoint}"


def hub_status(hub: str) -> str:
    """Return the key of what a hub says of itself."""
    return f"{PREFIX}{{hubs}}:status:{hub}"


def beacon(hub: str, number: int) -> str:
    """Return a channel on which a hub hears itself; each number has a slot of its own, so that every node can have one."""
    return f"{PREFIX}{{hubs.{number}}}:beacon:{hub}"
