"""What is done to a large body in slices is what is done to a small one at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import envelope, slices
from bitrouter.envelope import nests_deeper, refuse_duplicates, replace_value, split_fields
from bitrouter.errors import BadResponse, InvalidRequest
from bitrouter.protocols import base, continuity
from bitrouter.protocols.base import brief, watch_answer
from bitrouter.protocols.chat.usage import usage_holder
from bitrouter.protocols.continuity import MARKS, may_hold
from tests.support.jsontext import Member, ObjectText, objects

WITH_MODEL = objects([Member('"model"', ": ", '"m"')])
bounded = settings(max_examples=40, derandomize=True, deadline=None)


@contextmanager
def everything_is_large(size: int = 32) -> Iterator[None]:
    with (
        mock.patch.object(slices, "SLICE", size),
        mock.patch.object(envelope, "SLICE", size),
        mock.patch.object(envelope, "LARGE", 0),
        mock.patch.object(base, "LARGE", 0),
        mock.patch.object(continuity, "LARGE", size),
    ):
        yield


@given(WITH_MODEL, st.integers(70, 90))
@bounded
def test_the_split_is_the_same(text: ObjectText, size: int) -> None:
    body = text.written()
    fields = split_fields(body)
    with everything_is_large(size):
        sliced = split_fields(body)
        refuse_duplicates(body, sliced)
        replaced = replace_value(body, sliced, "model", b'"other"')

    assert [*sliced] == [*fields]
    assert [*map(bytes, sliced.values())] == [*map(bytes, fields.values())]
    assert replaced == replace_value(body, fields, "model", b'"other"')


@given(WITH_MODEL, st.integers(0, 8))
@bounded
def test_the_depth_is_the_same(text: ObjectText, depth: int) -> None:
    body = text.written()
    deeper = nests_deeper(body, depth)
    with everything_is_large(80):
        assert nests_deeper(body, depth) is deeper


def test_members_that_were_cut_short_are_whole() -> None:
    image, turns = b'"%b"' % (b"abc\\n" * 700_000), b"[%b]" % b",".join([b'{"a":[1]}'] * 300_000)
    body = b'{"image": %b, "turns":%b ,"model":"m"}' % (image, turns)
    fields = split_fields(body)

    assert {name: bytes(raw) for name, raw in fields.items()} == {
        "image": image,
        "turns": turns,
        "model": b'"m"',
    }
    assert replace_value(body, fields, "model", b'"n"') == body[:-4] + b'"n"}'


@pytest.mark.parametrize("filler", [b"x" * 3_000_000, b'","b":"' * 400_000])
def test_a_duplicate_key_of_a_large_body_is_refused(filler: bytes) -> None:
    body = b'{"model":"a","text":"%b","model":"b"}' % filler
    with pytest.raises(InvalidRequest, match="duplicate"):
        refuse_duplicates(body, split_fields(body))


@pytest.mark.parametrize(
    ("end", "problem"),
    [(b'"}}', "not valid JSON"), (b'\xff"}', "not valid UTF-8"), (b"", "not valid JSON")],
)
def test_a_large_body_that_is_malformed_is_refused(end: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        split_fields(b'{"model":"m","text":"' + b"x" * 3_000_000 + end)


def test_a_large_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        split_fields(b'["' + b"x" * 3_000_000 + b'"]')


@given(st.integers(0, 200))
@bounded
def test_a_mark_is_found_wherever_slices_meet(before: int) -> None:
    with everything_is_large():
        for mark in MARKS:
            assert may_hold(b"x" * before + mark + b"y" * 50, mark)
            assert not may_hold(b"x" * before + mark[:-1] + b"y" * 50, mark)


def test_the_usage_of_a_large_answer_is_read() -> None:
    answer = b'{"choices":[{"text":"%b"}],"usage":{"prompt_tokens":7}}' % (b"y" * 3_000_000)
    found = watch_answer(usage_holder, answer)

    assert found is not None
    assert found.usage is not None
    assert found.usage.prompt_tokens == 7
    assert watch_answer(usage_holder, b'["%b"]' % (b"y" * 3_000_000)) is None
    with pytest.raises(BadResponse):
        watch_answer(usage_holder, answer[:-1])


def test_of_a_large_event_the_bulk_is_left_out() -> None:
    event = b'{"choices":[{"delta":{"content":"%b"},"finish_reason":"stop"}]}' % (b"y" * 3_000_000)

    seen = msgspec.json.decode(brief(event))
    assert seen["choices"][0]["finish_reason"] == "stop"
    assert len(seen["choices"][0]["delta"]["content"]) < 600_000
    assert brief(event[:-1]) == b""
