"""What is taken apart for its size means, and is written, as what is not."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitrouter import envelope, ir, slices
from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest, RouterError
from bitrouter.protocols import CODECS, readlarge, writelarge
from bitrouter.protocols.anthropic import decode_request as read_anthropic
from bitrouter.protocols.base import decode_body
from bitrouter.protocols.chat import decode_request as read_chat
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.responses import decode_request as read_responses
from bitrouter.protocols.translator import Recipient, Reply
from tests.support.neutral import neutral_answers
from tests.support.neutralrequests import neutral_requests

MB = 1 << 20
RECIPIENT = Recipient("model-1", Traits(), 100_000)
some = settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
each = pytest.mark.parametrize("codec", CODECS, ids=lambda one: one.name)
SIZES = st.integers(30, 200)


@contextlib.contextmanager
def large_from(size: int) -> Iterator[None]:
    """More bytes than `size` are much, and a slice is as long."""
    with contextlib.ExitStack() as stack:
        for place in (slices, envelope, read_chat, read_anthropic, read_responses):
            stack.enter_context(mock.patch.object(place, "LARGE", size))
        stack.enter_context(mock.patch.object(slices, "SLICE", size))
        yield


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the words with which it refuses."""
    try:
        return call()
    except RouterError as error:
        return type(error), str(error)


def read(codec: Codec, body: bytes) -> ir.Request:
    request = codec.read(codec.operations[0], "model-1", "", body)
    return codec.translator.decode_request(request)


def written(codec: Codec, asked: ir.Request, *, is_large: bool) -> Any:
    asked = msgspec.structs.replace(asked, is_large=is_large)
    return outcome(lambda: codec.translator.encode_request(asked, RECIPIENT))


def body_of(codec: Codec, asked: ir.Request) -> bytes | None:
    """The request as a client of the protocol sends it; None where it has no words for it."""
    sent = written(codec, asked, is_large=False)
    return None if isinstance(sent, tuple) else sent.body


@each
@given(asked=neutral_requests(without=("n",)), size=SIZES)
@some
def test_a_large_request_means_the_same(codec: Codec, asked: ir.Request, size: int) -> None:
    body = body_of(codec, asked)
    if body is None:
        return
    at_once = outcome(lambda: read(codec, body))
    with large_from(size):
        assert outcome(lambda: read(codec, body)) == at_once


@each
@given(asked=neutral_requests(), size=SIZES)
@some
def test_a_large_request_is_written_with_the_same_bytes(
    codec: Codec, asked: ir.Request, size: int
) -> None:
    at_once = written(codec, asked, is_large=False)
    with large_from(size):
        assert written(codec, asked, is_large=True) == at_once


@each
@given(answer=neutral_answers(), size=SIZES)
@some
def test_a_large_answer_is_written_with_the_same_bytes(
    codec: Codec, answer: ir.Answer, size: int
) -> None:
    body = codec.example("model-1", "hi")[1]
    request = codec.read(codec.operations[0], "model-1", "", body)
    asked = codec.translator.decode_request(request)

    def tell(*, is_large: bool) -> Any:
        numbers = itertools.count(1)
        reply = Reply(request, asked, 1_800_000_000, lambda p: f"{p}{next(numbers)}", "req_1")
        told = msgspec.structs.replace(answer, is_large=is_large)
        return outcome(lambda: codec.translator.encode_answer(told, reply))

    at_once = tell(is_large=False)
    with large_from(size):
        assert tell(is_large=True) == at_once


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.binary().map(bytes.hex),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(json_values, st.integers(1, 40))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_any_value_is_written_with_the_same_bytes(value: object, size: int) -> None:
    with mock.patch.object(slices, "SLICE", size):
        assert writelarge.encode_large(value) == msgspec.json.encode(value)


def test_raw_json_stays_as_it_is() -> None:
    raw = msgspec.Raw(b'{ "a" : "%b" }' % (b"x" * slices.SLICE))
    value = {"tools": [raw, raw], "n": 1.5}
    assert writelarge.encode_large(value) == msgspec.json.encode(value)


def test_what_nests_deeper_than_python_can_follow_is_the_encoders_to_judge() -> None:
    value: list[Any] = ["x" * slices.SLICE]
    for _ in range(20_000):
        value = [value]

    def told(call: Callable[[object], bytes]) -> object:
        try:
            return call(value)
        except RecursionError as error:
            return type(error)

    assert told(writelarge.encode_large) == told(msgspec.json.encode)


def test_half_a_character_is_refused_as_ever() -> None:
    with pytest.raises(UnicodeEncodeError):
        writelarge.encode_large(["x" * slices.SLICE, "\ud83e"])


