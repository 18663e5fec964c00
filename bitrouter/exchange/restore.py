"""Undoing in an answer what had to be written differently in the request.

Tool names that the vendor does not take, free-text tools sent as functions, and an answer in the
form of a schema that was asked for as a tool's arguments.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from bitrouter.ir import (
    Answer,
    Block,
    BlockEnd,
    BlockStart,
    Candidate,
    Delta,
    Event,
    Finish,
    Finished,
    Signed,
    Text,
    ToolCall,
)
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.translator import Encoded

_replace: Final = msgspec.structs.replace


class _Wrapped(msgspec.Struct):
    input: str


_wrapped: Final = msgspec.json.Decoder(_Wrapped)


def unwrapped(arguments: str) -> str:
    """The text in the arguments of a function that stands for a free-text tool."""
    found = decode_part(_wrapped, arguments.encode())
    return arguments if found is None else found.input


def restored(answer: Answer, encoded: Encoded) -> Answer:
    """A whole answer as the client's own request would have had it."""
    if not needs_restoring(encoded):
        return answer
    return _replace(answer, candidates=[_candidate(one, encoded) for one in answer.candidates])


def needs_restoring(encoded: Encoded) -> bool:
    """Whether the request was written in a way that shows in the answer."""
    return bool(encoded.names or encoded.wrapped or encoded.answer_tool)


def _candidate(candidate: Candidate, encoded: Encoded) -> Candidate:
    blocks = [_block(block, encoded) for block in candidate.blocks]
    finish = candidate.finish
    if encoded.answer_tool and not any(isinstance(block, ToolCall) for block in blocks):
        finish = _without_call(finish)
    return _replace(candidate, blocks=blocks, finish=finish)


def _block(block: Block, encoded: Encoded) -> Block:
    if not isinstance(block, ToolCall):
        return block
    if block.name == encoded.answer_tool:
        return Text(block.arguments)
    name = encoded.names.get(block.name, block.name)
    if name in encoded.wrapped:
        return _replace(block, name=name, arguments=unwrapped(block.arguments), custom=True)
    return _replace(block, name=name)


def _without_call(finish: Finish) -> Finish:
    return Finish("stop") if finish.reason == "tool_calls" else finish


class StreamRestorer:
    """The same for a stream. Only the text of a wrapped free-text tool waits for its end."""

    def __init__(self, encoded: Encoded) -> None:
        self._encoded = encoded
        self._held: dict[int, list[str]] = {}
        self._answers: set[int] = set()
        self._calls: set[int] = set()  # candidates with calls that stay calls

    def restored(self, events: Sequence[Event]) -> list[Event]:
        """`events` as the client's own request would have had them."""
        out: list[Event] = []
        for event in events:
            match event:
                case BlockStart(kind="tool_call"):
                    out.append(self._start(event))
                case Delta() if event.index in self._held:
                    self._held[event.index].append(event.text)
                case BlockEnd() if event.index in self._held:
                    text = unwrapped("".join(self._held.pop(event.index)))
                    out += [Delta(event.index, text), event] if text else [event]
                case Signed() if event.index in self._answers:
                    pass  # of a call that is none: nobody could bring it back
                case Finished() if self._encoded.answer_tool and event.candidate not in self._calls:
                    out.append(Finished(_without_call(event.finish), event.candidate))
                case _:
                    out.append(event)
        return out

    def _start(self, block: BlockStart) -> BlockStart:
        if block.name == self._encoded.answer_tool:
            self._answers.add(block.index)
            return BlockStart(block.index, "text", block.candidate)
        self._calls.add(block.candidate)
        name = self._encoded.names.get(block.name, block.name)
        custom = block.custom or name in self._encoded.wrapped
        if custom and not block.custom:
            self._held[block.index] = []
        return BlockStart(block.index, "tool_call", block.candidate, block.id, name, custom)
