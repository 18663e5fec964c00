"""A stream for a chat client. Source: protocols.md, 1.1 ("Stream"), 2.10, 2.12 and 3.3.

What one delta says is three pieces of bytes, of which only the text is encoded: the rest is the
same for all deltas of a block.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import (
    BlockEnd,
    BlockStart,
    Citation,
    Cited,
    Delta,
    End,
    Event,
    Events,
    Failed,
    Finished,
    LogProb,
    Signature,
    Signed,
    Start,
    Usage,
)
from bitrouter.protocols.chat.decode_request import is_legacy, wants_usage
from bitrouter.protocols.chat.encode_answer import url_citation, went_wrong
from bitrouter.protocols.chat.finish import encode_finish
from bitrouter.protocols.chat.mark import MARKED, marked_extra
from bitrouter.protocols.chat.passthrough import error_event
from bitrouter.protocols.chat.types import google_extra
from bitrouter.protocols.chat.usage import encode_usage
from bitrouter.protocols.openai import token_logprobs
from bitrouter.protocols.translator import Reply

_encode: Final = msgspec.json.Encoder().encode
_MEMBERS: Final = {"text": b"content", "reasoning": b"reasoning_content", "refusal": b"refusal"}
_ROLE: Final = b'{"role":"assistant","content":""}'
_DONE: Final = b"data: [DONE]\n\n"
_BLANK_LINE: Final = "\n\n"
_MARK: Final = _encode(MARKED)[1:-1] + b","
_NO_ARGUMENTS: Final = "{}"
_NOTHING_MORE: Final = {"function": {"arguments": ""}}


class _Candidate:
    """What has been said of one candidate. `head` begins each of its chunks, up to the delta."""

    __slots__ = ("annotations", "calls", "head", "kinds", "length")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.calls = 0
        self.length = 0  # characters of text in blocks that have ended
        self.kinds: set[str] = set()
        self.annotations: list[dict[str, Any]] = []


class _Block:
    """An open block. `before` and `after` are what stands around its text in a chunk, `first` and
    `separator` what stands before its first text and what that begins with, `opening` the chunk
    that announced a call.
    """

    __slots__ = (
        "after",
        "before",
        "candidate",
        "citations",
        "first",
        "length",
        "opening",
        "separator",
        "start",
    )

    def __init__(
        self, start: BlockStart, candidate: _Candidate, before: bytes, after: bytes
    ) -> None:
        self.start = start
        self.candidate = candidate
        self.before = self.first = before
        self.after = after
        self.length = 0
        self.separator = ""
        self.opening = b""
        self.citations: list[Citation] = []

    def open_with(self, text: str) -> tuple[bytes, str]:
        """What stands before a text while there was none, and the text. An empty one is not yet
        the first.
        """
        return (self.first, self.separator + text) if text else (self.before, text)


class ChatStreamEncoder:
    """See translator.StreamEncoder. Usage is sent to a client that asked for it, and then every
    other chunk says that it has none.
    """

    def __init__(self, reply: Reply) -> None:
        self._legacy = is_legacy(reply.request.fields)
        self._wants_usage = wants_usage(reply.request.fields)
        self._mark = b"" if reply.native else _MARK
        self._call_extra = google_extra if reply.native else marked_extra
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            _encode(reply.mint("chatcmpl-")),
            reply.created_s,
            _encode(reply.request.model),
        )
        self._end = (b',"usage":null' if self._wants_usage else b"") + b"}\n\n"
        self._tail = b',"finish_reason":null}]' + self._end
        self._candidates: dict[int, _Candidate] = {}
        self._open: dict[int, _Block] = {}
        self._over = False

    def encode(self, events: Events) -> bytes:
        """See StreamEncoder.encode."""
        out: list[bytes] = []
        blocks = self._open
        for event in events:
            if type(event) is Delta and not event.logprobs:
                block = blocks.get(event.index)
                if block is not None:
                    before, text = block.before, event.text
                    if not block.length:
                        before, text = block.open_with(text)
                    block.length += len(event.text)
                    out += (before, _encode(text), block.after)
            elif not self._over:
                self._write(event, out)
        return b"".join(out)

    def fail(self, error: RouterError) -> bytes:
        """See StreamEncoder.fail. No [DONE] follows: it would say that the answer is whole."""
        if self._over:
            return b""
        self._over = True
        self._open.clear()
        return error_event(error)

    def _write(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Start():
                self._candidate(0, out)
            case BlockStart():
                self._begin(event, out)
            case Finished():
                self._finish(event, out)
            case End():
                self._conclude(event.usage, out)
            case Failed():
                pass  # what is said then comes with `fail`
            case _:
                block = self._open.get(event.index)
                if block is not None:
                    self._write_in(block, event, out)

    def _write_in(
        self, block: _Block, event: Delta | Signed | Cited | BlockEnd, out: list[bytes]
    ) -> None:
        match event:
            case Delta():
                before, text = block.before, event.text
                if not block.length:
                    before, text = block.open_with(text)
                block.length += len(event.text)
                logprobs = _logprobs(event.logprobs, refused=block.start.kind == "refusal")
                out += (before, _encode(text), b'},"logprobs":', logprobs, self._tail)
            case Signed():
                self._sign(block, event.signature, out)
            case Cited():
                block.citations.append(event.citation)
            case BlockEnd():
                self._close(block, out)

    def _candidate(self, index: int, out: list[bytes]) -> _Candidate:
        """The candidate, whose first chunk says the role."""
        candidate = self._candidates.get(index)
        if candidate is None:
            head = self._head + b'"choices":[{"index":%d,"delta":' % index
            candidate = self._candidates[index] = _Candidate(head)
            out += (head, _ROLE, self._tail)
        return candidate

    def _begin(self, start: BlockStart, out: list[bytes]) -> None:
        candidate = self._candidate(start.candidate, out)
        if start.kind == "tool_call":
            self._begin_call(start, candidate, out)
            return
        member = b'"%b":' % _MEMBERS[start.kind]
        before = candidate.head + b"{" + member
        block = self._open[start.index] = _Block(start, candidate, before, b"}" + self._tail)
        if start.kind == "reasoning" and "reasoning" in candidate.kinds:
            block.separator = _BLANK_LINE
        elif start.kind == "reasoning":
            block.first = candidate.head + b"{" + self._mark + member

    def _begin_call(self, start: BlockStart, candidate: _Candidate, out: list[bytes]) -> None:
        number = candidate.calls
        candidate.calls += 1
        candidate.kinds.add(start.kind)
        if not self._legacy:
            member = b"custom" if start.custom else b"function"
            text = b"input" if start.custom else b"arguments"
            before = b'{"tool_calls":[{"index":%d,"%b":{"%b":' % (number, member, text)
            after = b"}}]}" + self._tail
        elif number == 0:
            before, after = b'{"function_call":{"arguments":', b"}}" + self._tail
        else:
            return  # such a client can be told of one call alone
        block = _Block(start, candidate, candidate.head + before, after)
        block.opening = self._opening(block, number, None)
        self._open[start.index] = block
        out.append(block.opening)

    def _opening(self, block: _Block, number: int, signature: Signature | None) -> bytes:
        """The chunk that announces a call."""
        start = block.start
        delta: dict[str, Any]
        if self._legacy:
            delta = {"function_call": {"name": start.name, "arguments": ""}}
        else:
            call: dict[str, Any] = {"index": number, "id": start.id}
            if start.custom:
                call |= {"type": "custom", "custom": {"name": start.name, "input": ""}}
            else:
                call |= {"type": "function", "function": {"name": start.name, "arguments": ""}}
            delta = {"tool_calls": [call | self._call_extra(signature)]}
        return b"".join((block.candidate.head, _encode(delta), self._tail))

    def _sign(self, block: _Block, signature: Signature, out: list[bytes]) -> None:
        """Google's signature of a call, in the chunk that announces it if that is still here."""
        extra = self._call_extra(signature)
        if block.start.kind != "tool_call" or not extra or self._legacy:
            return
        number = block.candidate.calls - 1
        if out and out[-1] is block.opening:
            out[-1] = self._opening(block, number, signature)
        else:
            # The client of OpenAI fails over a piece of a call that says nothing of the call.
            member = {"custom": {"input": ""}} if block.start.custom else _NOTHING_MORE
            delta = {"tool_calls": [{"index": number, **member, **extra}]}
            out += (block.candidate.head, _encode(delta), self._tail)

    def _close(self, block: _Block, out: list[bytes]) -> None:
        del self._open[block.start.index]
        kind = block.start.kind
        if block.length:
            block.candidate.kinds.add(kind)
        elif kind == "tool_call" and not block.start.custom:
            out += (block.before, _encode(_NO_ARGUMENTS), block.after)
        if kind == "text":
            before = block.candidate.length
            block.candidate.length = after = before + block.length
            block.candidate.annotations += [
                url_citation(one, before, after) for one in block.citations
            ]

    def _finish(self, event: Finished, out: list[bytes]) -> None:
        candidate = self._candidate(event.candidate, out)
        if event.finish.reason == "other" and not self._has_spoken:
            out.append(self.fail(went_wrong(event.finish.raw)))
            return
        if candidate.annotations:  # at once: the client of OpenAI cannot add to such a list
            delta = _encode({"annotations": candidate.annotations})
            out += (candidate.head, delta, self._tail)
        word = encode_finish(
            event.finish, has_refusal="refusal" in candidate.kinds, legacy=self._legacy
        )
        out += (candidate.head, b'{},"finish_reason":"%b"}]' % word.encode(), self._end)

    @property
    def _has_spoken(self) -> bool:
        return any(candidate.kinds for candidate in self._candidates.values()) or bool(self._open)

    def _conclude(self, usage: Usage | None, out: list[bytes]) -> None:
        self._over = True
        if self._wants_usage and usage is not None:
            out += (self._head, b'"choices":[],"usage":', _encode(encode_usage(usage)), b"}\n\n")
        out.append(_DONE)


def _logprobs(logprobs: Sequence[LogProb], *, refused: bool) -> bytes:
    tokens = token_logprobs(logprobs)
    return _encode({"content": None if refused else tokens, "refusal": tokens if refused else None})
