"""Requests too large for one call of the decoder: what is in their lists is decoded bit by bit.

A call in C keeps the interpreter to itself, in a thread too, and to decode takes 1 to 3 ms a
megabyte: see bitrouter.slices. What is found is what one call finds, and so are the words for what
is wrong. Where several things are, it may be another one that is named.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from bitrouter import slices
from bitrouter.elements import elements
from bitrouter.envelope import Fields, split_fields
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import decode_body

T = TypeVar("T")

_fields: Final = msgspec.json.Decoder(Fields)
_NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Outsize(Generic[T]):
    """How to decode a `kind` of more than slices.LARGE bytes: its members in `lists`, which are
    called there as they are on the wire, may be lists of such elements, and are decoded element by
    element; all else in one call.
    """

    def __init__(self, kind: type[T], lists: "Mapping[str, Outsize[Any]] | None" = None) -> None:
        self._lists = lists or {}
        self._one = msgspec.json.Decoder(kind)
        self._many: msgspec.json.Decoder[list[T]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # a type that is known only when it runs

    def decode(self, body: bytes, fields: Fields, where: str = "") -> T:
        """Decode an object, whose members are `fields`. Raises InvalidRequest; see decode_body."""
        apart = {name: raw for name, raw in fields.items() if self._is_apart(name, raw)}
        if not apart:
            return decode_body(self._one, body, where)
        members = (
            b"%b:%b" % (msgspec.json.encode(name), b"[]" if name in apart else raw)
            for name, raw in fields.items()
        )
        found = decode_body(self._one, b"{%b}" % b",".join(members), where)
        for name, raw in apart.items():
            inside = f"{where}.{name}" if where else name
            setattr(found, name, self._lists[name].decode_list(raw, inside))
        return found

    def _is_apart(self, name: str, raw: msgspec.Raw) -> bool:
        return name in self._lists and is_outsize_list(raw)

    def decode_list(self, raw: msgspec.Raw, where: str) -> list[T]:
        """Decode an array of them that stands at `where`. Raises InvalidRequest."""
        found: list[T] = []
        batch: list[bytes] = []
        size = 0
        for element in elements(memoryview(raw)):
            if size + len(element) > slices.SLICE:
                self._decode_batch(batch, found, where)
                batch, size = [], 0
            batch.append(element)
            size += len(element)
        self._decode_batch(batch, found, where)
        return found

    def _decode_batch(self, batch: list[bytes], found: list[T], where: str) -> None:
        """Add what `batch` means to `found`. Small elements take a third of the time together."""
        if len(batch) > 1:
            try:
                found += self._many.decode(b"[%b]" % b",".join(batch))
            except _NOT_DECODED:
                pass  # which of them it was is told below
            else:
                return
        for element in batch:
            found.append(self._decode_one(element, f"{where}[{len(found)}]"))

    def _decode_one(self, element: bytes, where: str) -> T:
        fields = _split(element) if self._lists else None
        if fields is None:
            return decode_body(self._one, element, where)
        return self.decode(element, fields, where)


def is_outsize_list(raw: msgspec.Raw) -> bool:
    """Whether a value is an array that is better taken element by element."""
    return len(raw) > slices.LARGE and memoryview(raw)[0] == ord("[")


def outsize_objects(raw: msgspec.Raw) -> Iterator[Fields]:
    """The members of each of the objects in an array of more than slices.LARGE bytes."""
    for element in elements(memoryview(raw)):
        fields = _split(element)
        yield _fields.decode(element) if fields is None else fields


def _split(element: bytes) -> Fields | None:
    """The members of something large, None of what is small, is no object, or has a key twice:
    one call sees to that.
    """
    if len(element) <= slices.LARGE:
        return None
    try:
        return split_fields(element)
    except InvalidRequest:
        return None