BAD = [
    ("chat", "messages", [{"role": "user", "content": [{"type": 1}]}], "messages[2].content[0]"),
    ("chat", "messages", [{"content": "hi"}], "messages[2]"),
    ("chat", "messages", [{"role": "user", "content": 5}], "messages[2].content"),
    ("anthropic", "messages", [{"role": "user", "content": 5}], "messages[2].content"),
    ("anthropic", "messages", [{"role": "wizard", "content": "x"}], "messages[2].role"),
    ("responses", "input", [{"role": "user", "content": [{"text": 1}]}], "input[2].content[0]"),
    ("responses", "input", [{"role": 7}], "input[2].role"),
    ("google", "contents", [{"parts": [{"text": 1}]}], "contents[2].parts[0].text"),
    ("google", "contents", [7], "contents[2]"),
]
TURNS: dict[str, Any] = {
    "chat": {"role": "user", "content": "hello there"},
    "anthropic": {"role": "user", "content": "hello there"},
    "responses": {"role": "user", "content": "hello there"},
    "google": {"role": "user", "parts": [{"text": "hello there"}]},
}


@pytest.mark.parametrize("size", [40, 10_000])
@pytest.mark.parametrize(("protocol", "name", "wrong", "place"), BAD)
def test_a_mistake_in_a_large_request_is_told_by_its_place(
    protocol: str, name: str, wrong: list[Any], place: str, size: int
) -> None:
    codec = next(one for one in CODECS if one.name == protocol)
    fields = msgspec.json.decode(codec.example("model-1", "hi")[1])
    fields[name] = [TURNS[protocol], TURNS[protocol], *wrong, TURNS[protocol]]
    body = msgspec.json.encode(fields)
    with pytest.raises(InvalidRequest) as at_once:
        read(codec, body)
    with large_from(size), pytest.raises(InvalidRequest) as sliced:
        read(codec, body)

    assert str(sliced.value).startswith(place)
    assert str(sliced.value) == str(at_once.value)


def test_a_key_that_stands_twice_further_in_counts_as_it_does_in_a_small_one() -> None:
    message = b'{"role":"user","content":"one","content":[{"type":"text","text":"two, or more"}]}'
    body = b'{"model":"m","messages":[%b,%b]}' % (message, message)
    codec = next(one for one in CODECS if one.name == "chat")
    at_once = read(codec, body)
    with large_from(40):
        assert read(codec, body) == at_once


@pytest.mark.parametrize("size", [40, 10_000])
def test_what_the_messages_of_a_large_request_say_in_vain_is_announced(size: int) -> None:
    strange = {"role": "user", "content": "hello there", "mood": "good", "empty": None}
    longer = strange | {"weather": "it has rained all day and all night"}
    body = msgspec.json.encode({"model": "m", "messages": [TURNS["chat"], strange, longer]})
    codec = next(one for one in CODECS if one.name == "chat")
    with large_from(size):
        assert read(codec, body).dropped == ["messages.mood", "messages.weather"]


IMAGE = "aGVs" * (3 * MB // 4)
IMAGES: dict[str, Any] = {
    "chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
    "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"},
    "google": {"inlineData": {"mimeType": "image/png", "data": IMAGE}},
}


@pytest.mark.parametrize("protocol", IMAGES)
def test_of_several_images_no_call_sees_more_than_one(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = next(one for one in CODECS if one.name == protocol)
    fields = msgspec.json.decode(codec.example("model-1", "hi")[1])
    name, content = {
        "chat": ("messages", "content"),
        "responses": ("input", "content"),
        "google": ("contents", "parts"),
    }[protocol]
    fields[name] = [{"role": "user", content: [IMAGES[protocol]] * 3}]
    body = msgspec.json.encode(fields)
    seen: list[int] = []

    def decode(decoder: Any, data: bytes, where: str = "") -> Any:
        seen.append(len(data))
        return decode_body(decoder, data, where)

    monkeypatch.setattr(readlarge, "decode_body", decode)
    asked = read(codec, body)

    assert [media.data for media in asked.messages[0].blocks] == [IMAGE] * 3  # type: ignore[union-attr]  # else it fails
    assert len([size for size in seen if size > MB]) == 3
    assert max(seen) < len(IMAGE) + 200


def test_of_what_is_written_no_call_sees_more_than_two_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def encode(value: object) -> bytes:
        found = msgspec.json.encode(value)
        seen.append(len(found))
        return found

    monkeypatch.setattr(writelarge, "_encode", encode)
    value = {"a": "x" * MB, "b": [{"type": "text", "text": "hi"}] * 50_000, "c": [IMAGE, {"d": 1}]}
    body = writelarge.encode_large(value)

    assert body == msgspec.json.encode(value)
    assert max(seen) < 4 * slices.SLICE
