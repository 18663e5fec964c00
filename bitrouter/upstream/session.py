"""The pooled HTTP client towards providers.

Here is the only border at which aiohttp's client errors become ours. Their text is never shown: it
holds request headers, the provider's key included.
"""

import asyncio
import functools
import io
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import aiohttp
from yarl import URL

from bitrouter.config.schema import Limits, Timeouts
from bitrouter.errors import BadResponse, ConnectFailed, ConnectionReset, UpstreamTimeout
from bitrouter.protocols.base import UpstreamCall
from bitrouter.upstream.deadline import NO_DEADLINE, Deadline
from bitrouter.upstream.pool import Pool, Use, connection_use
from bitrouter.upstream.resolver import GuardedResolver
from bitrouter.upstream.timer import ReadTimer

_IDLE_POOL_S: Final = 15.0  # below the time after which providers close idle connections
_MAX_CACHED_URL: Final = 512  # characters; a client's query may be as long as a request's head
_READ_BUFFER: Final = 64 * 1024
_LARGE_BODY: Final = 1 << 20


class UpstreamResponse:
    """An answer whose head has come. Ends with exactly one of `release` and `close`."""

    def __init__(self, response: aiohttp.ClientResponse, timer: ReadTimer) -> None:
        self._response = response
        self._timer = timer
        self._when_over: Callable[[], None] | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def streaming(self, idle_s: float) -> None:
        """The first event has come: from here each wait has the idle limit."""
        self._timer.limit_each_wait("idle", idle_s)

    async def read_chunk(self, *, again: bool = False) -> bytes:
        """The bytes that are there, waiting for some; empty at the end.

        `again` says that the last ones were worth nothing: their wait goes on. Raises
        UpstreamTimeout, and BadResponse when the connection breaks or the framing does.
        """
        self._timer.wait_begins(again=again)
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise BadResponse("the upstream broke off its answer") from error
        finally:
            self._timer.wait_ends()

    async def read_body(self, max_bytes: int) -> bytes:
        """All of the body. Raises BadResponse beyond `max_bytes`, and what read_chunk raises."""
        first = await self.read_chunk()
        if not first:
            return b""
        chunks = [first]
        size = len(first)
        while chunk := await self.read_chunk():
            size += len(chunk)
            if size > max_bytes:
                raise BadResponse(
                    f"the upstream's answer is larger than {max_bytes} bytes"
                    " (limits.max_response_bytes)"
                )
            chunks.append(chunk)
        return first if len(chunks) == 1 else b"".join(chunks)

    def when_over(self, call: Callable[[], None]) -> None:
        """Have `call` called when the answer is over, however it ends."""
        self._when_over = call

    def release(self) -> None:
        """The answer was read to its end: the connection may serve again."""
        self._end()
        self._response.release()

    def close(self) -> None:
        """Drop the connection, whatever is still to come on it."""
        self._end()
        self._response.close()

    def _end(self) -> None:
        self._timer.stop()
        if self._when_over is not None:
            call, self._when_over = self._when_over, None
            call()


class Upstream:
    """The client session, made when the event loop runs and closed with `close`."""

    def __init__(self, limits: Limits) -> None:
        self.resolver = GuardedResolver()
        self._session = aiohttp.ClientSession(
            # No limit: the connector's would make a request wait in silence (reliability.md, 2).
            connector=Pool(limit=0, keepalive_timeout=_IDLE_POOL_S, resolver=self.resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trust_env=False,
            requote_redirect_url=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
        )

    async def open(
        self,
        call: UpstreamCall,
        timeouts: Timeouts,
        *,
        stream: bool,
        deadline: Deadline = NO_DEADLINE,
    ) -> UpstreamResponse:
        """Send `call` and wait for the head of the answer, whatever its status.

        Until the answer is certain, which a stream's is with its first event, it has the time of
        `deadline`. Raises ConnectFailed, UpstreamTimeout (connect, first_byte, total), BadResponse
        for what is not HTTP, and ConnectionReset when the connection breaks before the head.
        """
        loop = asyncio.get_running_loop()
        timer_name, span_s = "first_byte", float(timeouts.first_byte)
        by = loop.time() + span_s
        if deadline.at < by:
            timer_name, span_s, by = "total", deadline.span_s, deadline.at
        try:
            async with asyncio.timeout_at(by):
                response = await self._send(call, timeouts)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as error:
            raise UpstreamTimeout("connect", timeouts.connect) from error
        except TimeoutError as error:
            raise UpstreamTimeout(timer_name, span_s, retryable=timer_name != "total") from error
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed("no connection to the provider could be made") from error
        except aiohttp.ClientResponseError as error:
            raise BadResponse("the upstream's answer is not valid HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionReset("the upstream closed the connection before answering") from error
        expire = functools.partial(_break_off, response)
        if stream:
            timer = ReadTimer(loop, expire, whole="stream_total", whole_s=timeouts.stream_total)
            timer.limit_all_waits(timer_name, span_s, by)
        else:
            timer = ReadTimer(
                loop, expire, whole="total", whole_s=timeouts.total, until=deadline.at
            )
            timer.limit_each_wait("idle", timeouts.idle)
        return UpstreamResponse(response, timer)

    async def _send(self, call: UpstreamCall, timeouts: Timeouts) -> aiohttp.ClientResponse:
        """Send it, and once more where that is sure to be no repetition.

        A provider may close a pooled connection at the moment at which it is used again: then the
        call was not heard, and is sent over a new one (reliability.md, section 3).
        """
        connection_use.set(Use.ANY)
        try:
            return await self._post(call, timeouts)
        except aiohttp.ClientConnectionError as error:
            if connection_use.get() is not Use.AGAIN or not _died_unheard(error):
                raise
        connection_use.set(Use.ONLY_NEW)
        return await self._post(call, timeouts)

    def _post(self, call: UpstreamCall, timeouts: Timeouts) -> Awaitable[aiohttp.ClientResponse]:
        return self._session.post(
            _url(call.url) if len(call.url) <= _MAX_CACHED_URL else _parse_url(call.url),
            data=_payload(call.body),
            headers=call.headers,
            allow_redirects=False,
            timeout=_connect_within(timeouts.connect),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self.resolver.close()


def _died_unheard(error: aiohttp.ClientConnectionError) -> bool:
    """Whether a connection ended before a byte of the answer had come."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is the head as far as it came
    return isinstance(error, aiohttp.ClientOSError)


def _break_off(response: aiohttp.ClientResponse, error: UpstreamTimeout) -> None:
    """Let the read that is waiting, or the next one, raise `error`."""
    response.content.set_exception(error)


def _payload(body: bytes) -> bytes | io.BytesIO:
    """aiohttp would write bytes in one piece, and warns of it when they are many."""
    return io.BytesIO(body) if len(body) > _LARGE_BODY else body


@functools.lru_cache(maxsize=4096)
def _url(text: str) -> URL:
    """Parsing costs 10 us and an endpoint's URL is the same every time, but for odd queries."""
    return _parse_url(text)


def _parse_url(text: str) -> URL:
    return URL(text, encoded=True)


@functools.lru_cache(maxsize=256)
def _connect_within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds)
