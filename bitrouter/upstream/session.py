"""The pooled HTTP client towards providers.

Here is the only border at which aiohttp's client errors become ours, but for those of an answer
that has begun (response.py). Their text is never shown: it holds request headers, the provider's
key included.
"""

import asyncio
import functools
import io
from collections.abc import Awaitable
from typing import Final

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from bitrouter.config.schema import Limits, Timeouts
from bitrouter.errors import BadResponse, ConnectFailed, ConnectionReset, UpstreamTimeout
from bitrouter.protocols.base import UpstreamCall
from bitrouter.upstream.deadline import NO_DEADLINE, Deadline
from bitrouter.upstream.lane import READ_BUFFER, SKIPPED, Lane, Limit
from bitrouter.upstream.pool import OwnedRequest, Pool, Use, connection_use, destination
from bitrouter.upstream.resolver import GuardedResolver
from bitrouter.upstream.response import Take, UpstreamResponse
from bitrouter.upstream.timer import FINAL, ReadTimer
from bitrouter.upstream.wire import AT_ONCE

_MAX_CACHED_URL: Final = 512  # characters; a client's query may be as long as a request's head


class Upstream:
    """The client session, made when the event loop runs and closed with `close`.

    Nearly all calls take the lane; `by_lane` is False where none shall.
    """

    def __init__(self, limits: Limits, *, by_lane: bool = True) -> None:
        self.resolver = GuardedResolver()
        pool = Pool(self.resolver, limits.max_header_bytes)
        self._session = aiohttp.ClientSession(
            connector=pool,
            request_class=OwnedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=SKIPPED,
            trust_env=False,
            requote_redirect_url=False,
            read_bufsize=READ_BUFFER,
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
        )
        self._lane = Lane(self._session, pool, limits) if by_lane else None

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
        `deadline`. Raises ConnectFailed, UpstreamTimeout (connect, first_byte, or the deadline's
        timer), BadResponse for what is not HTTP, and ConnectionReset when the connection breaks
        before the head.
        """
        loop = asyncio.get_running_loop()
        limit = Limit("first_byte", timeouts.first_byte, loop.time() + timeouts.first_byte)
        if deadline.at < limit.by:
            limit = Limit(deadline.timer, deadline.span_s, deadline.at)
        try:
            answer = await self._send(call, timeouts, limit)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as error:
            raise UpstreamTimeout("connect", timeouts.connect) from error
        except TimeoutError as error:
            retryable = limit.name not in FINAL
            raise UpstreamTimeout(limit.name, limit.span_s, retryable=retryable) from error
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed("no connection to the provider could be made") from error
        except (aiohttp.ClientResponseError, HttpProcessingError) as error:
            raise BadResponse("the upstream's answer is not valid HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionReset("the upstream closed the connection before answering") from error
        timer = answer.timer
        if stream:
            timer.limit_whole("stream_total", timeouts.stream_total)
            timer.limit_all_waits(limit.name, limit.span_s, limit.by)
        elif not answer.is_there:
            if deadline.at < loop.time() + timeouts.total:
                timer.limit_whole(deadline.timer, deadline.span_s, deadline.at)
            else:
                timer.limit_whole("total", timeouts.total)
            timer.limit_each_wait("idle", timeouts.idle)
        return answer

    def _send(
        self, call: UpstreamCall, timeouts: Timeouts, limit: Limit
    ) -> Awaitable[UpstreamResponse]:
        """Send it, and once more where that is sure to be no repetition.

        A provider may close a pooled connection at the moment at which it is used again: then the
        call was not heard, and is sent over a new one (reliability.md, section 3).
        """
        if self._lane is not None and self._lane.takes(call):
            return self._lane.send(call, _connect_within(timeouts.connect), limit)
        return self._send_ordinarily(call, timeouts, limit)

    async def _send_ordinarily(
        self, call: UpstreamCall, timeouts: Timeouts, limit: Limit
    ) -> UpstreamResponse:
        async with asyncio.timeout_at(limit.by):
            response = await self._post_heard(call, timeouts)
        carrier = _Held(response)
        return UpstreamResponse(
            response.status, response.headers, response.content, carrier, carrier.timer
        )

    async def _post_heard(self, call: UpstreamCall, timeouts: Timeouts) -> aiohttp.ClientResponse:
        connection_use.set(Use.ANY)
        destination.set(call.to)
        try:
            return await self._post(call, timeouts)
        except aiohttp.ClientConnectionError:
            used = connection_use.get()
            if isinstance(used, Use) or used.heard:
                raise
        connection_use.set(Use.ONLY_NEW)
        return await self._post(call, timeouts)

    def _post(self, call: UpstreamCall, timeouts: Timeouts) -> Awaitable[aiohttp.ClientResponse]:
        url = call.url
        return self._session.post(
            _url(url) if len(url) <= _MAX_CACHED_URL else _parse_url(url),
            data=_payload(call.body),
            headers=call.headers,
            allow_redirects=False,
            timeout=_connect_within(timeouts.connect),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self.resolver.close()


class _Held:
    """An answer that came the ordinary way. See Carrier."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.timer = ReadTimer(asyncio.get_running_loop(), self._break_off)

    def _break_off(self, error: UpstreamTimeout) -> None:
        """Let the read that is waiting, or the next one, raise `error`."""
        self._response.content.set_exception(error)

    def release(self) -> None:
        """The answer was read to its end."""
        self.timer.stop()
        self._response.release()

    def close(self) -> None:
        """Nobody wants the rest."""
        self.timer.stop()
        self._response.close()

    async def pump(self, take: Take) -> bool:
        """There is no short cut here."""
        return True


def _payload(body: bytes) -> bytes | io.BytesIO:
    """aiohttp would write bytes in one piece, and warns of it when they are many."""
    return io.BytesIO(body) if len(body) > AT_ONCE else body


@functools.lru_cache(maxsize=4096)
def _url(text: str) -> URL:
    """Parsing costs 10 us and an endpoint's URL is the same every time, but for odd queries."""
    return _parse_url(text)


def _parse_url(text: str) -> URL:
    return URL(text, encoded=True)


@functools.lru_cache(maxsize=256)
def _connect_within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds)
