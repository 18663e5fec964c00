"""The way of an answer from the upstream to the client."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from bitrouter.config.schema import Secret
from bitrouter.errors import (
    BadResponse,
    RouterError,
    ShuttingDown,
    StreamRefused,
    UpstreamError,
    is_about_router,
)
from bitrouter.ir import Failure, Usage
from bitrouter.protocols.base import Transform
from bitrouter.redact import redact
from bitrouter.server.keepalive import Keepalive
from bitrouter.server.record import Record
from bitrouter.upstream.session import UpstreamResponse

# How long an upstream may keep its connection open after the protocol's own end of the answer.
_AFTER_END_S: Final = 1.0
_MAX_WORDS: Final = 500  # of a provider's, in an error of ours
_TRUNCATED: Final = "truncated"  # the outcome of a stream that ended before its answer did
# How much may come before the first event: comments that say that the model is thinking.
_MAX_BEFORE_FIRST_EVENT: Final = 1 << 20


class WholeAnswer(msgspec.Struct, frozen=True):
    """A complete answer: nothing of it can fail any more."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    usage: Usage | None


class StreamAnswer(msgspec.Struct, frozen=True):
    """A stream whose first event has come.

    `opening` is what the client gets of it first; `ended` that the upstream had no more. `api_key`
    is what the provider was shown, and must not say again. `keepalive` may be sent while it is
    silent.
    """

    headers: CIMultiDict[str]
    upstream: UpstreamResponse
    transform: Transform
    opening: bytes
    ended: bool
    api_key: Secret | None
    keepalive: bytes


async def relay_whole(
    request: web.BaseRequest, answer: WholeAnswer, record: Record
) -> web.StreamResponse:
    """Send a complete answer."""
    record.status = answer.status
    record.usage = answer.usage
    record.outcome = "client_gone"  # unless it can be written
    out = web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    await out.prepare(request)
    await out.write_eof()
    record.outcome = "ok"
    return out


async def relay_stream(
    request: web.BaseRequest, answer: StreamAnswer, record: Record, is_ending: Callable[[], bool]
) -> web.StreamResponse:
    """Copy a stream to the client through its transform. From here on errors travel in it.

    A cancellation while `is_ending` is the router's own end: the client is told so.

    No `except` stands around the writes: a client that goes away makes aiohttp raise an error that
    its client side raises too, and the upstream is not to blame for it.
    """
    upstream, transform = answer.upstream, answer.transform
    record.status = 200
    record.outcome = "client_gone"  # unless the loop below comes to its end
    out = web.StreamResponse(status=200, headers=answer.headers)
    data, error, ended = answer.opening, None, answer.ended
    keepalive = Keepalive(out, answer.keepalive)
    try:
        await out.prepare(request)  # the commit point
        while error is None and not ended:
            if data:
                keepalive.quiet = False
                await out.write(data)  # waits while the client is slow, and so does the upstream
            data, error, ended = await _next(upstream, transform, is_ending)
            if transform.failed is not None:
                data = masked(data, answer.api_key)
        if data:
            await out.write(data)
        await out.write_eof()
        _conclude(record, transform, error)
    finally:
        keepalive.stop()
        record.usage = transform.usage
        if ended:
            upstream.release()
        else:
            upstream.close()
    return out


def masked(text: bytes, api_key: Secret | None) -> bytes:
    """A provider's own words, without the key that it was shown."""
    return redact(text, (api_key.reveal(),) if api_key else ())


async def _next(
    upstream: UpstreamResponse, transform: Transform, is_ending: Callable[[], bool]
) -> tuple[bytes, RouterError | None, bool]:
    """What to send next, the error that ends the stream, and whether the upstream ended it."""
    if transform.complete:
        upstream.streaming(_AFTER_END_S)
    try:
        chunk = await upstream.read_chunk(again=not transform.progressed)
    except UpstreamError as error:
        if isinstance(error, BadResponse):
            error.outcome = _TRUNCATED  # it had begun well
        return transform.finish(error), error, False
    except asyncio.CancelledError:
        if not is_ending() or _uncancelled():
            raise
        end = ShuttingDown("the router was stopped before the answer was complete")
        return transform.finish(end), end, False
    try:
        if not chunk:
            return transform.finish(), None, True
        return transform.feed(chunk), None, False
    except UpstreamError as error:
        return transform.fail(error), error, False


def _uncancelled() -> int:
    """Take back one cancellation of this task: how many are left."""
    task = asyncio.current_task()
    return task.uncancel() if task is not None else 0


def _conclude(record: Record, transform: Transform, error: RouterError | None) -> None:
    if transform.complete:
        record.outcome = "ok"
    elif transform.failed is not None:
        record.outcome = "upstream_error"
        record.error = "the upstream reported an error in its stream"
    elif error is not None:
        record.failed(error)
    else:
        record.outcome = _TRUNCATED
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
        opening.append(transform.feed(chunk) if chunk else transform.finish())
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
