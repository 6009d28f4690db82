"""Every variable of the contract: its default, what it takes, and the one line that refuses what cannot work."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from capacity import redis_url, settings
from capacity.errors import SettingError
from capacity.settings import Settings, load

SECRET = "a secret of thirty-two bytes or so"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECONDS = [flag for flag in settings.FLAGS if flag.endswith("_seconds") and flag != "payment_retry_seconds"]


def with_setting(name: str, value: str) -> Settings:
    return load(with_key(name, value))


def with_key(name: str, value: str) -> dict[str, str]:
    return {"CAPACITY_TOKEN_KEY": SECRET, settings.variable_of(name): value}


def line_of(environ: Mapping[str, str]) -> str:
    with pytest.raises(SettingError) as refused:
        load(environ)
    line = str(refused.value)
    assert line.isprintable() and line.endswith("."), line
    return line


def refusal(name: str, value: str) -> str:
    line = line_of({"CAPACITY_TOKEN_KEY": SECRET, settings.variable_of(name): value})
    assert line.startswith(f"{settings.variable_of(name)}: "), line
    return line


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = load({"CAPACITY_TOKEN_KEY": SECRET})
    assert found == Settings(data_dir=found.data_dir, token_key=SECRET)
    assert found.data_dir.name == "capacity"
    assert (found.near_full, found.near_full_clear) == (Decimal("0.9"), Decimal("0.8"))
    seconds = {flag: getattr(found, flag) for flag in SECONDS}
    assert seconds == {
        "grace_seconds": 30,
        "place_seconds": 120,
        "hold_seconds": 60,
        "lease_seconds": 10,
        "ping_seconds": 25,
        "idle_seconds": 900,
        "ended_seconds": 3600,
        "payment_grace_seconds": 7 * 86400,
    }
    assert found.payment_retry_seconds == tuple(days * 86400.0 for days in (1, 3, 5))
    assert (found.desk, found.payments, found.running_day) == ("on", "invoice", "used")
    assert found.downgrade_warning_days == 3


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CAPACITY_PING_SECOND", "CAPACITY_PING_SECONDS"),
        ("CAPACITY_GRACESECONDS", "CAPACITY_GRACE_SECONDS"),
        ("CAPACITY_WEBHOOK_SECRETS", "CAPACITY_WEBHOOK_SECRET"),
        ("CAPACITY_redis_url", "CAPACITY_REDIS_URL"),
        ("CAPACITY_WEBHOOK_URLS", "CAPACITY_HOOK_URLS"),
        ("CAPACITY_PORT", None),
        ("CAPACITY_SERVICE_HOST", None),
        ("CAPACITY_SERVICE_PORT_HTTP", None),
        ("CAPACITY_", None),
        ("PING_SECOND", None),
    ],
)
def test_a_variable_that_is_nearly_a_setting(variable: str, meant: str | None) -> None:
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "PATH": "/bin", variable: "5"}
    assert settings.misspelled(environ) == ([(variable, meant)] if meant else [])


def test_no_setting_is_another_misspelled() -> None:
    assert not settings.misspelled(dict.fromkeys(map(settings.variable_of, settings.FLAGS), ""))


def test_an_empty_variable_is_not_set() -> None:
    assert load({settings.variable_of(flag): " " for flag in settings.FLAGS} | {"CAPACITY_TOKEN_KEY": SECRET}) == load(
        {"CAPACITY_TOKEN_KEY": SECRET}
    )


def test_a_flag_wins_over_its_variable() -> None:
    environ = {"CAPACITY_TOKEN_KEY": "short", "CAPACITY_GRACE_SECONDS": "wrong", "CAPACITY_HOLD_SECONDS": "7"}
    found = load(environ, token_key=SECRET, grace_seconds="5", hold_seconds=None)
    assert (found.token_key, found.grace_seconds, found.hold_seconds) == (SECRET, 5, 7)
    with pytest.raises(TypeError, match="graze_seconds"):
        load(environ, graze_seconds="5")


def test_a_token_key_is_required_but_where_it_is_not() -> None:
    assert line_of({}).startswith("CAPACITY_TOKEN_KEY: ")
    assert line_of({"CAPACITY_TOKEN_KEY": "  "}).startswith("CAPACITY_TOKEN_KEY: ")
    assert load({}, require_token_key=False).token_key == ""


def test_secrets_are_in_no_repr() -> None:
    found = load(
        {
            "CAPACITY_TOKEN_KEY": SECRET,
            "CAPACITY_WEBHOOK_SECRET": WHSEC,
            "CAPACITY_REDIS_URL": "redis://user:pass-word@host",
        }
    )
    for text in (repr(found), str(found), str(dict(found.__rich_repr__()))):
        assert "grace_seconds" in text
        assert SECRET not in text and WHSEC not in text and "pass-word" not in text


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("x" * 31, "31 bytes"),
        ("/etc/capacity/a-key-file-with-a-long-name.pem", "did you mean file:PATH"),
        ("/etc/key", "did you mean file:PATH"),  # Base64, but no secret
        ("/" * 41 + "usr", "did you mean file:PATH"),  # Base64, but there
        ("/etc/capacity/keyfilewithalongname", "did you mean file:PATH"),  # no Base64: a character too many
        ("./keys/a-key-file-with-a-long-name.pem-and-more", "did you mean file:PATH"),
        ('{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "…"}]}', "did you mean file:PATH"),
        ("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----", "did you mean file:PATH"),
        ("\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----", "did you mean file:PATH"),
        ("file:", "path"),
        ("file:/nowhere/key.pem", "cannot be read"),
        ("file:/", "cannot be read"),
        ("file:~nobody-of-this-name/key.pem", "home directory"),
    ],
)
def test_token_keys_that_cannot_work(value: str, hint: str) -> None:
    line = line_of({"CAPACITY_TOKEN_KEY": value})
    assert line.startswith("CAPACITY_TOKEN_KEY: ") and hint in line
    assert value.removeprefix("file:")[:20] not in line or value.startswith("file:")


def test_token_keys_that_can_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({"CAPACITY_TOKEN_KEY": "x" * 32}).token_key == "x" * 32
    assert load({"CAPACITY_TOKEN_KEY": "ü" * 16}).token_key == "ü" * 16  # bytes count
    (tmp_path / "key.pem").write_text("-----BEGIN PUBLIC KEY-----")
    monkeypatch.chdir(tmp_path)
    assert load({"CAPACITY_TOKEN_KEY": "file:key.pem"}).token_key == f"file:{tmp_path}/key.pem"


@given(st.binary(min_size=32, max_size=96), st.booleans())
def test_every_secret_of_openssl_is_a_token_key(secret: bytes, as_a_path_starts: bool) -> None:
    encoded = base64.b64encode(b"\xff" + secret if as_a_path_starts else secret).decode()
    assert encoded.startswith("/") or not as_a_path_starts
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]  # as `openssl rand -base64` breaks them
    assert load({"CAPACITY_TOKEN_KEY": "\n".join(lines)}).token_key == "\n".join(lines)


@given(st.text(max_size=24))
def test_no_token_key_is_ever_in_the_line(start: str) -> None:
    assume(not start.startswith("file:"))
    try:
        load({"CAPACITY_TOKEN_KEY": f"{start}hunter2"})
    except SettingError as error:
        assert "hunter2" not in str(error)


def test_webhook_secrets() -> None:
    other = "whsec_" + "A" * 32
    assert with_setting("webhook_secret", f" {WHSEC}  {other} {WHSEC} ").webhook_secrets == (WHSEC, other)
    assert with_setting("webhook_secret", "whsec_" + "A" * 86 + "==").webhook_secrets  # 64 bytes
    assert with_setting("webhook_secret", "whsec_" + "A" * 86).webhook_secrets  # without the padding


@pytest.mark.parametrize(
    "value",
    [
        WHSEC.removeprefix("whsec_"),
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 30,  # 22 bytes
        "whsec_" + "A" * 88,  # 66 bytes
        "whsec_" + "A" * 33,  # no base64 at all
        "whsec_" + "ä" * 32,
        f"{WHSEC} whsec-other",
        f"{WHSEC},{WHSEC}",
    ],
)
def test_webhook_secrets_that_cannot_work(value: str) -> None:
    line = refusal("webhook_secret", value)
    assert WHSEC not in line and (value == "whsec_" or value not in line)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", {"nodes": (("localhost", 6379),)}),
        ("redis://h:1/2", {"nodes": (("h", 1),), "db": 2}),
        (
            "redis://h?db=3&client_name=hub",
            {"nodes": (("h", 6379),), "db": 3, "options": (("client_name", "hub"),)},
        ),
        ("rediss://user:p%40ss@[::1]:6380", {"nodes": (("::1", 6380),), "username": "user", "password": "p@ss"}),
        ("redis://:secret@h", {"nodes": (("h", 6379),), "password": "secret"}),
        (
            "rediss://h?ssl_ca_certs=%2Fetc%2Fca.pem&ssl_check_hostname=false&ssl_cert_reqs=optional",
            {
                "options": (
                    ("ssl_ca_certs", "/etc/ca.pem"),
                    ("ssl_check_hostname", False),
                    ("ssl_cert_reqs", "optional"),
                )
            },
        ),
        ("redis+sentinel://h/main?ssl=true", {"tls": True, "sentinel_tls": True}),
        ("redis+sentinel://h/main?ssl=true&sentinel_ssl=false", {"tls": True, "sentinel_tls": False}),
        (
            "redis+sentinel://u:p@h/main?sentinel_username=s&sentinel_password=q%2Bq",
            {"username": "u", "password": "p", "sentinel_username": "s", "sentinel_password": "q+q", "options": ()},
        ),
        ("rediss://h", {"tls": True, "sentinel_tls": False}),
        (
            "redis+cluster://u:p@a:1,b:2?ssl=true&ssl_ca_certs=/ca.pem",
            {"tls": True, "username": "u", "options": (("ssl_ca_certs", "/ca.pem"),)},
        ),
        ("unix:///run/valkey.sock", {"path": "/run/valkey.sock"}),
        ("unix:///with%20space/s?db=1", {"path": "/with space/s", "db": 1}),
        ("redis+sentinel://a:1,b:2/main", {"nodes": (("a", 1), ("b", 2)), "master": "main"}),
        ("redis+sentinel://u:p@a/main", {"nodes": (("a", 26379),), "master": "main", "username": "u", "password": "p"}),
        ("redis+cluster://a:1,[::1]:2", {"nodes": (("a", 1), ("::1", 2))}),
    ],
)
def test_redis_urls(url: str, expected: dict[str, object]) -> None:
    assert with_setting("redis_url", f" {url} ").redis_url == url
    found = redis_url.parse(url)
    assert {name: getattr(found, name) for name in expected} == expected
    assert "secret" not in repr(found) and "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis:localhost",
        "redis://",
        "redis://:6379",
        "redis://h:port",
        "redis://h:0",
        "redis://h:65536",
        "redis://h/name",
        "redis://h/-1",
        "redis://[::1",
        "redis://a:1,b:2",
        "redis://:hunter2#2@h",
        "redis://user:hunter2@",
        "redis://h h",
        "unix://",
        "unix://relative/path",
        "unix:///",
        "redis+sentinel://a:1,b:2",
        "redis+sentinel://a:1,b:2/",
        "redis+sentinel://a:1,/main",
        "redis+sentinel:///main",
        "redis+cluster://",
        "redis+cluster://a:1,b:2/3",
        "redis+cluster://a:1?db=2",
        "redis://h?max_connections=hunter2",
        "redis://h?password=hunter2",
        "redis://h?host=hunter2",
        "redis://h?ssl_ca_certs=hunter2",
        "redis+cluster://h?ssl_ca_certs=hunter2",
        "redis+cluster://h?sentinel_password=hunter2",
        "redis+sentinel://h/main?sentinel_username=hunter2",
        "redis+sentinel://h/main?sentinel_ssl=hunter2",
        "redis+sentinel://h/main?ssl_cert_reqs=none",
        "rediss://h?ssl_check_hostname=hunter2",
        "rediss://h?ssl_cert_reqs=hunter2",
        "redis://h?client_name=",
    ],
)
def test_redis_urls_that_cannot_work(url: str) -> None:
    assert "hunter2" not in refusal("redis_url", url)


@given(st.text(max_size=40).map("redis+sentinel://".__add__) | st.text(max_size=60))
def test_any_redis_url_is_taken_apart_or_refused(url: str) -> None:
    try:
        redis_url.parse(url)
    except ValueError as error:
        assert str(error).isprintable()


def test_directories_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert with_setting("data_dir", "~/data").data_dir == tmp_path / "data"
    assert with_setting("data_dir", "data").data_dir == tmp_path / "data"
    (tmp_path / "plans.toml").touch()
    assert with_setting("plans", "plans.toml").plans == tmp_path / "plans.toml"
    refusal("data_dir", "with\0nul")
    refusal("data_dir", "~nobody-of-this-name/data")
    refusal("plans", "missing.toml")
    refusal("plans", str(tmp_path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://example.com", ("https://example.com",)),
        ("HTTPS://Example.COM:443/", ("https://example.com",)),
        ("http://example.com:80 http://example.com:8080", ("http://example.com", "http://example.com:8080")),
        ("https://example.com:80, https://b.example", ("https://example.com:80", "https://b.example")),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("https://bücher.example", ("https://xn--bcher-kva.example",)),
        ("https://a.example https://A.example", ("https://a.example",)),
    ],
)
def test_origins(value: str, expected: tuple[str, ...]) -> None:
    assert with_setting("allowed_origins", value).allowed_origins == expected


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "example.com",
        "//example.com",
        "https://",
        "https://*.example.com",
        "https://example.com/path",
        "https://example.com?query",
        "https://example.com#fragment",
        "https://user@example.com",
        "https://example.com:0",
        "https://example.com:",
        "https://example.com:65536",
        "https://[::1",
        "https://a..b",
        "ws://example.com",
        "ftp://example.com",
        "https://ok.example javascript:alert(1)",
    ],
)
def test_origins_that_cannot_work(value: str) -> None:
    refusal("allowed_origins", value)


def test_trusted_proxies() -> None:
    found = with_setting("trusted_proxies", "10.0.0.0/8, 127.0.0.1 ::1 fd00::/8").trusted_proxies
    assert found == tuple(ip_network(word) for word in ("10.0.0.0/8", "127.0.0.1/32", "::1/128", "fd00::/8"))
    for value in ("localhost", "10.0.0", "10.0.0.0/33", "10.0.0.0/8 nonsense", "1.2.3.4:80"):
        refusal("trusted_proxies", value)
    assert "10.1.0.0/16" in refusal("trusted_proxies", "10.1.2.3/16")


def test_frame_ancestors() -> None:
    value = "'self' https://*.example.com https://a.example:8443/path https: example.com:*"
    assert with_setting("frame_ancestors", value).frame_ancestors == tuple(value.split())
    assert with_setting("frame_ancestors", "'none'").frame_ancestors == ()
    assert "'self'" in refusal("frame_ancestors", "self")
    for value in (
        "https://a.example; script-src *",
        "https://a.example/\x01",
        "'none' https://a.example",
        "'unsafe-inline'",
        "https://",
        "https://ä.example",
    ):
        refusal("frame_ancestors", value)


@pytest.mark.parametrize("name", ["near_full", "near_full_clear"])
def test_shares(name: str) -> None:
    for value in ("0.123456", ".5", "0.5", "0.500000000"):
        assert getattr(with_setting(name, value), name) == Decimal(value)
    for value in ("0", "0.0", "1.1", "-0.5", "90%", "nan", "inf", "0,9", "1e-1", "0.1234567", "½", "\u0661", "0.9 0.8"):
        refusal(name, value)


def test_the_clear_share_is_at_most_the_near_full_share() -> None:
    assert with_setting("near_full", "1").near_full_clear == Decimal("0.8")
    assert with_setting("near_full", "0.5").near_full_clear == Decimal("0.5")  # the default follows
    environ = {"CAPACITY_TOKEN_KEY": SECRET, "CAPACITY_NEAR_FULL": "0.7", "CAPACITY_NEAR_FULL_CLEAR": "0.7"}
    assert load(environ).near_full_clear == Decimal("0.7")
    environ["CAPACITY_NEAR_FULL_CLEAR"] = "0.700001"
    line = line_of(environ)
    assert line.startswith("CAPACITY_NEAR_FULL_CLEAR: ") and "0.7," in line


@pytest.mark.parametrize("name", SECONDS)
def test_seconds(name: str) -> None:
    for value, expected in [("1", 1.0), ("0.05", 0.05), (" 2.5 ", 2.5), ("1e3", 1000.0), ("315000000", 3.15e8)]:
        assert getattr(with_setting(name, value), name) == expected
    for value in (
        "0",
        "0.0",
        "-1",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e-400",
        "400000000",
        "ten",
        "1_0",
        "5s",
        "1,5",
        "\u0663",
    ):
        refusal(name, value)


def test_any_relation_of_seconds_is_taken() -> None:
    environ = {settings.variable_of(flag): str(index + 1) for index, flag in enumerate(SECONDS)}
    turned = {settings.variable_of(flag): str(index + 1) for index, flag in enumerate(reversed(SECONDS))}
    for relation in (environ, turned):
        assert load({"CAPACITY_TOKEN_KEY": SECRET, **relation})


def test_tries_of_a_declined_charge_are_seconds_that_rise() -> None:
    assert with_setting("payment_retry_seconds", "60").payment_retry_seconds == (60,)
    assert with_setting("payment_retry_seconds", "0.5, 60 1e3").payment_retry_seconds == (0.5, 60, 1000)
    for value in ("60 60", "60 30", "0", "soon", "1 2 x"):
        assert line_of(with_key("payment_retry_seconds", value)).startswith("CAPACITY_PAYMENT_RETRY_SECONDS: ")


def test_days_are_whole() -> None:
    for value, expected in (("0", 0), (" 14 ", 14), ("365", 365)):
        assert with_setting("downgrade_warning_days", value).downgrade_warning_days == expected
    for value in ("366", "-1", "1.5", "three", "0x3", "99999999999999999999"):
        assert line_of(with_key("downgrade_warning_days", value)).startswith("CAPACITY_DOWNGRADE_WARNING_DAYS: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [("desk", ["on", "off"]), ("payments", ["invoice", "test"]), ("running_day", ["used", "left"])],
)
def test_words(name: str, words: list[str]) -> None:
    for word in words:
        assert getattr(with_setting(name, f" {word} "), name) == word
    for value in ("yes", "ON", "true", "0", "on off"):
        line = line_of(with_key(name, value))
        assert line.startswith(f"{settings.variable_of(name)}: ") and words[0] in line


def test_stripe_needs_its_key_and_no_line_shows_a_secret() -> None:
    assert line_of(with_key("payments", "stripe")).startswith("CAPACITY_STRIPE_KEY: ")
    found = load(
        with_key("payments", "stripe"), stripe_key=" sk_test_1 ", stripe_webhook_secret="whsec_a whsec_b whsec_a"
    )
    assert (found.stripe_key, found.stripe_webhook_secrets) == ("sk_test_1", ("whsec_a", "whsec_b"))
    assert "sk_test_1" not in repr(found) and "whsec_a" not in repr(found)
    for name in ("stripe_key", "stripe_webhook_secret"):
        line = line_of(with_key(name, "geheim-\u00e4"))
        assert line.startswith(f"{settings.variable_of(name)}: ") and "geheim" not in line


@pytest.mark.parametrize("name", ["upgrade_url", "support_url", "stripe_url", "stripe_return_url"])
def test_links(name: str) -> None:
    for value in ("https://billing.example/upgrade?from=capacity#plans", "http://localhost:3000"):
        assert getattr(with_setting(name, value), name) == value
    for value in (
        "javascript:alert(1)",
        "/billing",
        "billing.example",
        "https://",
        "https://a.example/<script>",
        "https://a.example/a b",
        "https://a.example:port",
        "data:text/html,x",
    ):
        refusal(name, value)


def test_support_may_be_a_mail_address() -> None:
    assert with_setting("support_url", "mailto:help@example.com").support_url == "mailto:help@example.com"
    refusal("support_url", "mailto:")
    refusal("upgrade_url", "mailto:help@example.com")


@given(st.sampled_from(settings.FLAGS), st.text(max_size=30))
def test_any_value_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    try:
        load({"CAPACITY_TOKEN_KEY": SECRET, settings.variable_of(name): value})
    except SettingError as error:
        assert str(error).isprintable() and settings.variable_of(name) in str(error)
