"""The keys that tokens are verified with, read from what CAPACITY_TOKEN_KEY says.

    a secret      HS256            32 bytes or more
    file:PATH     a PEM public key, or a JWKS of public keys:
                  RSA, 2048 bits or more → RS256 · EC P-256 → ES256 · Ed25519 → EdDSA

The algorithm belongs to the key and is never taken from a token (RFC 8725, section 3.1).

The file may change while we run: `KeyFile` tells. What it holds never stands in an error.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from capacity.errors import SettingError

FILE_PREFIX = "file:"
SECRET_BYTES_MIN = 32
RSA_BITS_MIN = 2048
KEY_FILE_BYTES_MAX = 1 << 20

Keys = Mapping[str | None, PyJWK]
"""The keys by `kid`. One alone may stand under None."""


class _Secret(HMACAlgorithm):
    """HS256 for a secret that was looked at when it was read: PyJWT does so at every token, which is a third of its time."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()


def secret_keys(secret: str) -> Keys:
    """Return the HS256 key of a secret. Raises SettingError when it is too short, or a key of another kind."""
    data = secret.encode("utf-8", "surrogateescape")
    if len(data) < SECRET_BYTES_MIN:
        raise _useless(f"an HS256 secret needs at least {SECRET_BYTES_MIN} bytes, this one has {len(data)}")
    key = PyJWK({"kty": "oct", "k": base64.urlsafe_b64encode(data).rstrip(b"=").decode()}, "HS256")
    try:
        key.Algorithm.prepare_key(key.key)
    except PyJWTError:
        raise _useless("an HS256 secret must not be a key of another kind; did you mean file:PATH?") from None
    key.Algorithm = _Secret(HMACAlgorithm.SHA256)
    return {None: key}


def file_keys(path: Path) -> Keys:
    """Return the keys of a PEM or JWKS file. Raises SettingError, which never quotes the file, when there is none."""
    return _keys(path, _read(path))


class KeyFile:
    """The file, and whether it has changed. `keys` are the last that could be used.

    A file that has changed is read, and once more at the next look: what is written meanwhile may leave its instant and
    its size as they were. One that cannot be used is read at every look, for it may be half written, or may not be ours to
    read yet.
    """

    def __init__(self, path: Path) -> None:
        """Raises SettingError for a file without a usable key."""
        self.path = path
        self._stamp = _stamp(path)
        self._settled = False
        self._data = _read(path)
        self.keys = _keys(path, self._data)

    def look(self) -> bool:
        """Look at the file; return whether `keys` are others now. Raises SettingError while it cannot be used."""
        stamp = _stamp(self.path)
        if stamp == self._stamp and self._settled:
            return False
        self._settled = False
        data = _read(self.path)
        keys = self.keys if data == self._data else _keys(self.path, data)
        changed = keys is not self.keys
        self._settled = stamp == self._stamp
        self._stamp, self._data, self.keys = stamp, data, keys
        return changed


def key_ids(keys: Keys) -> list[str]:
    """Return the `kid` of the keys that have one."""
    return [key.key_id for key in keys.values() if isinstance(key.key_id, str)]


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes with the file; None while it is not there. The inode tells of a file renamed into place."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(KEY_FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _useless(f"{path} cannot be read ({reason})") from None


def _keys(path: Path, data: bytes) -> Keys:
    return _jwks_keys(path, data) if data.lstrip().startswith(b"{") else _pem_keys(path, data)


def _pem_keys(path: Path, data: bytes) -> Keys:
    if b"PRIVATE KEY-----" in data:
        raise _private(path)
    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _useless(f"{path} is neither a PEM public key (-----BEGIN PUBLIC KEY-----) nor a JWKS") from None
    if isinstance(public, RSAPublicKey):
        return {None: _key(path, RSAAlgorithm.to_jwk(public, as_dict=True))}
    if isinstance(public, EllipticCurvePublicKey) and public.curve.name == "secp256r1":
        return {None: _key(path, ECAlgorithm.to_jwk(public, as_dict=True))}
    if isinstance(public, Ed25519PublicKey):
        return {None: _key(path, OKPAlgorithm.to_jwk(public, as_dict=True))}
    raise _useless(f"{path} must be an RSA, P-256 or Ed25519 key")


def _jwks_keys(path: Path, data: bytes) -> Keys:
    try:
        members = msgspec.json.decode(data, type=dict[str, Any]).get("keys")
    except (ValueError, RecursionError):
        raise _useless(f"{path} is no JSON") from None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise _useless(f'{path} must be a JWKS: {{"keys": [ … ]}}')
    for member in members:
        if "d" in member or "k" in member:
            raise _private(path)
    # RFC 7517, section 5: keys of a kind or use that one does not know are passed over.
    usable = [member for member in members if _verifies(member) and _algorithm(member)]
    keys = [(member.get("kid"), _key(path, member)) for member in usable]
    if not keys:
        raise _useless(f"{path} has no public RSA, P-256 or Ed25519 key for signatures")
    if len(keys) == 1:
        return {None: keys[0][1]}
    by_id: dict[str | None, PyJWK] = {}
    for kid, key in keys:
        if not isinstance(kid, str) or kid in by_id:
            raise _useless(f"{path} has several keys, so each needs a kid of its own")
        by_id[kid] = key
    return by_id


def _verifies(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops")
    return jwk.get("use", "sig") == "sig" and (not isinstance(operations, list) or "verify" in operations)


def _algorithm(jwk: dict[str, Any]) -> str | None:
    """The one algorithm for a key of this kind, None for a kind that we do not take, or if the key says another."""
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            algorithm = "RS256"
        case "EC", "P-256":
            algorithm = "ES256"
        case "OKP", "Ed25519":
            algorithm = "EdDSA"
        case _:
            return None
    return algorithm if jwk.get("alg") in (None, algorithm) else None


def _key(path: Path, jwk: dict[str, Any]) -> PyJWK:
    try:
        key = PyJWK(jwk, _algorithm(jwk))
    except (PyJWTError, ValueError, TypeError):
        raise _useless(f"{path} has a key that is damaged") from None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < RSA_BITS_MIN:
        raise _useless(f"{path} has an RSA key of {key.key.key_size} bits; {RSA_BITS_MIN} are the least")
    return key


def _private(path: Path) -> SettingError:
    return _useless(f"{path} holds a private or secret key; only public keys belong here")


def _useless(sentence: str) -> SettingError:
    return SettingError(f"CAPACITY_TOKEN_KEY cannot work: {sentence}.")
