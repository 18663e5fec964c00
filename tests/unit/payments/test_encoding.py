"""Payment headers: what is read, what is refused, and in which words."""

import base64
import json
import re
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.payments.encoding import (
    MAX_DEPTH,
    MAX_HEADER_CHARS,
    Undecodable,
    decode_header,
    encode_header,
)
from bitrouter.payments.terms import Receipt
from tests.support.vectors import vector

STANDARD = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def header(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def nested(levels: int) -> str:
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_an_object_comes_back_as_it_was_sent(value: dict[str, Any]) -> None:
    text = header(json.dumps(value))

    assert decode_header(text) == value
    assert decode_header(text.rstrip("=")) == value


@given(st.text(alphabet=st.characters(max_codepoint=0xDFFF), max_size=40) | st.text(max_size=40))
def test_any_text_is_an_object_or_undecodable(text: str) -> None:
    try:
        value = decode_header(text)
    except Undecodable:
        return
    assert STANDARD.fullmatch(text)
    assert type(value) is dict


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_undecodable(raw: bytes) -> None:
    try:
        value = decode_header(base64.b64encode(raw).decode())
    except Undecodable:
        return
    assert type(value) is dict


@pytest.mark.parametrize(
    "number", ["1e400", "123456789012345678901234567890", "-0", "1" * 400, "1.5e-400"]
)
def test_what_is_read_can_be_written_again_whatever_its_numbers(number: str) -> None:
    try:
        value = decode_header(header(f'{{"a":{number}}}'))
    except Undecodable:
        return
    assert orjson.loads(orjson.dumps(value)) == orjson.loads(msgspec.json.encode(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not hold JSON"),
        ("!!!", "is not base64 of the standard alphabet"),
        (header("{}") + "\n", "is not base64 of the standard alphabet"),
        (" " + header("{}"), "is not base64 of the standard alphabet"),
        (header('{"a":"b"}')[:6] + "\r\n" + header('{"a":"b"}')[6:], "is not base64"),
        (header("{}") + header("{}"), "is not base64"),
        ("e30=====", "is not base64"),
        ("e", "is not base64"),
        ("eyJhIjoiw7_Dvz4-In0=", "is not base64 of the standard alphabet"),
        ("\udcff30=", "is not base64 of the standard alphabet"),
        (base64.b64encode(b'{"a":"\xff"}').decode(), "does not hold UTF-8"),
        (header("\ufeff{}"), "does not hold JSON"),
        (header("{} {}"), "does not hold JSON"),
        (header('{"a":NaN}'), "does not hold JSON"),
        (header('{"a":"\\ud800"}'), "does not hold JSON"),
        (header("[1]"), "must hold a JSON object"),
        (header("null"), "must hold a JSON object"),
        (header('"text"'), "must hold a JSON object"),
        (header("[" * 9000), "does not hold JSON"),
        (header(nested(MAX_DEPTH + 1)), f"nested deeper than {MAX_DEPTH} levels"),
        (header(nested(1000)), f"nested deeper than {MAX_DEPTH} levels"),
        ("A" * (MAX_HEADER_CHARS + 1), f"longer than {MAX_HEADER_CHARS} characters"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_quoted(text: str, reason: str) -> None:
    with pytest.raises(Undecodable, match=re.escape(reason)) as refused:
        decode_header(text)

    assert refused.value.__cause__ is None
    assert re.fullmatch(r"the payment header[ -~]*", str(refused.value))


def test_the_limits_themselves_are_within_the_limits() -> None:
    room = MAX_HEADER_CHARS * 3 // 4 - len('{"a":""}')
    longest = header('{"a":"' + "x" * room + '"}')

    assert len(longest) == MAX_HEADER_CHARS
    assert decode_header(longest)["a"] == "x" * room
    assert decode_header(header(nested(MAX_DEPTH))).keys() == {"a"}
    assert decode_header(header('{"a":"' + "[" * 200 + '"}'))["a"] == "[" * 200


def test_base64_is_read_before_nothing_but_the_length() -> None:
    """A long header costs no decoding."""
    with pytest.raises(Undecodable, match="longer"):
        decode_header("!" * (MAX_HEADER_CHARS + 1))


def test_what_is_absent_is_left_out() -> None:
    receipt = Receipt(success=True, transaction="", network="eip155:1", payer=None, amount="1")

    text = encode_header({"receipt": receipt, "extra": None, "list": [{"a": None}, "null"]})

    assert base64.b64decode(text, validate=True) == (
        b'{"receipt":{"success":true,"transaction":"","network":"eip155:1","amount":"1"},'
        b'"list":[{},"null"]}'
    )


def test_terms_are_written_under_their_own_names() -> None:
    one = vector("upto-ok")

    assert decode_header(encode_header(one["requirements"])) == one["requirements"]
