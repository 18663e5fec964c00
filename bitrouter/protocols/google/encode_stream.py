"""A stream for a Gemini client (protocols.md, 2.10), in the framing that it asked for.

Every element is a whole response. Calls wait until they are complete, for Gemini has no way to say
half of one; everything else goes out as it comes.
"""

from typing import Any, Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import (
    BlockEnd,
    BlockStart,
    Cited,
    Delta,
    End,
    Event,
    Events,
    Finish,
    Finished,
    Signature,
    Signed,
    ToolCall,
    Usage,
)
from bitrouter.protocols.google.citations import WrittenCitations
from bitrouter.protocols.google.encode_answer import NOTHING, finish_members, signed
from bitrouter.protocols.google.error import encode_error
from bitrouter.protocols.google.framing import Frames, escaped
from bitrouter.protocols.google.logprobs import write_logprobs
from bitrouter.protocols.google.parts import Part, call_part, sign_first_call
from bitrouter.protocols.google.usage import usage_metadata
from bitrouter.protocols.translator import Reply

_HEAD: Final = b'{"candidates":[{"content":{"role":"model","parts":[{"text":'
_THOUGHT: Final = b',"thought":true'

_encode: Final = msgspec.json.Encoder().encode


class _Block:
    """An open block. `tail` stands after the text of each of its deltas; the rest is a call's."""

    __slots__ = ("arguments", "signature", "start", "tail")

    def __init__(self, start: BlockStart, tail: bytes) -> None:
        self.start = start
        self.tail = tail
        self.signature: Signature | None = None
        self.arguments: list[str] = []


class GoogleStreamEncoder:
    """See StreamEncoder."""

    def __init__(self, reply: Reply) -> None:
        self._frames = Frames(reply.request.framing)
        self._envelope = {"modelVersion": reply.asked.model, "responseId": reply.mint("")}
        self._blocks: dict[int, _Block] = {}
        self._citations: dict[int, WrittenCitations] = {}
        self._finishes: dict[int, Finish] = {}
        self._called: set[int] = set()  # candidates that have made a call
        self._tail = b"," + escaped(_encode(self._envelope))[1:] + self._frames.after

    def encode(self, events: Events) -> bytes:
        """See StreamEncoder.encode."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, Delta):
                block = self._blocks[event.index]
                if block.start.kind == "tool_call":
                    block.arguments.append(event.text)
                elif event.logprobs:
                    self._write_with_logprobs(out, block, event)
                else:
                    text = escaped(_encode(event.text))
                    out += (self._frames.begin(), _HEAD, text, block.tail)
            else:
                self._follow(out, event)
        return b"".join(out)

    def fail(self, error: RouterError) -> bytes:
        """See StreamEncoder.fail."""
        body = escaped(encode_error(error).body)
        return self._frames.begin() + body + self._frames.after + self._frames.end()

    def _follow(self, out: list[bytes], event: Event) -> None:
        match event:
            case BlockStart():
                self._blocks[event.index] = _Block(event, self._tail_of(event))
            case Signed():
                self._sign(out, self._blocks[event.index], event.signature)
            case Cited():
                self._cite(self._blocks[event.index].start.candidate, event)
            case BlockEnd():
                self._end_block(out, self._blocks.pop(event.index))
            case Finished():
                self._finishes[event.candidate] = event.finish
            case End():
                self._end(out, event.usage)
            case _:
                pass

    def _tail_of(self, start: BlockStart) -> bytes:
        thought = _THOUGHT if start.kind == "reasoning" else b""
        return b'%b}]},"index":%d}]%b' % (thought, start.candidate, self._tail)

    def _write(self, out: list[bytes], element: dict[str, Any]) -> None:
        body = escaped(_encode(element | self._envelope))
        out += (self._frames.begin(), body, self._frames.after)

    def _write_part(self, out: list[bytes], part: Part, candidate: int, **members: Any) -> None:
        content = {"role": "model", "parts": [part]}
        self._write(out, {"candidates": [{"content": content, "index": candidate, **members}]})

    def _write_with_logprobs(self, out: list[bytes], block: _Block, delta: Delta) -> None:
        self._write_part(
            out,
            {"text": delta.text},
            block.start.candidate,
            logprobsResult=write_logprobs(delta.logprobs),
        )

    def _sign(self, out: list[bytes], block: _Block, signature: Signature) -> None:
        """A thought's signature goes out at once, on a thought without text; a call's with it."""
        block.signature = signature
        if block.start.kind == "tool_call":
            return
        redacted = block.start.redacted
        part = signed({"text": "", "thought": True}, signature, redacted=redacted)
        if part is not None and "thoughtSignature" in part:
            self._write_part(out, part, block.start.candidate)

    def _end_block(self, out: list[bytes], block: _Block) -> None:
        start = block.start
        if start.kind != "tool_call":
            return
        arguments = "".join(block.arguments)
        call = ToolCall(start.id, start.name, arguments, start.custom)
        part = signed(call_part(call, {}, with_id=True), block.signature)
        if part is None:
            return
        if start.candidate not in self._called:
            self._called.add(start.candidate)
            sign_first_call([part])  # it may come back to a model of Google's
        self._write_part(out, part, start.candidate)

    def _cite(self, candidate: int, event: Cited) -> None:
        """Where in the text it stands is not told: that would need all of the text."""
        self._citations.setdefault(candidate, WrittenCitations()).add(event.citation, {})

    def _end(self, out: list[bytes], usage: Usage | None) -> None:
        candidates = [self._last(number, finish) for number, finish in self._finishes.items()]
        element: dict[str, Any] = {"candidates": candidates}
        if usage is not None:
            element["usageMetadata"] = usage_metadata(usage)
        self._write(out, element)
        out.append(self._frames.end())

    def _last(self, candidate: int, finish: Finish) -> dict[str, Any]:
        out: dict[str, Any] = {
            "content": {"role": "model", "parts": [NOTHING]},
            **finish_members(finish),
            "index": candidate,
        }
        cited = self._citations.get(candidate)
        if cited is not None:
            out["groundingMetadata"] = cited.metadata()
        return out
