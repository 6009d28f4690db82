"""Every page in every state that a reader can meet, by name: what `make screenshots` draws and what axe looks at.

Where the server itself brings a state about within a moment it does; the rest is a server that was written down
(`Stage.scripted`): the same messages as docs/protocol.md, one after the other.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import WAIT_MS, Pages
from tests.browser.service import Room, Service, token, wait_for

SOCKET = re.compile("/v1/ws$")
ROOM = "launch"
NAME = "Ada Lovelace"

Message = dict[str, Any]
Scene = Callable[["Stage"], Page]


@dataclass
class Stage:
    """Where scenes are set: one service, and how large, how dark and in which language the pages are."""

    pages: Pages
    service: Service
    width: int = 1280
    dark: bool = False
    language: str = "en"
    close: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def account(self, plan: str | None = None, **wish: Any) -> str:
        """Return a new account, at the desk if it has a plan."""
        account = f"scene-{time.monotonic_ns()}"
        if plan is not None:
            self.desk("PUT", account, "", {"plan": plan, **wish})
        return account

    def desk(self, method: str, account: str, path: str, body: object = None, key: str = "") -> dict[str, Any]:
        """Ask the billing desk as the platform does."""
        headers = {"Authorization": f"Bearer {token('platform', account=account, role='service')}"}
        if key:
            headers["Idempotency-Key"] = key
        answer: httpx.Response = self.service.http.request(
            method, f"/v1/accounts/{account}{path}", json=body, headers=headers
        )
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def buy(self, account: str, change: Message, card: str = "good") -> dict[str, Any]:
        """Buy as the platform does; the test card pays."""
        quote = self.desk("POST", account, "/quotes", change)
        body = {"quote": quote["id"], "payment_method": card}
        return self.desk("POST", account, "/purchases", body, key=f"key-{quote['id']}")

    def room(self, seats: int = 2) -> Room:
        """Return a room of a new account that is managed by events."""
        return self.service.room(self.account(), seats=seats, room=ROOM)

    def address(self, path: str, key: str) -> str:
        """The address of a page of ours in the stage's language."""
        return f"{self.service.url}{path}?lang={self.language}#{key}"

    def page(self) -> Page:
        """Return an empty page of the stage's size and scheme."""
        return self.pages.blank(width=self.width, dark=self.dark)

    def open(self, path: str, key: str) -> Page:
        """Open a page of ours with a token."""
        page = self.page()
        page.goto(self.address(path, key))
        return page

    def attendee(self, account: str = "acme", **claims: Any) -> str:
        """Return an attendee's token."""
        return token("ada", account=account, role="attendee", room=ROOM, name=NAME, **claims)

    def host(self, account: str = "acme", *, billing: bool = True, **claims: Any) -> str:
        """Return a host's token."""
        return token("hanna", account=account, role="host", room=ROOM, name="Hanna Berg", billing=billing, **claims)

    def scripted(
        self, path: str, key: str, *messages: Message, code: int | None = None, reason: str = "", then: bool = True
    ) -> Page:
        """Open a page of ours whose server sends these messages and closes with `code`, or goes on if that is None."""
        page = self.page()
        opened: list[WebSocketRoute] = []

        def serve(route: WebSocketRoute) -> None:
            opened.append(route)
            if len(opened) > 1 and not then:
                return
            for message in messages:
                route.send(json.dumps(message))
            if code is not None:
                route.close(code=code, reason=reason)

        page.route_web_socket(SOCKET, serve)
        page.goto(self.address(path, key))
        return page


# ---- what the server says


def waiting(position: int = 7, line: int = 42, reason: str = "full", eta: float | None = 290.0) -> Message:
    place = {"room": ROOM, "participant": "ada", "position": position, "waiting": line, "seat_limit": 100}
    return {"type": "waiting", "reason": reason, "eta_seconds": eta, **place}


def refresh(reason: str = "seat_limit_raised", spread_ms: int = 60_000) -> Message:
    until = int(time.time() * 1000) + 60_000
    hold = {"seat_limit": 100, "hold_seconds": 60.0, "held_until": until, "spread_ms": spread_ms}
    return {"type": "refresh", "room": ROOM, "reason": reason, **hold}


SEATED = {"type": "seated", "room": ROOM, "participant": "ada", "seat_limit": 100, "occupied": 93}


def occupancy(
    occupied: int, limit: int, *, line: int = 0, state: str = "open", held: int = 0, away: int = 0
) -> Message:
    seats = {"seat_limit": limit, "occupied": occupied, "seated": occupied - held - away, "away": away, "held": held}
    rest = {"waiting": line, "free": max(0, limit - occupied), "peak": occupied}
    return {"type": "occupancy", "room": ROOM, "state": state, **seats, **rest}


