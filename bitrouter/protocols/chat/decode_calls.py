"""Tool calls of a stream: whose piece is which, and in which order they are told.

The wire may mix the pieces of several calls; the neutral events tell one call after another. So
the first call that is not complete is told as it comes, and the pieces of later ones wait until
its arguments are whole. Source: protocols.md, 2.9 ("chat decoder"), and section 4.
"""

from bitrouter.ir import BlockStart, Delta, Event, Signature, Signed
from bitrouter.protocols.base import is_json
from bitrouter.protocols.blocks import OpenBlocks
from bitrouter.protocols.chat import types
from bitrouter.protocols.chat.decode_answer import new_call_id

_UNNAMED = -1  # the index of a call that comes without one


class _Call:
    """A call as far as it has come. `waiting` is what has not been told, `told` what has."""

    __slots__ = ("_whole", "block", "custom", "id", "name", "signature", "told", "waiting")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.custom = False
        self.signature: Signature | None = None
        self.block: int | None = None
        self.told: list[str] = []
        self.waiting: list[str] = []
        self._whole: bool | None = None  # whether the arguments are, once that was looked at

    def add(self, text: str) -> None:
        """Take a piece of the arguments."""
        self.waiting.append(text)
        self._whole = None

    @property
    def has_arguments(self) -> bool:
        return bool(self.told or self.waiting)

    @property
    def is_whole(self) -> bool:
        """Whether nothing can follow. Of free text that cannot be known: the next call says it."""
        if self._whole is None:
            self._whole = self.custom or is_json("".join((*self.told, *self.waiting)).encode())
        return self._whole


class CallStream:
    """The calls of one candidate. Events are appended to the list that is handed in."""

    __slots__ = ("_blocks", "_by_index", "_calls", "_candidate", "_current", "any")

    def __init__(self, blocks: OpenBlocks, candidate: int) -> None:
        self._blocks = blocks
        self._candidate = candidate
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._current = 0
        self.any = False

    @property
    def pending(self) -> bool:
        """Whether a call is open, or waits."""
        return self._current < len(self._calls)

    def add(self, piece: types.ToolCall, out: list[Event]) -> None:
        """Take a piece of a call."""
        named = piece.custom if piece.function is None else piece.function
        name = (named.name if named is not None else None) or ""
        call = self._find(piece, name)
        call.id = call.id or piece.id or ""
        call.name = call.name or name
        if isinstance(named, types.CustomCall):
            call.custom = True
            text = named.input or ""
        else:
            text = _fragment(named.arguments) if named is not None else ""
        if text:
            call.add(text)
        if piece.extra_content is not None and call.signature is None:
            self._sign(call, piece.thought_signature(), out)
        self._tell(out)

    def finish(self, out: list[Event]) -> None:
        """Tell all that waits: other content follows, or nothing."""
        while self.pending:
            call = self._calls[self._current]
            if call.name:
                self._tell_one(call, out)
                self._end(call, out)
            self._current += 1

    def _find(self, piece: types.ToolCall, name: str) -> _Call:
        """The call that a piece belongs to: by its index, else by its id, else the newest."""
        index = piece.index
        if index is not None:
            known = self._by_index.get(index)
        elif piece.id:
            index = _UNNAMED
            known = next((call for call in self._calls if call.id == piece.id), None)
        else:
            index = _UNNAMED
            known = self._calls[-1] if self._calls else None
        if known is None or _begins_another(known, piece.id, name):
            known = self._by_index[index] = _Call()
            self._calls.append(known)
        return known

    def _sign(self, call: _Call, value: str | None, out: list[Event]) -> None:
        if value is None:
            return
        call.signature = Signature(types.GOOGLE, value)
        if call.block is not None and self.pending and self._calls[self._current] is call:
            out.append(Signed(call.block, call.signature))

    def _tell(self, out: list[Event]) -> None:
        """Tell what can be told now, and go on to the next call where one is whole."""
        while self.pending:
            call = self._calls[self._current]
            if not call.name:
                return
            self._tell_one(call, out)
            if self._current == len(self._calls) - 1 or not call.is_whole:
                return
            self._end(call, out)
            self._current += 1

    def _tell_one(self, call: _Call, out: list[Event]) -> None:
        if call.block is None:
            self.any = True
            start = BlockStart(
                0,
                "tool_call",
                self._candidate,
                id=call.id or new_call_id(),
                name=call.name,
                custom=call.custom,
            )
            call.block = self._blocks.start(out, start)
            if call.signature is not None:
                out.append(Signed(call.block, call.signature))
        block = call.block
        out += [Delta(block, text) for text in call.waiting]
        call.told += call.waiting
        call.waiting.clear()

    def _end(self, call: _Call, out: list[Event]) -> None:
        """End a call; one without arguments has an empty object of them."""
        if call.block is not None and not call.told and not call.custom:
            out.append(Delta(call.block, "{}"))
        self._blocks.end(out, self._candidate)


def _fragment(arguments: types.Arguments) -> str:
    """A piece of arguments, or all of them as an object."""
    if isinstance(arguments, dict):
        return types.arguments_text(arguments)
    return arguments or ""


def _begins_another(known: _Call, call_id: str | None, name: str) -> bool:
    """Whether a piece is of a call after `known`, though it has the same index: some servers give
    all calls the same. Those that repeat the id, the name, or both are still telling one call.
    """
    if not name or not known.name or (call_id and call_id == known.id):
        return False
    if call_id and known.id:
        return not known.has_arguments or known.is_whole
    return known.has_arguments and known.is_whole
