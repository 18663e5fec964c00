"""Tokens for the hosted facilitator, checked with the public half of the key."""

import base64
import json
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from yarl import URL

from bitrouter.config.schema import Facilitator as Settings
from bitrouter.config.schema import Secret
from bitrouter.errors import ConfigError
from bitrouter.payments.cdp import CdpCredential
from bitrouter.payments.credential import credential

NOW = 1_800_000_000
VERIFY = URL("https://api.cdp.coinbase.com/platform/v2/x402/verify")

EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8
        if isinstance(key, ed25519.Ed25519PrivateKey)
        else serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


PEM = pem(EC_KEY)
ED_TEXT = base64.b64encode(
    ED_KEY.private_bytes_raw() + ED_KEY.public_key().public_bytes_raw()
).decode()


def signer(token: str) -> CdpCredential:
    return CdpCredential(Secret(token), lambda: NOW + 0.7)


def parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """Header, claims, what was signed, the signature."""
    header, claims, signature = token.split(".")
    decoded = [base64.urlsafe_b64decode(part + "==") for part in (header, claims, signature)]
    return (
        json.loads(decoded[0]),
        json.loads(decoded[1]),
        f"{header}.{claims}".encode(),
        decoded[2],
    )


EC_FORMS = {
    "KEY_ID:PEM": f"organizations/1/apiKeys/2:{PEM}",
    "KEY_ID:PEM in one line": "organizations/1/apiKeys/2:" + PEM.replace("\n", "\\n"),
    "key file": json.dumps({"name": "organizations/1/apiKeys/2", "privateKey": PEM}),
}
ED_FORMS = {
    "KEY_ID:base64": f"organizations/1/apiKeys/2:{ED_TEXT}",
    "key file": json.dumps({"id": "organizations/1/apiKeys/2", "privateKey": ED_TEXT}),
}


@pytest.mark.parametrize("form", EC_FORMS.values(), ids=EC_FORMS)
def test_es256_tokens_bear_their_keys_signature(form: str) -> None:
    header, _, signed, signature = parts(signer(form).token("POST", VERIFY))

    assert header["alg"] == "ES256"
    assert header["kid"] == "organizations/1/apiKeys/2"
    assert len(signature) == 64
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    EC_KEY.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        EC_KEY.public_key().verify(
            encode_dss_signature(r, s), signed + b"x", ec.ECDSA(hashes.SHA256())
        )


@pytest.mark.parametrize("form", ED_FORMS.values(), ids=ED_FORMS)
def test_eddsa_tokens_bear_their_keys_signature(form: str) -> None:
    header, _, signed, signature = parts(signer(form).token("POST", VERIFY))

    assert header["alg"] == "EdDSA"
    ED_KEY.public_key().verify(signature, signed)


def test_a_token_is_good_for_one_call_and_two_minutes() -> None:
    header, claims, _, _ = parts(signer(f"id:{ED_TEXT}").token("POST", VERIFY))

    assert header["typ"] == "JWT"
    assert claims == {
        "sub": "id",
        "iss": "cdp",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 120,
        "uris": ["POST api.cdp.coinbase.com/platform/v2/x402/verify"],
    }


def test_no_two_tokens_have_the_same_nonce() -> None:
    known = signer(f"id:{ED_TEXT}")

    nonces = {parts(known.token("GET", VERIFY))[0]["nonce"] for _ in range(10)}

    assert len(nonces) == 10


def test_the_header_is_a_bearer_token() -> None:
    headers = signer(f"id:{ED_TEXT}").headers("POST", VERIFY)

    assert list(headers) == ["Authorization"]
    assert headers["Authorization"].startswith("Bearer ey")


UNUSABLE = {
    "no colon": "just-a-word",
    "no id": f":{ED_TEXT}",
    "no secret": "id:",
    "not base64": "id:!!!!",
    "too short": "id:" + base64.b64encode(b"x" * 32).decode(),
    "halves of two keys": "id:" + base64.b64encode(ED_KEY.private_bytes_raw() + b"y" * 32).decode(),
    "not PEM": "id:-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----",
    "another curve": "id:" + pem(ec.generate_private_key(ec.SECP384R1())),
    "another kind of key": "id:" + pem(ED_KEY),
    "a key file that is none": "{",
    "a key file of something else": json.dumps({"a": 1}),
    "a key file with a number": json.dumps({"id": 1, "privateKey": ED_TEXT}),
}


@pytest.mark.parametrize("token", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_cannot_be_used_is_told_without_showing_it(token: str) -> None:
    settings = Settings(url="https://x.example", auth="cdp_jwt", token=Secret(token))

    with pytest.raises(ConfigError, match=r"payments\.x402\.facilitator\.token") as caught:
        credential(settings, lambda: NOW)

    shown = str(caught.value)
    for secret in (ED_TEXT, token.partition(":")[2].strip()):
        assert not secret or secret not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("auth", ["bearer", "cdp_jwt"])
def test_a_token_that_is_missing_is_told(auth: str) -> None:
    settings = Settings(url="https://x.example", auth="bearer" if auth == "bearer" else "cdp_jwt")

    with pytest.raises(ConfigError, match=f"needed where `auth` is {auth}"):
        credential(settings, lambda: NOW)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bitrouter.payments.cdp", "cryptography"):
        for module in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    settings = Settings(url="https://x.example", auth="cdp_jwt", token=Secret(f"id:{ED_TEXT}"))

    with pytest.raises(ConfigError, match=r'pip install "bitrouter\[cdp\]"'):
        credential(settings, lambda: NOW)