def near_full(occupied: int, limit: int, *, line: int = 0, priced: bool = True, soon: float | None = 130.0) -> Message:
    offer = {"plan": "business", "name": "Business", "seats": 100, "url": "/account"}
    due = {"amount": 2210, "currency": "USD"} if priced else None
    level = "full" if occupied >= limit else "near_full"
    numbers = {"occupied": occupied, "seat_limit": limit, "waiting": line, "full_in_seconds": soon}
    return {"type": "near_full", "room": ROOM, "level": level, "upgrade": {**offer, "due_now": due}, **numbers}


def limit_change(limit: int, previous: int) -> Message:
    return {"type": "seat_limit", "room": ROOM, "seat_limit": limit, "previous": previous}


def ended(reason: str = "host") -> Message:
    return {"type": "ended", "room": ROOM, "reason": reason}


# ---- the waiting room


def shows(page: Page, selector: str) -> Page:
    """Return the page once something is seen on it."""
    expect(page.locator(selector).first).to_be_visible()
    return page


def in_state(page: Page, state: str) -> Page:
    expect(page.locator("capacity-waiting-room")).to_have_attribute("state", state)
    return shows(page, "h1")


def join_waiting(stage: Stage) -> Page:
    return in_state(stage.scripted("/join", stage.attendee(), waiting()), "waiting")


def join_stopped(code: int, reason: str = "", *messages: Message) -> Scene:
    return lambda stage: in_state(
        stage.scripted("/join", stage.attendee(), *messages, code=code, reason=reason), "stopped"
    )


def join_connecting(stage: Stage) -> Page:
    return shows(stage.scripted("/join", stage.attendee()), "capacity-waiting-room .card.connecting")


def join_reconnecting(stage: Stage) -> Page:
    page = stage.page()
    page.add_init_script("Math.random = () => 1")
    opened: list[WebSocketRoute] = []

    def serve(route: WebSocketRoute) -> None:
        opened.append(route)
        if len(opened) == 1:
            route.send(json.dumps(waiting()))
            route.close(code=1012, reason="restarting")

    page.route_web_socket(SOCKET, serve)
    page.goto(stage.address("/join", stage.attendee()))
    return shows(in_state(page, "waiting"), "[part=connection][data-state=reconnecting]")


def join_unavailable(stage: Stage) -> Page:
    page = stage.page()
    page.clock.install()
    page.route_web_socket(SOCKET, lambda route: route.close(code=1013, reason="unavailable"))
    page.goto(stage.address("/join", stage.attendee()))
    shows(page, "capacity-waiting-room .card.connecting")
    page.clock.run_for(11_000)
    return page


