"""Judgements on what the store said, without I/O: what is wrong, and how to mend it.

Why each matters stands in docs/operations.md, "The store", and docs/guarantees.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from capacity.doctor.findings import Finding, ok, problem, warning
from capacity.doctor.inquiry import REJECTED_MAX, Clock, Hubs, ServerState, Stream
from capacity.redis_url import RedisAddress
from capacity.store.permissions import OPTIONAL
from capacity.store.versions import needed
from capacity.web.auth import LEEWAY_SECONDS

CLOCK_MS_MAX, CLOCK_MS_BROKEN = 1000.0, LEEWAY_SECONDS * 1000.0
CLOSE_MS = (10, 100)
"""What is closer than this is said so, that servers which are as close are one line."""
STALE_MS = 60_000
_UNSEEN = "cannot be seen with this user"
_LOOPBACK = ("127.", "localhost", "::1")


def of_server(state: ServerState, *, embedded: bool, keeps_money: bool, cluster: bool) -> list[Finding]:
    """Judge one server. `keeps_money`: the billing desk is on."""
    found = [_version(state), permissions(state), *_persistence(state, keeps_money), _memory(state)]
    if not embedded:
        found.append(_replicas(state, cluster))
        found += _cluster(state) if cluster else []
    found.append(clock(state.clock))
    return found


def connection(address: RedisAddress, states: Iterable[ServerState]) -> Finding:
    """Judge the way to the store."""
    if address.scheme == "unix" or all(host.startswith(_LOOPBACK) for host, _ in address.nodes):
        return ok("connection", "to this machine")
    if not address.tls:
        return warning(
            "connection",
            "in clear over the network" + (", the password included" if address.password else ""),
            "rediss://, or ?ssl=true with redis+sentinel:// and redis+cluster://, unless the network is a private one",
        )
    if any(state.almighty for state in states):
        return warning(
            "connection",
            "over TLS, as a user that may empty the store",
            "make it the smallest one of docs/operations.md",
        )
    return ok("connection", "over TLS, as a user that may not empty the store")


def _version(state: ServerState) -> Finding:
    version = state.version
    if version is None:
        return warning("version", _UNSEEN, f"make sure that it is at least {needed()}; the rule is +info")
    if version.too_old:
        return problem("version", f"{version} is too old", f"use {needed()}, or newer")
    if version.lua_unmended:
        return warning(
            "version",
            f"{version} may have CVE-2025-49844 in its Lua, unless your distribution mended it under this number",
            "update to the last release of its line; let nobody else run scripts there",
        )
    return ok("version", str(version))


def permissions(state: ServerState) -> Finding:
    """Judge what the user may do."""
    refused = state.refused
    mend = "give the user what docs/operations.md writes under «The smallest user that works»"
    if refused is None:
        return problem("permissions", "the user may not run scripts (evalsha, eval)", mend)
    needed_ones = [name for name in refused if name.upper() not in OPTIONAL]
    if needed_ones:
        return problem(
            "permissions", f"the user may not: {', '.join(needed_ones)}, or not with our keys and channels", mend
        )
    if refused:
        return warning("permissions", f"the user may not: {', '.join(refused)}; a failover is noticed late", mend)
    return ok("permissions", "the user may do what hubs do")


def _persistence(state: ServerState, keeps_money: bool) -> Iterable[Finding]:
    info, config = state.info, state.config
    if info is None or "aof_enabled" not in info:
        return [warning("durability", _UNSEEN, "look yourself: CONFIG GET appendonly appendfsync")]
    found = []
    if info["aof_enabled"] != "1":
        lost = "a restart forgets everything since the last snapshot"
        judge = problem if keeps_money else warning
        found.append(judge("durability", f"appendonly is no: {lost}", "CONFIG SET appendonly yes, and in its file"))
    elif info.get("aof_last_write_status", "ok") != "ok":
        found.append(problem("durability", "its append-only file cannot be written", "look at its log and its disk"))
    elif config is None:
        found.append(ok("durability", f"appendonly is yes; appendfsync {_UNSEEN}"))
    elif config.get("appendfsync") == "no":
        found.append(
            warning(
                "durability", "appendfsync is no: a power cut loses half a minute", "CONFIG SET appendfsync everysec"
            )
        )
    else:
        found.append(ok("durability", f"appendonly is yes, appendfsync {config.get('appendfsync')}"))
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append(
            problem("durability", "its last snapshot failed; it may refuse writes", "look at its log and disk")
        )
    return found


def _memory(state: ServerState) -> Finding:
    if state.info is None or "maxmemory_policy" not in state.info:
        return warning("memory", _UNSEEN, "look yourself: CONFIG GET maxmemory maxmemory-policy")
    policy, most = state.info["maxmemory_policy"], int(state.info.get("maxmemory", 0))
    used = int(state.info.get("used_memory", 0))
    said = f"maxmemory-policy is {policy}"
    if policy != "noeviction":
        judge = problem if most else warning
        return judge(
            "memory",
            f"{said}: rooms and accounts are thrown away when it is full",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if most and used > 0.9 * most:
        return problem(
            "memory", f"{used:,} of {most:,} bytes are used", "raise maxmemory: when it is full, nobody is let in"
        )
    return ok("memory", said + (f", {used / most:.0%} of maxmemory used" if most else ", no maxmemory"))


def _replicas(state: ServerState, cluster: bool) -> Finding:
    info, config = state.info, state.config
    if info is None:
        return warning("replicas", _UNSEEN, "look yourself: INFO replication")
    if info.get("role") != "master":
        return problem(
            "replicas", "this is a replica: it takes no writes", "name the primary, or use redis+sentinel://"
        )
    replicas = int(info.get("connected_slaves", 0))
    if not replicas:
        if cluster:
            return warning("replicas", "none: if it dies, its slots are gone until it is back", "give it a replica")
        return ok("replicas", "none; what it keeps is in its file")
    if config is None:
        return warning("replicas", f"{replicas}; min-replicas-to-write {_UNSEEN}", "see that it is 1, with max-lag 2")
    least = int(config.get("min-replicas-to-write", 0))
    if not least:
        return warning(
            "replicas",
            f"{replicas}, and min-replicas-to-write is 0: a primary that was cut off takes writes that are lost",
            "CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2, with two replicas",
        )
    if int(info.get("min_slaves_good_slaves", replicas)) < least:
        return problem(
            "replicas", f"fewer are well than min-replicas-to-write, {least}: it refuses writes", "mend the replicas"
        )
    return ok("replicas", f"{replicas}, min-replicas-to-write {least}")


def _cluster(state: ServerState) -> Iterable[Finding]:
    if state.config is not None and state.config.get("cluster-require-full-coverage") == "yes":
        yield warning(
            "coverage",
            "cluster-require-full-coverage is yes: one shard without a primary stops all",
            "CONFIG SET cluster-require-full-coverage no, if that is not what you want",
        )


def clock(found: Clock | None) -> Finding:
    """Judge how far the clocks are apart."""
    if found is None:
        return warning("clock", _UNSEEN, "the rule is +time, which hubs need")
    ahead, uncertain = found
    for close in CLOSE_MS:
        if abs(ahead) + uncertain < close:
            return ok("clock", f"within {close} ms of ours")
    said = f"{abs(ahead):,.0f} ms {'ahead of' if ahead > 0 else 'behind'} ours, ± {uncertain:.0f} ms"
    off = abs(ahead) - uncertain
    mend = "set both by NTP (timedatectl): tokens, signatures and held_until are read by clocks"
    if off > CLOCK_MS_BROKEN:
        return problem("clock", said, mend)
    return warning("clock", said, mend) if off > CLOCK_MS_MAX else ok("clock", said)


def of_stream(stream: Stream, hubs: Hubs) -> list[Finding]:
    """Judge the stream of plan changes, and its group."""
    check, living = "stream", hubs.living > 0
    if not stream.exists or not stream.group:
        what = "the stream is not there" if not stream.exists else "the stream has no consumer group"
        if living:
            return [
                problem(
                    check,
                    f"{what}, though hubs run: nobody applies plan changes",
                    "look at the hubs' log: may they XGROUP CREATE?",
                )
            ]
        return [ok(check, f"{what} yet; the first hub makes it, and reads from the stream's start")]
    behind = "an unknown number" if stream.lag is None else f"{stream.lag:,}"
    said = f"{behind} to be read, {stream.pending:,} under way, {stream.consumers} consumers"
    waiting = stream.pending or stream.lag
    if waiting and not living:
        found = warning(check, f"{said}, and no hub runs", "start one: it goes on where the last one stopped")
    elif stream.oldest_ms > STALE_MS:
        found = problem(
            check,
            f"{said}; the oldest is {stream.oldest_ms // 1000:,} s old",
            "look at the hubs' log for plan_changes_failed",
        )
    else:
        found = ok(check, said)
    if not stream.rejected:
        return [found]
    many = f"more than {REJECTED_MAX}" if stream.rejected > REJECTED_MAX else f"{stream.rejected}"
    return [
        found,
        warning(
            "rejected",
            f"{many} event{'s' * (stream.rejected != 1)} of the last 7 days",
            "capacity events --verdict rejected, and --replay once mended",
        ),
    ]


def of_hubs(hubs: Hubs, lease_seconds: float) -> Finding:
    """Judge who counts up and who does not."""
    if not hubs.silent:
        return ok("hubs", f"{hubs.living} alive" if hubs.living else "none runs")
    rooms = sum(hubs.silent.values())
    names = ", ".join(sorted(hubs.silent)[:5]) + (", …" if len(hubs.silent) > 5 else "")
    said = f"{len(hubs.silent)} silent ({names}) with {rooms} rooms"
    if not hubs.living:
        return warning("hubs", f"{said}, and none alive", "start one: it takes the rooms over after the lease")
    if hubs.watched_seconds < lease_seconds:
        return warning(
            "hubs", f"{said}, for {hubs.watched_seconds:.0f} s; {hubs.living} alive", "look again after the lease"
        )
    return problem(
        "hubs",
        f"{said} for longer than the lease of {lease_seconds:g} s; {hubs.living} alive, and none takes them over",
        "look at the hubs' log; have all the same CAPACITY_LEASE_SECONDS?",
    )
