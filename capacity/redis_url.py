"""What CAPACITY_REDIS_URL may say, taken apart. Only the form is checked here; `store.redis` connects.

redis://[user:password@]host[:port][/db][?option=…]     rediss:// the same over TLS
unix://[user:password@]/path/of/socket[?db=…]
redis+sentinel://[user:password@]h1[:p],h2[:p]/NAME[?option=…]     26379 is the default port
redis+cluster://[user:password@]h1[:p],h2[:p][?option=…]

Options: client_name=WORD everywhere. ssl=true is TLS with redis+sentinel:// and redis+cluster://; with it, and with rediss://, come
ssl_ca_certs, ssl_certfile and ssl_keyfile=PATH, ssl_cert_reqs=none|optional|required and ssl_check_hostname=true|false.
User and password are those of the servers with data. What the sentinels themselves want stands in sentinel_username and
sentinel_password; they are asked over TLS too, unless sentinel_ssl=false.
"""

from __future__ import annotations

import re
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

Scheme = Literal["redis", "rediss", "unix", "redis+sentinel", "redis+cluster"]

_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379, "redis+cluster": 6379}
_OF_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL = "sentinel_"
"""What the options begin with that are for the sentinels alone."""
_OPTIONS: dict[str, tuple[str, ...]] = {
    "redis": ("client_name",),
    "rediss": ("client_name", *_OF_TLS),
    "unix": ("client_name",),
    "redis+sentinel": (
        "client_name",
        "ssl",
        *_OF_TLS,
        *(_SENTINEL + name for name in ("username", "password", "ssl")),
    ),
    "redis+cluster": ("client_name", "ssl", *_OF_TLS),
}
_FLAG = ("true", "false")
_WORDS = {
    "ssl": _FLAG,
    "ssl_check_hostname": _FLAG,
    "ssl_cert_reqs": ("none", "optional", "required"),
    "sentinel_ssl": _FLAG,
}
"""Options that take one of a few words."""
_NODE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")


class RedisAddress(msgspec.Struct, frozen=True):
    """One parsed URL. `nodes` are (host, port) without brackets; `path` only for unix, `master` only for Sentinel.

    `options` are the client library's, but for TLS itself, which is `tls`. `sentinel_tls`, `sentinel_username` and
    `sentinel_password` are for the sentinels, as `tls`, `username` and `password` are for the servers with data.
    """

    scheme: Scheme
    nodes: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    master: str | None = None
    username: str | None = None
    password: str | None = None
    db: int = 0
    tls: bool = False
    sentinel_tls: bool = False
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    options: tuple[tuple[str, str | bool], ...] = ()

    def __str__(self) -> str:
        """The address without its secrets."""
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.nodes)
        return f"{self.scheme}://{where}" + ("" if self.scheme == "redis+cluster" else f"/{self.master or self.db}")

    def __repr__(self) -> str:
        return f"RedisAddress({self})"


def parse(url: str) -> RedisAddress:
    """Take the URL apart. Raises ValueError that says in a few words, without the URL itself, what is wrong with it."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in (*_DEFAULT_PORTS, "unix"):
        raise ValueError("the scheme is none of redis, rediss, unix, redis+sentinel, redis+cluster")
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("there is white space in it")
    if "#" in rest:
        raise ValueError("there is a # in it (write %23 for one in a password)")
    parts = urlsplit("//" + rest)
    userinfo, at, hosts = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    db = query.pop("db", "")
    path = unquote(parts.path)
    options = _options(scheme, query)
    tls = bool(options.pop("ssl", scheme == "rediss"))
    common = {
        "scheme": cast(Scheme, scheme),
        "username": unquote(username) or None if at else None,
        "password": unquote(password) or None if at else None,
        "tls": tls,
        "sentinel_tls": bool(options.pop("sentinel_ssl", tls)) and scheme == "redis+sentinel",
        "sentinel_username": options.pop("sentinel_username", None),
        "sentinel_password": options.pop("sentinel_password", None),
        "options": tuple(options.items()),
    }
    if scheme == "unix":
        if hosts or len(path) < 2 or path.endswith("/"):
            raise ValueError("after unix:// comes the absolute path of a socket: unix:///run/valkey.sock")
        return msgspec.convert({**common, "path": path, "db": _database(db)}, RedisAddress)
    nodes = tuple(_node(text, _DEFAULT_PORTS[scheme]) for text in hosts.split(","))
    name = path.removeprefix("/")
    if scheme == "redis+sentinel":
        if not name or "/" in name:
            raise ValueError("after the hosts comes / and the name of the master: redis+sentinel://h1:p,h2:p/NAME")
        return msgspec.convert({**common, "nodes": nodes, "master": name, "db": _database(db)}, RedisAddress)
    if scheme == "redis+cluster":
        if name or db not in ("", "0"):
            raise ValueError("a cluster has database 0 alone")
        return msgspec.convert({**common, "nodes": nodes}, RedisAddress)
    if len(nodes) > 1:
        raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    return msgspec.convert({**common, "nodes": nodes, "db": _database(name or db)}, RedisAddress)


def _node(text: str, default_port: int) -> tuple[str, int]:
    matched = _NODE.fullmatch(text)
    if matched is None:
        raise ValueError("a host is missing or is not written host:port")
    port = int(matched["port"] or default_port)
    if not 1 <= port <= 65535:
        raise ValueError("a port is not between 1 and 65535")
    return matched["host"].strip("[]"), port


def _database(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError("the database is not a number")
    return int(text or 0)


def _options(scheme: str, query: dict[str, str]) -> dict[str, str | bool]:
    """Return the options, flags as such. Raises ValueError for one that is not known or cannot be."""
    for name, value in query.items():
        if name not in _OPTIONS[scheme]:
            raise ValueError(f"the options of {scheme}:// are db, {', '.join(_OPTIONS[scheme])}; there is another one")
        if name in _WORDS and value not in _WORDS[name]:
            raise ValueError(f"{name} is one of {', '.join(_WORDS[name])}")
        if not value:
            raise ValueError(f"{name} has no value")
    tls = "true" in (query.get("ssl"), query.get("sentinel_ssl")) or scheme == "rediss"
    if not tls and any(name in _OF_TLS for name in query):
        raise ValueError("an option ssl_… needs ssl=true")
    if "sentinel_username" in query and "sentinel_password" not in query:
        raise ValueError("sentinel_username needs sentinel_password")
    return {name: value == "true" if _WORDS.get(name) == _FLAG else value for name, value in query.items()}
