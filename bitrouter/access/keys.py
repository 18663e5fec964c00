"""Virtual keys: what we give out so that callers need no provider's key.

Only the SHA-256 of a key is kept. A key has 256 random bits, so a slow hash would protect nothing.
"""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

import msgspec

from bitrouter.errors import Unauthorized

PREFIX: Final = "br-"
# In the state directory.
KEYS_FILE: Final = "keys.json"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key as the key file holds it. Times are Unix seconds; `id` is safe to show and to log."""

    id: str
    name: str
    sha256: str
    created: int
    revoked: int | None = None


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[Key, ...]


def decode_keys(content: bytes) -> tuple[Key, ...]:
    """The keys of a key file. Raises ValueError, saying what is wrong."""
    try:
        return msgspec.json.decode(content, type=_KeyFile).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a key file: {error}") from error


def encode_keys(keys: Iterable[Key]) -> bytes:
    """A key file, readable by people."""
    return msgspec.json.format(msgspec.json.encode(_KeyFile(tuple(keys))), indent=2) + b"\n"


def make_key(name: str, now: int) -> tuple[str, Key]:
    """A new key: the text to hand out once, and what is kept of it."""
    text = PREFIX + secrets.token_urlsafe(32)
    return text, Key(id=secrets.token_hex(4), name=name, sha256=_digest(text), created=now)


class KeyRing:
    """The keys that are valid now. Replaced whole when the key file changes.

    Callers need one as soon as one was ever made: revoking the last does not open the door.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        known = tuple(keys)
        self.required = bool(known)
        self._by_digest = {key.sha256: key for key in known if key.revoked is None}

    def find(self, credential: str | None) -> Key | None:
        """Whose key it is; None for a credential that is not a valid key."""
        return self._by_digest.get(_digest(credential)) if credential is not None else None

    def check(self, credential: str | None) -> Key | None:
        """Whose key it is; None when no keys exist and anybody may call. Raises Unauthorized."""
        if not self.required:
            return None
        if credential is None:
            raise Unauthorized("a key is required, as a bearer token or as your SDK sends it")
        key = self.find(credential)
        if key is None:
            raise Unauthorized("the key is not valid")
        return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
