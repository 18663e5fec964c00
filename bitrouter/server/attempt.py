"""One attempt: a request asked of one endpoint, up to the point where the answer is certain."""

import asyncio
import functools
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from multidict import CIMultiDict

from bitrouter.config.schema import Limits, Secret
from bitrouter.errors import (
    BadResponse,
    Rejected,
    UpstreamError,
    UpstreamUnavailable,
    is_about_router,
    is_worth_elsewhere,
)
from bitrouter.exchange.exchange import Exchange, Means, is_translated
from bitrouter.exchange.exchange import begin as begin_exchange
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.plan import Target
from bitrouter.protocols.base import CONTENT_TYPES, Framing
from bitrouter.routing.table import Endpoint
from bitrouter.server.answers import base_headers
from bitrouter.server.record import Record
from bitrouter.server.relay import StreamAnswer, WholeAnswer, await_first_event, masked
from bitrouter.server.services import Services
from bitrouter.upstream.deadline import Deadline
from bitrouter.upstream.retry_after import RETRY_HEADERS, retry_after_s
from bitrouter.upstream.session import UpstreamResponse
from bitrouter.upstream.slots import Slots

_MAX_ERROR_BYTES: Final = 1 << 20
_PAYMENT_REQUIRED: Final = 402
# It is a rate limit by its status, and no waiting helps (protocols.md, 2.12).
_NO_CREDIT: Final = "insufficient_quota"
_DROPPED: Final = "x-bitrouter-dropped"
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_MAX_DROPPED: Final = 32
_LARGE_BODY: Final = 256 << 10  # reliability.md, section 5

Begin = Callable[[Endpoint, Target, Means], Exchange]


def is_large(inquiry: Inquiry) -> bool:
    """Whether reading the request as a whole would keep the event loop from its other work."""
    return len(inquiry.request.body) > _LARGE_BODY


async def ask(
    services: Services,
    inquiry: Inquiry,
    record: Record,
    deadline: Deadline,
    endpoint: Endpoint,
    *,
    begin: Begin | None = None,
) -> WholeAnswer | StreamAnswer:
    """Ask one endpoint. Raises UpstreamError when it gives no answer to pass on, and
    UnsupportedFeature when it cannot be asked this. `begin` is how, if not as the client did.
    """
    provider = endpoint.provider
    if provider.unusable is not None:
        raise UpstreamUnavailable(f"provider {provider.name!r} is not usable: {provider.unusable}")
    target = await services.find_target(provider)
    if is_large(inquiry) and (begin is not None or is_translated(inquiry, endpoint)):
        # Translating a megabyte takes some milliseconds, in which nobody else would be served.
        exchange = await asyncio.to_thread(
            begin or functools.partial(begin_exchange, inquiry), endpoint, target, services.means
        )
    elif begin is not None:
        exchange = begin(endpoint, target, services.means)
    else:
        exchange = begin_exchange(inquiry, endpoint, target, services.means)
    record.called_at = perf_counter()
    stream = exchange.framing is not Framing.WHOLE
    opening = services.upstream.open(
        exchange.call, endpoint.timeouts, stream=stream, deadline=deadline
    )
    if endpoint.max_concurrency is None:
        upstream = await opening
    else:
        upstream = await _in_a_slot(services.slots, endpoint, endpoint.max_concurrency, opening)
    record.upstream_request_id = _request_id(upstream)
    limits = services.routes.config.limits
    wanted = inquiry.request
    attempt = Attempt(
        exchange,
        wanted.framing,
        inquiry.codec.keepalive if wanted.framing is Framing.SSE else b"",
        endpoint,
        target.api_key,
        upstream,
        limits,
        record,
        services.means.wall,
    )
    try:
        return await attempt.answer()
    except BaseException:
        upstream.close()
        raise


async def _in_a_slot(
    slots: Slots, endpoint: Endpoint, limit: int, opening: Coroutine[Any, Any, UpstreamResponse]
) -> UpstreamResponse:
    """Call once a slot is free, and keep it until the answer is over."""
    try:
        await slots.take(endpoint.key, limit)
    except BaseException:
        opening.close()
        raise
    give = functools.partial(slots.give, endpoint.key)
    try:
        upstream = await opening
    except BaseException:
        give()
        raise
    upstream.when_over(give)
    return upstream


def _request_id(upstream: UpstreamResponse) -> str | None:
    return upstream.headers.get("x-request-id") or upstream.headers.get("request-id")


