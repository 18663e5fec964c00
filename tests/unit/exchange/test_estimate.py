"""Estimating tokens where nobody counts them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import InvalidRequest
from bitrouter.exchange.estimate import estimated_tokens, measure, measure_if_quick


def tokens(body: Any) -> int:
    return estimated_tokens(json.dumps(body, ensure_ascii=False).encode())


def message(content: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}]}


def test_four_bytes_of_text_are_a_token() -> None:
    assert tokens(message("word " * 800)) - tokens(message("")) == pytest.approx(1000, abs=2)
    assert tokens(message("é" * 800)) - tokens(message("")) == pytest.approx(400, abs=2)


def test_an_image_costs_the_same_however_large_its_file_is() -> None:
    def image(size: int) -> dict[str, Any]:
        data = base64.b64encode(bytes(size)).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        return message([{"type": "image", "source": source}])

    assert tokens(image(3_000)) == tokens(image(3_000_000))
    assert 1000 < tokens(image(3_000)) < 2000


def test_a_data_url_is_an_image_too() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    assert 1000 < tokens(message([part])) < 2000


def test_what_the_model_is_not_shown_costs_nothing() -> None:
    assert tokens({**message("hi"), "model": "m" * 200}) == tokens(message("hi"))


def test_an_empty_request_is_one_token_at_least() -> None:
    assert estimated_tokens(b"{}") == 1


def test_tools_are_counted() -> None:
    tool = {"name": "f", "description": "d " * 400, "input_schema": {"type": "object"}}

    assert tokens({**message("hi"), "tools": [tool]}) - tokens(message("hi")) > 190


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":"\xff"}', b"[" * 100_000 + b"]" * 100_000])
def test_what_cannot_be_read_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        estimated_tokens(body)


def most(body: Any) -> int:
    return measure(json.dumps(body, ensure_ascii=False).encode()).most_tokens


def test_the_bound_is_above_what_the_densest_text_comes_to() -> None:
    # Tokenizers in use make at most a token of two bytes, of digits and of Chinese.
    for text in ("1234567890" * 100, "汉字" * 500, "a b c d e " * 100):
        assert most(message(text)) - most(message("")) >= len(text.encode()) // 2


def test_the_bound_takes_what_is_made_to_look_like_an_image_for_text_in_part() -> None:
    assert most(message("A" * 80_000)) >= 80_000 // 8


def test_behind_a_link_there_may_be_an_image() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert most(message([part])) - most(message([])) >= 3000


def test_the_bound_is_above_the_estimate() -> None:
    for content in ("", "word " * 800, "x" * 5000, [{"type": "text", "text": "Hi"}]):
        body = json.dumps(message(content)).encode()
        assert measure(body).most_tokens > estimated_tokens(body)


def test_the_bound_counts_tokens_that_are_given_as_numbers() -> None:
    body = {"model": "m", "input": list(range(4000))}
    assert most(body) >= 4000
    assert tokens(body) >= 4000


@pytest.mark.parametrize("value", [0, True, None, "", [], {}], ids=str)
def test_the_bound_grows_with_every_value(value: object) -> None:
    assert most({"tools": [value] * 1000}) - most({"tools": []}) >= 1000


@pytest.mark.parametrize("name", ["id", "type", "signature", "model"])
def test_the_bound_takes_what_seems_to_be_hidden_for_text_in_part(name: str) -> None:
    """A tool's own arguments may have such names, and the model reads them."""
    call = {"functionCall": {"name": "f", "args": {name: "word " * 8000}}}
    assert most({"contents": [call]}) >= 40_000 // 8
    deeper = {"functionCall": {"name": "f", "args": {name: [{"a": "word " * 8000}]}}}
    assert most({"contents": [deeper]}) >= 40_000 // 8


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON), st.text(), JSON)
def test_the_bound_is_the_same_for_the_same_bytes_and_more_is_not_cheaper(
    body: dict[str, Any], name: str, more: Any
) -> None:
    raw = json.dumps(body).encode()
    bound = measure(raw).most_tokens
    assert measure(bytes(bytearray(raw))).most_tokens == bound
    if name not in body:
        assert measure(json.dumps({**body, name: more}).encode()).most_tokens >= bound


SWARM = b'{"a":[' + b"{}," * (1 << 19) + b"{}]}"


def test_a_body_that_would_take_minutes_to_look_at_is_not_priced() -> None:
    with pytest.raises(InvalidRequest, match="too many to be priced"):
        measure(SWARM)
    assert estimated_tokens(SWARM) == len(SWARM) // 4  # which nobody pays by


@pytest.mark.parametrize(
    ("body", "slow"),
    [
        (json.dumps(message("word, " * 100)).encode(), False),
        (json.dumps(message("word " * 50_000)).encode(), False),
        (json.dumps(message("word " * 60_000)).encode(), True),
        (b'{"a":[' + b"1," * 5000 + b"1]}", False),
        (b'{"a":[' + b"1," * 9000 + b"1]}", True),
        (b'{"a":{' + b",".join(b'"%d":1' % number for number in range(9000)) + b"}}", True),
        (b'{"id":[' + b"1," * 9000 + b"1]}", True),
    ],
    ids=["usual", "long", "longer", "few values", "many values", "many members", "many not shown"],
)
def test_what_takes_milliseconds_is_left_to_a_thread(body: bytes, slow: bool) -> None:
    size = measure_if_quick(body)
    assert (size is None) is slow
    assert slow or size == measure(body)
