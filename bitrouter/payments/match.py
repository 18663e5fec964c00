"""Which of our offers a payment is for (x402.md, sections 4 and 16).

What a client says that it accepted is a claim. It only serves to find our own terms, and from then
on those are used for every check and for the facilitator.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from bitrouter.config.tokens import network_of_v1
from bitrouter.payments.terms import Payload, PaymentRefused, Terms

# Fields of an extension's `info` that are new in each answer, so that the one which the client
# echoes is not the one that we would send now.
_REGENERATED: Final = {
    "sign-in-with-x": frozenset({"nonce", "issuedAt", "expirationTime"}),
}
_NOTHING: Final[frozenset[str]] = frozenset()


def find_match(accepted: object, terms: Sequence[Terms]) -> Terms | None:
    """The first of our terms that `accepted`, as the client sent it, agrees with."""
    if isinstance(accepted, dict):
        for own in terms:
            if _agrees(accepted, own):
                return own
    return None


def differences(accepted: Mapping[str, object], own: Terms) -> list[str]:
    """What would have to be otherwise for `accepted` to agree with `own`, each as a few words."""
    found = [
        f'{name} must be "{wanted}"'
        for name, wanted, agrees in (
            ("scheme", own.scheme, accepted.get("scheme") == own.scheme),
            ("network", own.network, accepted.get("network") == own.network),
            ("amount", own.amount, accepted.get("amount") == own.amount),
            ("asset", own.asset, _same_address(accepted.get("asset"), own.asset)),
            ("payTo", own.pay_to, _same_address(accepted.get("payTo"), own.pay_to)),
        )
        if not agrees
    ]
    if not _same_seconds(accepted.get("maxTimeoutSeconds"), own.max_timeout_seconds):
        found.append(f"maxTimeoutSeconds must be {own.max_timeout_seconds}")
    sent = accepted.get("extra")
    extra = sent if isinstance(sent, dict) else {}
    found += [
        f'extra.{name} must be "{wanted}"'
        for name, wanted in own.extra.items()
        if extra.get(name) != wanted
    ]
    return found


def _agrees(accepted: Mapping[str, object], own: Terms) -> bool:
    return (
        accepted.get("scheme") == own.scheme
        and accepted.get("network") == own.network
        and accepted.get("amount") == own.amount
        and _same_address(accepted.get("asset"), own.asset)
        and _same_address(accepted.get("payTo"), own.pay_to)
        and _same_seconds(accepted.get("maxTimeoutSeconds"), own.max_timeout_seconds)
        and _holds_extra(accepted.get("extra"), own.extra)
    )


def _same_seconds(sent: object, own: int) -> bool:
    return type(sent) is int and sent == own  # True == 1, and 600.0 == 600


def _same_address(sent: object, own: str) -> bool:
    return sent == own or (isinstance(sent, str) and sent.lower() == own.lower())


def _holds_extra(sent: object, own: Mapping[str, str]) -> bool:
    """Whether the client kept every field of `extra`. It may have added some."""
    if sent == own:
        return True
    if not isinstance(sent, dict):
        return not own and sent is None
    return all(sent.get(key) == value for key, value in own.items())


def check_echo(advertised: Mapping[str, object], sent: object) -> None:
    """Check the payload's `extensions` against those of our 402.

    Of an extension that both have, `info` must hold every field that we sent, unchanged. A client
    may leave an extension out, and add others. Raises PaymentRefused.
    """
    if sent is None or not advertised:
        return
    if not isinstance(sent, dict):
        raise PaymentRefused("extension_echo_mismatch")
    for name, extension in advertised.items():
        if name in sent:
            wanted, echoed = _info(extension), _info(sent[name])
            free = _REGENERATED.get(name, _NOTHING)
            if any(
                key not in free and (key not in echoed or not _same(value, echoed[key]))
                for key, value in wanted.items()
            ):
                raise PaymentRefused("extension_echo_mismatch")


def _info(extension: object) -> Mapping[str, object]:
    info = extension.get("info") if isinstance(extension, dict) else None
    return info if isinstance(info, dict) else {}


def _same(one: object, other: object) -> bool:
    """Whether two values are the same JSON. To Python, `true` and 1 are equal."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        other, option=orjson.OPT_SORT_KEYS
    )


def find_v1(payload: Payload, terms: Sequence[Terms]) -> Terms | None:
    """The first of our terms that a payload of version 1 can be for: it names scheme and network,
    knows networks by other names, and only `exact` by EIP-3009.
    """
    name = payload.get("network")
    network = network_of_v1(name) if isinstance(name, str) else None
    if network is None or payload.get("scheme") != "exact":
        return None
    for own in terms:
        if own.scheme == "exact" and own.network == network and not own.uses_permit2:
            return own
    return None
