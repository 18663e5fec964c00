"""Large JSON without its bulk: valid JSON still, with all that stands near its top.

Who passes a body on has to see that it is JSON to its end, and to read little of it. So it is
looked at in slices (bitrouter.slices), and what lies deep in it, or in the middle of a long string,
is left out of what is decoded in the end.
"""

from typing import Final, NamedTuple

from bitrouter.slices import STRING, Part, bridge, parts


class Gap(NamedTuple):
    """Where something was left out: its place and size in the outline, and its size in the whole,
    in bytes.
    """

    at: int
    size: int
    whole_size: int


class Outline(NamedTuple):
    """`text` is JSON, with so many `gaps` in it."""

    text: bytes
    gaps: tuple[Gap, ...]

    def place_in_whole(self, at: int) -> int:
        """Where a byte of the outline is in what it is the outline of. No byte within a gap is."""
        return at + sum(gap.whole_size - gap.size for gap in self.gaps if gap.at + gap.size <= at)


NEAR_TOP: Final = 3
"""Brackets around what protocols say of an answer in an event of a stream: `choices[0]`'s own."""


def outline(data: bytes, depth: int, *, is_text: bool = False) -> Outline:
    """The outline of JSON: whatever stands within at most `depth` brackets, one or more, is in it,
    unless it is long. A name is never cut, a string to no less than a slice.

    Raises msgspec.DecodeError when `data` is not JSON, RecursionError when it nests deeper than
    the decoder can follow, and with `is_text` UnicodeDecodeError when it is not UTF-8.
    """
    texts: list[bytes] = []
    gaps: list[Gap] = []
    size = 0
    for part in parts(data):
        if is_text and not part.text.isascii():
            _check_utf8(part)
        part.check()
        short = _shortened(part, depth)
        if short is not part.text:
            gaps.append(Gap(size, len(short), len(part.text)))
        texts.append(short)
        size += len(short)
    return Outline(b"".join(texts), tuple(gaps))


def _shortened(part: Part, depth: int) -> bytes:
    before, after = part.before, part.after
    if after is None:
        return part.text
    if part.is_inside and before.place == STRING:
        return b""
    return bridge(before, after, part.least) if part.least > depth else part.text


def _check_utf8(part: Part) -> None:
    try:
        part.text.decode()
    except UnicodeDecodeError as error:
        start, end = error.start + part.start, error.end + part.start
        raise UnicodeDecodeError(error.encoding, error.object, start, end, error.reason) from None
