"""Bodies too large for one call of the encoder: the same bytes, written bit by bit.

A call in C keeps the interpreter to itself, in a thread too, and to encode takes 1 to 2 ms a
megabyte: see bitrouter.slices. So what is large is taken apart, down to pieces of its strings; the
call that joins what was written of them lets others go on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from bitrouter import slices

_encode: Final = msgspec.json.encode
_OTHER: Final = 16  # bytes, about, of a number and the like


def encode_large(value: object) -> bytes:
    """What msgspec.json.encode makes of JSON-like values (dict, list, str, msgspec.Raw and what is
    small), and the errors that it raises.
    """
    return b"".join(encoded_pieces(value))


def encoded_pieces(value: object) -> Iterable[bytes]:
    """The same before it is joined. No character is cut."""
    try:
        return list(_written(value))
    except RecursionError:  # the encoder can follow further down, or has its own word for it
        return (_encode(value),)


def _written(value: Any) -> Iterator[bytes]:
    if _weight(value, slices.SLICE) <= slices.SLICE:
        yield _encode(value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), slices.SLICE):
            yield _encode(value[start : start + slices.SLICE])[1:-1]
        yield b'"'
    elif isinstance(value, dict):
        yield b"{"
        yield from _inside(value.items(), dict, _member)
        yield b"}"
    elif isinstance(value, list | tuple):
        yield b"["
        yield from _inside(value, list, _written)
        yield b"]"
    else:
        yield _encode(value)


def _member(member: tuple[Any, Any]) -> Iterator[bytes]:
    name, value = member
    yield _encode({name: None})[1:-5]
    yield from _written(value)


def _inside(
    items: Iterable[Any],
    together: Callable[[list[Any]], Any],
    alone: Callable[[Any], Iterator[bytes]],
) -> Iterator[bytes]:
    """What stands in a container: its small items `together`, a slice at a time, the others each
    `alone`.
    """
    comma = b""
    batch: list[Any] = []
    left = slices.SLICE
    for item in items:
        weight = _weight(item, slices.SLICE)
        if batch and weight > left:
            yield comma + _encode(together(batch))[1:-1]
            comma, batch, left = b",", [], slices.SLICE
        if weight > slices.SLICE:
            yield comma
            yield from alone(item)
            comma = b","
        else:
            batch.append(item)
            left -= weight
    if batch:
        yield comma + _encode(together(batch))[1:-1]


def _weight(value: Any, most: int) -> int:
    """How many characters it has, about. Of what has more than `most` no more is looked at."""
    kind = type(value)
    if kind is str or kind is msgspec.Raw:
        return len(value)
    if kind is dict:
        value = value.items()
    elif kind is not list and kind is not tuple:
        return _OTHER
    weight = _OTHER
    for one in value:
        weight += _weight(one, most - weight)
        if weight > most:
            break
    return weight
