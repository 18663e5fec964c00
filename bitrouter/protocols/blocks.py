"""Numbering the blocks of a stream whose wire does not: so every decoder's events are well formed
(ir.py, "the events of a stream").
"""

from bitrouter.ir import BlockEnd, BlockStart, Event, StreamedKind


class OpenBlocks:
    """Which block of each candidate is open. Events are appended to the list that is handed in."""

    __slots__ = ("_next", "_open")

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[int, BlockStart] = {}

    def current(self, candidate: int = 0) -> BlockStart | None:
        """The open block of a candidate."""
        return self._open.get(candidate)

    def ensure(
        self, out: list[Event], kind: StreamedKind, candidate: int = 0, *, raw: bool = False
    ) -> int:
        """The number of the candidate's open block, if it is of this kind, else of a new one."""
        block = self._open.get(candidate)
        if block is not None and block.kind == kind and block.raw == raw:
            return block.index
        return self.start(out, BlockStart(0, kind, candidate, raw=raw))

    def start(self, out: list[Event], block: BlockStart) -> int:
        """End the open block of the candidate and begin `block`, which gets its number here."""
        self.end(out, block.candidate)
        block.index = self._next
        self._next += 1
        self._open[block.candidate] = block
        out.append(block)
        return block.index

    def end(self, out: list[Event], candidate: int = 0) -> None:
        """End the open block of a candidate, if there is one."""
        block = self._open.pop(candidate, None)
        if block is not None:
            out.append(BlockEnd(block.index))

    def end_all(self, out: list[Event]) -> None:
        """End every open block."""
        for candidate in list(self._open):
            self.end(out, candidate)
