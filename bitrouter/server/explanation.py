"""The answer of GET /admin/explain, which the command line reads as well."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bitrouter.config.schema import Strategy
from bitrouter.routing.table import Source


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
    """What clients of one protocol get: the endpoints in the order in which they are asked, apart
    from load and trouble. `next`, as `provider:model_id`, is the one that the next request would
    ask first as things stand; None if none may be asked now.
    """

    protocol: str
    endpoints: tuple[ExplainedEndpoint, ...]
    next: str | None


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
