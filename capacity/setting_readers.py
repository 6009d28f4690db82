"""How the text of each setting is read: one function per kind, (variable, text) → value.

Each raises SettingError with one line: the variable, what was expected, what came, what to do. Secrets and passwords
never stand in that line.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import os
import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from capacity import redis_url as redis_urls
from capacity.errors import SettingError

SECRET_BYTES_MIN = 32
WEBHOOK_SECRET_BYTES_MIN, WEBHOOK_SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
SECONDS_MAX = 10 * 366 * 24 * 3600
SHARE_DECIMALS_MAX = 6
DAYS_MAX = 365
HOOK_URLS_MAX = 10
NEW_SECRET = 'make one with: echo "whsec_$(openssl rand -base64 32)"'

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
_FRAME_ANCESTOR = re.compile(
    r"'self'|\*|[a-z][a-z0-9+.-]*:"
    r"|(?:[a-z][a-z0-9+.-]*://)?(?:\*\.)?(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::(?:[0-9]{1,5}|\*))?(?:/[^\x00-\x20\x7f;,'\"]*)?",
    re.IGNORECASE,
)


def refuse(variable: str, expected: str, came: str, advice: str = "") -> NoReturn:
    raise SettingError(f"{variable}: expected {expected}, got {came}" + (f"; {advice}" if advice else "") + ".")


def _shown(text: str) -> str:
    """What came, safe to print on one line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def redis_url(variable: str, text: str) -> str:
    try:
        redis_urls.parse(text.strip())
    except ValueError as error:
        # The URL may carry a password, so only what is wrong with it is printed.
        raise SettingError(f"{variable}: expected the URL of a Redis or Valkey; {error}.") from None
    return text.strip()


def directory(variable: str, text: str) -> Path:
    return _path(variable, text)


def readable_file(variable: str, text: str) -> Path:
    path = _path(variable, text)
    _check_readable(variable, "the path of a plan catalogue (TOML)", path)
    return path


def _path(variable: str, text: str) -> Path:
    if "\x00" in text:
        refuse(variable, "a path", _shown(text))
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError):
        refuse(variable, "a path", _shown(text), "there is no such home directory")


def _check_readable(variable: str, expected: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        refuse(variable, expected, _shown(str(path)), f"it cannot be read: {reason}")


def token_key(variable: str, text: str) -> str:
    """A secret as it is, or file:PATH. What looks like a path or a key would be a guessable or public HS256 secret."""
    expected = f"an HS256 secret of at least {SECRET_BYTES_MIN} bytes, or file:PATH of a PEM public key or a JWKS file"
    if text.startswith("file:"):
        path = _path(variable, text.removeprefix("file:") or "\x00")
        _check_readable(variable, expected, path)
        return f"file:{path}"
    start = text.lstrip()
    if start.startswith("./") or (start.startswith("/") and not _is_base64_secret(start)):
        refuse(variable, expected, "what looks like a path", "did you mean file:PATH?")
    if start.startswith(("{", "-----BEGIN")):
        refuse(variable, expected, "what looks like the key itself", "write it into a file: did you mean file:PATH?")
    size = len(text.encode("utf-8", "surrogateescape"))
    if size < SECRET_BYTES_MIN:
        refuse(variable, expected, f"{size} bytes", "make one with: openssl rand -base64 32")
    return text


def _is_base64_secret(text: str) -> bool:
    """Every 64th secret that `openssl rand -base64` makes starts with "/". A path seldom is Base64, and is not if a file is there."""
    encoded = "".join(text.split())  # openssl breaks lines after 64 characters
    try:
        base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    return len(encoded) >= SECRET_BYTES_MIN and not os.path.exists(encoded)


def hook_urls(variable: str, text: str) -> tuple[str, ...]:
    """Addresses that we call. Path, query and credentials may be secrets, so none of them stands in the error."""
    words = text.split()
    if len(words) > HOOK_URLS_MAX:
        refuse(variable, f"at most {HOOK_URLS_MAX} addresses", str(len(words)), "let one of them pass it on")
    for number, word in enumerate(words, 1):
        try:
            parts = urlsplit(word)
            host, known = parts.hostname or "", parts.port != 0 and parts.scheme in _DEFAULT_PORTS
        except ValueError:
            host, known = "", False
        if not (known and host) or parts.fragment or re.fullmatch(r"[!-~]+", word) is None:
            came = f"something else as number {number} of {len(words)}"
            refuse(variable, "addresses such as https://example.com/hooks, separated by spaces", came)
        if parts.scheme == "http" and not _is_loopback(host):
            came = f"http:// as number {number} of {len(words)}"
            refuse(variable, "https:// for every address that is not of this machine", came)
    return tuple(dict.fromkeys(words))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hook_secrets(variable: str, text: str) -> tuple[str, ...]:
    return webhook_secrets(variable, text, NEW_SECRET)


def webhook_secrets(variable: str, text: str, advice: str = "copy it again from the billing system") -> tuple[str, ...]:
    words = text.split()
    for number, word in enumerate(words, 1):
        try:
            encoded = word.removeprefix("whsec_").rstrip("=")  # some systems leave the padding out
            size = len(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not word.startswith("whsec_") or not WEBHOOK_SECRET_BYTES_MIN <= size <= WEBHOOK_SECRET_BYTES_MAX:
            refuse(
                variable,
                f"secrets separated by spaces, each whsec_ and the base64 of {WEBHOOK_SECRET_BYTES_MIN} to "
                f"{WEBHOOK_SECRET_BYTES_MAX} bytes",
                f"something else as number {number} of {len(words)}",
                advice,
            )
    return tuple(dict.fromkeys(words))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\s,]+", text)


def origins(variable: str, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_origin(variable, word) for word in _words(text)))