@dataclass(slots=True)
class Attempt:
    """A call whose answer's head has come, until it is known what the answer is worth.

    `wall` gives Unix time.
    """

    exchange: Exchange
    client_framing: Framing
    keepalive: bytes
    endpoint: Endpoint
    api_key: Secret | None
    upstream: UpstreamResponse
    limits: Limits
    record: Record
    wall: Callable[[], float]

    async def answer(self) -> WholeAnswer | StreamAnswer:
        """The answer, certain. Raises UpstreamError."""
        status = self.upstream.status
        if 400 <= status < 600:
            raise await self._refusal()
        if not 200 <= status < 300:
            raise BadResponse(f"the upstream answered with status {status}")
        if self.exchange.framing is Framing.WHOLE:
            return await self._read_whole()
        return await self._begin_stream()

    async def _read_whole(self) -> WholeAnswer:
        """Read the whole answer and see that it is whole: it must be JSON to its end."""
        upstream = self.upstream
        body = await upstream.read_body(self.limits.max_response_bytes)
        whole = self.exchange.read_whole(body)
        self.record.answered_at = perf_counter()
        upstream.release()
        headers = self._client_headers()
        headers["Content-Type"] = whole.content_type or upstream.headers.get(
            "Content-Type", CONTENT_TYPES[Framing.WHOLE]
        )
        return WholeAnswer(upstream.status, headers, whole.body, whole.usage)

    async def _begin_stream(self) -> StreamAnswer:
        """Wait for the first event, which decides whether there is a stream to pass on."""
        expected = CONTENT_TYPES[self.exchange.framing]
        if self.upstream.content_type not in (expected, ""):
            raise BadResponse(f"the upstream's answer is not a stream of {expected}")
        transform = self.exchange.transform(self.limits.max_event_bytes)
        idle_s = self.endpoint.timeouts.idle
        opening, ended = await await_first_event(self.upstream, transform, idle_s, self.api_key)
        self.record.answered_at = self.record.first_byte_at = perf_counter()
        headers = self._client_headers()
        headers["Content-Type"] = self._stream_type()
        headers["Cache-Control"] = "no-cache"
        headers["X-Accel-Buffering"] = "no"
        return StreamAnswer(
            headers, self.upstream, transform, opening, ended, self.api_key, self.keepalive
        )

    async def _refusal(self) -> Rejected:
        """The endpoint's error answer. Its own words pass on, but no credential that they may
        hold, and no page of some proxy on the way.
        """
        status = self.upstream.status
        try:
            body = await self.upstream.read_body(_MAX_ERROR_BYTES)
        except UpstreamError:
            body = b""
        refusal = self.exchange.read_refusal(status, body)
        failure = refusal.failure
        headers = dict(self._relayed_headers())
        wait_s = retry_after_s(self.upstream.headers, self.wall())
        if wait_s is None:
            wait_s = failure.retry_after_s
            for name in RETRY_HEADERS:  # if there are any, they make no sense
                headers.pop(name, None)
        if failure.code == _NO_CREDIT:
            headers["x-should-retry"] = "false"
        status = 401 if self.exchange.codec.blames_key(body) else failure.status
        if is_about_router(status, failure.code):
            return self._own_trouble(status, headers)
        return Rejected(
            failure.status,
            masked(failure.message.encode(), self.api_key).decode(),
            headers=headers,
            body=masked(refusal.body, self.api_key),
            retryable=is_worth_elsewhere(failure.status, failure.code),
            retry_after_s=wait_s,
            code=failure.code,
        )

    def _own_trouble(self, status: int, headers: dict[str, str]) -> Rejected:
        """What is not the client's affair, in words that do not make it doubt its own key."""
        return Rejected(
            502 if status == _PAYMENT_REQUIRED else status,  # or the client would pay for it
            f"provider {self.endpoint.provider.name!r} refused the router's own credential;"
            " this is for the router's operator to mend",
            headers=headers,
            body=b"",
            retryable=True,
            code="upstream_error",  # the protocol's word would blame the client's key
            blames_router=True,
        )

    def _client_headers(self) -> CIMultiDict[str]:
        """Our own headers, and of the provider's those that the client's protocol looks for."""
        headers = base_headers(self.record.request_id)
        headers.update(self._relayed_headers())
        if self.record.upstream_request_id:
            headers["x-bitrouter-upstream-request-id"] = self.record.upstream_request_id
        if self.exchange.dropped:
            headers[_DROPPED] = _listed(self.exchange.dropped)
        return headers

    def _relayed_headers(self) -> Iterator[tuple[str, str]]:
        allowed = self.exchange.relayed_headers
        for name, value in self.upstream.headers.items():
            if name.lower() in allowed:
                yield name.lower(), value

    def _stream_type(self) -> str:
        if self.exchange.framing is not self.client_framing:
            return CONTENT_TYPES[self.client_framing]
        return self.upstream.headers.get("Content-Type") or CONTENT_TYPES[self.client_framing]


def _listed(names: tuple[str, ...]) -> str:
    """The names as the header's value. They are the client's own, and may be anything."""
    plain = [name for name in names if _FIELD_NAME.fullmatch(name)]
    return ",".join(plain[:_MAX_DROPPED]) or "unnamed"
