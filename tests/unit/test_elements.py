"""The elements of an array are those that one call finds, however it is cut."""

import json
from random import Random
from typing import Final
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter import elements as module
from bitrouter import slices
from bitrouter.elements import elements
from tests.support.jsontext import VALUES
from tests.unit.test_slices import SIZES, bounded, value

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def found_at_once(data: bytes) -> list[bytes]:
    return [bytes(raw) for raw in _list.decode(data)]


def test_they_are_those_that_one_call_finds() -> None:
    random = Random(1)
    sizes = set()
    for _ in range(1000):
        array = [value(random, random.choice([0, 3, 4])) for _ in range(random.randrange(5))]
        data = json.dumps(
            array,
            ensure_ascii=random.random() < 0.5,
            indent=random.choice([None, None, 1]),
            separators=random.choice([(",", ":"), (" ,\n", " :\t")]),
        ).encode()
        blank = b" " * random.choice([0, 0, 40])
        data = blank + data + blank
        with mock.patch.object(slices, "SLICE", random.choice([16, 17, 23, 30, 64])):
            found = list(elements(memoryview(data)))
        assert found == found_at_once(data)
        sizes.add(len(found))
    assert sizes == set(range(5))


@given(st.lists(VALUES, max_size=6), SIZES)
@bounded
def test_whoever_wrote_them(values: list[str], size: int) -> None:
    data = f" [ {' , '.join(values)} ] ".encode()
    with mock.patch.object(slices, "SLICE", max(size, 64)):  # a number may take two slices
        assert list(elements(data)) == found_at_once(data)


@pytest.mark.parametrize("data", [b'{"a":1}', b"3", b'"' + b"x" * 99 + b'"', b"[1,", b"[1]]", b""])
def test_what_is_no_array_is_a_decode_error(data: bytes) -> None:
    with mock.patch.object(slices, "SLICE", 16), pytest.raises(msgspec.DecodeError):
        list(elements(data))


def test_no_single_call_sees_more_than_two_slices() -> None:
    image = {"type": "image", "data": "a" * 1_500_000}
    data = json.dumps([image, *[{"text": "hi"}] * 60_000, image]).encode()
    seen: list[int] = []

    def decode(text: bytes) -> list[msgspec.Raw]:
        seen.append(len(text))
        return _list.decode(text)

    decoder = mock.Mock()
    decoder.decode.side_effect = decode
    with mock.patch.object(module, "_list", decoder):
        count = sum(1 for _ in elements(data))

    assert count == 60_002
    assert 2 < len(seen) < 20
    assert max(seen) < slices.SLICE + 200
