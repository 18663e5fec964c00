"""One attempt: a request asked of one endpoint, up to the point where the answer is certain."""

import asyncio
import functools
import re
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Secret
from bitrouter.errors import (
    BadResponse,
    BodyTooLarge,
    Rejected,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    is_about_router,
    is_worth_elsewhere,
)
from bitrouter.exchange.exchange import Exchange, Means, is_translated
from bitrouter.exchange.exchange import begin as begin_exchange
from bitrouter.exchange.inquiry import Inquiry, Whole
from bitrouter.exchange.plan import Target
from bitrouter.protocols.base import CONTENT_TYPES, Framing
from bitrouter.routing.table import Endpoint
from bitrouter.server.answers import own_headers
from bitrouter.server.aside import aside
from bitrouter.server.buffers import Lease
from bitrouter.server.record import Notes
from bitrouter.server.relay import Answer, StreamAnswer, WholeAnswer, await_first_event, masked
from bitrouter.server.services import Services
from bitrouter.upstream.deadline import Deadline
from bitrouter.upstream.response import UpstreamResponse
from bitrouter.upstream.retry_after import RETRY_HEADERS, retry_after_s
from bitrouter.upstream.slots import Slots

_MAX_ERROR_BYTES: Final = 1 << 20
_PAYMENT_REQUIRED: Final = 402
# It is a rate limit by its status, and no waiting helps (protocols.md, 2.12).
_NO_CREDIT: Final = "insufficient_quota"
_DROPPED: Final = "x-bitrouter-dropped"
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_MAX_DROPPED: Final = 32
_MAX_ID_CHARS: Final = 256  # of a provider's request id, which is kept for a while
# Translating takes some milliseconds a megabyte, in which nobody else would be served
# (reliability.md, section 5). A thread costs 160 us, and is a gain from here on.
_LARGE: Final = 256 << 10
# A request that passes through is looked over in 2 ms a megabyte, 5 where the text is not ASCII.
LARGE_PASSED: Final = 1 << 20

_TARGET: Final = "target"  # in what is prepared of an endpoint

Begin = Callable[[Endpoint, Target, Means], Exchange]


def is_large(inquiry: Inquiry) -> bool:
    """Whether reading the request as a whole would keep the event loop from its other work."""
    return len(inquiry.request.body) > _LARGE


async def ask(
    services: Services,
    inquiry: Inquiry,
    deadline: Deadline,
    endpoint: Endpoint,
    *,
    begin: Begin | None = None,
) -> Answer:
    """Ask one endpoint. Raises UpstreamError when it gives no answer to pass on, and
    UnsupportedFeature when it cannot be asked this. `begin` is how, if not as the client did.
    """
    target: Target = endpoint.prepared.get(_TARGET) or await _find_target(services, endpoint)
    if len(inquiry.request.body) > _LARGE:
        exchange = await _begin_large(services, inquiry, endpoint, target, begin)
    elif begin is None:
        exchange = begin_exchange(inquiry, endpoint, target, services.means)
    else:
        exchange = begin(endpoint, target, services.means)
    notes = Notes(perf_counter())
    counts = services.metrics.endpoint(endpoint.label)
    counts.inflight += 1
    try:
        opening = services.upstream.open(
            exchange.call,
            endpoint.timeouts,
            stream=exchange.framing is not Framing.WHOLE,
            deadline=deadline,
        )
        if endpoint.max_concurrency is not None:
            opening = _in_slot(services, opening, endpoint, endpoint.max_concurrency, deadline)
        upstream = await opening
    except BaseException:
        counts.ended()
        raise
    upstream.when_over(counts.ended)
    notes.upstream_request_id = _request_id(upstream)
    attempt = Attempt(inquiry, exchange, endpoint, target.api_key, upstream, services, notes)
    try:
        return await attempt.answer()
    except BaseException:
        upstream.close()
        raise


async def _find_target(services: Services, endpoint: Endpoint) -> Target:
    """Where the endpoint's provider is reached, looked up once."""
    provider = endpoint.provider
    if provider.unusable is not None:
        raise UpstreamUnavailable(f"provider {provider.name!r} is not usable: {provider.unusable}")
    target = await services.find_target(provider)
    if provider.embedded is None:  # that of an embedded model may change
        endpoint.prepared[_TARGET] = target
    return target


async def _begin_large(
    services: Services,
    inquiry: Inquiry,
    endpoint: Endpoint,
    target: Target,
    begin: Begin | None,
) -> Exchange:
    """The exchange with an endpoint, begun in a thread if that takes long."""
    is_read = begin is not None or is_translated(inquiry, endpoint)
    if begin is None:
        begin = functools.partial(begin_exchange, inquiry)
    if is_read or len(inquiry.request.body) > LARGE_PASSED:
        return await aside(begin, endpoint, target, services.means)
    return begin(endpoint, target, services.means)


async def _in_slot(
    services: Services,
    opening: Coroutine[Any, Any, UpstreamResponse],
    endpoint: Endpoint,
    most: int,
    deadline: Deadline,
) -> UpstreamResponse:
    """Call an endpoint, once it has a slot free of `most`, kept until the answer is over."""
    slots = services.slots
    try:
        await _take_slot(slots, endpoint, most, deadline)
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


