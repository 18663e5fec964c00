"""The terms of a request: each way to pay that the configuration names, with this request's price.

Only what the facilitator settles is offered, in the configuration's order, for stock clients take
the first that they can (x402.md, section 3).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bitrouter.config.schema import X402
from bitrouter.config.schema import Offer as Setting
from bitrouter.config.tokens import token_of, v1_name
from bitrouter.payments.price import Quote
from bitrouter.payments.supported import FACILITATOR_ADDRESS, SupportedKinds
from bitrouter.payments.terms import X402_VERSION, Terms

_METHOD: Final = "assetTransferMethod"
_PERMIT2: Final = "permit2"
_UPTO: Final = "upto"
_SERVICE: Final = "BitRouter"
_MIME_TYPE: Final = "application/json"


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    """What is sold: `url` is absolute, and made of our own address."""

    url: str
    description: str
    mime_type: str = _MIME_TYPE
    service_name: str = _SERVICE


class Priced(msgspec.Struct, frozen=True):
    """Terms, and how many decimals their token has."""

    terms: Terms
    decimals: int


class _Way:
    """One way to pay, as configured."""

    __slots__ = ("asset", "decimals", "extra", "network", "pay_to", "scheme")

    def __init__(self, setting: Setting) -> None:
        token = token_of(setting)
        self.scheme: str = setting.scheme
        self.network = setting.network
        self.asset = token.address
        self.pay_to: str = setting.pay_to
        self.decimals = token.decimals
        self.extra = {"name": token.name, "version": token.version}
        if self.scheme == _UPTO or setting.asset_transfer_method == _PERMIT2:
            self.extra[_METHOD] = _PERMIT2

    def is_named_by(self, accepted: Mapping[str, object]) -> bool:
        """Whether terms that say this could be of this way: see `match.find_match`."""
        return accepted.get("scheme") == self.scheme and accepted.get("network") == self.network

    def terms(self, quote: Quote, max_timeout_s: int, facilitator: str | None) -> Priced:
        extra = self.extra
        if facilitator is not None:
            extra = {**extra, FACILITATOR_ADDRESS: facilitator}
        amount = str(quote.ceiling(self.decimals))
        terms = Terms(
            self.scheme, self.network, amount, self.asset, self.pay_to, max_timeout_s, extra
        )
        return Priced(terms, self.decimals)


class Offers:
    """The ways to pay of one configuration."""

    def __init__(self, settings: X402, kinds: SupportedKinds) -> None:
        self._ways = [_Way(one) for one in settings.accepts]
        self._max_timeout_s = int(settings.max_timeout)
        self._kinds = kinds

    def terms(self, quote: Quote) -> list[Priced]:
        """What is offered now, in order of preference; empty when nobody could settle any of it."""
        return [
            way.terms(quote, self._max_timeout_s, facilitator)
            for way, accounts in self._settled(self._ways)
            for facilitator in accounts[:1]
        ]

    def acceptable(self, quote: Quote, accepted: object = None) -> list[Priced]:
        """The same, with what was offered until a moment ago and still does. Of ways to pay that
        `accepted`, what a client says that it took, cannot be meant for, nothing is worked out.
        """
        ways = self._ways
        if isinstance(accepted, dict):
            ways = [way for way in ways if way.is_named_by(accepted)]
        return [
            way.terms(quote, self._max_timeout_s, facilitator)
            for way, accounts in self._settled(ways)
            for facilitator in accounts
        ]

    def _settled(self, ways: Iterable[_Way]) -> Iterable[tuple[_Way, Sequence[str | None]]]:
        """Those ways that the facilitator knows, each with the accounts of its that may settle."""
        for way in ways:
            if self._kinds.extra(way.scheme, way.network) is None:
                continue
            if way.scheme != _UPTO:
                yield way, (None,)
            elif accounts := self._kinds.addresses(way.scheme, way.network):
                yield way, accounts


def required(
    error: str, resource: Resource, terms: Sequence[Terms], extensions: Mapping[str, Any]
) -> dict[str, Any]:
    """PaymentRequired, to be written into the header and into the body."""
    answer: dict[str, Any] = {
        "x402Version": X402_VERSION,
        "error": error,
        "resource": resource,
        "accepts": terms,
    }
    if extensions:
        answer["extensions"] = extensions
    return answer


def v1_accepts(resource: Resource, terms: Sequence[Terms]) -> list[dict[str, Any]]:
    """The same terms for clients of version 1, which read them in the body; `exact` by the token
    itself is all that they know (x402.md, section 16).
    """
    accepts = []
    for one in terms:
        name = v1_name(one.network)
        if one.scheme != "exact" or one.uses_permit2 or name is None:
            continue
        accepts.append(
            {
                "scheme": one.scheme,
                "network": name,
                "maxAmountRequired": one.amount,
                "resource": resource.url,
                "description": resource.description,
                "mimeType": resource.mime_type,
                "payTo": one.pay_to,
                "maxTimeoutSeconds": one.max_timeout_seconds,
                "asset": one.asset,
                "extra": one.extra,
            }
        )
    return accepts
