"""The tokens that can be paid with: the known deployments of USDC, and those of the user's."""

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from bitrouter.config.decode import convert
from bitrouter.config.document import read_document
from bitrouter.config.schema import Offer

USDC: Final = "usdc"  # what an offer's `asset` may say instead of an address

_TABLE: Final = Path(__file__).with_name("tokens.yaml")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An ERC-20 contract. `name` and `version` are of its EIP-712 domain; `v1` is what version 1
    of x402 calls its network, None where it has no name for it.
    """

    address: str
    name: str
    version: str
    decimals: int
    v1: str | None = None


@cache
def known_usdc() -> dict[str, Token]:
    """The deployments of USDC by network: `config/tokens.yaml`. Read when payments are checked, so
    that no request waits for it.
    """
    return convert(read_document(_TABLE.read_bytes(), _TABLE.name).root, dict[str, Token])


@cache
def _networks_of_v1() -> dict[str, str]:
    return {token.v1: network for network, token in known_usdc().items() if token.v1 is not None}


def network_of_v1(name: str) -> str | None:
    """The CAIP-2 name of a network by its name in version 1 of x402; None for an unknown one."""
    return _networks_of_v1().get(name)


def v1_name(network: str) -> str | None:
    """What version 1 of x402 calls a network; None where it has no name for it."""
    token = known_usdc().get(network)
    return token.v1 if token else None


def token_of(offer: Offer) -> Token:
    """The token that an offer wants, which `checks` has found to be a known one or complete."""
    if offer.name is not None and offer.version is not None and offer.decimals is not None:
        return Token(offer.asset, offer.name, offer.version, offer.decimals)
    return known_usdc()[offer.network]
