"""Estimating tokens where nobody counts them."""

import base64
import json
from typing import Any

import pytest

from bitrouter.errors import InvalidRequest
from bitrouter.exchange.estimate import estimated_tokens, measure


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
