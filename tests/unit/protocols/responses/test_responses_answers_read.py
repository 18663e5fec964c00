"""A provider's whole answer, its errors, and what may pass to it of a client's history."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.protocols.continuity import seal
from tests.support.splits import WIRE
from tests.unit.protocols.responses.responseswire import (
    RESPONSES,
    function_call,
    message,
    output_text,
    read_answer,
    read_output,
    reasoning,
    request,
)

REFUSAL = {"type": "refusal", "refusal": "No."}


# -- what it says ---------------------------------------------------------------------------


def test_answer_has_text_finish_and_usage() -> None:
    body = (WIRE / "responses" / "response.json").read_bytes()

    assert RESPONSES.decode_answer(body) == ir.Answer(
        [
            ir.Candidate(
                [ir.Text('Zwölf "error"\u2028 "response.completed" 🥊')],
                ir.Finish("stop", raw="completed"),
            )
        ],
        ir.Usage(37, 11, 5, None, 2),
        "resp_1",
        "gpt-4o",
    )


def test_items_become_blocks_in_order() -> None:
    candidate = read_output(
        reasoning("One", "Two", encrypted_content="gAAA"),
        message("Hi", REFUSAL),
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        function_call(),
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sh", "input": "ls"},
    )

    assert candidate.blocks == [
        ir.Reasoning("One\n\nTwo", ir.Signature("o", "gAAA", "rs_1")),
        ir.Text("Hi"),
        ir.Refusal("No."),
        ir.ToolCall("call_1", "f", '{"a":1}'),
        ir.ToolCall("c", "sh", "ls", custom=True),
    ]


@pytest.mark.parametrize(
    ("item", "blocks"),
    [
        (reasoning(), []),
        (reasoning(encrypted_content="e"), [ir.Reasoning("", ir.Signature("o", "e", "rs_1"))]),
        (
            reasoning(content=[{"type": "reasoning_text", "text": "Hm"}]),
            [ir.Reasoning("Hm", raw=True)],
        ),
        (
            reasoning(
                "S", content=[{"type": "reasoning_text", "text": "T"}], encrypted_content="e"
            ),
            [ir.Reasoning("S"), ir.Reasoning("T", ir.Signature("o", "e", "rs_1"), raw=True)],
        ),
    ],
    ids=["empty", "signature alone", "thinking itself", "all of it"],
)
def test_reasoning_item(item: dict[str, Any], blocks: list[ir.Block]) -> None:
    assert read_output(item).blocks == blocks


def test_envelope_of_a_provider_that_is_a_router_is_its_own_affair() -> None:
    sealed = seal(ir.Signature("a", "sig"))

    (block,) = read_output(reasoning("Hm", encrypted_content=sealed)).blocks

    assert block == ir.Reasoning("Hm", ir.Signature("o", sealed, "rs_1"))


@pytest.mark.parametrize(
    ("members", "arguments"),
    [
        ({"arguments": ""}, "{}"),
        ({"arguments": None}, "{}"),
        ({"arguments": {"a": [1]}}, '{"a":[1]}'),
        ({"arguments": "{cut"}, "{cut"),
    ],
)
def test_arguments_are_text(members: dict[str, Any], arguments: str) -> None:
    (call,) = read_output(function_call(**members)).blocks

    assert isinstance(call, ir.ToolCall)
    assert call.arguments == arguments


def test_call_without_a_name_is_none() -> None:
    assert read_output(function_call(name=""), message("Hi")).blocks == [ir.Text("Hi")]


def test_web_pages_are_cited() -> None:
    page = {
        "type": "url_citation",
        "url": "https://a.org",
        "title": "A",
        "start_index": 0,
        "end_index": 2,
    }
    odd = [{"type": "file_citation", "index": 3}, {"type": "url_citation", "url": 3}, None]

    (text,) = read_output(message(output_text("Hi", annotations=[page, *odd]))).blocks

    assert text == ir.Text("Hi", citations=(ir.Citation("https://a.org", "A", None, 0, 2),))


def test_probabilities_are_gathered() -> None:
    top = {"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}
    one = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [top]}
    texts = [
        output_text("Hi", logprobs=[one]),
        output_text("Hi", logprobs=[]),
        output_text("Hi", logprobs=[one]),
    ]

    expected = ir.LogProb("Hi", -0.5, (72, 105), (ir.LogProb("Ho", -2.0, (72, 111)),))
    assert read_output(message(*texts)).logprobs == (expected, expected)


# -- how it ended ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "members", "finish"),
    [
        ([message("Hi")], {}, ir.Finish("stop", raw="completed")),
        ([message("Hi")], {"status": None}, ir.Finish("stop", raw="completed")),
        ([message("Hi"), function_call()], {}, ir.Finish("tool_calls", raw="completed")),
        ([message(REFUSAL)], {}, ir.Finish("filtered", raw="completed")),
        (
            [message("Hi")],
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            ir.Finish("length", raw="max_output_tokens"),
        ),
        (
            [function_call()],
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            ir.Finish("length", raw="max_output_tokens"),
        ),
        (
            [message("Hi")],
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            ir.Finish("filtered", raw="content_filter"),
        ),
        (
            [message("Hi")],
            {"status": "incomplete", "incomplete_details": {"reason": "max_messages"}},
            ir.Finish("other", raw="max_messages"),
        ),
        ([message("Hi")], {"status": "incomplete"}, ir.Finish("length", raw="max_output_tokens")),
    ],
)
def test_finish_reason_is_in_the_status_and_the_items(
    items: list[Any], members: dict[str, Any], finish: ir.Finish
) -> None:
    assert read_output(*items, **members).finish == finish


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            },
            ir.Usage(10, 5, 4, 2, 3),
        ),
        ({"input_tokens": 10, "output_tokens": 5}, ir.Usage(10, 5)),
        ({"input_tokens": 10, "input_tokens_details": None}, ir.Usage(10)),
        ({"input_tokens": "many"}, None),
        ({"input_tokens": 10**30}, None),
        ({"input_tokens": -1}, None),
        (None, None),
    ],
)
def test_usage_is_never_made_up(usage: Any, expected: ir.Usage | None) -> None:
    assert read_answer(output=[message("Hi")], usage=usage).usage == expected


# -- what is no answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"<html>",
        b"\xff\xfe",
        b'{"id":"resp_1"}',
        b'{"output":null}',
        b'{"output":{}}',
        b'{"id":1,"output":[]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_response_is_a_bad_one(body: bytes) -> None:
    with pytest.raises(BadResponse):
        RESPONSES.decode_answer(body)


@pytest.mark.parametrize(
    "members",
    [
        {"status": "failed", "error": {"code": "server_error", "message": "secret prompt"}},
        {"status": "completed", "error": {"code": "server_error", "message": "secret prompt"}},
        {"status": "failed"},
        {"status": "queued"},
        {"status": "in_progress"},
        {"status": "cancelled"},
    ],
)
def test_answer_that_failed_or_is_not_there_yet_is_a_bad_one(members: dict[str, Any]) -> None:
    with pytest.raises(BadResponse) as caught:
        read_answer(**members)

    assert "secret" not in caught.value.logged


def test_odd_items_and_parts_are_passed_over() -> None:
    odd: list[Any] = [None, 7, "text", [], {}, {"type": 7}, {"type": "message", "content": "text"}]
    parts = message("Hi", None, 7, {"type": "output_text", "text": 7}, {"type": "output_audio"})

    assert read_output(*odd, parts, {"type": "reasoning", "summary": "x"}).blocks == [ir.Text("Hi")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_MEMBERS = ("id", "model", "status", "error", "incomplete_details", "usage")
_ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call"])},
    optional=dict.fromkeys(
        ("id", "call_id", "name", "arguments", "input", "content", "summary", "encrypted_content"),
        _JSON,
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"output": st.lists(_ITEM | _JSON, max_size=3) | _JSON},
        optional=dict.fromkeys(_MEMBERS, _JSON),
    )
)
def test_whatever_comes_it_is_an_answer_or_a_bad_one(body: dict[str, Any]) -> None:
    try:
        answer = RESPONSES.decode_answer(json.dumps(body).encode())
    except BadResponse as error:
        assert error.detail  # noqa: PT017 - both outcomes are right
    else:
        assert len(answer.candidates) == 1


# -- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (
            400,
            (WIRE / "responses" / "refusal.json").read_bytes(),
            ir.Failure(400, "Invalid 'input': expected a string or an array.", "invalid_type"),
        ),
        (
            400,
            b'{"error":{"message":"Too long","code":"context_length_exceeded"}}',
            ir.Failure(400, "Too long", "context_length_exceeded"),
        ),
        (
            429,
            b'{"error":{"message":"Pay","type":"insufficient_quota","code":"insufficient_quota"}}',
            ir.Failure(429, "Pay", "insufficient_quota"),
        ),
        (500, b'{"error":"Oops"}', ir.Failure(500, "Oops")),
        (502, b"<html>Bad Gateway</html>", None),
        (503, b"", None),
    ],
)
def test_error_answer_has_its_status_and_the_providers_words(
    status: int, body: bytes, failure: ir.Failure | None
) -> None:
    found = RESPONSES.decode_error(status, body)

    assert found.status == status
    if failure is not None:
        assert found == failure
    else:
        assert "html" not in found.message
        assert str(status) in found.message


# -- a request on its way to a provider as it is ----------------------------------------------


def passed(*items: Any, head: str = "") -> tuple[bytes, bytes]:
    """A body of these items, before and after it was looked through."""
    body = b'{"model":"m",%b "input": %b, "x":1}' % (head.encode(), json.dumps(items).encode())
    after = RESPONSES.without_foreign(request(body))
    assert json.loads(bytes(after.fields["input"])) == json.loads(after.body)["input"]
    return body, after.body


def test_request_without_envelopes_keeps_every_byte() -> None:
    items = [
        {"role": "user", "content": "Br1~a. is how envelopes begin"},
        reasoning(encrypted_content="gAAA"),
    ]

    before, after = passed(*items)

    assert after == before


@pytest.mark.parametrize("origin", ["a", "g", ""])
def test_reasoning_of_another_vendor_is_taken_out(origin: str) -> None:
    foreign = reasoning("Hm", encrypted_content=seal(ir.Signature(origin, "sig")))
    kept = [
        {"role": "user", "content": "Hi"},
        function_call(),
        reasoning("Mine", encrypted_content="g"),
    ]

    _, after = passed(kept[0], foreign, *kept[1:], head='"user": "u",')

    assert json.loads(after) == {"model": "m", "user": "u", "input": kept, "x": 1}


def test_reasoning_of_its_own_in_an_envelope_is_opened() -> None:
    sealed = seal(ir.Signature("o", "gAAA", "rs_9"))

    _, after = passed(reasoning("Hm", encrypted_content=sealed))

    expected = reasoning("Hm", encrypted_content="gAAA") | {"id": "rs_9"}
    assert json.loads(after)["input"] == [expected]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Br1~a.x"},
        {"type": "reasoning", "encrypted_content": 7, "id": "Br1~"},
        {"type": 7, "encrypted_content": "Br1~a.x"},
        "Br1~a.x",
    ],
)
def test_only_reasoning_is_looked_into(item: Any) -> None:
    before, after = passed(item)

    assert after == before


def test_input_that_is_a_text_is_left_alone() -> None:
    body = b'{"model":"m","input":"Br1~a.x"}'

    assert RESPONSES.without_foreign(request(body)).body == body


def test_request_that_has_no_input_is_left_alone() -> None:
    body = b'{"model":"m","previous_response_id":"Br1~a.x"}'

    assert RESPONSES.without_foreign(request(body)).body == body
