"""The way of an answer from the upstream to the client."""

import asyncio
from typing import Final, Protocol

import msgspec
from aiohttp import web

from bitrouter.config.schema import Secret
from bitrouter.errors import (
    BadResponse,
    RouterError,
    StreamRefused,
    UpstreamError,
    is_about_router,
)
from bitrouter.ir import Failure, Usage
from bitrouter.protocols.base import Transform
from bitrouter.redact import redact
from bitrouter.server.aside import LARGE_EVENT, take
from bitrouter.server.keepalive import Keepalive
from bitrouter.server.outgoing import OutStream, send_whole
from bitrouter.server.record import Notes, Record
from bitrouter.server.toll import Toll, WhyEnding
from bitrouter.upstream.response import UpstreamResponse

# How long an upstream may keep its connection open after the protocol's own end of the answer.
_AFTER_END_S: Final = 1.0
_MAX_WORDS: Final = 500  # of a provider's, in an error of ours
TRUNCATED: Final = "truncated"  # the outcome of a stream that ended before its answer did
# How much may come before the first event: comments that say that the model is thinking.
_MAX_BEFORE_FIRST_EVENT: Final = 1 << 20


class WholeAnswer(msgspec.Struct, frozen=True):
    """A complete answer: nothing of it can fail any more. `notes` are of the attempt it came of.

    `headers` has each name once, whatever its case: a plain dictionary costs half as much.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    usage: Usage | None
    notes: Notes


class StreamAnswer(msgspec.Struct, frozen=True):
    """A stream whose first event has come.

    `opening` is what the client gets of it first; `ended` that the upstream had no more. `api_key`
    is what the provider was shown, and must not say again. `keepalive` may be sent while it is
    silent. `notes` are of the attempt it came of. `rescue` finds who goes on when it breaks off,
    and is None where nobody shall. `toll` is what it costs the client, None where nothing.
    """

    headers: dict[str, str]
    upstream: UpstreamResponse
    transform: Transform
    opening: bytes
    ended: bool
    api_key: Secret | None
    keepalive: bytes
    notes: Notes
    rescue: "Rescue | None" = None
    toll: Toll | None = None


Answer = WholeAnswer | StreamAnswer


def discard(answer: Answer) -> None:
    """Let go an answer that nobody wants."""
    if isinstance(answer, StreamAnswer):
        answer.upstream.close()


class Rescue(Protocol):
    """What finishes a stream that broke off."""

    async def successor(self, error: RouterError | None) -> StreamAnswer | None:
        """Who goes on with the answer, whose stream has ended, by `error` if there was one. None if
        nobody does. What it says joins what was sent.
        """

    @property
    def failure(self) -> RouterError:
        """Why the first stream broke off."""

    def last_words(self) -> bytes:
        """The error event for that."""


async def relay_whole(
    request: web.BaseRequest, answer: WholeAnswer, record: Record
) -> web.StreamResponse:
    """Send a complete answer."""
    record.status = answer.status
    record.usage = answer.usage
    record.outcome = "client_gone"  # unless it can be written
    out = await send_whole(request, answer.status, answer.headers, answer.body)
    record.outcome = "ok"
    return out


async def relay_stream(
    request: web.BaseRequest, answer: StreamAnswer, record: Record, why_ending: WhyEnding
) -> web.StreamResponse:
    """Copy a stream to the client through its transform. From here on errors travel in it.

    A cancellation for which `why_ending` has a reason is our own doing: the client is told it.

    No `except` stands around the writes: a client that goes away makes aiohttp raise an error that
    its client side raises too, and the upstream is not to blame for it.
    """
    record.status = 200
    record.outcome = "client_gone"  # unless the end is reached
    if answer.toll is not None:
        return await _relay_sold(request, answer, answer.toll, record, why_ending)
    sink = _sink(OutStream(status=200, headers=answer.headers), answer, record, why_ending)
    try:
        transform, error = await _pass_on(sink, request, answer)
        await sink.out.write_eof()
        _conclude(record, answer, transform, error)
    finally:
        sink.keepalive.stop()
    return sink.out


async def _relay_sold(
    request: web.BaseRequest,
    answer: StreamAnswer,
    toll: Toll,
    record: Record,
    why_ending: WhyEnding,
) -> web.StreamResponse:
    """The same for a stream that is paid for: however it ends, it is settled or not charged."""
    why_ending = toll.why_ending(why_ending)
    sink = _sink(toll.stream(answer.headers), answer, record, why_ending)
    try:
        transform, error = await _pass_on(sink, request, answer)
        await toll.conclude(transform.usage, complete=transform.complete)
        await sink.out.write_eof()
        _conclude(record, answer, transform, error)
    except (ConnectionResetError, BrokenPipeError, asyncio.CancelledError):
        toll.broken_off(record.usage, by_client=why_ending() is None)
        raise
    finally:
        toll.broken_off(record.usage, by_client=False)
        sink.keepalive.stop()
    return sink.out


class _Sink(msgspec.Struct, frozen=True):
    """Where the parts of an answer go, one after the other."""

    out: OutStream
    record: Record
    keepalive: Keepalive
    why_ending: WhyEnding


def _sink(out: OutStream, answer: StreamAnswer, record: Record, why_ending: WhyEnding) -> _Sink:
    return _Sink(out, record, Keepalive(out, answer.keepalive), why_ending)


async def _pass_on(
    sink: _Sink, request: web.BaseRequest, answer: StreamAnswer
) -> tuple[Transform, RouterError | None]:
    """All that is to be said to the client. Returns the transform of whoever said the last of it,
    and the error by which the first stream ended.
    """
    out, transform = sink.out, answer.transform
    try:
        await out.prepare(request)  # the commit point
        if not answer.opening:
            out.commit()
    except BaseException:  # the client has left at this very moment
        answer.upstream.close()
        raise
    data, error = await _relay(sink, answer)
    if answer.rescue is not None and not transform.complete:
        transform, data = await _go_on(sink, answer, answer.rescue, data, error)
    if data:
        await out.write(data)
    return transform, error


async def _relay(sink: _Sink, answer: StreamAnswer) -> tuple[bytes, RouterError | None]:
    """Copy what one upstream says until it ends. Returns what is still to be written, and the error
    by which it ended.
    """
    out, keepalive = sink.out, sink.keepalive
    upstream, transform = answer.upstream, answer.transform
    data, error, ended = answer.opening, None, answer.ended
    pour = _Pour(out, upstream, transform, keepalive)
    try:
        while error is None and not ended:
            if data:
                keepalive.quiet = False
                await out.write(data)  # waits while the client is slow, and so does the upstream
            await out.wait_for_room()
            data, error, ended = await _next(upstream, transform, pour, sink.why_ending)
            if transform.failed is not None:
                data = masked(data, answer.api_key)
    finally:
        sink.record.usage = transform.usage
        sink.record.silent_for(upstream.longest_silence_s)
        if ended:
            upstream.release()
        else:
            upstream.close()
    return data, error


class _Pour:
    """Takes what the upstream says and gives it to the client, both at the moment at which it comes
    and without waking the request's task. It does so as long as nothing is unusual: then the last
    bytes that it took are in `data`, still to be written, or the error that they made in `error`.
    """

    __slots__ = ("_feed", "_keepalive", "_progressed", "_transform", "_write", "data", "error")

    def __init__(
        self, out: OutStream, upstream: UpstreamResponse, transform: Transform, keepalive: Keepalive
    ) -> None:
        self._write = out.write_now
        self._progressed = upstream.progressed
        self._transform = transform
        self._feed = transform.feed
        self._keepalive = keepalive
        self.data = b""
        self.error: UpstreamError | None = None

    def __call__(self, chunk: bytes) -> bool:
        """See upstream.response.Take."""
        transform = self._transform
        try:
            data = self._feed(chunk)
        except UpstreamError as error:
            self.error = error
            return False
        if transform.progressed:
            self._progressed()
        if transform.complete or transform.failed is not None:
            self.data = data
            return False
        if not data:
            return transform.held <= LARGE_EVENT
        self._keepalive.quiet = False
        return self._write(data)

    def given_back(self) -> bytes:
        """What is still to be written, once."""
        data, self.data = self.data, b""
        return data


async def _go_on(
    sink: _Sink, answer: StreamAnswer, rescue: Rescue, data: bytes, error: RouterError | None
) -> tuple[Transform, bytes]:
    """Let other upstreams finish an answer that broke off by `error`, with `data` still to be
    written. Returns the last one's transform, and what is still to be written then: where nobody
    could, the error of the first.
    """
    part = answer
    while not part.transform.complete:
        if data:
            sink.keepalive.quiet = False
            await sink.out.write(data)
        successor = await _successor(rescue, error, sink.why_ending)
        if successor is None:
            return part.transform, masked(rescue.last_words(), answer.api_key)
        part = successor
        data, error = await _relay(sink, part)
    return part.transform, data


async def _successor(
    rescue: Rescue, error: RouterError | None, why_ending: WhyEnding
) -> StreamAnswer | None:
    """See Rescue. When the router is being stopped, nobody goes on any more."""
    try:
        return await rescue.successor(error)
    except asyncio.CancelledError:
        if why_ending() is None or _uncancelled():
            raise
        return None


def masked(text: bytes, api_key: Secret | None) -> bytes:
    """A provider's own words, without the key that it was shown."""
    return redact(text, (api_key.reveal(),) if api_key else ())


