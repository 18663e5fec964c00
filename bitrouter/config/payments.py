"""Rules of the section `payments` that no type expresses. Addresses are money: every one is looked
at as closely as can be done offline.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from sha3 import keccak_256

from bitrouter.config.address import api_base_problem
from bitrouter.config.checks import is_credential
from bitrouter.config.decode import convert, nearest
from bitrouter.config.document import Document, Mapping, Path
from bitrouter.config.schema import X402, Duration, Offer
from bitrouter.config.tokens import USDC, Token, known_usdc, token_of

_X402: Final = ("payments", "x402")
_FACILITATOR: Final = (*_X402, "facilitator")
_OFFERS: Final = (*_X402, "accepts")
_DEFAULTS: Final = X402()
_NOBODY: Final = "0x" + "0" * 40
# Clients and proxies take header lines of 8 KiB at most (x402.md, section 3).
_MOST_OFFERS: Final = 8
_FOREIGN: Final = "give its `name`, `version` and `decimals`, as its contract has them"


def checksum_address(address: str) -> str:
    """An address in the mixed case that is its checksum (EIP-55)."""
    digits = address[2:].lower()
    digest = keccak_256(digits.encode()).hexdigest()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) > 7 else digit
        for digit, nibble in zip(digits, digest, strict=False)
    )


def check_payments(document: Document, *, check_secrets: bool) -> None:
    """URLs; and where payments are on, that all is there, is meant, and goes together."""
    settings = document.mapping(_X402)
    _check_url(document, (*_X402, "public_base_url"))
    _check_url(document, (*_FACILITATOR, "url"))
    _check_rpc_url(document, settings.get("rpc_url"))
    if not _is_on(settings):
        return
    if settings.get("public_base_url") is None:
        message = "`public_base_url` is missing; write where clients reach the router, such as"
        document.report(_X402, f"{message} https://router.example")
    if document.mapping(_FACILITATOR).get("url") is None:
        message = "`facilitator.url` is missing; write who verifies and settles payments"
        document.report(_X402, message)
    _check_token(document, check_secrets=check_secrets)
    _check_times(document, settings)
    _check_offers(document, settings.get("accepts"))


def _is_on(settings: Mapping) -> bool:
    try:
        return convert(settings.get("enabled", False), bool)
    except msgspec.ValidationError:
        return False  # reported as what it is: no boolean


def _check_url(document: Document, path: Path) -> None:
    url = document.mapping(path[:-1]).get(str(path[-1]))
    if isinstance(url, str) and (problem := api_base_problem(url)):
        document.report(path, problem.replace("api_key", "token"))


def _check_rpc_url(document: Document, url: object) -> None:
    # A node's key often stands in its URL, in the query too.
    if isinstance(url, str) and (problem := api_base_problem(url.partition("?")[0])):
        document.report((*_X402, "rpc_url"), problem.replace("`api_key`", "part of the path"))


def _check_token(document: Document, *, check_secrets: bool) -> None:
    """The credential is there where it is sent, and is sent where it is there."""
    facilitator = document.mapping(_FACILITATOR)
    auth, token = facilitator.get("auth", "none"), facilitator.get("token")
    path = (*_FACILITATOR, "token")
    if not token and auth in ("bearer", "cdp_jwt"):
        if check_secrets or not document.from_environment(path):
            message = f"needed with `auth: {auth}`; better a ${{VARIABLE}} than the text"
            document.report(path, message)
    elif token and auth == "none":
        document.report(path, "not sent with `auth: none`; write bearer or cdp_jwt there")
    elif isinstance(token, str) and auth == "bearer" and not is_credential(token):
        document.report(path, "must be visible ASCII characters without spaces")


def _check_times(document: Document, settings: Mapping) -> None:
    """A payment that is signed now must still live for `min_remaining` when it arrives."""
    try:
        longest = Duration.parse(settings.get("max_timeout", _DEFAULTS.max_timeout))
        least = Duration.parse(settings.get("min_remaining", _DEFAULTS.min_remaining))
    except ValueError:
        return
    key = "max_timeout" if "max_timeout" in settings else "min_remaining"
    if longest < 1:
        document.report((*_X402, "max_timeout"), "must be at least 1s")
    elif longest <= least:
        document.report(
            (*_X402, key),
            f"`max_timeout` ({longest:g}s) must be more than `min_remaining` ({least:g}s), or no"
            " payment lives long enough",
        )


def _check_offers(document: Document, accepts: object) -> None:
    if accepts is None or accepts == []:
        document.report(_X402, "`accepts` is empty; write at least one way to pay")
        return
    if isinstance(accepts, list) and len(accepts) > _MOST_OFFERS:
        message = f"at most {_MOST_OFFERS} ways to pay: each 402 names them all in one header"
        document.report(_OFFERS, message)
    seen: dict[tuple[str, ...], int] = {}
    for index, offer in _offers(accepts):
        path = (*_OFFERS, index)
        token = _check_asset(document, path, offer)
        _check_pay_to(document, path, offer, token)
        if token is None:
            continue
        method = "permit2" if offer.uses_permit2 else "eip3009"
        same = (offer.scheme, offer.network, token.address.lower(), method)
        first = seen.setdefault(same, index)
        if first != index:
            document.report(path, f"the same way to pay as accepts[{first}]; one is enough")


def _offers(accepts: object) -> Iterator[tuple[int, Offer]]:
    """Those that have the right shape; what is wrong with the others is reported with it."""
    for index, value in enumerate(accepts if isinstance(accepts, list) else ()):
        try:
            yield index, convert(value, Offer)
        except msgspec.ValidationError:
            continue


def _check_asset(document: Document, path: Path, offer: Offer) -> Token | None:
    """The token of an offer; None when that is unknown, which is reported."""
    known = known_usdc().get(offer.network)
    if offer.asset == USDC and known is None:
        _report_network(document, path, offer.network)
        return None
    if offer.asset != USDC:
        _check_checksum(document, (*path, "asset"), offer.asset)
    is_known = known is not None and offer.asset.lower() == known.address.lower()
    if offer.asset != USDC and not is_known and offer.name is None:
        document.report((*path, "asset"), _unknown_token(offer))
        return None
    token = token_of(offer)
    if is_known and known is not None:
        for key in ("name", "version", "decimals"):
            if getattr(token, key) != getattr(known, key):
                message = f"this is USDC, whose `{key}` is {getattr(known, key)}; or leave it out"
                document.report((*path, key), message)
    return token


def _report_network(document: Document, path: Path, network: str) -> None:
    known = known_usdc()
    message = (
        f"USDC is not known there{nearest(network, known) or ';'} known: {', '.join(known)};"
        " on any other, write the token's address as `asset`, with `name`, `version` and `decimals`"
    )
    document.report_value((*path, "network"), message, network)


def _unknown_token(offer: Offer) -> str:
    for network, token in known_usdc().items():
        if token.address.lower() == offer.asset.lower():
            return f"this is USDC on {network}, and on {offer.network} another token; {_FOREIGN}"
    return f"a token that is not a known USDC; {_FOREIGN}"


def _check_pay_to(document: Document, path: Path, offer: Offer, token: Token | None) -> None:
    path = (*path, "pay_to")
    _check_checksum(document, path, offer.pay_to)
    if offer.pay_to == _NOBODY:
        document.report(path, "the zero address: what is paid to it is lost")
    elif token is not None and offer.pay_to.lower() == token.address.lower():
        document.report(path, "the token's own address: what is paid to it is lost")


def _check_checksum(document: Document, path: Path, address: str) -> None:
    """Mixed case is a checksum (EIP-55); one case alone is none."""
    digits = address[2:]
    if digits in (digits.lower(), digits.upper()) or address == checksum_address(address):
        return
    message = "the checksum is wrong (EIP-55): a digit is not what it should be; copy it again"
    document.report_value(path, message, address)
