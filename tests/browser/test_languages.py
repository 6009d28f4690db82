"""The words: complete in every language, none left over, and the right ones on the pages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from capacity.web.pages import static_dir
from tests.browser import scenes
from tests.browser.conftest import LANGUAGES, Pages
from tests.browser.scenes import SCENES, Stage
from tests.browser.service import Service

SETS = ("common", "waiting", "host", "desk", "account", "card")
PLACE = re.compile(r"\{(\w+)\}")
SOURCES = [path for path in static_dir().glob("*") if path.suffix in (".js", ".html")]
# What the names in templates such as `stopped_${reason}_title` can be, by the template with its names left out.
STOPS = ("left", "replaced", "ended", "token", "unknown_account", "bug")
REASONS = ("full", "not_started", "seat_lost")
LEVELS = ("near_full", "full")
ROOM_STATES = ("not_started", "open", "ended")
ENDS = ("host", "api", "idle")
TEMPLATES = {
    "waiting_{}": REASONS,
    "next_{}": REASONS,
    "held_{}": ("seat_limit_raised", "seat_freed", "room_opened"),
    "step_{}": ("waiting", "held", "seated"),
    "{}_title": ("connecting", "waiting", "held", "seated", "admitted", "upgrade", "downgrade", "sessions"),
    "{}_text": ("connecting", "admitted"),
    "ended_{}": ENDS,
    "stopped_{}_title": (*STOPS, "no_token", "host"),
    "stopped_{}_text": (*STOPS, "no_token", "host"),
    "host_{}_title": (*STOPS, "no_token", "attendee"),
    "host_{}_text": (*STOPS, "no_token", "attendee"),
    "connection_{}": ("connecting", "connected", "stopped", "offline", "restarting", "busy", "unavailable", "lost"),
    "chart_{}": ("taken", "waiting", "limit"),
    "state_{}": ROOM_STATES,
    "room_{}": ROOM_STATES,
    "other_{}": LEVELS,
    "news_{}": LEVELS,
    "news_ended_{}": ENDS,
    "per_{}": ("30", "365"),
    "line_{}": ("plan", "concurrent_sessions", "unused", "tax"),
    "warning_{}": ("promo_codes_voided", "period_ends_soon", "scheduled_change_replaced", "unused_value_lost"),
    "pay_{}": ("invoice", "stripe"),
    "card_{}": ("good", "declined", "confirm"),
    "paid_{}": ("invoice", "card"),
    "invoice_{}": ("paid", "invoiced", "declined"),
    "problem_{}": [
        "payment_declined",
        "quote_stale",
        "unknown_quote",
        "given_up",
        "payment_pending",
        "account_not_managed",
        "no_change",
        "add_on_whole_batch",
        "add_on_not_available",
        "forbidden",
        "too_many_requests",
        "unreachable",
        "unavailable",
        "no_token",
        "unauthorized",
        "token_expired",
        "unknown_account",
    ],
}


@pytest.fixture(scope="module")
def blank(chromium: Browser, service: Service) -> Any:
    """A page that can import the modules."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(service.url)
    yield page
    context.close()


@pytest.fixture(scope="module")
def texts(blank: Page) -> dict[str, dict[str, dict[str, Any]]]:
    """All texts by language and set, as a browser reads them."""
    found = blank.evaluate(
        """async ([languages, sets]) => {
          const all = {};
          for (const language of languages) {
            all[language] = {};
            for (const set of sets) all[language][set] = (await import(`/static/texts/${language}/${set}.js`)).default;
          }
          return all;
        }""",
        [LANGUAGES, SETS],
    )
    return dict(found)


def places(text: str | dict[str, str]) -> set[frozenset[str]]:
    """The places of each form of a text."""
    forms = [text] if isinstance(text, str) else list(text.values())
    return {frozenset(PLACE.findall(form)) for form in forms}


