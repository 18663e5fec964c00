"""What clients drop between two turns, remembered for them.

Chat has no place for a thinking signature, and few of its clients keep fields that they do not
know; yet Claude refuses a tool result whose call has lost its thinking, and Gemini 3 one that has
lost its signature. So what came with a call is kept under that call, and put back when a client
replays the call without it. Best effort: bounded, in memory, gone after an hour or a restart.
Source: protocols.md, 2.5, "Fallback memory".
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from bitrouter.ir import (
    Answer,
    Block,
    BlockStart,
    Delta,
    Event,
    Message,
    Reasoning,
    Request,
    Signature,
    Signed,
    ToolCall,
)

_MAX_ENTRIES: Final = 50_000
_MAX_BYTES: Final = 64 << 20
_KEEP_S: Final = 3600.0
_ENTRY_BYTES: Final = 500  # what an entry costs beside its text
_MAX_NOTED: Final = 1 << 20  # characters of one answer; a longer one is not remembered

_replace: Final = msgspec.structs.replace

# Whose call it is (a caller and a route may be anybody's guess, an id like call_1 everybody's).
_Key = tuple[str, str, str, int]


class _Kept(msgspec.Struct, gc=False):
    reasoning: tuple[Reasoning, ...]
    signature: Signature | None
    until_s: float
    size: int


class Memory:
    """Signatures by the call that they came with. `clock` counts seconds and never goes back.

    Large answers are read, and so remembered, in threads.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changing = threading.Lock()
        self._entries: OrderedDict[_Key, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, owner: str, blocks: Sequence[Block]) -> None:
        """Remember what one answer's calls came with. `owner` is whose conversation it is."""
        calls = [block for block in blocks if isinstance(block, ToolCall)]
        if not calls:
            return
        signed = tuple(
            block
            for block in blocks
            if isinstance(block, Reasoning) and block.signature and block.signature.value
        )
        for call in calls:
            if signed or call.signature:
                with self._changing:
                    self._put(_key(owner, call), signed, call.signature)

    def keep_answer(self, owner: str, answer: Answer) -> None:
        """The same for every candidate of an answer."""
        for candidate in answer.candidates:
            for block in candidate.blocks:
                if isinstance(block, ToolCall):
                    self.keep(owner, candidate.blocks)
                    break

    def complete(self, owner: str, request: Request) -> Request:
        """The request with what its calls came with, wherever the client has dropped it."""
        if not self._entries:
            return request
        messages = [self._completed(owner, message) for message in request.messages]
        return _replace(request, messages=messages)

    def _completed(self, owner: str, message: Message) -> Message:
        if message.role != "assistant":
            return message
        found = [
            (place, kept)
            for place, block in enumerate(message.blocks)
            if isinstance(block, ToolCall) and (kept := self._find(_key(owner, block)))
        ]
        if not found:
            return message
        blocks = list(message.blocks)
        for place, kept in found:
            call = blocks[place]
            if isinstance(call, ToolCall) and call.signature is None and kept.signature:
                blocks[place] = _replace(call, signature=kept.signature)
        if not any(_is_signed(block) for block in blocks):
            blocks = [*found[0][1].reasoning, *blocks]
        return Message("assistant", blocks)

    def _find(self, key: _Key) -> _Kept | None:
        kept = self._entries.get(key)
        return kept if kept is not None and kept.until_s > self._clock() else None

    def _put(
        self, key: _Key, reasoning: tuple[Reasoning, ...], signature: Signature | None
    ) -> None:
        size = _ENTRY_BYTES + sum(map(_size, reasoning)) + len(signature.value if signature else "")
        self._forget(key)
        self._entries[key] = _Kept(reasoning, signature, self._clock() + _KEEP_S, size)
        self._bytes += size
        while len(self._entries) > _MAX_ENTRIES or self._bytes > _MAX_BYTES:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: _Key) -> None:
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size


def _key(owner: str, call: ToolCall) -> _Key:
    return owner, call.id, call.name, hash(call.arguments)


def _is_signed(block: Block) -> bool:
    return isinstance(block, Reasoning) and block.signature is not None


def _size(reasoning: Reasoning) -> int:
    return len(reasoning.text) + len(reasoning.signature.value if reasoning.signature else "")


class StreamNotes:
    """Gathers what a stream's blocks came with, to be kept when it has ended."""

    def __init__(self) -> None:
        self._open: dict[int, BlockStart] = {}
        self._texts: dict[int, list[str]] = {}
        self._signatures: dict[int, Signature] = {}
        self._noted = 0

    def note(self, events: Iterable[Event]) -> None:
        """Take what matters out of `events`: reasoning and calls."""
        for event in events:
            if isinstance(event, Delta):
                if event.index in self._texts and self._noted < _MAX_NOTED:
                    self._texts[event.index].append(event.text)
                    self._noted += len(event.text)
            elif isinstance(event, BlockStart):
                if event.kind in ("reasoning", "tool_call"):
                    self._open[event.index] = event
                    self._texts[event.index] = []
            elif isinstance(event, Signed):
                self._signatures[event.index] = event.signature

    def blocks(self) -> list[Block]:
        """The reasoning and the calls of the first candidate, in order; none if nothing is signed,
        for then there is nothing to remember.
        """
        if not self._signatures or self._noted >= _MAX_NOTED:
            return []
        return [self._block(start) for start in self._open.values() if start.candidate == 0]

    def _block(self, start: BlockStart) -> Block:
        text = "".join(self._texts[start.index])
        signature = self._signatures.get(start.index)
        if start.kind == "tool_call":
            return ToolCall(start.id, start.name, text, start.custom, signature)
        return Reasoning(text, signature, start.raw, start.redacted)
