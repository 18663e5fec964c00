"""Streams of chat chunks on their way to a chat client."""

from collections import deque
from typing import Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import Usage
from bitrouter.protocols import openai
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.chat.usage import ChatUsage
from bitrouter.protocols.passthrough import SSEPassthrough
from bitrouter.sse import SSEEvent

_DONE: Final = b"[DONE]"


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: tuple[_Choice, ...] = ()
    usage: ChatUsage | None = None


_chunk: Final = msgspec.json.Decoder(_Chunk)


def _is_about_usage(event: SSEEvent) -> bool:
    """Whether it is the chunk that `stream_options.include_usage` adds: no choice, only usage."""
    if b'"usage"' not in event.data:
        return False
    chunk = decode_part(_chunk, event.data)
    return chunk is not None and not chunk.choices and chunk.usage is not None


def error_event(error: RouterError) -> bytes:
    """An error inside a stream: a chunk that is nothing but `error` (protocols.md, 2.12)."""
    return b"data: %b\n\n" % msgspec.json.encode({"error": openai.error_object(error)})


class ChatPassthrough(SSEPassthrough):
    """Keeps the last few chunks, which are where usage and finish reason stand, undecoded."""

    end_marker = b"data: [DONE]\n\n"
    end_word = _DONE

    def __init__(self, max_event_bytes: int, *, hides_usage: bool = False) -> None:
        super().__init__(max_event_bytes)
        self._hides_usage = hides_usage
        self._last: deque[bytes] = deque(maxlen=4)

    def observe(self, event: SSEEvent) -> None:
        """Remember a chunk; look into it only if it may be an error."""
        data = event.data
        if data == _DONE:
            self.complete = True
            return
        if b'"error"' in data:
            self.failed = openai.failure_in(data) or self.failed
        self._last.append(data)
        if self._hides_usage and _is_about_usage(event):
            self.leaves_out = True

    def is_kept(self, event: SSEEvent) -> bool:
        """The chunk that we have asked for is not the client's."""
        return self.is_whole(event) and not (self._hides_usage and _is_about_usage(event))

    def conclude(self) -> None:
        """A finish reason ends an answer, though the marker [DONE] never came."""
        if not self.complete:
            self.complete = any(
                bool(choice.finish_reason)  # some servers say "" where null is meant
                for data in self._last
                if (chunk := decode_part(_chunk, data)) is not None
                for choice in chunk.choices
            )

    @property
    def usage(self) -> Usage | None:
        """The newest usage among the last chunks; some servers send it with every one."""
        for data in reversed(self._last):
            if b'"usage"' in data and (chunk := decode_part(_chunk, data)) and chunk.usage:
                return chunk.usage.neutral()
        return None

    def fail(self, error: RouterError) -> bytes:
        """The error event. No [DONE] follows: it would say that the answer is whole."""
        return error_event(error)
