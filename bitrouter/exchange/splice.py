"""Joining the answers of several endpoints to one, event by event in the neutral form.

A stream that has begun can be finished by another endpoint only if what that one says fits what the
client was told already, to the letter. `SoFar` knows what the client was told; `Joint` lets through
of the next answer what comes after it. docs/rescue.md says what is joined and what is not.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter.errors import AnswerDiffers, RouterError
from bitrouter.ir import (
    BlockEnd,
    BlockStart,
    Cited,
    Delta,
    End,
    Event,
    Events,
    Finished,
    Signed,
    Start,
    Usage,
)
from bitrouter.protocols.translator import StreamEncoder

MAX_TEXT: Final = 1 << 20  # characters of one answer; a longer one is not rescued

_replace: Final = msgspec.structs.replace
_PLAIN: Final = frozenset({"text", "reasoning"})


class SoFar:
    """What a client was told of an answer, and the encoder that tells it. See StreamEncoder.

    `plain`: nothing was told that only its own endpoint could go on with. `open` is the block that
    has not ended, `next_index` the number of the next one. `make_encoder` is given the answer's id.
    """

    __slots__ = (
        *("_encoder", "_length", "_make_encoder", "_texts"),
        *("has_thought", "next_index", "open", "plain"),
    )

    def __init__(self, make_encoder: Callable[[str | None], StreamEncoder]) -> None:
        self._make_encoder = make_encoder
        self._encoder: StreamEncoder | None = None
        self._texts: list[str] = []
        self._length = 0
        self.plain = True
        self.has_thought = False
        self.next_index = 0
        self.open: BlockStart | None = None

    @property
    def text(self) -> str:
        """All of the answer's text."""
        return "".join(self._texts)

    def encode(self, events: Events) -> bytes:
        """See StreamEncoder.encode."""
        for event in events:
            if type(event) is Delta:
                self._note_text(event)
            else:
                self._note(event)
        return self._told_by(events).encode(events)

    def fail(self, error: RouterError) -> bytes:
        """See StreamEncoder.fail."""
        return self._told_by(()).fail(error)

    def _told_by(self, events: Events) -> StreamEncoder:
        """The encoder, made when the answer's own id is known: it begins with Start."""
        if self._encoder is None:
            first = events[0] if events else None
            self._encoder = self._make_encoder(first.id if isinstance(first, Start) else None)
        return self._encoder

    def _note_text(self, event: Delta) -> None:
        if self.open is None or self.open.kind != "text" or not self.plain:
            return
        self._texts.append(event.text)
        self._length += len(event.text)
        if event.logprobs or self._length > MAX_TEXT:
            self._give_up()

    def _note(self, event: Event) -> None:
        match event:
            case BlockStart():
                self.open = event
                self.next_index = event.index + 1
                self.has_thought = self.has_thought or event.kind == "reasoning"
                if event.kind not in _PLAIN or event.redacted or event.candidate != 0:
                    self._give_up()
            case BlockEnd():
                self.open = None
            case Signed():
                if event.signature.value:
                    self._give_up()
            case Cited() | Finished():
                self._give_up()
            case _:
                pass

    def _give_up(self) -> None:
        """There is no going on from here, and nothing to be kept for it."""
        self.plain = False
        self._texts.clear()


