"""What a provider's stream means. Source: protocols.md, 1.1 ("Stream") and 2.9."""

from typing import Any, Final

import msgspec

from bitrouter.ir import (
    Cited,
    Delta,
    End,
    Event,
    Failed,
    Failure,
    Finished,
    Start,
    Usage,
)
from bitrouter.protocols import openai
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.blocks import OpenBlocks
from bitrouter.protocols.chat import pieces, types
from bitrouter.protocols.chat.decode_answer import string
from bitrouter.protocols.chat.decode_calls import CallStream
from bitrouter.protocols.chat.finish import decode_finish
from bitrouter.protocols.chat.usage import decode_usage
from bitrouter.sse import SSEEvent

_DONE: Final = b"[DONE]"
_NO_WORDS: Final = "the upstream reported an error in its stream"
_CUT: Final = "the upstream closed the stream before the answer was complete"
_EMPTY: Final = "the upstream ended the stream without an answer"
_any: Final = msgspec.json.Decoder()
_LEGACY_INDEX: Final = 0


class _Candidate:
    """One of the answers. `word` is its finish reason, once it has come."""

    __slots__ = ("_before", "_blocks", "_length", "calls", "has_refusal", "index", "word")

    def __init__(self, blocks: OpenBlocks, index: int) -> None:
        self._blocks = blocks
        self.index = index
        self.calls = CallStream(blocks, index)
        self.has_refusal = False
        self.word: Any = None
        self._length = 0  # characters of text so far
        self._before = 0  # and before the open block of text

    def take(self, choice: types.Choice, out: list[Event]) -> None:
        """Read one choice of a chunk."""
        delta = choice.delta
        if delta is None and not self._has_spoken:
            delta = choice.message  # all of it at once, by a server that does not stream
        if delta is not None:
            reasoning = pieces.reasoning_of(delta)
            if reasoning:
                out.append(Delta(self._open("reasoning", out), reasoning))
            content = delta.content
            if content:
                text = content if isinstance(content, str) else pieces.text_of(content)
                self._say(text, choice.logprobs, out)
            if delta.refusal and isinstance(delta.refusal, str):
                self.has_refusal = True
                logprobs = pieces.logprobs_of(choice.logprobs) or ()
                out.append(Delta(self._open("refusal", out), delta.refusal, logprobs))
            if delta.annotations:
                self._cite(delta.annotations, out)
            if delta.tool_calls or delta.function_call is not None:  # an empty list is not a call
                self._call(delta, out)
        if choice.finish_reason:  # some servers say "" where null is meant
            self.word = choice.finish_reason

    def finish(self, out: list[Event]) -> None:
        """End what is open and the candidate with it."""
        self.calls.finish(out)
        self._blocks.end(out, self.index)
        finish = decode_finish(self.word, has_calls=self.calls.any, has_refusal=self.has_refusal)
        out.append(Finished(finish, self.index))

    @property
    def _has_spoken(self) -> bool:
        return self.calls.pending or self._blocks.current(self.index) is not None

    def _open(self, kind: Any, out: list[Event]) -> int:
        if self.calls.pending:
            self.calls.finish(out)
        return self._blocks.ensure(out, kind, self.index)

    def _say(self, text: str, logprobs: Any, out: list[Event]) -> None:
        if not text:
            return
        known = len(out)
        index = self._open("text", out)
        if len(out) != known:
            self._before = self._length
        self._length += len(text)
        given = () if logprobs is None else pieces.logprobs_of(logprobs) or ()
        out.append(Delta(index, text, given))

    def _cite(self, annotations: Any, out: list[Event]) -> None:
        """Citations count characters of the whole content, those of a block of the block."""
        block = self._blocks.current(self.index)
        if block is None or block.kind != "text":
            return
        for citation in pieces.citations_of(annotations):
            if citation.start is not None and citation.end is not None:
                citation = msgspec.structs.replace(
                    citation,
                    start=max(citation.start - self._before, 0),
                    end=max(citation.end - self._before, 0),
                )
            out.append(Cited(block.index, citation))

    def _call(self, delta: types.Delta, out: list[Event]) -> None:
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self.calls.add(piece, out)
        else:
            self.calls.add(types.ToolCall(index=_LEGACY_INDEX, function=delta.function_call), out)


class ChatStreamDecoder:
    """See translator.StreamDecoder.

    A finish reason is kept until the stream's end, because some servers say one before the last
    content, or with every chunk.
    """

    def __init__(self) -> None:
        self._blocks = OpenBlocks()
        self._candidates: dict[int, _Candidate] = {}
        self._started = False
        self._over = False
        self.usage: Usage | None = None

    def decode(self, event: SSEEvent) -> list[Event]:
        """See StreamDecoder.decode."""
        data = event.data
        if self._over:
            return []
        if data == _DONE:
            return self._conclude()
        try:
            chunk = types.decode_completion(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._read_odd(data)
        if chunk.error or event.name == b"error" or not chunk.choices:
            return self._read_special(event, chunk)
        out: list[Event] = []
        if not self._started:
            self._started = True
            out.append(Start(string(chunk.id), string(chunk.model)))
        for choice in chunk.choices:
            index = choice.index or 0
            candidate = self._candidates.get(index)
            if candidate is None:
                candidate = self._candidates[index] = _Candidate(self._blocks, index)
            candidate.take(choice, out)
        if chunk.usage is not None:
            self.usage = decode_usage(chunk.usage) or self.usage
        return out

    def finish(self) -> list[Event]:
        """See StreamDecoder.finish."""
        if self._over:
            return []
        if self._candidates and all(one.word for one in self._candidates.values()):
            return self._conclude()
        return self._fail(Failure(502, _CUT))

    def _conclude(self) -> list[Event]:
        """The end of the answer. Without a finish reason it is inferred: the server said [DONE]."""
        if not self._candidates:
            return self._fail(Failure(502, _EMPTY))
        self._over = True
        out: list[Event] = []
        for candidate in self._candidates.values():
            candidate.finish(out)
        out.append(End(self.usage))
        return out

    def _fail(self, failure: Failure) -> list[Event]:
        self._over = True
        return [Failed(failure)]

    def _read_special(self, event: SSEEvent, chunk: types.Completion) -> list[Event]:
        """A chunk without choices: usage, an error in one of its shapes, or nothing."""
        if chunk.usage is not None:
            self.usage = decode_usage(chunk.usage) or self.usage
        if chunk.error or event.name == b"error":
            return self._fail(_failure(event.data))
        if b'"error"' in event.data and _is_error(decode_part(_any, event.data)):
            return self._fail(_failure(event.data))
        return []

    def _read_odd(self, data: bytes) -> list[Event]:
        """What is no chunk: passed over, unless it is an error."""
        text = data.strip()
        if text == _DONE:
            return self._conclude()
        if not text.startswith(b"{"):
            return []
        return self._fail(_failure(text)) if _is_error(decode_part(_any, text)) else []


def _is_error(event: Any) -> bool:
    """Whether an object is an error: by a member `error`, or as vLLM says it."""
    return isinstance(event, dict) and bool(event.get("error") or event.get("object") == "error")


def _failure(data: bytes) -> Failure:
    event = decode_part(_any, data)
    failure = openai.decode_failure(event if isinstance(event, dict) else {})
    if failure.message:
        return failure
    return msgspec.structs.replace(failure, message=_NO_WORDS)