async def _next(
    upstream: UpstreamResponse,
    transform: Transform,
    pour: _Pour,
    why_ending: WhyEnding,
) -> tuple[bytes, RouterError | None, bool]:
    """What to send next, the error that ends the stream, and whether the upstream ended it."""
    try:
        if transform.complete:
            upstream.streaming(_AFTER_END_S)
        elif (
            transform.failed is None
            and transform.held <= LARGE_EVENT
            and not await upstream.pump(pour, again=not transform.progressed)
        ):
            if pour.error is not None:
                return transform.fail(pour.error), pour.error, False
            return pour.given_back(), None, False
        chunk = await upstream.read_chunk(again=not transform.progressed)
        return await _told(transform, chunk)
    except UpstreamError as error:
        if isinstance(error, BadResponse):
            error.outcome = TRUNCATED  # it had begun well
        return transform.finish(error), error, False
    except asyncio.CancelledError:
        end = why_ending()
        if end is None or _uncancelled():
            raise
        return pour.given_back() + transform.finish(end), end, False


async def _told(transform: Transform, chunk: bytes) -> tuple[bytes, RouterError | None, bool]:
    """The same for one chunk, which is empty at the end."""
    try:
        return await take(transform, chunk), None, not chunk
    except UpstreamError as error:
        return transform.fail(error), error, False