class Joint:
    """Tells a client the rest of its answer, out of another answer. See StreamEncoder.

    `expected` is what the other answer's text must begin with, and is told by nobody again. Until
    `commit` nothing is told at all, so that the other answer can still be given up. `before` is the
    usage of what was told so far, if the other answer's does not include that.
    """

    __slots__ = (
        *("_at", "_before", "_begun", "_expected", "_held", "_hides_thoughts", "_moved"),
        *("_next", "_open", "_open_is_text", "_places", "_so_far"),
    )

    def __init__(self, so_far: SoFar, expected: str, before: Usage | None) -> None:
        self._so_far = so_far
        self._expected = expected
        self._at = 0  # so much of it has come
        self._before = before
        self._begun = False
        self._held: list[Event] | None = []
        self._hides_thoughts = so_far.has_thought or bool(so_far.text)
        self._next = so_far.next_index
        self._open = so_far.open.index if so_far.open else None  # as the client numbers it
        self._open_is_text = so_far.open is not None and so_far.open.kind == "text"
        # The blocks that are let through, with the client's number; None while nothing was told.
        self._places: dict[int, int | None] = {}
        self._moved: set[int] = set()  # texts that do not stand where they stood

    @property
    def joined(self) -> bool:
        """Whether all that was expected has come."""
        return self._begun and self._at == len(self._expected)

    def commit(self) -> bytes:
        """What is to be told first. From here on everything is told as it comes."""
        held, self._held = self._held or [], None
        return self._so_far.encode(held) if held else b""

    def encode(self, events: Events) -> bytes:
        """See StreamEncoder.encode. Raises AnswerDiffers until `joined`."""
        self._begun = True
        out: list[Event] = []
        for event in events:
            self._take(event, out)
        if self._held is not None:
            self._held += out
            return b""
        return self._so_far.encode(out) if out else b""

    def fail(self, error: RouterError) -> bytes:
        """See StreamEncoder.fail."""
        return self._so_far.fail(error)

    def usage(self, after: Usage | None) -> Usage | None:
        """The usage of the whole: the first request's input, and all output that was told of."""
        before = self._before
        if before is None or after is None:
            return after or before
        asked = before if before.input_tokens is not None else after
        return _replace(
            asked,
            output_tokens=_sum(before.output_tokens, after.output_tokens),
            reasoning_tokens=_sum(before.reasoning_tokens, after.reasoning_tokens),
        )

    def _take(self, event: Event, out: list[Event]) -> None:
        match event:
            case Delta():
                self._say(event, out)
            case BlockStart(candidate=0):
                self._begin(event, out)
            case BlockEnd():
                self._end(self._places.pop(event.index, None), out)
            case Signed():
                place = self._places.get(event.index)
                if place is not None:
                    out.append(_replace(event, index=place))
            case Cited():
                place = self._places.get(event.index)
                if place is not None and event.index not in self._moved:
                    out.append(_replace(event, index=place))
            case Finished(candidate=0):
                self._require_joined()
                self._end(self._open, out)
                out.append(event)
            case End():
                out.append(End(self.usage(event.usage)))
            case _:
                pass  # the client has its Start, and no other candidates

    def _begin(self, start: BlockStart, out: list[Event]) -> None:
        if start.kind == "text":
            self._places[start.index] = None
        elif start.kind != "reasoning":
            self._require_joined()
            self._open_new(start, out)
        elif not self._hides_thoughts:
            self._open_new(start, out)

    def _open_new(self, start: BlockStart, out: list[Event]) -> int:
        self._end(self._open, out)
        place = self._next
        self._next += 1
        self._open = self._places[start.index] = place
        self._open_is_text = start.kind == "text"
        out.append(_replace(start, index=place))
        return place

    def _end(self, place: int | None, out: list[Event]) -> None:
        if place is not None:
            self._open = None
            out.append(BlockEnd(place))

    def _say(self, event: Delta, out: list[Event]) -> None:
        if event.index not in self._places:
            return
        place = self._places[event.index]
        text = event.text
        if self._at < len(self._expected):
            text = self._rest(text)
            self._moved.add(event.index)
            if not text:
                return
        if place is None:
            place = self._place_of_text(event.index, out)
        out.append(event if place == event.index and text is event.text else Delta(place, text))

    def _rest(self, text: str) -> str:
        """What stands in `text` after the end of what is expected. Raises AnswerDiffers."""
        length = min(len(text), len(self._expected) - self._at)
        if not self._expected.startswith(text[:length], self._at):
            raise _differs()
        self._at += length
        return text[length:]

    def _place_of_text(self, index: int, out: list[Event]) -> int:
        """The client's block in which a text goes on: the open one, or a new one."""
        if self._open is None or not self._open_is_text:
            return self._open_new(BlockStart(index, "text"), out)
        self._places[index] = self._open
        self._moved.add(index)
        return self._open

    def _require_joined(self) -> None:
        if self._at < len(self._expected):
            raise _differs()


def _differs() -> AnswerDiffers:
    return AnswerDiffers("its answer does not begin with what the client was told already")


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
