"""The elements of a large JSON array, one after another.

To decode an array at once is one call in C, however many elements it has, and nobody else is served
meanwhile (see bitrouter.slices). So it is cut into slices; the decoder sees those in which an
element ends or begins, with what was open before them opened anew, and what lies between belongs to
one element as it stands.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from bitrouter.slices import COMMA, OPENED, START, VALUE, State, closed, opened, parts

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def elements(data: bytes | memoryview) -> Iterator[bytes]:
    """The elements of a JSON array, each as its bytes. No call in C sees more than two slices, but
    for the one that puts an element together, which lets others go on.

    Raises msgspec.DecodeError when it comes to what is no JSON, or no array.
    """
    begun: list[bytes] = []  # of the element whose end has not come
    for part in parts(data):
        before, after = part.before, part.after
        if after is not None and part.least > 1:
            begun.append(part.text)
            continue
        if after is not None and after.place == START:
            continue
        closing = b"" if after is None else closed(after)
        found = _list.decode(b"".join((opened(before), part.text, closing)))
        whole = [bytes(raw) for raw in found]
        if _has_stand_in(before):
            del whole[0]
        elif whole and begun:
            begun.append(whole[0][len(opened(before, depth=1)) :])
            whole[0] = b"".join(begun)
        begun = []
        if after is not None and after.open == _ARRAY and after.place == COMMA:
            del whole[-1]
        elif after is not None and not _is_between(after):
            last = whole.pop()
            begun = [last[: len(last) - len(closed(after, depth=1))]]
        yield from whole


_ARRAY: Final = b"["


def _has_stand_in(before: State) -> bool:
    """Whether what leads to a cut stands for an element that has ended before it."""
    return before.open == _ARRAY and before.place in (COMMA, VALUE)


def _is_between(after: State) -> bool:
    """Whether a cut goes through no element."""
    return len(after.open) <= 1 and after.place in (OPENED, COMMA, VALUE)
