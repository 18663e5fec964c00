"""Bearer tokens for Coinbase's hosted facilitator: a fresh JWT for every call (x402.md, 6).

Needs the package `cryptography`, which comes with `bitrouter[cdp]`; imported where it is wanted.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from yarl import URL

from bitrouter.config.schema import Secret

_LIFE_S: Final = 120
_P256_BYTES: Final = 32
_ED25519_BYTES: Final = 64

_WANTED: Final = (
    "expected KEY_ID:SECRET, or the JSON of the downloaded key file; the secret is a PEM text with"
    " an EC key on P-256, or 64 bytes of Ed25519 in base64"
)


class CdpCredential:
    """Signs with one API key. `wall` gives Unix seconds.

    Raises ValueError when the key cannot be used; its text does not quote it.
    """

    def __init__(self, token: Secret, wall: Callable[[], float]) -> None:
        self.key_id, secret = _split(token.reveal())
        self._algorithm, self._sign = _signer(secret)
        self._wall = wall

    def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """`Authorization` for one call of `url`."""
        return {"Authorization": f"Bearer {self.token(method, url)}"}

    def token(self, method: str, url: URL) -> str:
        """A JWT that is good for this method, host and path, for two minutes."""
        now = int(self._wall())
        header = {
            "alg": self._algorithm,
            "kid": self.key_id,
            "typ": "JWT",
            "nonce": secrets.token_hex(16),
        }
        claims = {
            "sub": self.key_id,
            "iss": "cdp",
            "iat": now,
            "nbf": now,
            "exp": now + _LIFE_S,
            "uris": [f"{method} {url.host}{url.raw_path}"],
        }
        signed = f"{_segment(header)}.{_segment(claims)}"
        return f"{signed}.{_base64url(self._sign(signed.encode()))}"


def _split(text: str) -> tuple[str, str]:
    """The key's id and secret."""
    text = text.strip()
    if text.startswith("{"):
        return _from_key_file(text)
    key_id, separator, secret = text.partition(":")
    if not separator or not key_id.strip() or not secret.strip():
        raise ValueError(f"not a CDP API key: {_WANTED}")
    return key_id.strip(), secret.strip()


def _from_key_file(text: str) -> tuple[str, str]:
    try:
        file = msgspec.json.decode(text.encode(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise ValueError(f"not the JSON of a CDP key file: {_WANTED}") from None
    key_id = file.get("id") or file.get("name")
    secret = file.get("privateKey")
    if not isinstance(key_id, str) or not isinstance(secret, str) or not key_id or not secret:
        raise ValueError('a CDP key file has "id" or "name", and "privateKey"')
    return key_id, secret


def _signer(secret: str) -> tuple[str, Callable[[bytes], bytes]]:
    if "-----BEGIN" in secret:
        return "ES256", _es256(secret)
    return "EdDSA", _ed25519(secret)


def _es256(pem: str) -> Callable[[bytes], bytes]:
    # Environment variables and JSON in YAML often carry the line ends as two characters.
    text = pem.replace("\\n", "\n").encode()
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the PEM text of the CDP API key holds no usable private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the CDP API key's PEM text must hold an EC key on the curve P-256")
    signing = key

    def sign(message: bytes) -> bytes:
        # JWS wants r and s side by side (RFC 7518, 3.4), the library gives them in DER.
        r, s = decode_dss_signature(signing.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")

    return sign


def _ed25519(text: str) -> Callable[[bytes], bytes]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the CDP API key's secret is neither PEM nor base64: {_WANTED}") from None
    if len(raw) != _ED25519_BYTES:
        raise ValueError(f"an Ed25519 key of CDP has {_ED25519_BYTES} bytes, this has {len(raw)}")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(raw[:32])
    if key.public_key().public_bytes_raw() != raw[32:]:
        raise ValueError("the two halves of the CDP API key do not belong together")
    return key.sign


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(msgspec.json.encode(value))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