def _uncancelled() -> int:
    """Take back one cancellation of this task: how many are left."""
    task = asyncio.current_task()
    return task.uncancel() if task is not None else 0


def _conclude(
    record: Record, answer: StreamAnswer, transform: Transform, error: RouterError | None
) -> None:
    if transform.complete:
        record.outcome = "ok"
    elif answer.rescue is not None:
        record.failed(answer.rescue.failure)
    elif transform.failed is not None:
        record.outcome = "upstream_error"
        record.error = "the upstream reported an error in its stream"
    elif error is not None:
        record.failed(error)
    else:
        record.outcome = TRUNCATED
        record.error = "the upstream closed the stream before the answer was complete"


async def await_first_event(
    upstream: UpstreamResponse, transform: Transform, idle_s: float, api_key: Secret | None
) -> tuple[bytes, bool]:
    """Read until the stream's first event is there: what the client gets first, and whether the
    upstream ended with it.

    Raises UpstreamError, for which the next endpoint may be asked: when the stream ends or breaks
    before, or begins with the provider's own error event.
    """
    opening = []
    size = 0
    ended = False
    while not (transform.started or ended):
        if size > _MAX_BEFORE_FIRST_EVENT:
            raise BadResponse("the upstream's stream says too much before its first event")
        chunk = await upstream.read_chunk()
        ended = not chunk
        opening.append(await take(transform, chunk))
        size += len(opening[-1])
    if not transform.started:
        raise BadResponse("the upstream ended its stream before the first event")
    if transform.failed is not None:
        raise _refused(transform.failed, api_key)
    upstream.streaming(idle_s)
    return (opening[0] if len(opening) == 1 else b"".join(opening)), ended


def _refused(failure: Failure, api_key: Secret | None) -> StreamRefused:
    """The error of the class that the provider's event has; its trouble with a key is not the
    client's.
    """
    if is_about_router(failure.status, failure.code):
        return StreamRefused("it refused the router's own credential", blames_router=True)
    said = masked(failure.message.encode(), api_key).decode()[:_MAX_WORDS]
    return StreamRefused(
        said, status=failure.status, code=failure.code, retry_after_s=failure.retry_after_s
    )
