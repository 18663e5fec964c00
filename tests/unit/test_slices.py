"""Large JSON is looked at in slices, with the verdict of a single look."""

import json
from random import Random
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import slices
from bitrouter.outline import outline
from bitrouter.slices import parts
from tests.support.jsontext import VALUES

_whole = msgspec.json.Decoder(msgspec.Raw)
_PIECES = ('"', "\\", ",", ":", "[", "]", "{", "}", " ", "0", ".5", "e1", "tru", '"a":', r"\ud83e")
_TEXTS = ("a", '"', "\\", "\n", "é", "🥊", "bbbbb", "\u2028", "{", "}", ",", ":", "[")
_SEPARATORS = ((",", ":"), (", ", ": "), (" ,\n", " :\t"))
SIZES = st.integers(13, 64)  # as long as two escapes and a byte
bounded = settings(max_examples=40, derandomize=True, deadline=None)


def value(random: Random, depth: int = 0) -> object:
    """Some JSON value, of which no number is longer than the shortest slice."""
    kind = random.random()
    if depth > 5 or kind < 0.2:
        return random.choice([1, -2.5e10, True, None, 0, 12345678901])
    if kind < 0.4:
        return text(random, 30)
    if kind < 0.7:
        return [value(random, depth + 1) for _ in range(random.randrange(6))]
    return {f"{text(random, 12)}{n}": value(random, depth + 1) for n in range(random.randrange(6))}


def text(random: Random, most: int) -> str:
    return "".join(random.choices(_TEXTS, k=random.randrange(most)))


def written(random: Random) -> bytes:
    """A JSON text in some hand, which may be damaged in one or two places."""
    data = json.dumps(
        {"a": value(random)},
        ensure_ascii=random.random() < 0.5,
        indent=random.choice([None, None, 1]),
        separators=random.choice(_SEPARATORS),
    )
    for _ in range(random.choice([0, 0, 1, 2])):
        at = random.randrange(len(data))
        data = data[:at] + random.choice(_PIECES) + data[at + random.randrange(2) :]
    return data.encode()


def is_json(data: bytes) -> bool:
    try:
        data.decode()
        _whole.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def verdict(data: bytes, depth: int) -> bool:
    try:
        outline(data, depth, is_text=True)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def test_the_verdict_is_that_of_a_single_look() -> None:
    random = Random(1)
    verdicts = []
    for _ in range(2000):
        data = written(random)
        with mock.patch.object(slices, "SLICE", random.choice([16, 17, 23, 30, 64])):
            found = verdict(data, random.choice([1, 2, 3]))
        assert found is is_json(data), data
        verdicts.append(found)
    assert 500 < sum(verdicts) < 1500


@given(st.binary(max_size=80), SIZES)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_no_bytes_at_all_raise_anything_else(data: bytes, size: int) -> None:
    with mock.patch.object(slices, "SLICE", size):
        assert not verdict(data, 1) or is_json(data)


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(70, 90))
@bounded
def test_the_parts_are_all_of_it_and_none_is_much_longer_than_a_slice(
    values: list[str], size: int
) -> None:
    data = f"[{','.join(values)}]".encode()
    with mock.patch.object(slices, "SLICE", size):
        found = list(parts(data))
    assert b"".join(part.text for part in found) == data
    assert max(len(part.text) for part in found) <= 3 * size


@pytest.mark.parametrize(
    "content",
    [
        "a" * 3_000_000,
        "ä\n" * 900_000,
        "🥊" * 400_000,
        "\\" * 2_000_000,
        ["x"] * 500_000,
        [1.5] * 400_000,
    ],
    ids=["letters", "escapes", "surrogates", "backslashes", "strings", "numbers"],
)
def test_no_single_call_sees_more_than_two_slices(content: object) -> None:
    data = json.dumps({"model": "m", "content": content, "n": 1}).encode()
    seen: list[int] = []

    def decode(text: bytes) -> msgspec.Raw:
        seen.append(len(text))
        return _whole.decode(text)

    decoder = mock.Mock()
    decoder.decode.side_effect = decode
    with mock.patch.object(slices, "_any", decoder):
        text = outline(data, 1).text

    assert max(seen) < slices.SLICE + 200
    assert len(text) <= 3 * slices.SLICE
    assert sum(seen) >= len(data)
    found = msgspec.json.decode(text)
    assert (found["model"], found["n"]) == ("m", 1)


@pytest.mark.parametrize("at", [0, 10, 64, 100, 150, 199])
def test_the_place_of_a_mistake_is_told(at: int) -> None:
    data = bytearray(json.dumps(["x" * 18] * 10, separators=(",", ":")).encode())
    data[at] = 0
    with pytest.raises(msgspec.DecodeError) as whole:
        _whole.decode(bytes(data))
    with mock.patch.object(slices, "SLICE", 32), pytest.raises(msgspec.DecodeError) as sliced:
        outline(bytes(data), 1)

    assert str(sliced.value) == str(whole.value)


def test_a_byte_that_is_no_text_is_told_by_its_place() -> None:
    data = b'{"a":"' + b"x" * 100 + b'\xff"}'
    with mock.patch.object(slices, "SLICE", 32), pytest.raises(UnicodeDecodeError) as caught:
        outline(data, 1, is_text=True)

    assert caught.value.start == 106


def test_nesting_without_bound_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        outline(b"[" * 3_000_000, 1)


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="token"):
        outline(b"[" + b"1" * (3 * slices.SLICE) + b"]", 1)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=6), st.integers(70, 90))
@bounded
def test_what_is_near_the_top_is_in_the_outline(members: dict[str, str], size: int) -> None:
    pairs = (f"{json.dumps(name)}: {value}" for name, value in members.items())
    data = ("{" + " , ".join(pairs) + "}").encode()
    with mock.patch.object(slices, "SLICE", size):
        found = outline(data, 1)
    fields = msgspec.json.decode(found.text, type=dict[str, msgspec.Raw])
    assert list(fields) == list(members)
    for name, value in members.items():
        if len(value) < size // 2 and value[0] not in '[{"':
            assert bytes(fields[name]) == value.encode()
    assert len(found.text) - sum(gap.size for gap in found.gaps) == len(data) - sum(
        gap.whole_size for gap in found.gaps
    )
