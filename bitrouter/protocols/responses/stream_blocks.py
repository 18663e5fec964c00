"""The blocks of a stream as they are told, and what of its items has been told already.

Servers differ in how they name an item from event to event: by its place in the output, by an id,
or by neither. Text and reasoning go by the place, calls by their `call_id`.
Source: protocols.md, 2.9 and 4 (G10, G15).
"""

from typing import Final

import msgspec

from bitrouter.ir import (
    BlockStart,
    Citation,
    Cited,
    Delta,
    Event,
    LogProb,
    Signature,
    Signed,
    StreamedKind,
    ToolCall,
)
from bitrouter.protocols.blocks import OpenBlocks
from bitrouter.protocols.responses.types import OutputItem

# An item's place in the output, or its id where the server does not number items.
ItemKey = int | str | None
# A part of an item: the item, what kind of part, and which of these.
Place = tuple[ItemKey, str, int | None]

_PARAGRAPH: Final = "\n\n"


class _Call(msgspec.Struct):
    """The call whose arguments are being told. `arguments` were there from the beginning."""

    index: int
    id: str
    arguments: str
    output_index: int | None
    item_id: str | None
    given: bool = False


class StreamBlocks:
    """One block is open at a time. `called` and `refused` say whether there was such a block."""

    def __init__(self) -> None:
        self._open = OpenBlocks()
        self._index = 0
        self._place: Place | None = None
        self._paragraph: int | None = None
        self._cited = 0
        self._call: _Call | None = None
        self._told: set[Place] = set()
        self._keys: set[ItemKey] = set()
        self._ids: set[str | None] = set()
        self._calls: set[str] = set()
        self._completed: set[tuple[ItemKey, str, str | None]] = set()
        self.called = False
        self.refused = False

    # -- what was told ----------------------------------------------------------------------

    def has_told(self, place: Place) -> bool:
        """Whether anything was told of a part of an item, be it without a number."""
        return place in self._told or (place[0], place[1], None) in self._told

    def has_item(self, key: ItemKey, item: OutputItem) -> bool:
        """Whether anything was told of an item of the answer's final output."""
        if item.call_id is not None:
            return item.call_id in self._calls
        return key in self._keys or (item.id is not None and item.id in self._ids)

    def has_call(self, call_id: str) -> bool:
        """Whether a call was begun."""
        return call_id in self._calls

    def is_completed(self, key: ItemKey, item: OutputItem) -> bool:
        """Whether the whole item was seen before."""
        return _identity(key, item) in self._completed

    def complete(self, key: ItemKey, item: OutputItem) -> None:
        """Note that the whole item is there now."""
        self._completed.add(_identity(key, item))
        self._keys.add(key)
        self._ids.add(item.id)

    # -- text and reasoning -----------------------------------------------------------------

    def tell(
        self,
        out: list[Event],
        place: Place,
        kind: StreamedKind,
        text: str,
        logprobs: tuple[LogProb, ...] = (),
    ) -> None:
        """More of a text or a refusal."""
        if place != self._place:
            self._begin(out, place, BlockStart(0, kind))
        out.append(Delta(self._index, text, logprobs))

    def think(
        self, out: list[Event], key: ItemKey, part: int | None, text: str, *, raw: bool
    ) -> None:
        """More of an item's thinking, or of the summary of it. Its parts become paragraphs."""
        place = (key, "thought" if raw else "summary", None)
        if place != self._place:
            self._begin(out, place, BlockStart(0, "reasoning", raw=raw))
        elif part != self._paragraph:
            text = _PARAGRAPH + text
        self._paragraph = part
        out.append(Delta(self._index, text))

    def has_thought(self, key: ItemKey, *, raw: bool) -> bool:
        """Whether anything was told of an item's thinking, or of the summary of it."""
        return (key, "thought" if raw else "summary", None) in self._told

    def cite(self, out: list[Event], place: Place, citation: Citation) -> None:
        """A citation of a text: of the open one, or of one that has yet to begin."""
        if not self._is_open(place):
            if self.has_told(place):
                return
            self._begin(out, place, BlockStart(0, "text"))
        self._cited += 1
        out.append(Cited(self._index, citation))

    def cited_in(self, place: Place) -> int:
        """How many citations of a text were told, if it is the open one."""
        return self._cited if self._is_open(place) else 0

    def _is_open(self, place: Place) -> bool:
        """Whether the open block is this part of an item, or may be it for want of a number."""
        if self._place is None or self._place[:2] != place[:2]:
            return False
        return self._place[2] == place[2] or self._place[2] is None or place[2] is None

    def sign(self, out: list[Event], key: ItemKey, signature: Signature) -> None:
        """The signature of an item's reasoning; on a block without text if there is none open."""
        if self._place is None or self._place[0] != key or self._place[1] not in _THINKING:
            self._begin(out, (key, "signature", None), BlockStart(0, "reasoning"))
        out.append(Signed(self._index, signature))
        self.end(out)

    def _begin(self, out: list[Event], place: Place, block: BlockStart) -> None:
        self.end_call(out, None)
        self._index = self._open.start(out, block)
        self._place = place
        self._paragraph = None
        self._cited = 0
        self._told.add(place)
        self._keys.add(place[0])
        self.refused = self.refused or block.kind == "refusal"

    def end(self, out: list[Event]) -> None:
        """End the open block, if there is one."""
        self.end_call(out, None)
        self._open.end(out)
        self._place = None

    # -- calls ------------------------------------------------------------------------------

    @property
    def in_call(self) -> bool:
        """Whether the arguments of a call are being told."""
        return self._call is not None

    def is_other(self, output_index: int | None, item_id: str | None) -> bool:
        """Whether an event tells of another item than the call that is open, if one is."""
        call = self._call
        if call is None or (output_index is None and item_id is None):
            return False
        if output_index is not None and output_index == call.output_index:
            return False
        return item_id is None or item_id != call.item_id

    def begin_call(
        self, out: list[Event], call: ToolCall, output_index: int | None, item_id: str | None
    ) -> None:
        """A call, whose arguments follow."""
        self.end(out)
        start = BlockStart(0, "tool_call", id=call.id, name=call.name, custom=call.custom)
        index = self._open.start(out, start)
        self._call = _Call(index, call.id, call.arguments, output_index, item_id)
        self._calls.add(call.id)
        self.called = True

    def tell_arguments(self, out: list[Event], text: str) -> None:
        """More of the arguments of the open call. Without one they wait for the whole item."""
        if self._call is not None:
            self._call.given = True
            out.append(Delta(self._call.index, text))

    def end_call(self, out: list[Event], arguments: str | None) -> None:
        """End the open call, if there is one, with its whole arguments if none were told yet."""
        call = self._call
        if call is None:
            return
        self._call = None
        text = arguments or call.arguments
        if not call.given and text:
            out.append(Delta(call.index, text))
        self._open.end(out)

    def complete_call(self, out: list[Event], call: ToolCall) -> None:
        """A call that is there whole."""
        if call.id not in self._calls:
            self.begin_call(out, call, None, None)
        if self._call is not None and self._call.id == call.id:
            self.end_call(out, call.arguments)


_THINKING: Final = ("thought", "summary")


def _identity(key: ItemKey, item: OutputItem) -> tuple[ItemKey, str, str | None]:
    return key, item.type, item.call_id or item.id
