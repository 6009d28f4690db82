"""The tour: one rule of the contract a test, through the public WebSocket, as an attendee or a host meets it."""

from __future__ import annotations

import asyncio
import time

import jwt
import pytest
import redis.asyncio as aioredis

from tests.support.service import ACCOUNT, ROOM, Billing, Hub, serving, settings, token
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_first_host_opens_the_room_and_attendees_are_seated(hub: Hub, billing: Billing) -> None:
    await billing.account(2)
    async with await hub.host() as host, await hub.join("ann") as ann:
        assert (await host.told("occupancy"))["state"] == "open"
        assert host.kinds[0] == "occupancy"
        seated = await ann.told("seated")
        assert seated == {"type": "seated", "room": ROOM, "participant": "ann", "seat_limit": 2, "occupied": 1}
        assert (await host.told("occupancy", occupied=1))["free"] == 1


async def test_who_finds_no_seat_waits_in_order_of_arrival(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann:
        await ann.told("seated")
        for position, name in enumerate(("ben", "cem"), start=1):
            waiting = await (await hub.join(name)).told("waiting")
            assert waiting["position"] == position and waiting["waiting"] == position
            assert waiting["reason"] == "full" and waiting["seat_limit"] == 1 and waiting["eta_seconds"] is None


async def test_before_the_room_opens_everybody_waits_and_the_first_get_a_held_seat(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.join("ann") as ann, await hub.join("ben") as ben:
        assert (await ann.told("waiting"))["reason"] == "not_started"
        await ben.told("waiting", reason="not_started", position=2)
        async with await hub.host():
            refresh = await ann.told("refresh")
            assert refresh["reason"] == "room_opened" and refresh["spread_ms"] == 0
            assert abs(refresh["held_until"] - (time.time() * 1000 + 5000)) < 2000
            await ben.told("waiting", reason="full", position=1)


async def test_leaving_frees_the_seat_at_once_and_holds_it_for_the_first_in_line(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        await ann.say("leave")
        assert await ann.gone() == (1000, "left")
        assert (await ben.told("refresh"))["reason"] == "seat_freed"
        async with await hub.join("ben") as reloaded:
            await reloaded.told("seated")
            assert await ben.gone() == (4409, "replaced")


async def test_a_held_seat_is_claimed_without_a_reload(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        await ben.say("claim")
        assert (await ben.told("error"))["code"] == "nothing_held"
        await ann.say("leave")
        await ben.told("refresh")
        await ben.say("claim")
        await ben.told("seated")
        await ben.say("claim")
        await ben.told("seated", count=2)


async def test_a_newcomer_never_takes_a_seat_that_is_held(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        await ann.say("leave")
        await ben.told("refresh")
        newcomer, reloaded = await asyncio.gather(hub.join("cem"), hub.join("ben"))
        await reloaded.told("seated")
        assert (await newcomer.told("waiting"))["position"] == 1


async def test_a_hold_that_nobody_claims_goes_to_the_next_and_its_holder_to_the_back(
    redis_url: str, billing: Billing
) -> None:
    await billing.publish(1)
    async with serving(settings(redis_url, hold_seconds=1.2, lease_seconds=40)) as hub:
        await billing.seats(ACCOUNT, 1)
        async with (
            await hub.host(),
            await hub.join("ann") as ann,
            await hub.join("ben") as ben,
            await hub.join("cem") as cem,
        ):
            await cem.told("waiting", position=2)
            await ann.say("leave")
            await ben.told("refresh")
            until = (await ben.told("refresh"))["held_until"]
            await cem.told("refresh", within_seconds=3)
            assert time.time() * 1000 - until < 600, "an expired hold is passed on at once, not at the next tick"
            after = ben.kinds.index("refresh") + 1
            again = (await wait_until(lambda: ben.messages[after:], what="where ben stands now"))[0]
            assert (again["type"], again["position"]) == ("waiting", 1)


async def test_a_lost_connection_keeps_its_seat_for_the_grace(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host() as host, await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ann.told("seated")
        await ben.told("waiting")
        await ann.drop()
        await host.told("occupancy", away=1, seated=0, occupied=1)
        async with await hub.join("ann") as again:
            await again.told("seated")
            assert ben.of("refresh") == []


async def test_after_the_grace_the_seat_is_free_for_the_next(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        lost_at = time.monotonic()
        await ann.disconnect()
        await ben.told("refresh", within_seconds=6)
        assert time.monotonic() - lost_at >= 2.0


async def test_a_place_in_the_line_survives_a_lost_connection_and_is_passed_over_meanwhile(
    hub: Hub, billing: Billing
) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann:
        ben, cem = await hub.join("ben"), await hub.join("cem")
        await cem.told("waiting", position=2)
        await ben.drop()
        await ann.say("leave")
        await cem.told("refresh")
        async with await hub.join("ben") as again:
            assert (await again.told("waiting"))["position"] == 1
        await cem.disconnect()


async def test_the_newer_connection_takes_over(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host() as host, await hub.join("ann") as first:
        await first.told("seated")
        async with await hub.join("ann") as second:
            await second.told("seated")
            assert await first.gone() == (4409, "replaced")
            await asyncio.sleep(0)
            assert (await hub.occupancy())["seated"] == 1
        await host.told("occupancy", away=1)


async def test_hosts_take_no_seat_are_never_replaced_and_leave_alone(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host("eve") as first, await hub.host("eve") as second:
        await first.told("occupancy")
        await second.told("occupancy")
        await first.say("leave")
        assert await first.gone() == (1000, "left")
        async with await hub.join("ann") as ann:
            await ann.told("seated")
            await second.told("occupancy", occupied=1)
            assert second.closed is None


async def test_an_attendee_who_comes_back_as_host_gives_up_the_seat(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        async with await hub.host("ann"):
            assert await ann.gone() == (4409, "replaced")
            await ben.told("refresh")


async def test_ending_closes_everybody_and_answers_ended_until_it_is_opened_afresh(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    host, ann = await hub.host(), await hub.join("ann")
    await ann.told("seated")
    await host.say("end")
    for client in (host, ann):
        assert await client.gone() == (4410, "ended")
        assert client.messages[-1] == {"type": "ended", "room": ROOM, "reason": "host"}
    late = await hub.join("ben")
    assert await late.gone() == (4410, "ended")
    assert (await hub.call("PUT", hub.room_path())).json()["state"] == "open"
    async with await hub.join("ben") as ben:
        await ben.told("seated")


async def test_opening_and_ending_over_http_twice_is_once(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    first, second = [(await hub.call("PUT", hub.room_path())).json() for _ in range(2)]
    assert first == second and first["state"] == "open"
    first, second = [(await hub.call("DELETE", hub.room_path())).json() for _ in range(2)]
    assert first == second and first["state"] == "ended"


async def test_more_rooms_than_concurrent_sessions_do_not_open(hub: Hub, billing: Billing) -> None:
    await billing.account(5, concurrent_sessions=1)
    async with await hub.host(room="first") as first, await hub.host(room="second") as second:
        await first.told("occupancy", state="open")
        assert (await second.told("error"))["code"] == "concurrent_sessions_reached"
        assert second.kinds[:2] == ["error", "occupancy"] and second.messages[1]["state"] == "not_started"
        refused = await hub.call("PUT", hub.room_path("third"))
        assert refused.status_code == 409 and refused.json()["code"] == "concurrent_sessions_reached"
        await first.say("end")
        await first.gone()
        await second.say("open")
        await second.told("occupancy", state="open")


async def test_an_empty_room_ends_after_the_idle_time(redis_url: str, billing: Billing) -> None:
    await billing.publish(1)
    async with serving(settings(redis_url, idle_seconds=0.5)) as hub:
        await billing.seats(ACCOUNT, 1)
        host = await hub.host()
        await host.told("occupancy")
        await host.disconnect()

        async def ended() -> bool:
            return bool((await hub.occupancy())["state"] == "ended")

        await wait_until(ended)
        late = await hub.join("ann")
        assert (await late.told("ended"))["reason"] == "idle"


async def test_what_an_attendee_may_not_is_refused_and_the_connection_stays(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann:
        await ann.told("seated")
        for number, kind in enumerate(("open", "end", "request_upgrade"), start=1):
            await ann.say(kind)
            assert (await ann.told("error", count=number))["code"] == "not_allowed"
        assert ann.closed is None and (await hub.occupancy())["state"] == "open"


async def test_an_expired_token_does_not_cut_a_live_host_but_refuses_open_and_end(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(exp=int(time.time()) - 10) as host:  # within the leeway of 30 s
        await host.told("occupancy")
        await host.say("end")
        assert (await host.told("error"))["code"] == "token_expired"
        assert (await hub.occupancy())["state"] == "open"


async def test_a_seat_pass_is_signed_for_who_is_seated(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ann.told("seated")
        await ann.say("pass")
        answer = await ann.told("pass")
        keys = jwt.PyJWKSet.from_dict((await hub.http.get("/v1/jwks.json")).json())
        claims = jwt.decode(answer["token"], keys.keys[0], algorithms=["EdDSA"], audience="capacity-seat")
        assert (claims["sub"], claims["account"], claims["room"]) == ("ann", ACCOUNT, ROOM)
        assert answer["expires_at"] == claims["exp"] * 1000 and claims["exp"] - time.time() <= 300
        await ben.told("waiting")
        await ben.say("pass")
        assert (await ben.told("error"))["code"] == "not_seated"


async def test_who_is_put_out_stays_out(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host(), await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("waiting")
        path = f"{hub.room_path()}/participants/ann"
        assert (await hub.call("GET", path)).json()["state"] == "seated"
        assert (await hub.call("DELETE", path)).status_code == 200
        assert await ann.gone() == (4410, "ended")
        await ben.told("refresh")
        again = await hub.join("ann")
        assert await again.gone() == (4410, "ended")
        assert (await hub.call("GET", path)).json()["state"] == "put_out"
        assert (await hub.call("GET", f"{hub.room_path()}/participants/nobody")).json()["code"] == "unknown_participant"


async def test_an_unknown_account_gets_4404_and_writes_no_key(hub: Hub, redis_url: str) -> None:
    client = aioredis.Redis.from_url(redis_url)
    before = set(await client.keys())
    for connecting in (hub.join("ann"), hub.host()):
        assert await (await connecting).gone() == (4404, "unknown_account")
    for method in ("GET", "PUT", "DELETE"):
        answer = await hub.call(method, hub.room_path())
        assert answer.status_code == 404 and answer.json()["code"] == "unknown_account"
    assert (await hub.call("DELETE", f"{hub.room_path()}/participants/ann")).status_code == 404
    assert (await hub.call("GET", f"{hub.room_path()}/report")).status_code == 404
    after = {key for key in await client.keys() if b"beacon" not in key}
    await client.aclose()
    assert after - before == set()


async def test_a_room_that_nobody_opens_is_forgotten_after_a_day(hub: Hub, billing: Billing, redis_url: str) -> None:
    await billing.account(1)
    async with await hub.join("ann") as ann:
        await ann.told("waiting")
        client = aioredis.Redis.from_url(redis_url)
        room_keys = [key async for key in client.scan_iter(match=f"*room:*:{ROOM}")]
        assert room_keys
        for key in room_keys:
            assert 0 < await client.ttl(key) <= 86_400, key
        await client.aclose()


async def test_a_lowered_limit_puts_nobody_out_and_lets_nobody_in(hub: Hub, billing: Billing) -> None:
    await billing.account(2)
    async with await hub.host() as host, await hub.join("ann") as ann, await hub.join("ben") as ben:
        await ben.told("seated")
        await billing.publish(1)
        for client in (ann, ben, host):
            assert await client.told("seat_limit") == {
                "type": "seat_limit",
                "room": ROOM,
                "seat_limit": 1,
                "previous": 2,
            }
        await ben.drop()
        async with await hub.join("ben") as again:
            await again.told("seated")
            async with await hub.join("cem") as cem:
                await cem.told("waiting")
                await again.say("leave")
                await again.gone()
                await ann.say("leave")
                await cem.told("refresh")


async def test_the_report_counts_participants(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    async with await hub.host() as host, await hub.join("ann") as ann:
        ben, cem = await hub.join("ben"), await hub.join("cem")
        await cem.told("waiting", position=2)
        await cem.say("leave")
        await cem.gone()
        await billing.publish(2)
        await ben.told("refresh")
        await ben.say("claim")
        await ben.told("seated")
        await host.say("end")
        await host.gone()
        await ann.gone()
    report = (await hub.call("GET", f"{hub.room_path()}/report")).json()
    assert {name: report[name] for name in ("peak", "joined", "turned_away", "limit_changes")} == {
        "peak": 2, "joined": 2, "turned_away": 1, "limit_changes": 1,
    }  # fmt: skip
    assert report["waited"]["count"] == 1 and report["waited"]["p90_seconds"] >= 0
    assert report["opened_at"] < report["ended_at"]


async def test_a_host_who_may_not_buy_can_ask_those_who_may(hub: Hub, billing: Billing) -> None:
    await billing.account(1, concurrent_sessions=2)
    async with (
        await hub.host("eve", billing=True, room="elsewhere") as buyer,
        await hub.host("ann", name="Ann") as asker,
    ):
        await buyer.told("occupancy")
        await asker.told("occupancy")
        await asker.say("request_upgrade")
        asked = await buyer.told("upgrade_requested")
        assert (asked["room"], asked["participant"], asked["name"]) == (ROOM, "ann", "Ann") and asked["plan"]
        async with await hub.join("ben"):
            notice = await buyer.told("near_full")
            assert notice["room"] == ROOM and notice["level"] == "full"


async def test_a_billing_host_hears_of_the_other_rooms_on_connecting_and_when_they_clear(
    hub: Hub, billing: Billing
) -> None:
    await billing.account(1, concurrent_sessions=2)
    async with await hub.host(), await hub.join("ann") as ann:
        await ann.told("seated")
        async with await hub.host("eve", billing=True, room="elsewhere") as buyer:
            assert (await buyer.told("near_full"))["room"] == ROOM
            await buyer.say("request_upgrade")
            assert (await buyer.told("error"))["code"] == "not_allowed"
            await ann.say("leave")
            assert (await buyer.told("near_full_cleared"))["room"] == ROOM


async def test_a_stranger_cannot_read_somebody_elses_room(hub: Hub, billing: Billing) -> None:
    await billing.account(1)
    foreign = token("mallory", role="host", account="other")
    assert (await hub.call("GET", hub.room_path(), foreign)).status_code == 403
    assert (await hub.call("GET", hub.room_path(), token("ann"))).status_code == 403
    assert (await hub.call("GET", hub.room_path(), token("eve", role="host"))).status_code == 200
