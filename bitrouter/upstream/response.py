"""An answer of an upstream, whichever way the call took."""

from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp

from bitrouter.errors import BadResponse
from bitrouter.upstream.content import take_at_once
from bitrouter.upstream.pieces import joined
from bitrouter.upstream.timer import ReadTimer

# Takes bytes that came, and says whether it can take more at once.
Take = Callable[[bytes], bool]


class Carrier(Protocol):
    """What an answer comes on."""

    def release(self) -> None:
        """The answer was read to its end."""

    def close(self) -> None:
        """Nobody wants the rest."""

    async def pump(self, take: Take) -> bool:
        """See UpstreamResponse.pump."""


class UpstreamResponse:
    """An answer whose head has come. Ends with exactly one of `release` and `close`."""

    __slots__ = ("_carrier", "_content", "_when_over", "headers", "status", "timer")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        content: aiohttp.StreamReader,
        carrier: Carrier,
        timer: ReadTimer,
    ) -> None:
        self.status = status
        self.headers = headers
        self._content = content
        self._carrier = carrier
        self.timer = timer
        self._when_over: tuple[Callable[[], None], ...] = ()

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_there(self) -> bool:
        """Whether all of it has come: then nothing is waited for any more."""
        return self._content.is_eof()

    def streaming(self, idle_s: float) -> None:
        """The first event has come: from here each wait has the idle limit."""
        self.timer.limit_each_wait("idle", idle_s)

    async def read_chunk(self, *, again: bool = False) -> bytes:
        """The bytes that are there, waiting for some; empty at the end.

        `again` says that the last ones were worth nothing: their wait goes on. Raises
        UpstreamTimeout, and BadResponse when the connection breaks or the framing does.
        """
        content = self._content
        if content.is_eof():
            return content.read_nowait()  # no error can come any more, and no wait begins
        self.timer.wait_begins(again=again)
        try:
            return await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise BadResponse("the upstream broke off its answer") from error
        finally:
            self.timer.wait_ends()

    async def read_body(self, max_bytes: int, take: Callable[[int], None] | None = None) -> bytes:
        """All of the body. Raises BadResponse beyond `max_bytes`, and what read_chunk raises.

        `take` is told of each piece's size but the first one's, and may raise to end it: what comes
        in one piece is too small to be worth counting.
        """
        content = self._content
        whole = take_at_once(content)
        if whole is not None and len(whole) <= max_bytes:
            return whole
        chunks: list[bytes] = []
        size = 0
        while chunk := whole or await self.read_chunk():
            whole = None
            size += len(chunk)
            if size > max_bytes:
                raise BadResponse(
                    f"the upstream's answer is larger than {max_bytes} bytes"
                    " (limits.max_response_bytes)"
                )
            if take is not None and chunks:
                take(len(chunk))
            chunks.append(chunk)
        return await joined(chunks, size)

    async def pump(self, take: Take, *, again: bool) -> bool:
        """Hand what comes to `take`, at the moment at which it comes: False once `take` can take no
        more, True when there is no more, or the way of this call knows no short cut. Then
        `read_chunk` goes on. `again` is that of `read_chunk`.

        `take` calls `progressed` when what it was given was worth something. Raises what it raises,
        and nothing else.
        """
        self.timer.wait_begins(again=again)
        try:
            return await self._carrier.pump(take)
        finally:
            self.timer.wait_ends()

    @property
    def progressed(self) -> Callable[[], None]:
        """To be called when what was handed on last was worth something: the wait for more begins
        anew. It is the timer's own function, for whoever keeps it and calls it for each event.
        """
        return self.timer.wait_begins

    @property
    def longest_silence_s(self) -> float:
        """The longest wait between two events of a stream, in seconds."""
        return self.timer.longest_s

    def when_over(self, call: Callable[[], None]) -> None:
        """Have `call` called when the answer is over, however it ends."""
        self._when_over = (*self._when_over, call)

    def release(self) -> None:
        """The answer was read to its end: the connection may serve again."""
        self._carrier.release()
        self._end()

    def close(self) -> None:
        """Drop the connection, whatever is still to come on it."""
        self._carrier.close()
        self._end()

    def _end(self) -> None:
        calls, self._when_over = self._when_over, ()
        for call in calls:
            call()
