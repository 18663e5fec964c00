"""What would happen to a request for a model: its route, whom it may reach, in which protocol, why.

Nothing is decided here. `exchange.choose` and `upstream.failover` decide, for requests and for
this.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from bitrouter.config.schema import Traits
from bitrouter.config.traits import traits_of
from bitrouter.errors import InvalidRequest
from bitrouter.exchange.choose import Choice, candidates, choices, generating
from bitrouter.protocols import BY_API_PROTOCOL, CODECS
from bitrouter.protocols.codec import Codec
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Endpoint, Route
from bitrouter.server.explanation import ExplainedClient, ExplainedEndpoint, Explanation
from bitrouter.server.services import Services
from bitrouter.upstream.failover import first_asked

# The state of an endpoint's circuit breaker, by its key.
States = Callable[[str], State]

_USUAL: Final[dict[str, Any]] = msgspec.structs.asdict(Traits())


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


def explain(services: Services, name: str, codecs: Iterable[Codec]) -> Explanation:
    """The explanation for clients of these protocols. Raises RouteNotFound.

    `shadows` says that a dynamic route stands before a configured one of the same name.
    """
    config = services.routes.config
    route = services.routes.current.resolve(name)
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
        clients=tuple(_for_client(services, route, codec) for codec in codecs),
    )


def _for_client(services: Services, route: Route, codec: Codec) -> ExplainedClient:
    endpoints = tuple(_endpoint(choice, services.state_of) for choice in choices(route, codec))
    following = _next(services, route, codec)
    return ExplainedClient(codec.api_protocol, endpoints, following.key if following else None)


def _next(services: Services, route: Route, codec: Codec) -> Endpoint | None:
    """Whom the next request asks first, by what decides it for requests, on a twin of its state."""
    asked = candidates(route, codec, generating(codec), services.balancer.twin(route.label))
    breakers = services.breakers.twin([one.key for one in asked])
    return first_asked(asked, breakers, asyncio.get_running_loop().time())


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
