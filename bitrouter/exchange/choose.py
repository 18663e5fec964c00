"""Which endpoints a request may be sent to, in which order, and in which protocol.

The client's own protocol wins: where a provider speaks it, the bytes pass through untouched, so
those endpoints come first. The others follow and are translated for. `routes explain` shows what
these functions say, and the request path does it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from bitrouter.config.traits import translation_protocol
from bitrouter.errors import TranslationUnavailable
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import Operation
from bitrouter.protocols.codec import Codec
from bitrouter.routing.strategy import Balancer
from bitrouter.routing.table import Endpoint, Route

COUNT_TOKENS: Final = "count_tokens"  # an operation that can be estimated
_TRANSLATED: Final = frozenset({"generate"})


class Choice(msgspec.Struct, frozen=True):
    """One endpoint that may be asked, in the protocol that it would be asked in.

    `native` says that the bytes pass through; `reason` is one sentence for people. Where requests
    are spread, `share` of them, at most 1, are sent there first.
    """

    endpoint: Endpoint
    codec: Codec
    native: bool
    reason: str
    share: float | None = None


_SPOKEN: Final = "spoken to clients of other protocols"


def spoken(endpoint: Endpoint, codec: Codec) -> Codec:
    """The protocol in which an endpoint is asked for a client of `codec`: the client's own if the
    provider has it, else the one that serves its model best (see `translation_protocol`).
    """
    provider = endpoint.provider
    if codec.api_protocol in provider.protocols:
        return codec
    best: Codec | None = endpoint.prepared.get(_SPOKEN)
    if best is None:
        best = BY_API_PROTOCOL[translation_protocol(provider, endpoint.model_id)]
        endpoint.prepared[_SPOKEN] = best
    return best


def candidates(
    route: Route, codec: Codec, operation: Operation, balancer: Balancer
) -> Sequence[Endpoint]:
    """The endpoints for one request, in the order in which they are asked.

    Those that speak the client's protocol are balanced among themselves; the others, for an
    operation that can be translated, come after them as configured, or are balanced if they are
    all there is. Without any that counts tokens there is none. Raises TranslationUnavailable for
    any other operation that none of them has.
    """
    native, foreign = route.by_preference(codec.api_protocol)
    if not is_generating(operation):
        if not native and operation.name != COUNT_TOKENS:
            raise TranslationUnavailable(_not_translated(route, codec, operation))
        return balancer.order(route, native)
    first = balancer.order(route, native or foreign)
    return (*first, *foreign) if native and foreign else first


def is_generating(operation: Operation) -> bool:
    """Whether an operation is the main one of its protocol, which alone can be translated."""
    return operation.name in _TRANSLATED


def generating(codec: Codec) -> Operation:
    """The main operation of a protocol."""
    return next(one for one in codec.operations if is_generating(one))


def choices(route: Route, codec: Codec) -> tuple[Choice, ...]:
    """All that `candidates` can give for generating, and all that is left out, each with why.

    In the order of `candidates` before it is balanced.
    """
    native, foreign = route.by_preference(codec.api_protocol)
    asked = candidates(route, codec, generating(codec), _UNBALANCED)
    left_out = tuple(one for one in route.endpoints if one not in asked)
    shares = _shares(route, native or foreign)
    return tuple(
        _choice(route, one, codec, bool(native), shares.get(one.key)) for one in (*asked, *left_out)
    )


class _Unbalanced(Balancer):
    """Leaves the order as it is configured."""

    def order(self, route: Route, candidates: Sequence[Endpoint]) -> Sequence[Endpoint]:
        return candidates


_UNBALANCED: Final = _Unbalanced()


def _shares(route: Route, balanced: tuple[Endpoint, ...]) -> dict[str, float]:
    """What share of requests each endpoint, by its key, is the first for; see `candidates`."""
    if route.strategy == "priority" or len(balanced) < 2:
        return {}
    total = sum(one.weight for one in balanced)
    return {one.key: one.weight / total for one in balanced}


def _choice(
    route: Route, endpoint: Endpoint, codec: Codec, any_native: bool, share: float | None
) -> Choice:
    speaks = spoken(endpoint, codec)
    native = speaks is codec
    provider = endpoint.provider
    if provider.unusable is not None:
        reason = f"not usable: {provider.unusable}"
    elif native:
        reason = f"speaks the client's protocol {codec.api_protocol}: bytes pass through"
        if route.rescue is not None:
            reason += ", but streams are written anew, so that they can be rescued"
    elif any_native:
        reason = f"speaks {speaks.api_protocol}: after those that speak {codec.api_protocol}"
    else:
        reason = (
            f"speaks {speaks.api_protocol}: translated, no endpoint speaks {codec.api_protocol}"
        )
    return Choice(endpoint, speaks, native, reason, share)


def _not_translated(route: Route, codec: Codec, operation: Operation) -> str:
    words = sorted({word for e in route.endpoints for word in e.provider.protocols})
    return (
        f"model {route.name!r} is served in the protocol {' or '.join(words)}, not in"
        f" {codec.api_protocol}; {operation.name} is not translated between protocols"
    )
