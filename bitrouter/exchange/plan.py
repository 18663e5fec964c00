"""What is sent to an endpoint for a request."""

from collections.abc import Mapping
from typing import Final

import msgspec

from bitrouter import __version__
from bitrouter.config.schema import Auth, Provider, Secret
from bitrouter.protocols.base import Destination, HeaderReader, Request, UpstreamCall
from bitrouter.protocols.codec import Codec
from bitrouter.routing.table import Endpoint

_FIXED: Final = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"bitrouter/{__version__}",
}


class Target(msgspec.Struct, frozen=True, eq=False):
    """Where a provider is reached, and the key to present there.

    The same as another only if it is the same object, for what is prepared is kept by it.
    """

    api_base: str
    api_key: Secret | None


def plan(
    codec: Codec,
    request: Request,
    endpoint: Endpoint,
    target: Target,
    header: HeaderReader,
    *,
    request_id: str,
    own_headers: Mapping[str, str],
    body: bytes,
) -> UpstreamCall:
    """The call of `codec`'s protocol that asks an endpoint for `request`.

    `own_headers` are the protocol's; of the client's own, which `header` reads, the trace context
    goes further and nothing else.
    """
    slot = (codec.name, request.operation.suffix, request.framing, target)
    to: Destination | None = endpoint.prepared.get(slot)
    if to is None:
        to = _destination(codec, request, endpoint, target)
        endpoint.prepared[slot] = to
    headers = {**own_headers, "X-Request-Id": request_id}
    # reliability.md, 7: an allow-list. All else that a client sends ends here.
    if trace := header("traceparent"):
        headers["traceparent"] = trace
    if state := header("tracestate"):
        headers["tracestate"] = state
    return UpstreamCall(to, headers, body, request.query)


def _destination(codec: Codec, request: Request, endpoint: Endpoint, target: Target) -> Destination:
    provider = endpoint.provider
    return Destination(
        codec.upstream_url(target.api_base, request, endpoint.model_id),
        _FIXED | provider.default_headers | _credential(codec, provider, target),
        endpoint.timeouts.pool_idle,
    )


def _credential(codec: Codec, provider: Provider, target: Target) -> dict[str, str]:
    if not target.api_key:
        return {}
    key = target.api_key.reveal()
    match provider.auth:
        case Auth(type="bearer"):
            return {"Authorization": f"Bearer {key}"}
        case Auth(type="header", header_name=str(name)):
            return {name: key}
        case Auth(type="none"):
            return {}
        case _:
            return codec.credential_headers(key)