def _origin(variable: str, word: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.2): lower case, no path, no default port, IDNA host."""
    try:
        parts = urlsplit(word.removesuffix("/"))
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
        port = parts.port
    except ValueError:  # a port that is none, brackets that do not match, a label that is too long
        refuse(variable, "origins such as https://example.com, separated by spaces", _shown(word))
    host = f"[{host}]" if ":" in host else host
    rest = (parts.path, parts.query, parts.fragment, parts.username, parts.password)
    known = parts.scheme in _DEFAULT_PORTS and re.fullmatch(_HOST, host) is not None
    if not known or any(rest) or port == 0 or parts.netloc.endswith(":"):
        refuse(variable, "origins such as https://example.com, separated by spaces", _shown(word))
    standard = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if standard else f":{port}")


def networks(variable: str, text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(dict.fromkeys(_network(variable, word) for word in _words(text)))


def _network(variable: str, word: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(word)
    except ValueError:
        pass
    try:
        advice = f"did you mean {ip_network(word, strict=False)}?"
    except ValueError:
        advice = ""
    refuse(variable, "address ranges such as 10.0.0.0/8 or ::1, separated by spaces", _shown(word), advice)


def frame_ancestors(variable: str, text: str) -> tuple[str, ...]:
    """Sources of the CSP directive frame-ancestors. Nothing that ends a directive or a header can stand in one."""
    words = _words(text)
    for word in words:
        unquoted = word.lower() in ("self", "none")
        if word.lower() == "'none'" and len(words) == 1:
            return ()
        if unquoted or not word.isascii() or _FRAME_ANCESTOR.fullmatch(word) is None:
            advice = f"did you mean '{word.lower()}', in quotes?" if unquoted else ""
            refuse(
                variable, "sources such as https://*.example.com or 'self', separated by spaces", _shown(word), advice
            )
    return tuple(dict.fromkeys(words))


def share(variable: str, text: str) -> Decimal:
    """A share of the seat limit, kept exactly as written: binary fractions would move the ceil of rule 8."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,20})?|\.[0-9]{1,20}", text):
        value = Decimal(text)
        digits = value.normalize().as_tuple().exponent
        if 0 < value <= 1 and isinstance(digits, int) and -digits <= SHARE_DECIMALS_MAX:
            return value
    refuse(
        variable,
        f"a share above 0 and at most 1, with at most {SHARE_DECIMALS_MAX} decimals",
        _shown(text),
        "write 0.9 for 90 %",
    )


def seconds(variable: str, text: str) -> float:
    text = text.strip()
    number = float(text) if re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", text) else math.nan
    if not 0 < number <= SECONDS_MAX:
        refuse(variable, "a number of seconds above 0 and at most ten years", _shown(text))
    return number


def rising_seconds(variable: str, text: str) -> tuple[float, ...]:
    values = tuple(seconds(variable, word) for word in _words(text))
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        refuse(variable, "numbers of seconds, each larger than the one before", _shown(text))
    return values


def days(variable: str, text: str) -> int:
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,3}", text) is None or int(text) > DAYS_MAX:
        refuse(variable, f"a whole number of days, 0 to {DAYS_MAX}", _shown(text))
    return int(text)


def word(*words: str) -> Callable[[str, str], str]:
    def read(variable: str, text: str) -> str:
        found = text.strip()
        if found not in words:
            refuse(variable, f"{', '.join(words[:-1])} or {words[-1]}", _shown(text))
        return found

    return read


def secret(variable: str, text: str) -> str:
    """A key of somebody else's making, such as Stripe's: what it is made of is theirs to say."""
    found = text.split()
    if len(found) != 1 or not text.isascii():
        refuse(variable, "one key", "something else", "copy it again")
    return found[0]


def secrets(variable: str, text: str) -> tuple[str, ...]:
    if not text.isascii():
        refuse(variable, "secrets separated by spaces", "something else", "copy them again")
    return tuple(dict.fromkeys(text.split()))


def link(*schemes: str) -> Callable[[str, str], str]:
    def read(variable: str, text: str) -> str:
        text = text.strip()
        try:
            parts = urlsplit(text)
            addressed = bool(parts.path if parts.scheme == "mailto" else parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            addressed = False
        if not addressed or parts.scheme not in schemes or re.search(r"[\s\x00-\x1f\x7f<>\"]", text):
            refuse(variable, f"an address beginning with {' or '.join(s + ':' for s in schemes)}", _shown(text))
        return text

    return read
