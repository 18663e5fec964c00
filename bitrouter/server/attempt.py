"""One attempt: a request asked of one endpoint, up to the point where the answer is certain."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from multidict import CIMultiDict

from bitrouter.config.schema import Limits, Secret
from bitrouter.errors import BadResponse, Rejected, UpstreamError, UpstreamUnavailable
from bitrouter.exchange.plan import plan
from bitrouter.protocols.base import CONTENT_TYPES, Framing, HeaderReader, Request, is_json_object
from bitrouter.protocols.codec import Codec
from bitrouter.routing.table import Endpoint
from bitrouter.server.answers import base_headers
from bitrouter.server.record import Record
from bitrouter.server.relay import StreamAnswer, WholeAnswer, await_first_event, masked
from bitrouter.server.services import Services
from bitrouter.upstream.session import UpstreamResponse

_MAX_ERROR_BYTES: Final = 1 << 20
# Besides every 5xx. 401 and 403 are about the router's own key there, not about the client's.
_RETRYABLE: Final = frozenset({401, 403, 408, 409, 429})
_CREDENTIALS_REFUSED: Final = frozenset({401, 403})
# What a provider's stream must call itself. NDJSON is made of its SSE stream.
_STREAM_TYPES: Final = {
    Framing.SSE: "text/event-stream",
    Framing.NDJSON: "text/event-stream",
    Framing.ARRAY: "application/json",
}


async def ask(
    services: Services,
    codec: Codec,
    wanted: Request,
    header: HeaderReader,
    record: Record,
    endpoint: Endpoint,
) -> WholeAnswer | StreamAnswer:
    """Ask one endpoint. Raises UpstreamError when it gives no answer to pass on."""
    provider = endpoint.provider
    if provider.unusable is not None:
        raise UpstreamUnavailable(f"provider {provider.name!r} is not usable: {provider.unusable}")
    target = await services.find_target(provider)
    call = plan(codec, wanted, endpoint, target, header, record.request_id)
    record.called_at = perf_counter()
    upstream = await services.upstream.open(call, provider.timeouts, stream=wanted.stream)
    record.upstream_request_id = _request_id(upstream)
    limits = services.routes.config.limits
    attempt = Attempt(codec, wanted, endpoint, target.api_key, upstream, limits, record)
    try:
        return await attempt.answer()
    except BaseException:
        upstream.close()
        raise


def _request_id(upstream: UpstreamResponse) -> str | None:
    return upstream.headers.get("x-request-id") or upstream.headers.get("request-id")


@dataclass(slots=True)
class Attempt:
    """A call whose answer's head has come, until it is known what the answer is worth."""

    codec: Codec
    wanted: Request
    endpoint: Endpoint
    api_key: Secret | None
    upstream: UpstreamResponse
    limits: Limits
    record: Record

    async def answer(self) -> WholeAnswer | StreamAnswer:
        """The answer, certain. Raises UpstreamError."""
        status = self.upstream.status
        if 400 <= status < 600:
            raise await self._refusal()
        if not 200 <= status < 300:
            raise BadResponse(f"the upstream answered with status {status}")
        return await (self._begin_stream() if self.wanted.stream else self._read_whole())

    async def _read_whole(self) -> WholeAnswer:
        """Read the whole answer and see that it is whole: it must be JSON to its end."""
        upstream = self.upstream
        body = await upstream.read_body(self.limits.max_response_bytes)
        usage = self.codec.read_usage(self.wanted, body)
        self.record.answered_at = perf_counter()
        upstream.release()
        headers = self._client_headers()
        headers["Content-Type"] = upstream.headers.get("Content-Type", "application/json")
        return WholeAnswer(upstream.status, headers, body, usage)

    async def _begin_stream(self) -> StreamAnswer:
        """Wait for the first event, which decides whether there is a stream to pass on."""
        framing = self.wanted.framing
        expected = _STREAM_TYPES[framing]
        if self.upstream.content_type not in (expected, ""):
            raise BadResponse(f"the upstream's answer is not a stream of {expected}")
        transform = self.codec.passthrough(
            self.wanted, self.limits.max_event_bytes, self.record.request_id
        )
        idle_s = self.endpoint.provider.timeouts.idle
        opening, ended = await await_first_event(self.upstream, transform, idle_s, self.api_key)
        self.record.answered_at = self.record.first_byte_at = perf_counter()
        headers = self._client_headers()
        headers["Content-Type"] = _stream_type(framing, self.upstream)
        headers["Cache-Control"] = "no-cache"
        headers["X-Accel-Buffering"] = "no"
        return StreamAnswer(headers, self.upstream, transform, opening, ended, self.api_key)

    async def _refusal(self) -> Rejected:
        """The endpoint's error answer. Its own words pass on, but no credential that they may
        hold, and no page of some proxy on the way.
        """
        status = self.upstream.status
        try:
            body = await self.upstream.read_body(_MAX_ERROR_BYTES)
        except UpstreamError:
            body = b""
        is_page = self.codec.read_error(body) is None and not is_json_object(body)
        body = b"" if is_page else masked(body, self.api_key)
        detail = self.codec.read_error(body) or f"the upstream answered with status {status}"
        if status in _CREDENTIALS_REFUSED or self.codec.blames_key(body):
            status = max(status, 401)
            detail = (
                f"provider {self.endpoint.provider.name!r} refused the router's own credential;"
                " this is for the router's operator to mend"
            )
            body = b""
        return Rejected(
            status,
            detail,
            headers=dict(self._relayed_headers()),
            body=body,
            retryable=status >= 500 or status in _RETRYABLE,
        )

    def _client_headers(self) -> CIMultiDict[str]:
        """Our own headers, and of the provider's those that its protocol's clients look for."""
        headers = base_headers(self.record.request_id)
        headers.update(self._relayed_headers())
        if self.record.upstream_request_id:
            headers["x-bitrouter-upstream-request-id"] = self.record.upstream_request_id
        return headers

    def _relayed_headers(self) -> Iterator[tuple[str, str]]:
        allowed = self.codec.response_headers
        for name, value in self.upstream.headers.items():
            if name.lower() in allowed:
                yield name, value


def _stream_type(framing: Framing, upstream: UpstreamResponse) -> str:
    if framing is Framing.NDJSON:
        return CONTENT_TYPES[framing]
    return upstream.headers.get("Content-Type") or CONTENT_TYPES[framing]
