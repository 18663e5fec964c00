"""Signs of life to a client while its stream is silent, so that nothing on the way gives it up."""

import asyncio
from typing import Final

from bitrouter.server.outgoing import OutStream

_EVERY_S: Final = 15.0  # protocols.md, 2.10: at most that often


class Keepalive:
    """One timer for a whole stream, however many events it has.

    It rings every fifteen seconds, and writes if nothing was written since it rang before: setting
    it anew for each event would cost more than relaying one. What is written is no event, so it
    says nothing of the upstream, whose own timer goes on.
    """

    __slots__ = ("_comment", "_handle", "_loop", "_out", "_writing", "quiet")

    def __init__(self, out: OutStream, comment: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._out = out
        self._comment = comment
        self._writing: asyncio.Task[None] | None = None
        self.quiet = False  # set to False by whoever writes
        self._handle = self._loop.call_later(_EVERY_S, self._ring) if comment else None

    def _ring(self) -> None:
        if self.quiet and self._writing is None:
            # Between two writes the client has whole events, so a comment can stand there.
            self._writing = self._loop.create_task(self._write())
        self.quiet = True
        self._handle = self._loop.call_later(_EVERY_S, self._ring)

    async def _write(self) -> None:
        try:
            await self._out.write_aside(self._comment)
        except ConnectionError:
            pass  # the client has gone; the relay is told so by its own write, or is cancelled
        finally:
            self._writing = None

    def stop(self) -> None:
        """The stream has ended."""
        if self._handle is not None:
            self._handle.cancel()
        if self._writing is not None:
            self._writing.cancel()