def join_admitted(stage: Stage) -> Page:
    page = stage.page()
    page.clock.install()
    page.route_web_socket(SOCKET, lambda route: route.close(code=1013, reason="unavailable"))
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
          document.querySelector("capacity-waiting-room").setAttribute("on-unavailable", "admit");
        })"""
    )
    page.goto(stage.address("/join", stage.attendee()))
    shows(page, "capacity-waiting-room .card.connecting")
    page.clock.run_for(11_000)
    return in_state(page, "admitted")


def join_hidden_position(stage: Stage) -> Page:
    page = join_waiting(stage)
    page.evaluate("document.querySelector('capacity-waiting-room').setAttribute('hide-position', '')")
    expect(page.locator("[part=position]")).to_have_count(0)
    return page


JOIN: dict[str, Scene] = {
    "join-connecting": join_connecting,
    "join-waiting": join_waiting,
    "join-waiting-next": lambda stage: in_state(
        stage.scripted("/join", stage.attendee(), waiting(1, 1, eta=None)), "waiting"
    ),
    "join-waiting-long": lambda stage: in_state(
        stage.scripted("/join", stage.attendee(), waiting(12_408, 25_133, eta=8_000.0)), "waiting"
    ),
    "join-waiting-not-started": lambda stage: in_state(
        stage.scripted("/join", stage.attendee(), waiting(1, 12, "not_started", None)), "waiting"
    ),
    "join-waiting-seat-lost": lambda stage: in_state(
        stage.scripted("/join", stage.attendee(), waiting(3, 12, "seat_lost")), "waiting"
    ),
    "join-waiting-hidden-position": join_hidden_position,
    "join-held": lambda stage: in_state(stage.scripted("/join", stage.attendee(), waiting(), refresh()), "held"),
    "join-seated": lambda stage: in_state(stage.scripted("/join", stage.attendee(), SEATED), "seated"),
    "join-reconnecting": join_reconnecting,
    "join-unavailable": join_unavailable,
    "join-admitted": join_admitted,
    "join-ended": join_stopped(4410, "ended", ended()),
    "join-put-out": join_stopped(4410, "ended"),
    "join-left": join_stopped(1000, "left"),
    "join-replaced": join_stopped(4409, "replaced"),
    "join-token": join_stopped(4401, "token_expired"),
    "join-unknown": join_stopped(4404, "unknown_account"),
    "join-bug": join_stopped(1008, "bad_message"),
    "join-no-token": lambda stage: in_state(stage.open("/join", ""), "stopped"),
    "join-host-link": lambda stage: in_state(stage.open("/join", stage.host()), "stopped"),
}


# ---- the host's console


def at_level(page: Page, level: str) -> Page:
    expect(page.locator(".banner:not(.ghost)")).to_have_attribute("data-level", level)
    return shows(page, "[part~=title]")


def host(level: str, *messages: Message, billing: bool = True) -> Scene:
    return lambda stage: at_level(stage.scripted("/host", stage.host(billing=billing), *messages), level)


def host_asked(stage: Stage) -> Page:
    scene = host("full", occupancy(50, 50, line=18), near_full(50, 50, line=18, priced=False), billing=False)
    page = scene(stage)
    page.locator("[part~=ask]").click()
    expect(page.locator("[part~=ask]")).to_be_disabled()
    return page


def host_stopped(code: int, *messages: Message) -> Scene:
    def scene(stage: Stage) -> Page:
        page = stage.scripted("/host", stage.host(), *messages, code=code)
        return shows(page, "[part=connection][data-state=stopped]")

    return scene


def host_end_dialog(stage: Stage) -> Page:
    page = host("calm", occupancy(31, 50))(stage)
    page.locator("capacity-room .danger").first.click()
    return shows(page, "capacity-room dialog")


def host_refused(stage: Stage) -> Page:
    error = {"type": "error", "code": "concurrent_sessions_reached", "message": "As many as the plan allows."}
    page = host("calm", error, occupancy(0, 50, line=4, state="not_started"))(stage)
    return shows(page, "capacity-room [part=refusal]")


def host_busy(stage: Stage) -> Page:
    """A picture with some minutes in it."""
    page = stage.page()
    page.clock.install()
    room = [*((n, 0) for n in range(8, 50, 3)), *((50, n) for n in range(0, 30, 3))]
    opened: list[WebSocketRoute] = []
    page.route_web_socket(SOCKET, lambda route: opened.append(route))
    page.goto(stage.address("/host", stage.host()))
    shows(page, "capacity-gauge [part=occupied]")
    for occupied, line in room:
        opened[0].send(json.dumps(occupancy(occupied, 50, line=line, away=min(3, occupied))))
        page.clock.run_for(12_000)
    opened[0].send(json.dumps(near_full(50, 50, line=27, soon=None)))
    opened[0].send(json.dumps(limit_change(100, 50)))
    for occupied, held, line in ((77, 27, 0), (77, 11, 0)):
        opened[0].send(json.dumps(occupancy(occupied, 100, line=line, held=held, away=3)))
        page.clock.run_for(3_000)
    return at_level(page, "good")


HOST: dict[str, Scene] = {
    "host-not-started": host("calm", occupancy(0, 50, line=4, state="not_started")),
    "host-calm": host("calm", occupancy(31, 50, away=2)),
    "host-near-full": host("near_full", occupancy(46, 50, away=1), near_full(46, 50)),
    "host-full": host("full", occupancy(50, 50, line=18, away=2), near_full(50, 50, line=18, soon=None)),
    "host-may-not-buy": host(
        "full", occupancy(50, 50, line=18), near_full(50, 50, line=18, priced=False), billing=False
    ),
    "host-asked": host_asked,
    "host-is-asked": host(
        "full",
        occupancy(50, 50, line=18),
        near_full(50, 50, line=18),
        {"type": "upgrade_requested", "room": ROOM, "participant": "omar", "name": "Omar", "plan": "business"},
    ),
    "host-raised": host_busy,
    "host-lowered": host("calm", occupancy(50, 50, line=2), limit_change(25, 50), occupancy(50, 25, line=2)),
    "host-refused": host_refused,
    "host-end-dialog": host_end_dialog,
    "host-ended": host_stopped(4410, occupancy(0, 50, state="ended"), ended()),
    "host-token": host_stopped(4401),
    "host-no-token": lambda stage: at_level(stage.open("/host", ""), "calm"),
    "host-attendee-link": lambda stage: at_level(stage.open("/host", stage.attendee()), "calm"),
    "host-menu": lambda stage: menu(host("calm", occupancy(31, 50))(stage)),
}


def menu(page: Page) -> Page:
    page.locator("#picture").click()
    return shows(page, "#menu")


# ---- buying in the room


def dialog(stage: Stage, plan: str = "starter") -> Page:
    """A full room of an account at the desk, and the dialog open."""
    account = stage.account(plan)
    page = stage.scripted("/host", stage.host(account), occupancy(50, 50, line=18), near_full(50, 50, line=18))
    at_level(page, "full").locator("[part~=upgrade]").click()
    return shows(page, "[part=due]")


def choose_card(page: Page, card: str) -> Page:
    page.locator("dialog select").select_option(card)
    page.locator("dialog .primary").click()
    return page


def dialog_unsure(stage: Stage) -> Page:
    page = dialog(stage)
    page.route("**/purchases", lambda route: route.abort())
    page.locator("dialog .primary").click()
    expect(page.locator("dialog [role=alert]")).to_be_visible(timeout=WAIT_MS * 2)
    return page


def dialog_elsewhere(stage: Stage) -> Page:
    room = stage.room()
    page = stage.scripted("/host", stage.host(room.account), occupancy(50, 50), near_full(50, 50))
    at_level(page, "full").locator("[part~=upgrade]").click()
    return shows(page, "dialog [role=alert]")


DIALOG: dict[str, Scene] = {
    "dialog-plans": dialog,
    "dialog-declined": lambda stage: shows(choose_card(dialog(stage), "declined"), "dialog [role=alert]:not(:empty)"),
    "dialog-confirm": lambda stage: shows(choose_card(dialog(stage), "confirm"), "dialog a.button"),
    "dialog-done": lambda stage: shows(choose_card(dialog(stage), "good"), "dialog .content[data-key=done]"),
    "dialog-unsure": dialog_unsure,
    "dialog-elsewhere": dialog_elsewhere,
}


# ---- the account's page


def billing(stage: Stage, account: str) -> Page:
    return shows(stage.open("/account", stage.host(account)), "[part=plan_size]")


def bought(stage: Stage) -> str:
    """An account that has bought some."""
    account = stage.account("starter", promo_codes=["WELCOME"])
    stage.buy(account, {"plan": "growth"})
    stage.buy(account, {"concurrent_sessions": 2})
    return account


def scheduled(stage: Stage) -> str:
    account = bought(stage)
    stage.buy(account, {"plan": "starter"})
    return account


def action(page: Page, number: int) -> Page:
    """Press one of the buttons of the billing details."""
    page.locator("capacity-account .facts button").nth(number).click()
    return shows(page, "[part=due]")


def account_payment(stage: Stage) -> Page:
    account = stage.account("starter")
    stage.buy(account, {"plan": "growth"}, "confirm")
    return shows(billing(stage, account), ".notice[data-key=payment]")


def overdue(stage: Stage) -> str:
    """An account whose renewal was declined."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30 * 86_400 + 2))
    account = stage.account("growth", period_started_at=started, payment_method="declined", customer="scene")
    wait_for(lambda: stage.desk("GET", account, "")["status"] == "overdue", what="a declined renewal", seconds=60)
    return account


