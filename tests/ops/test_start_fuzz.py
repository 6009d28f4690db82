"""Whatever stands in the environment or in the catalogue, the start takes it or refuses it in one line without a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity import redis_url, settings
from capacity.domain import plans
from capacity.errors import SettingError
from capacity.store.redis import Clients
from tests.ops.programs import SECRET

PASSWORD = "hunter2hunter2"

# ---- redis_url

schemes = st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster"])
hosts = st.sampled_from(
    ["h", "h:1", "[::1]", "[::1]:7", "127.0.0.1:6379", "a:1,b:2", "", ":1", "h:0", "h:99999", "[", "ä"]
)
users = st.sampled_from(["", f":{PASSWORD}@", f"u:{PASSWORD}@", "u@", "@", f"u:{PASSWORD}%40@", f"{PASSWORD}%ff@"])
paths = st.sampled_from(["", "/", "/0", "/3", "/main", "/run/s.sock", "/a/b", "/%00", "/%ff", "/99999", "/999999"])
values = st.sampled_from(["", "0", "1", "true", "false", "none", "required", "x", "%00", PASSWORD])
options = st.sampled_from(
    [
        "db",
        "client_name",
        "ssl",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "host",
        "password",
        "retry",
        "a b",
    ]
)
queries = st.lists(st.tuples(options, values), max_size=3).map(lambda found: "&".join(map("=".join, found)))
urls = st.one_of(
    st.builds(
        lambda scheme, user, host, path, query: f"{scheme}://{user}{host}{path}" + (f"?{query}" if query else ""),
        *(schemes, users, hosts, paths, queries),
    ),
    st.builds(lambda scheme, rest: f"{scheme}://{rest}", schemes, st.text(max_size=40)),
)


@given(url=urls)
def test_any_redis_url_makes_clients_or_is_refused(url: str) -> None:
    try:
        address = redis_url.parse(url)
    except ValueError as error:
        assert str(error).isprintable() and PASSWORD not in str(error)
        return
    assert PASSWORD not in repr(address)
    clients = Clients(url)
    if not clients.cluster:
        clients.scripts.connection_pool.make_connection()
    assert PASSWORD not in repr(clients)


# ---- the environment

SECRET_FLAGS = {"redis_url", "token_key", "webhook_secret", "stripe_key", "stripe_webhook_secret"}

texts = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),  # as os.environ has it
    urls,
    st.sampled_from(
        ["file:", "file:\udcff", "file:/", "whsec_", "1e999", "nan", "1_0", "٣", "::1/129", "10.0.0.0/8,::/0", "'self'"]
    ),
)


@given(name=st.sampled_from(settings.FLAGS), value=texts)
def test_any_setting_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    variable = settings.variable_of(name)
    unsaid = PASSWORD if name in SECRET_FLAGS else SECRET
    try:
        found = settings.load({"CAPACITY_TOKEN_KEY": SECRET, variable: value})
    except SettingError as error:
        assert str(error).isprintable() and variable in str(error) and unsaid not in str(error)
    else:
        assert unsaid not in repr(found)


# ---- the catalogue

words = st.sampled_from(
    ["one", "two", "EUR", "USD", "XAU", "", "LAUNCH", "2027-07-01", "\x00", "a" * 200, "ä"]
) | st.text(max_size=5)
scalars = st.one_of(
    st.integers(-5, 2_000_000).map(str),
    st.sampled_from(
        ["30", "365", "true", "false", "1.5", "inf", "nan", "2027-07-01T02:00:00Z", "0001-01-01T00:00:00+23:59"]
    ),
    words.map(lambda text: json.dumps(text)),
    st.sampled_from(["[]", "{}", "[1, 'x']", "{a = 1}", "9" * 400, "[" * 3000]),
)
PLAN = {"id": '"one"', "name": '"One"', "seats": "10", "cycle_days": "30", "price": "100", "currency": '"EUR"'}
PROMO = {"code": '"LAUNCH"', "percent_off": "20"}
names = st.sampled_from(["currency", "other", *PLAN, *PROMO, "concurrent_session_price", "trial", "on_sale", "ends_at"])
tables = st.tuples(
    st.sampled_from(["[[plans]]", "[[plans]]", "[[promo_codes]]", "[plans]", "[[plans.more]]", "[other]", ""]),
    st.sampled_from([PLAN, PROMO, {}]),
    st.dictionaries(names, scalars, max_size=2),
).map(lambda found: found[0] + "\n" + "".join(f"{name} = {value}\n" for name, value in (found[1] | found[2]).items()))
catalogues = st.one_of(
    st.binary(max_size=200),
    st.lists(tables, min_size=1, max_size=4).map(lambda found: "".join(found).encode("utf-8", "surrogatepass")),
)


@given(content=catalogues)
def test_any_catalogue_is_taken_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "any-plans.toml"
    path.write_bytes(content)
    try:
        found = plans.load(path)
    except SettingError as error:
        line = str(error)
        assert line.startswith("CAPACITY_PLANS: ") and str(path) in line and line.isprintable(), line
    else:
        assert found.plans and all(plan.seats >= 1 for plan in found.plans)