def test_the_list_of_languages_is_the_pages(blank: Page) -> None:
    listed = blank.evaluate("async () => Object.keys((await import('/static/texts.js')).LANGUAGES)")
    assert sorted(listed) == sorted(LANGUAGES)
    assert sorted(path.name for path in (static_dir() / "texts").iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(texts: dict[str, Any], blank: Page, language: str) -> None:
    """The same texts in every language, with the same places, in all forms that the language has for counts."""
    tag = json.dumps(language)
    counted = blank.evaluate(
        f"[...new Set([...Array(2000).keys(), 1e6].map((n) => new Intl.PluralRules({tag}).select(n)))]"
    )
    for name in SETS:
        english, translated = texts["en"][name], texts[language][name]
        assert list(translated) == list(english), (language, name)
        for key, text in translated.items():
            assert type(text) is type(english[key]), (language, key)
            assert places(text) == places(english[key]), (language, key)
            for form in [text] if isinstance(text, str) else text.values():
                assert form.strip() == form != "", (language, key)
            if isinstance(text, dict):
                assert {*counted, "other"} <= {*text}, (language, key)


def test_a_text_is_nobody_elses(texts: dict[str, Any]) -> None:
    """An element loads several sets: a key that two of them have would be the text of the later one."""
    together = [
        ("common", "waiting"),
        ("common", "host"),
        ("common", "desk"),
        ("common", "desk", "account"),
        ("common", "card"),
    ]
    for sets in together:
        keys = [key for name in sets for key in texts["en"][name]]
        assert len(keys) == len({*keys}), [key for key in keys if keys.count(key) > 1]


def test_no_text_is_left_over_and_none_is_asked_for_that_is_not_there(texts: dict[str, Any]) -> None:
    known = {key for name in SETS for key in texts["en"][name]}
    written: set[str] = set()
    for path in SOURCES:
        source = path.read_text()
        written |= set(re.findall(r'"([a-z][a-z0-9_]*)"', source))
        for template in re.findall(r"`([a-z_]*\$\{[^`{}]+\}[a-z_]*)`", source):
            shape = re.sub(r"\$\{[^}]+\}", "{}", template)
            if f".say(`{template}`" in source:
                assert shape in TEMPLATES, f"{path.name}: say here what {template} can be"
            written |= {shape.replace("{}", value) for value in TEMPLATES.get(shape, ())}
        for key in re.findall(r'\.say\(\s*"([^"]+)"', source) + re.findall(r'data-text="([^"]+)"', source):
            assert key in known, f"{path.name} says {key}"
    assert known - written == set(), "nothing says these"
    for shape, values in TEMPLATES.items():
        for value in values:
            assert shape.replace("{}", value) in known, f"{shape} with {value}"


@pytest.mark.parametrize(
    ("browser", "heading"),
    [
        ("de-AT", None),
        ("ru", None),
        ("fr-FR", "You are in the waiting room"),
        ("pt", "You are in the waiting room"),
    ],
)
def test_the_language_is_the_browsers(
    pages: Pages, service: Service, texts: dict[str, Any], browser: str, heading: str | None
) -> None:
    page = pages.blank(language=browser)
    page.route_web_socket(scenes.SOCKET, lambda route: route.send(json.dumps(scenes.waiting())))
    page.goto(f"{service.url}/join#{Stage(pages, service).attendee()}")
    language = browser.split("-")[0]
    expect(page.locator("h1")).to_have_text(heading or texts[language]["waiting"]["waiting_title"])
    expect(page.locator("html")).to_have_attribute("lang", "en" if heading else language)


def test_another_language_can_be_chosen(pages: Pages, service: Service, texts: dict[str, Any]) -> None:
    page = scenes.join_waiting(Stage(pages, service))
    page.get_by_label("Language").select_option("pl")
    expect(page.locator("h1")).to_have_text(texts["pl"]["waiting"]["waiting_title"])
    assert page.url.partition("#")[0].endswith("?lang=pl") and len(page.url.partition("#")[2]) > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_plurals_dates_and_money_are_the_languages(blank: Page, language: str) -> None:
    said = blank.evaluate(
        """async (language) => {
          const { Texts } = await import("/static/texts.js");
          const t = await Texts.load(language, ["common", "desk", "host"]);
          return {
            seats: [0, 1, 2, 5, 21, 1234].map((n) => t.say("seats_n", { n })),
            price: t.price({ amount: 123456, currency: "EUR" }),
            yen: t.price({ amount: 1234, currency: "JPY" }),
            date: t.date("2026-11-24T12:00:00Z"),
            durations: [20, 60, 290, 7200].map((seconds) => t.duration(seconds)),
          };
        }""",
        language,
    )
    expected = EXPECTED[language]
    for name, value in expected.items():
        assert json.loads(json.dumps(said[name]).replace("\\u00a0", " ").replace("\\u202f", " ")) == value, name


EXPECTED: dict[str, dict[str, object]] = {
    "en": {
        "seats": ["0 seats", "1 seat", "2 seats", "5 seats", "21 seats", "1,234 seats"],
        "price": "€1,234.56",
        "yen": "¥1,234",
        "date": "November 24, 2026",
        "durations": ["less than a minute", "1 minute", "5 minutes", "2 hours"],
    },
    "de": {
        "seats": ["0 Plätze", "1 Platz", "2 Plätze", "5 Plätze", "21 Plätze", "1.234 Plätze"],
        "price": "1.234,56 €",
        "yen": "1.234 ¥",
        "date": "24. November 2026",
    },
    "es": {"seats": ["0 plazas", "1 plaza", "2 plazas", "5 plazas", "21 plazas", "1234 plazas"], "price": "1234,56 €"},
    "pl": {
        "seats": ["0 miejsc", "1 miejsce", "2 miejsca", "5 miejsc", "21 miejsc", "1234 miejsca"],
        "price": "1234,56 €",
        "date": "24 listopada 2026",
    },
    "ru": {
        "seats": ["0 мест", "1 место", "2 места", "5 мест", "21 место", "1 234 места"],
        "price": "1 234,56 €",
        "date": "24 ноября 2026 г.",
    },
}

SOME = ("join-waiting-long", "join-held", "host-near-full", "account-scheduled")


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
@pytest.mark.parametrize("name", SOME)
def test_a_page_speaks_the_language_and_nothing_else(
    pages: Pages, service: Service, texts: dict[str, Any], name: str, language: str
) -> None:
    """Nothing English is left on it, it is no wider than a small screen, and nothing sticks out from right to left."""
    page = SCENES[name](Stage(pages, service, width=320, language=language))
    english = {text for name in SETS for text in texts["en"][name].values() if isinstance(text, str) and len(text) > 12}
    seen = page.evaluate(
        """() => {
          const text = (root) => [...root.querySelectorAll("*")].flatMap((node) => [
            ...[...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data.trim()),
            ...(node.shadowRoot ? text(node.shadowRoot) : []),
          ]);
          return text(document.body);
        }"""
    )
    assert english.isdisjoint(seen)
    for direction in ("ltr", "rtl"):
        page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, direction