def card_page(stage: Stage) -> Page:
    account = stage.account("starter")
    address = stage.buy(account, {"plan": "growth"}, "confirm")["action_url"]
    return shows(stage.open("/card", address.partition("#")[2]), "#confirm")


def card_paid(stage: Stage) -> Page:
    page = card_page(stage)
    page.locator("#confirm").click()
    expect(page.locator("#choice")).to_be_hidden()
    return page


ACCOUNT: dict[str, Scene] = {
    "account-details": lambda stage: shows(billing(stage, bought(stage)), "table"),
    "account-trial": lambda stage: billing(stage, stage.account("trial")),
    "account-menu": lambda stage: menu(billing(stage, stage.account("growth"))),
    "account-upgrade": lambda stage: action(billing(stage, stage.account("growth")), 0),
    "account-downgrade": lambda stage: action(billing(stage, bought(stage)), 1),
    "account-sessions": lambda stage: action(billing(stage, bought(stage)), 2),
    "account-scheduled": lambda stage: shows(billing(stage, scheduled(stage)), "[part=scheduled]"),
    "account-payment": account_payment,
    "account-overdue": lambda stage: shows(billing(stage, overdue(stage)), ".notice[data-key=overdue]"),
    "account-elsewhere": lambda stage: billing(stage, stage.room().account),
    "account-forbidden": lambda stage: shows(
        stage.open("/account", stage.host(stage.account("growth"), billing=False)), "[role=alert]:not(:empty)"
    ),
    "account-no-token": lambda stage: shows(stage.open("/account", ""), "[role=alert]:not(:empty)"),
    "card": card_page,
    "card-paid": card_paid,
    "index": lambda stage: stage.open("/", ""),
}

SCENES: dict[str, Scene] = {**JOIN, **HOST, **DIALOG, **ACCOUNT}
