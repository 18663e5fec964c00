"""Large JSON in slices, each of which a decoder in C can look at by itself.

A call in C keeps the interpreter to itself until it returns, in whatever thread it runs: nobody is
served meanwhile. One look at 64 MB takes 60 ms, and 340 where it is numbers. So what is large is
cut, anywhere outside of a number, an escape and a character; and what was open before the cut is
opened anew in front of a slice, what is open after it closed behind it. Such a slice is JSON if,
and only if, its bytes are right at their place, for what is put around it fits no other state than
the one in which the slices meet.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

SLICE: Final = 256 << 10
"""Bytes that one call in C is given: 0.2 ms for text, 0.6 for numbers and short strings."""

LARGE: Final = 2 << 20
"""Bytes up to which a single call is over soon enough: in 1.4 ms, or 3.3 where it is numbers. What
is looked at in slices costs up to five times as much where its strings are short.
"""

_BLANK: Final = b" \t\n\r"
_OPENERS: Final = frozenset(b"[{")
_ALL_ELSE: Final = bytes(set(range(256)) - set(b"[]{}"))
_CLOSERS: Final = bytes.maketrans(b"[{", b"]}")
_OPENER_OF: Final = {ord("]"): ord("["), ord("}"): ord("{")}
_TOKEN: Final = bytes(set(range(256)) - set(b' \t\n\r,:[]{}"'))  # what numbers and words are of
# Rounds in which pairs with nothing between them are taken out of brackets: a round costs 3 ns a
# bracket, and to step through what is left, which is nested deeper, 80.
_ROUNDS: Final = 16
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_TWO_ESCAPES: Final = 12  # bytes at most, and they may be one character
_WINDOW: Final = 64
_RUN: Final = re.compile(rb"[^\\](?=\\)", re.DOTALL)
# Whole characters. What is escaped may be one of the two halves of a character.
_WHOLE: Final = re.compile(
    rb"(?:[^\\]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}"
    rb"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*+",
    re.DOTALL,
)

# Where in its innermost container a cut is.
START: Final = "start"  # nothing has come but white space
OPENED: Final = "opened"
COMMA: Final = "comma"
VALUE: Final = "value"  # after one
KEY: Final = "key"  # within one
NAMED: Final = "named"  # after a key
COLON: Final = "colon"
STRING: Final = "string"  # within a value that is a string

_TOP: Final = 0
_ARRAY: Final = ord("[")
_OBJECT: Final = ord("{")
# What leads to a place, after the bracket that opens its container, and what leads from it to where
# the container can be closed. A value that stands for others is none that could go on.
_BEFORE: Final = {
    (_TOP, START): b"",
    (_TOP, VALUE): b"[]",
    (_TOP, STRING): b'"',
    (_ARRAY, OPENED): b"",
    (_ARRAY, COMMA): b'"",',
    (_ARRAY, VALUE): b'""',
    (_ARRAY, STRING): b'"',
    (_OBJECT, OPENED): b"",
    (_OBJECT, COMMA): b'"":"",',
    (_OBJECT, VALUE): b'"":""',
    (_OBJECT, KEY): b'"',
    (_OBJECT, NAMED): b'""',
    (_OBJECT, COLON): b'"":',
    (_OBJECT, STRING): b'"":"',
}
_AFTER: Final = {
    (_TOP, START): b'""',
    (_TOP, VALUE): b"",
    (_TOP, STRING): b'"',
    (_ARRAY, OPENED): b"",
    (_ARRAY, COMMA): b'""',
    (_ARRAY, VALUE): b"",
    (_ARRAY, STRING): b'"',
    (_OBJECT, OPENED): b"",
    (_OBJECT, COMMA): b'"":""',
    (_OBJECT, VALUE): b"",
    (_OBJECT, KEY): b'":""',
    (_OBJECT, NAMED): b':""',
    (_OBJECT, COLON): b'""',
    (_OBJECT, STRING): b'"',
}
_AFTER_BYTE: Final = {
    ord(","): COMMA,
    ord(":"): COLON,
    ord("["): OPENED,
    ord("{"): OPENED,
}


class State(NamedTuple):
    """Where a cut is: the brackets that are open there, and its place in the innermost."""

    open: bytes
    place: str

    @property
    def container(self) -> int:
        """The innermost bracket that is open, 0 for none."""
        return self.open[-1] if self.open else _TOP

    @property
    def in_string(self) -> bool:
        """Whether the cut goes through a string."""
        return self.place in (KEY, STRING)


class Part(NamedTuple):
    """What stands between two cuts. `start` is where it begins in the whole, `brackets` those in
    it, in order, and `least` how many are open at its shallowest. `is_inside` says that it is
    nothing but the middle of a string. `after` is None where nothing can follow: at the end, and
    where a bracket closes what another one opened.
    """

    start: int
    text: bytes
    before: State
    after: State | None
    brackets: bytes
    least: int
    is_inside: bool

    def check(self) -> None:
        """Raise msgspec.DecodeError unless it is right at its place, RecursionError when it nests
        deeper than the decoder can follow.
        """
        opening = opened(self.before)
        closing = b"" if self.after is None else closed(self.after)
        try:
            _any.decode(b"".join((opening, self.text, closing)))
        except msgspec.DecodeError as error:
            shift = self.start - len(opening)
            words = _BYTE.sub(lambda found: f"(byte {int(found[1]) + shift})", str(error))
            raise msgspec.DecodeError(words) from None


_any: Final = msgspec.json.Decoder(msgspec.Raw)


def opened(state: State, *, depth: int = 0) -> bytes:
    """What leads to `state` from the inside of its bracket number `depth`, before any value."""
    outer = b"".join(b"[" if bracket == _ARRAY else b'{"":' for bracket in state.open[depth:-1])
    innermost = state.open[depth:][-1:]
    return outer + innermost + _BEFORE.get((state.container, state.place), b"")


def closed(state: State, *, depth: int = 0) -> bytes:
    """What leads from `state` to the inside of its bracket number `depth`, after a value."""
    end = _AFTER.get((state.container, state.place), b"")
    return end + state.open[depth:].translate(_CLOSERS)[::-1]


def bridge(before: State, after: State, least: int) -> bytes:
    """What leads from one cut to another where what is between them does not matter, in which
    `least` brackets are open at the shallowest, one or more.
    """
    if before == after:
        return b""
    outermost = after.open[least - 1]
    down = closed(before, depth=least)
    if before.place == OPENED and len(before.open) == least:
        down = _BEFORE[outermost, VALUE]
    if len(after.open) > least:
        name = b"" if outermost == _ARRAY else b'"":'
        return b"%b,%b%b" % (down, name, opened(after, depth=least))
    if after.place == VALUE:
        return down
    return down + b"," + _BEFORE[outermost, after.place].removeprefix(_BEFORE[outermost, COMMA])


def parts(data: bytes | memoryview) -> Iterator[Part]:
    """Cut `data`. Together the texts are all of it, up to a part that nothing can follow.

    Each part must be checked before the next is asked for. Raises msgspec.DecodeError when a number
    or the like is longer than two slices.
    """
    state = State(b"", START)
    rest = b""
    position = 0
    while True:
        start = position - len(rest)
        text = rest + data[position : position + SLICE]
        position += SLICE
        pieces = _between_quotes(text)
        outside = pieces[1::2] if state.in_string else pieces[::2]
        brackets = b"".join(outside).translate(None, _ALL_ELSE)
        still_open, least = _still_open(state.open, brackets)
        if still_open is None or position >= len(data):
            yield Part(start, text, state, None, brackets, least, is_inside=False)
            break
        end, place = _cut(text, pieces, state, still_open)
        rest = text[end:]
        if end:
            after = State(still_open, place)
            is_inside = len(pieces) == 1 and state.in_string
            yield Part(start, text[:end], state, after, brackets, least, is_inside)
            state = after
        elif len(rest) > SLICE:
            raise msgspec.DecodeError(f"JSON is malformed: invalid token (byte {start})")
    if position < len(data):
        raise msgspec.DecodeError(f"JSON is malformed: invalid bracket (byte {start})")


def _between_quotes(text: bytes) -> list[bytes]:
    """What stands between the quotes that begin and end strings, of the same length as it is."""
    if b"\\" in text:
        text = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    return text.split(b'"')


def _still_open(open_before: bytes, brackets: bytes) -> tuple[bytes | None, int]:
    """The brackets that are open after `brackets`, and how many were at the least. None where one
    closes what another one opened.
    """
    for _ in range(_ROUNDS):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    still_open = bytearray(open_before)
    least = len(still_open)
    for bracket in brackets:
        if bracket in _OPENERS:
            still_open.append(bracket)
        elif not still_open or still_open.pop() != _OPENER_OF[bracket]:
            return None, 0
        else:
            least = min(least, len(still_open))
    return bytes(still_open), least


def _cut(text: bytes, pieces: list[bytes], before: State, still_open: bytes) -> tuple[int, str]:
    """How much of `text` is a part, and the place of the cut after it; 0 if nothing can be one."""
    began_inside = before.in_string
    if (len(pieces) % 2 == 0) != began_inside:  # as many quotes, and one, as there are pieces
        end = _last_whole(text, len(text) - len(pieces[-1]))
        return end, _kind_of_string(pieces, len(pieces) - 1, before, still_open)
    last = pieces[-1].rstrip(_TOKEN)
    end = len(text) - len(pieces[-1]) + len(last)
    if said := last.rstrip(_BLANK):
        return end, _AFTER_BYTE.get(said[-1], VALUE)
    if len(pieces) == 1:
        return end, before.place
    kind = _kind_of_string(pieces, len(pieces) - 2, before, still_open)
    return end, NAMED if kind == KEY else VALUE


def _kind_of_string(pieces: list[bytes], number: int, before: State, still_open: bytes) -> str:
    """Whether the string that is the piece of this number is a key or a value."""
    if number == 0:
        return before.place
    if not still_open or still_open[-1] != _OBJECT:
        return STRING
    if said := pieces[number - 1].rstrip(_BLANK):
        return STRING if said[-1] == ord(":") else KEY
    return KEY if number == 1 and before.place in (OPENED, COMMA) else STRING


def _last_whole(text: bytes, begin: int) -> int:
    """Where the last whole character ends of a string's inside, which begins at `begin`."""
    end = _last_whole_utf8(text, begin)
    if text.rfind(b"\\", max(begin, end - _TWO_ESCAPES), end) < 0:
        return end
    backslashes = end - max(begin, len(text[:end].rstrip(b"\\")))
    if backslashes > _WINDOW:
        return end - backslashes % 2
    window = _WINDOW
    while True:
        first = max(begin, end - window)
        # Where backslashes begin, what came before them has ended.
        known = None if first == begin else _RUN.search(text, first, end)
        if known is not None or first == begin:
            whole = _WHOLE.match(text, known.end() if known else begin, end)
            return whole.end() if whole else end
        window *= _WINDOW


def _last_whole_utf8(text: bytes, begin: int) -> int:
    """The same for characters of several bytes, of which at most three can be there without the
    fourth.
    """
    end = len(text)
    for back in range(1, min(3, end - begin) + 1):
        byte = text[end - back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end - back if size > back else end
    return end
