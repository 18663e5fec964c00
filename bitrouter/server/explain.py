"""What would happen to a request for a model: its route, whom it may reach, in which protocol, why.

Nothing is decided here. `exchange.choose` decides, for requests and for this.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from bitrouter.config.schema import Config, Strategy, Traits
from bitrouter.config.traits import traits_of
from bitrouter.errors import InvalidRequest
from bitrouter.exchange.choose import Choice, choices
from bitrouter.protocols import BY_API_PROTOCOL, CODECS
from bitrouter.protocols.codec import Codec
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Route, RouteTable, Source

# The state of an endpoint's circuit breaker, by its key.
States = Callable[[str], State]

_USUAL: Final[dict[str, Any]] = msgspec.structs.asdict(Traits())


class ExplainedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, and the protocol (a word of api_protocol) that it would be asked in.

    `native` says that the bytes pass through, otherwise they are translated. `usable` is false for
    one that is passed over. `share`, at most 1, is what part of all requests is sent there first,
    where they are spread. `state` is that of its circuit breaker unless it is closed, `traits` are
    those by which a translation differs from the usual.
    """

    provider: str
    model_id: str
    protocol: str
    native: bool
    usable: bool
    reason: str
    share: float | UnsetType = UNSET
    state: str | UnsetType = UNSET
    traits: dict[str, Any] | UnsetType = UNSET


class ExplainedClient(msgspec.Struct, frozen=True):
    """What clients of one protocol get: the endpoints in the order in which they are asked."""

    protocol: str
    endpoints: tuple[ExplainedEndpoint, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How the name `model` resolves, and what a request to generate would do.

    `route` is the route's own name: a pattern if `wildcard`, and `provider:model_id` if its source
    is `direct`. At most `max_attempts` attempts are made for one request.
    """

    model: str
    route: str
    source: Source
    wildcard: bool
    shadows: bool
    strategy: Strategy
    max_attempts: int
    clients: tuple[ExplainedClient, ...]


def read_question(names: Sequence[str], words: Sequence[str]) -> tuple[str, Sequence[Codec]]:
    """The model, and the codecs of the clients to explain it for: all unless `words` says whose.

    Raises InvalidRequest unless there is one name, and words of api_protocol alone.
    """
    if len(names) != 1 or not names[0]:
        raise InvalidRequest("model must be given, once: GET /admin/explain?model=NAME")
    unknown = [word for word in words if word not in BY_API_PROTOCOL]
    if unknown:
        allowed = ", ".join(BY_API_PROTOCOL)
        raise InvalidRequest(f"protocol: there is no {unknown[0]!r:.80}; allowed: {allowed}")
    return names[0], [one for one in CODECS if not words or one.api_protocol in words]


def explain(
    table: RouteTable, config: Config, states: States, name: str, codecs: Iterable[Codec]
) -> Explanation:
    """The explanation for clients of these protocols. Raises RouteNotFound.

    `shadows` says that a dynamic route stands before a configured one of the same name.
    """
    route = table.resolve(name)
    is_direct = route.source == "direct"
    own_name = route.endpoints[0].key if is_direct else route.label
    return Explanation(
        model=name,
        route=own_name,
        source=route.source,
        wildcard=not is_direct and own_name.endswith("*"),
        shadows=route.source == "dynamic" and own_name in config.models,
        strategy=route.strategy,
        max_attempts=config.retry.max_attempts,
        clients=tuple(_for_client(route, codec, states) for codec in codecs),
    )


def _for_client(route: Route, codec: Codec, states: States) -> ExplainedClient:
    endpoints = tuple(_endpoint(choice, states) for choice in choices(route, codec))
    return ExplainedClient(codec.api_protocol, endpoints)


def _endpoint(choice: Choice, states: States) -> ExplainedEndpoint:
    endpoint = choice.endpoint
    state = states(endpoint.key)
    return ExplainedEndpoint(
        provider=endpoint.provider.name,
        model_id=endpoint.model_id,
        protocol=choice.codec.api_protocol,
        native=choice.native,
        usable=endpoint.provider.unusable is None,
        reason=choice.reason,
        share=UNSET if choice.share is None else round(choice.share, 4),
        state=UNSET if state is State.CLOSED else state.value,
        traits=UNSET if choice.native else _unusual(choice),
    )


def _unusual(choice: Choice) -> dict[str, Any]:
    endpoint = choice.endpoint
    traits = traits_of(endpoint.provider, choice.codec.api_protocol, endpoint.model_id)
    given = msgspec.structs.asdict(traits)
    return {name: value for name, value in given.items() if value != _USUAL[name]}