async def _take_slot(slots: Slots, endpoint: Endpoint, limit: int, deadline: Deadline) -> None:
    """Wait for one of the endpoint's slots, not longer than the request may take. Raises
    UpstreamBusy, and UpstreamTimeout where it is the request's own time that is over.
    """
    wait_s = endpoint.timeouts.pool_wait
    left_s = max(deadline.at - asyncio.get_running_loop().time(), 0.0)
    try:
        await slots.take(endpoint.key, limit, min(wait_s, left_s))
    except UpstreamBusy as busy:
        if wait_s <= left_s:
            raise
        raise UpstreamTimeout(
            deadline.timer, deadline.span_s, retryable=False, was_asked=False
        ) from busy


def _request_id(upstream: UpstreamResponse) -> str | None:
    given = upstream.headers.get("x-request-id") or upstream.headers.get("request-id")
    return given and given[:_MAX_ID_CHARS]


class Attempt(msgspec.Struct):
    """A call whose answer's head has come, until it is known what the answer is worth."""

    inquiry: Inquiry
    exchange: Exchange
    endpoint: Endpoint
    api_key: Secret | None
    upstream: UpstreamResponse
    services: Services
    notes: Notes

    __repr__ = object.__repr__  # what a client says is not for a log

    def answer(self) -> Coroutine[Any, Any, Answer]:
        """The answer, certain. Raises UpstreamError."""
        status = self.upstream.status
        if not 200 <= status < 300:
            return self._refuse(status)
        if self.exchange.framing is Framing.WHOLE:
            return self._read_whole()
        return self._begin_stream()

    async def _refuse(self, status: int) -> Answer:
        if 400 <= status < 600:
            raise await self._refusal()
        raise BadResponse(f"the upstream answered with status {status}")

    async def _read_whole(self) -> WholeAnswer:
        """Read the whole answer and see that it is whole: it must be JSON to its end."""
        upstream, exchange = self.upstream, self.exchange
        most = self.services.routes.config.limits.max_response_bytes
        if upstream.is_there:  # what is small has come with its head, and is not worth counting
            body = await upstream.read_body(most)
            whole = exchange.read_whole(body) if len(body) <= _LARGE else await self._read(body)
        else:
            with Lease(self.services.buffers) as lease:
                whole = await self._read(await self._receive(most, lease))
        self.notes.answered_at = perf_counter()
        upstream.release()
        headers = self._client_headers()
        headers["Content-Type"] = whole.content_type or upstream.headers.get(
            "Content-Type", CONTENT_TYPES[Framing.WHOLE]
        )
        return WholeAnswer(upstream.status, headers, whole.body, whole.usage, self.notes)

    async def _receive(self, most: int, lease: Lease) -> bytes:
        try:
            return await self.upstream.read_body(most, lease.take)
        except BodyTooLarge as error:
            raise BadResponse(
                f"the upstream's answer is larger than {self.services.buffers.limit} bytes"
                " (limits.max_buffered_bytes)"
            ) from error

    async def _read(self, body: bytes) -> Whole:
        """See Exchange.read_whole."""
        if len(body) > _LARGE:
            return await aside(self.exchange.read_whole, body)
        return self.exchange.read_whole(body)

    async def _begin_stream(self) -> StreamAnswer:
        """Wait for the first event, which decides whether there is a stream to pass on."""
        expected = CONTENT_TYPES[self.exchange.framing]
        if self.upstream.content_type not in (expected, ""):
            raise BadResponse(f"the upstream's answer is not a stream of {expected}")
        transform = self.exchange.transform(self.services.routes.config.limits.max_event_bytes)
        idle_s = self.endpoint.timeouts.idle
        opening, ended = await await_first_event(self.upstream, transform, idle_s, self.api_key)
        self.notes.answered_at = self.notes.first_byte_at = perf_counter()
        headers = self._client_headers()
        headers["Content-Type"] = self._stream_type()
        headers["Cache-Control"] = "no-cache"
        headers["X-Accel-Buffering"] = "no"
        return StreamAnswer(
            headers,
            self.upstream,
            transform,
            opening,
            ended,
            self.api_key,
            self.inquiry.codec.keepalive if self._client_framing is Framing.SSE else b"",
            self.notes,
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
        headers = self._relayed_headers()
        wait_s = retry_after_s(self.upstream.headers, self.services.means.wall())
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

    def _client_headers(self) -> dict[str, str]:
        """Our own headers, and of the provider's those that the client's protocol looks for."""
        headers = self._relayed_headers()
        headers.update(own_headers(self.inquiry.request_id))
        if self.notes.upstream_request_id:
            headers["x-bitrouter-upstream-request-id"] = self.notes.upstream_request_id
        if self.exchange.dropped:
            headers[_DROPPED] = _listed(self.exchange.dropped)
        return headers

    def _relayed_headers(self) -> dict[str, str]:
        """Of the provider's headers those that may pass, their names in lower case."""
        allowed = self.exchange.relayed_headers
        relayed: dict[str, str] = {}
        for name, value in self.upstream.headers.items():
            if (lowered := name.lower()) in allowed:
                relayed[lowered] = value
        return relayed

    def _stream_type(self) -> str:
        framing = self._client_framing
        if self.exchange.framing is not framing:
            return CONTENT_TYPES[framing]
        return self.upstream.headers.get("Content-Type") or CONTENT_TYPES[framing]

    @property
    def _client_framing(self) -> Framing:
        return self.inquiry.request.framing


def _listed(names: tuple[str, ...]) -> str:
    """The names as the header's value. They are the client's own, and may be anything."""
    plain = [name for name in names if _FIELD_NAME.fullmatch(name)]
    return ",".join(plain[:_MAX_DROPPED]) or "unnamed"
