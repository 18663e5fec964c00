"""Whole answers: what a chat server's means, and what a chat client gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from bitrouter import ir
from bitrouter.errors import BadResponse
from tests.support.splits import WIRE
from tests.unit.protocols.chat.chatwire import CHAT, answered


def completion(message: dict[str, Any], finish: object = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "model": "up-1", "choices": [choice], **more}


def decode(body: object) -> ir.Answer:
    return CHAT.decode_answer(json.dumps(body).encode())


def only(message: dict[str, Any], finish: object = "stop") -> ir.Candidate:
    """The one candidate of an answer with this message."""
    (candidate,) = decode(completion(message, finish)).candidates
    return candidate


def made(name: str = "f", arguments: object = '{"a": 1}', **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function, **more}


# -- reading ----------------------------------------------------------------------------------


def test_documented_answer_is_understood() -> None:
    answer = CHAT.decode_answer((WIRE / "chat" / "completion.json").read_bytes())

    assert answer == ir.Answer(
        [ir.Candidate([ir.Text("Hello!")], ir.Finish("stop", "stop"))],
        ir.Usage(19, 10, 4, None, 3),
        "chatcmpl-1",
        "gpt-4o",
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "filtered"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        (None, "stop"),
        ("", "stop"),
        (5, "stop"),
        ("eos_token", "stop"),
        ("model_length", "context"),
        ("insufficient_system_resource", "other"),
    ],
)
def test_finish_reason_is_understood(word: object, reason: ir.FinishReason) -> None:
    finish = only({"content": "x"}, word).finish

    assert finish == ir.Finish(reason, word if word and isinstance(word, str) else None)


@pytest.mark.parametrize("word", ["stop", None, "odd", "tool_calls"])
def test_answer_with_calls_ended_for_them(word: object) -> None:
    assert only({"tool_calls": [made()]}, word).finish.reason == "tool_calls"


@pytest.mark.parametrize(("word", "reason"), [("length", "length"), ("content_filter", "filtered")])
def test_answer_that_was_cut_is_one_though_it_has_calls(word: str, reason: ir.FinishReason) -> None:
    assert only({"tool_calls": [made()]}, word).finish.reason == reason


def test_refusal_is_a_block_and_the_reason() -> None:
    candidate = only({"content": None, "refusal": "no"})

    assert candidate.blocks == [ir.Refusal("no")]
    assert candidate.finish == ir.Finish("filtered", "stop")


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "thought"},
        {"reasoning": "thought"},
        {"reasoning_content": "thought", "reasoning": "thought"},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": "thought"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "tho"},
                {"type": "reasoning.encrypted", "data": "x"},
                {"type": "reasoning.summary", "summary": "ught"},
            ]
        },
    ],
)
def test_reasoning_is_found_wherever_a_server_puts_it(message: dict[str, Any]) -> None:
    assert only({"content": "x", **message}).blocks == [ir.Reasoning("thought"), ir.Text("x")]


def test_content_may_be_parts() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "thought"}]},
        {"type": "text", "text": "a"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "b"},
    ]

    assert only({"content": content}).blocks == [ir.Reasoning("thought"), ir.Text("ab")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"b": 1,  "a": 2}', '{"b": 1,  "a": 2}'),
        ({"b": 1, "a": [2]}, '{"b":1,"a":[2]}'),
        ("", "{}"),
        (None, "{}"),
        ('{"half', '{"half'),
    ],
)
def test_arguments_are_text_as_the_model_wrote_it(arguments: object, text: str) -> None:
    assert only({"tool_calls": [made(arguments=arguments)]}).blocks == [
        ir.ToolCall("call_1", "f", text)
    ]


def test_calls_without_ids_get_ids_of_their_own() -> None:
    first, second = only({"tool_calls": [made(id=None), made(id="")]}).blocks

    assert isinstance(first, ir.ToolCall)
    assert isinstance(second, ir.ToolCall)
    assert first.id.startswith("call_")
    assert first.id != second.id
    assert len(first.id) <= 40


def test_call_without_a_name_is_none() -> None:
    calls = [made(name=""), {"id": "1", "type": "function"}]

    assert only({"content": "x", "tool_calls": calls}) == ir.Candidate(
        [ir.Text("x")], ir.Finish("stop", "stop")
    )


def test_free_text_and_signed_and_legacy_calls_are_understood() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    signed = made(extra_content={"google": {"thought_signature": "c2ln"}})

    assert only({"tool_calls": [custom, signed]}).blocks == [
        ir.ToolCall("c", "shell", "ls", custom=True),
        ir.ToolCall("call_1", "f", '{"a": 1}', signature=ir.Signature("g", "c2ln")),
    ]
    (legacy,) = only({"function_call": {"name": "f", "arguments": "{}"}}, "function_call").blocks
    assert isinstance(legacy, ir.ToolCall)
    assert (legacy.name, legacy.arguments) == ("f", "{}")


def test_annotations_are_citations_of_the_text() -> None:
    cited = {"url": "https://e.org", "title": "t", "start_index": 1, "end_index": 2}
    annotations = [
        {"type": "url_citation", "url_citation": cited},
        {"type": "url_citation", "url_citation": {"url": "https://e.org"}},
        {"type": "file_citation", "file_citation": {}},
        None,
    ]

    assert only({"content": "text", "annotations": annotations}).blocks == [
        ir.Text(
            "text",
            citations=(
                ir.Citation("https://e.org", "t", start=1, end=2),
                ir.Citation("https://e.org"),
            ),
        )
    ]


def test_logprobs_are_kept() -> None:
    token = {"token": "a", "logprob": -1.5, "bytes": [97], "top_logprobs": []}
    top = {"token": "b", "logprob": -0.5, "bytes": None}
    body = completion({"content": "a"})
    body["choices"][0]["logprobs"] = {"content": [token | {"top_logprobs": [top]}]}

    (candidate,) = decode(body).candidates

    assert candidate.logprobs == (ir.LogProb("a", -1.5, (97,), (ir.LogProb("b", -0.5),)),)


def test_every_choice_is_a_candidate() -> None:
    body = completion({"content": "a"})
    body["choices"] += [{"message": {"content": "b"}, "finish_reason": "length"}]

    first, second = decode(body).candidates

    assert (first.index, second.index) == (0, 1)
    assert second == ir.Candidate([ir.Text("b")], ir.Finish("length", "length"), 1)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ({}, ir.Usage()),
        ({"completion_tokens": 5}, ir.Usage(output_tokens=5)),
        ({"prompt_tokens": 7, "prompt_tokens_details": None}, ir.Usage(7)),
        ({"prompt_tokens": "many"}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": 10**400}, None),
        ([], None),
        (5, None),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            ir.Usage(9, 5, 4, 3, 2),
        ),
    ],
)
def test_no_count_is_made_up(usage: object, read: ir.Usage | None) -> None:
    assert decode(completion({"content": "x"}, usage=usage)).usage == read


def test_odd_members_cost_nothing_but_themselves() -> None:
    body = completion(
        {"content": "x", "refusal": [], "annotations": 5, "reasoning": {}, "audio": 1}
    )
    body |= {"id": 5, "model": None, "created": "now", "system_fingerprint": []}
    body["choices"][0]["logprobs"] = 5

    assert decode(body) == ir.Answer([ir.Candidate([ir.Text("x")], ir.Finish("stop", "stop"))])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":5}]}',
        b'{"error":{"message":"no"}}',
        b'{"choices":[{"message":{"content":"x"}}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b'{"choices":' + b"[" * 5000,
    ],
)
def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse):
        CHAT.decode_answer(body)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_MEMBERS = ["content", "refusal", "reasoning_content", "reasoning_details", "tool_calls"]
_MEMBERS += ["function_call", "annotations"]


@given(st.dictionaries(st.sampled_from(_MEMBERS), ANYTHING), ANYTHING, ANYTHING)
def test_whatever_a_server_sends_is_an_answer_or_a_bad_response(
    message: dict[str, Any], finish: object, usage: object
) -> None:
    body = completion(message, finish, usage=usage)
    body["choices"][0]["logprobs"] = usage

    try:
        answer = decode(body)
    except BadResponse:
        return
    assert len(answer.candidates) == 1


# -- writing ----------------------------------------------------------------------------------


def candidate(*blocks: ir.Block, reason: ir.FinishReason = "stop", **more: Any) -> ir.Candidate:
    return ir.Candidate([*blocks], ir.Finish(reason), **more)


def message_of(*blocks: ir.Block, **members: Any) -> dict[str, Any]:
    """The message that a client gets for these blocks."""
    body = answered(ir.Answer([candidate(*blocks)]), **members)
    ChatCompletion.model_validate(body)
    message: dict[str, Any] = body["choices"][0]["message"]
    return message


def test_answer_is_complete() -> None:
    answer = ir.Answer([candidate(ir.Text("Hi"))], ir.Usage(3, 4, 1, 2, 0), "upstream-id", "up-1")

    body = answered(answer)

    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "asked-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi"},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    ChatCompletion.model_validate(body)


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        (ir.Usage(3, 4), {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
        (ir.Usage(output_tokens=4), {"completion_tokens": 4}),
        (ir.Usage(), {}),
    ],
)
def test_count_that_is_not_known_is_left_out(usage: ir.Usage, written: object) -> None:
    assert answered(ir.Answer([candidate(ir.Text("Hi"))], usage))["usage"] == written


def test_answer_without_usage_has_none() -> None:
    assert "usage" not in answered(ir.Answer([candidate(ir.Text("Hi"))]))


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("context", "length"),
        ("filtered", "content_filter"),
        ("paused", "stop"),
        ("other", "stop"),
        ("tool_calls", "tool_calls"),
    ],
)
def test_finish_reason_is_written(reason: ir.FinishReason, word: str) -> None:
    body = answered(ir.Answer([candidate(ir.Text("x"), reason=reason)]))

    assert body["choices"][0]["finish_reason"] == word


def test_refusal_in_words_ends_as_any_answer() -> None:
    body = answered(ir.Answer([candidate(ir.Refusal("no"), reason="filtered")]))

    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "no"}
    assert choice["finish_reason"] == "stop"


def test_nothing_but_a_fault_of_the_vendor_is_no_answer() -> None:
    fault = ir.Candidate([], ir.Finish("other", "MALFORMED_FUNCTION_CALL"))

    with pytest.raises(BadResponse, match="MALFORMED_FUNCTION_CALL"):
        answered(ir.Answer([fault]))


def test_one_candidate_that_went_wrong_does_not_spoil_the_others() -> None:
    fault = ir.Candidate([], ir.Finish("other", "MALFORMED_FUNCTION_CALL"), 1)

    body = answered(ir.Answer([candidate(ir.Text("x")), fault]))

    assert [one["finish_reason"] for one in body["choices"]] == ["stop", "stop"]


def test_empty_answer_is_one() -> None:
    assert message_of() == {"role": "assistant", "content": ""}


def test_texts_are_one_text_and_thoughts_are_apart() -> None:
    blocks = (
        ir.Reasoning("one", ir.Signature("a", "sig")),
        ir.Text("a"),
        ir.Reasoning("", ir.Signature("a", "sig"), redacted=True),
        ir.Reasoning("two"),
        ir.Text("b"),
    )

    assert message_of(*blocks) == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "one\n\ntwo",
        "extra_content": {"bitrouter": "Br1~"},
    }


def test_what_has_no_text_of_its_own_is_not_marked() -> None:
    """There is no member for the mark to speak of."""
    assert "extra_content" not in message_of(ir.Text("a"), ir.Reasoning("", redacted=True))


def test_answer_of_thoughts_alone_has_an_empty_text() -> None:
    """Without the thoughts it has to be a message that OpenAI takes."""
    assert message_of(ir.Reasoning("hm"))["content"] == ""


def test_calls_are_written() -> None:
    blocks = (
        ir.ToolCall("1", "f", '{"b": 1,  "a": 2}'),
        ir.ToolCall("2", "f", ""),
        ir.ToolCall("3", "c", "ls", custom=True),
        ir.ToolCall("4", "f", "{}", signature=ir.Signature("g", "c2ln")),
        ir.ToolCall("5", "f", "{}", signature=ir.Signature("a", "c2ln")),
    )

    message = message_of(*blocks)

    assert message["content"] is None
    assert message["tool_calls"] == [
        {
            "id": "1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"b": 1,  "a": 2}'},
        },
        {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "3", "type": "custom", "custom": {"name": "c", "input": "ls"}},
        {
            "id": "4",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "c2ln"}, "bitrouter": "Br1~"},
        },
        {"id": "5", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]


def test_legacy_client_gets_a_legacy_call() -> None:
    call = ir.ToolCall("1", "f", '{"a":1}')
    members = {"functions": [{"name": "f"}]}

    body = answered(ir.Answer([candidate(call, reason="tool_calls")]), **members)

    (choice,) = body["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": '{"a":1}'},
    }


def test_citations_count_the_characters_of_the_whole_content() -> None:
    blocks = (
        ir.Text("Grüße "),
        ir.Text("all", citations=(ir.Citation("https://e.org/1", "t", start=1, end=2),)),
        ir.Text("!", citations=(ir.Citation("https://e.org/2"),)),
    )

    cited = [one["url_citation"] for one in message_of(*blocks)["annotations"]]

    assert cited == [
        {"url": "https://e.org/1", "title": "t", "start_index": 7, "end_index": 8},
        {"url": "https://e.org/2", "title": "https://e.org/2", "start_index": 9, "end_index": 10},
    ]


def test_candidates_are_choices() -> None:
    candidates = [candidate(ir.Text("a")), candidate(ir.Text("b"), index=1)]

    body = answered(ir.Answer(candidates), n=2)

    assert [(one["index"], one["message"]["content"]) for one in body["choices"]] == [
        (0, "a"),
        (1, "b"),
    ]


def test_logprobs_are_written_with_the_bytes_of_each_token() -> None:
    logprobs = (ir.LogProb("ü", -1.5, None, (ir.LogProb("u", -0.5, (1,)),)),)

    body = answered(ir.Answer([candidate(ir.Text("ü"), logprobs=logprobs)]))

    ChatCompletion.model_validate(body)
    assert body["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "ü",
                "logprob": -1.5,
                "bytes": [195, 188],
                "top_logprobs": [{"token": "u", "logprob": -0.5, "bytes": [1]}],
            }
        ],
        "refusal": None,
    }
