"""Whole answers: what a provider's means, and how one is written for a client."""

import base64
import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.protocols.continuity import holds_redacted, unseal_from_base64
from tests.support.splits import WIRE
from tests.unit.protocols.google.geminiwire import (
    TRANSLATOR,
    Body,
    answer,
    answered,
    called,
    element,
    reply,
    written_answer,
)

OWN = ir.Signature("g", "AAAA")
SKIP = "skip_thought_signature_validator"
FOREIGN = ir.Signature("a", "sig+/=")


def blocks(*parts: Body | str, **members: Any) -> list[ir.Block]:
    """What the parts of an answer mean."""
    return answer(*parts, **members).candidates[0].blocks


def read(body: Body) -> ir.Answer:
    return TRANSLATOR.decode_answer(json.dumps(body).encode())


# -- read: the frame ----------------------------------------------------------------------------


def test_the_recorded_answer() -> None:
    found = TRANSLATOR.decode_answer((WIRE / "google" / "generated.json").read_bytes())
    assert found.candidates[0].blocks
    assert found.candidates[0].finish.reason == "stop"
    assert found.usage is not None


def test_id_model_and_usage_are_the_upstream_s() -> None:
    found = answer(
        "hi",
        responseId="r1",
        modelVersion="gemini-x",
        usageMetadata={
            "promptTokenCount": 10,
            "toolUsePromptTokenCount": 2,
            "cachedContentTokenCount": 4,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 7,
            "totalTokenCount": 24,
        },
    )
    assert (found.id, found.model) == ("r1", "gemini-x")
    assert found.usage == ir.Usage(12, 12, cached_tokens=4, reasoning_tokens=7)


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        (None, None),
        ({}, ir.Usage()),
        ({"promptTokenCount": 3, "totalTokenCount": 3}, ir.Usage(3, 0)),
        (
            {"promptTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 12},
            ir.Usage(3, 9, reasoning_tokens=4),
        ),
        ({"promptTokenCount": 3}, ir.Usage(3)),
    ],
)
def test_counts_are_never_invented(metadata: Body | None, usage: ir.Usage | None) -> None:
    assert answer("hi", usageMetadata=metadata).usage == usage


def test_several_candidates() -> None:
    first, second = element("a", finish="STOP"), element("b", finish="MAX_TOKENS", index=1)
    found = read({"candidates": [*first["candidates"], *second["candidates"]]})
    assert [(one.index, one.finish.reason) for one in found.candidates] == [
        (0, "stop"),
        (1, "length"),
    ]


def test_an_array_of_one_answer_is_that_answer() -> None:
    body = json.dumps([element("hi", finish="STOP")]).encode()
    assert TRANSLATOR.decode_answer(body).candidates[0].blocks == [ir.Text("hi")]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"3", b'"a"', b"<html>", b"{", b"{}", b"[]", b"[{},{}]", b"\xff"),
        *(b'{"candidates":3}', b'{"candidates":[]}', b'{"candidates":[3]}', b'{"candidates":null}'),
        b'{"candidates":[{"content":{"parts":[{"text":3}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}}]}',
        b'{"candidates":[{"content":{"parts":' + b"[" * 20000 + b"}",
        b'{"promptFeedback":{}}',
        b'{"error":{"code":500,"message":"broke","status":"INTERNAL"}}',
        b'{"error":"broke"}',
        b'{"error":{"message":1e999}}',
        b'{"usageMetadata":{"promptTokenCount":"many"},"candidates":[{}]}',
    ],
)
def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponse):
        TRANSLATOR.decode_answer(body)


def test_an_error_with_status_200_is_told_in_its_words() -> None:
    with pytest.raises(BadResponse, match="model is asleep"):
        read({"error": {"code": 503, "message": "the model is asleep"}})


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "PROHIBITED_CONTENT", "JAILBREAK", "NEW"])
def test_a_blocked_prompt_is_a_filtered_answer(reason: str) -> None:
    found = read({"promptFeedback": {"blockReason": reason, "blockReasonMessage": "no"}})
    assert found.candidates == [ir.Candidate([], ir.Finish("filtered", reason, detail="no"))]


# -- read: the parts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "candidate",
    [
        {},
        {"content": None},
        {"content": {}},
        {"content": {"parts": None}},
        {"content": {"parts": []}},
        {"content": {"parts": [{}, {"madeUp": 1}, {"text": ""}]}},
    ],
)
def test_a_candidate_may_say_nothing(candidate: Body) -> None:
    found = read({"candidates": [candidate | {"finishReason": "STOP"}]})
    assert found.candidates[0].blocks == []


def test_texts_in_a_row_are_one_and_so_are_thoughts() -> None:
    thought = {"text": "hm", "thought": True}
    assert blocks(thought, thought, "a", "b", thought) == [
        ir.Reasoning("hmhm"),
        ir.Text("ab"),
        ir.Reasoning("hm"),
    ]


def test_signatures_of_thoughts_texts_and_calls() -> None:
    signed = {"thoughtSignature": "AAAA"}
    assert blocks(
        {"text": "hm", "thought": True} | signed,
        {"text": "yes"} | signed,
        {"text": ""} | signed,
        called("f", "1") | signed,
        called("g", "2"),
    ) == [
        ir.Reasoning("hm", OWN),
        ir.Text("yes"),
        ir.Reasoning("", OWN),
        ir.Reasoning("", OWN),
        ir.ToolCall("1", "f", "{}", signature=OWN),
        ir.ToolCall("2", "g", "{}"),
    ]


def test_calls_without_ids_get_one_each() -> None:
    first, second = blocks(called("f"), called("f"))
    assert isinstance(first, ir.ToolCall)
    assert isinstance(second, ir.ToolCall)
    assert first.id.startswith("call_")
    assert second.id.startswith("call_")
    assert first.id != second.id
    assert len(first.id) <= 40


def test_arguments_are_compact_json() -> None:
    body = (
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"id":"1","name":"f","args":{\n'
        b'  "b": 1.50,\n  "a": [1, "x  y"]\n}}}]},"finishReason":"STOP"}]}'
    )
    assert TRANSLATOR.decode_answer(body).candidates[0].blocks == [
        ir.ToolCall("1", "f", '{"b":1.50,"a":[1,"x  y"]}')
    ]


@pytest.mark.parametrize("call", [{"args": {}}, {"name": ""}, {"name": "f", "args": [1]}])
def test_a_call_that_cannot_be_answered_is_passed_over(call: Body) -> None:
    assert blocks({"functionCall": call}, "hi") == [ir.Text("hi")]


def test_what_google_s_own_tools_and_painters_made_is_passed_over() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    assert blocks(picture, {"executableCode": {"code": "1"}}, {"codeExecutionResult": {}}, "a") == [
        ir.Text("a")
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        *(("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length")),
        *(
            (word, "filtered")
            for word in (
                *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
                *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
            )
        ),
        *(
            (word, "other")
            for word in (
                *("OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "IMAGE_OTHER"),
                *("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"),
                *("NO_IMAGE", "ESCALATION", "SOMETHING_NEW"),
            )
        ),
    ],
)
def test_why_an_answer_ended(raw: str, reason: str) -> None:
    found = answer("hi", finish=raw).candidates[0].finish
    assert (found.reason, found.raw) == (reason, raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "tool_calls"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "filtered"),
        (None, "tool_calls"),
    ],
)
def test_a_stop_after_a_call_is_for_the_call(raw: str | None, reason: str) -> None:
    found = read(element(called("f"), "hi", finish=raw)).candidates[0].finish
    assert found.reason == reason


def test_what_google_says_of_the_end() -> None:
    found = read(element(finish="SAFETY", finishMessage="because")).candidates[0].finish
    assert found == ir.Finish("filtered", "SAFETY", detail="because")


def test_probabilities() -> None:
    result = {
        "chosenCandidates": [
            {"token": "a", "tokenId": 5, "logProbability": -0.5},
            {"token": "b"},
        ],
        "topCandidates": [{"candidates": [{"token": "x", "logProbability": -1.5}]}],
    }
    found = read(element("ab", logprobsResult=result)).candidates[0].logprobs
    assert found == (
        ir.LogProb("a", -0.5, top=(ir.LogProb("x", -1.5),)),
        ir.LogProb("b", 0.0),
    )


WEB = [{"web": {"uri": "https://a.org", "title": "A"}}, {"web": {"uri": "https://b.org"}}, {}]


def cited(*parts: Body | str, **grounding: Any) -> list[tuple[ir.Citation, ...]]:
    """The citations of each text of an answer."""
    found = read(element(*parts, finish="STOP", groundingMetadata=grounding)).candidates[0].blocks
    return [block.citations for block in found if isinstance(block, ir.Text)]


def test_citations_count_characters_where_google_counts_bytes() -> None:
    supports = [
        {
            "segment": {"startIndex": 4, "endIndex": 8, "text": "käse"},
            "groundingChunkIndices": [0, 1, 2, 7, -1],
        },
        {"segment": {"endIndex": 3, "text": "Die"}, "groundingChunkIndices": [1]},
        {"segment": {"startIndex": 900}, "groundingChunkIndices": [1]},
        {"segment": None},
    ]
    assert cited("Die ", "käse", groundingChunks=WEB, groundingSupports=supports) == [
        (
            ir.Citation("https://a.org", "A", "käse", 4, 7),
            ir.Citation("https://b.org", None, "käse", 4, 7),
            ir.Citation("https://b.org", None, "Die", 0, 3),
        )
    ]


def test_citations_belong_to_the_text_that_they_are_about() -> None:
    supports = [
        {"segment": {"startIndex": 0, "endIndex": 1}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 2, "endIndex": 3}, "groundingChunkIndices": [1]},
    ]
    assert cited("ü", called("f"), "b", groundingChunks=WEB, groundingSupports=supports) == [
        (ir.Citation("https://a.org", "A", None, 0, 0),),
        (ir.Citation("https://b.org", None, None, 0, 1),),
    ]


def test_citations_of_no_place_are_of_the_last_text() -> None:
    assert cited("a", called("f"), "b", groundingChunks=WEB) == [
        (),
        (ir.Citation("https://a.org", "A"), ir.Citation("https://b.org")),
    ]
    assert cited(groundingChunks=WEB) == []
    assert cited("a", groundingSupports=[{"groundingChunkIndices": [0]}]) == [()]


# -- written ------------------------------------------------------------------------------------


def parts(*blocks: ir.Block) -> list[Body]:
    """How the blocks of an answer are written."""
    found: list[Body] = answered(*blocks)["candidates"][0]["content"]["parts"]
    return found


def test_an_answer_names_the_model_that_was_asked_for_and_has_an_id_of_its_own() -> None:
    body = answered(ir.Text("hi"), id="upstream", model="upstream-model")
    assert body == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "hi"}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "modelVersion": "asked-for",
        "responseId": "1",
    }


def test_no_answer_is_without_a_part() -> None:
    assert parts() == [{"text": ""}]
    assert parts(ir.Text(""), ir.Refusal(""), ir.Reasoning("")) == [{"text": ""}]


def test_blocks_are_parts_in_order() -> None:
    assert parts(
        ir.Reasoning("hm"),
        ir.Text("a"),
        ir.ToolCall("1", "f", '{"b":1.0}'),
        ir.Text("b"),
        ir.Refusal("no"),
    ) == [
        {"text": "hm", "thought": True},
        {"text": "a"},
        {
            "functionCall": {"id": "1", "name": "f", "args": {"b": 1.0}},
            "thoughtSignature": SKIP,
        },
        {"text": "b"},
        {"text": "no"},
    ]


def test_arguments_go_on_as_they_were_written() -> None:
    whole = ir.Answer(
        [ir.Candidate([ir.ToolCall("1", "f", '{"x":1.50,"y":1E400}')], ir.Finish("tool_calls"))]
    )
    assert b'"args":{"x":1.50,"y":1E400}' in TRANSLATOR.encode_answer(whole, reply())


@pytest.mark.parametrize("arguments", ['{"a": "b', "[1]", "3", "{} {}"])
def test_a_call_that_was_cut_is_left_out(arguments: str) -> None:
    assert parts(ir.Text("a"), ir.ToolCall("1", "f", arguments)) == [{"text": "a"}]


def test_calls_without_arguments_and_of_free_text() -> None:
    assert parts(ir.ToolCall("1", "f", ""), ir.ToolCall("2", "g", "a\nb", custom=True)) == [
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": SKIP},
        {"functionCall": {"id": "2", "name": "g", "args": {"input": "a\nb"}}},
    ]


def test_media_are_parts_and_what_is_no_answer_is_left_out() -> None:
    assert parts(
        ir.Media("image", "image/png", "AAAA"),
        ir.Media("image", file_id="file-1", origin="o"),
        ir.ToolResult("1", [ir.Text("ok")]),
    ) == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]


def test_google_s_own_signatures_are_as_they_came() -> None:
    assert parts(
        ir.Reasoning("hm", OWN),
        ir.Reasoning("", OWN),
        ir.ToolCall("1", "f", "{}", signature=OWN),
        ir.Reasoning("so", ir.Signature("g")),
    ) == [
        {"text": "hm", "thought": True, "thoughtSignature": "AAAA"},
        {"text": "", "thought": True, "thoughtSignature": "AAAA"},
        {
            "functionCall": {"id": "1", "name": "f", "args": {}},
            "thoughtSignature": "AAAA",
        },
        {"text": "so", "thought": True},
    ]


def test_the_first_call_is_signed_in_case_it_comes_back_to_google() -> None:
    unsigned = ir.ToolCall("1", "f", "{}")
    own = ir.ToolCall("2", "f", "{}", signature=OWN)
    cut = ir.ToolCall("3", "f", '{"half')
    assert [part.get("thoughtSignature") for part in parts(cut, unsigned, own)] == [SKIP, "AAAA"]
    assert [part.get("thoughtSignature") for part in parts(own, unsigned)] == ["AAAA", None]
    base64.urlsafe_b64decode(SKIP)


def test_the_value_for_no_signature_is_none() -> None:
    assert blocks(called("f", "1") | {"thoughtSignature": SKIP}) == [ir.ToolCall("1", "f", "{}")]


@pytest.mark.parametrize("signature", [FOREIGN, ir.Signature("o", "", "rs_1"), ir.Signature("o")])
def test_others_signatures_are_envelopes_in_standard_base64(signature: ir.Signature) -> None:
    thought, call = parts(
        ir.Reasoning("hm", signature), ir.ToolCall("1", "f", "{}", signature=signature)
    )
    for part in (thought, call):
        base64.b64decode(part["thoughtSignature"], validate=True)
        assert unseal_from_base64(part["thoughtSignature"]) == signature


def test_redacted_thinking_is_an_empty_thought_that_says_so() -> None:
    (part,) = parts(ir.Reasoning("", FOREIGN, redacted=True))
    assert (part["text"], part["thought"]) == ("", True)
    assert holds_redacted(part["thoughtSignature"])


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        *(("stop", "STOP"), ("stop_sequence", "STOP"), ("tool_calls", "STOP"), ("paused", "STOP")),
        *(("length", "MAX_TOKENS"), ("context", "MAX_TOKENS"), ("filtered", "SAFETY")),
        ("other", "OTHER"),
    ],
)
def test_the_word_for_why_it_ended(reason: Any, word: str) -> None:
    candidate = answered(ir.Text("a"), finish=ir.Finish(reason, detail="d"))["candidates"][0]
    assert (candidate["finishReason"], candidate["finishMessage"]) == (word, "d")


@pytest.mark.parametrize(
    ("usage", "metadata"),
    [
        (
            ir.Usage(10, 12, cached_tokens=4, cache_write_tokens=3, reasoning_tokens=7),
            {
                "promptTokenCount": 10,
                "cachedContentTokenCount": 4,
                "candidatesTokenCount": 5,
                "thoughtsTokenCount": 7,
                "totalTokenCount": 22,
            },
        ),
        (
            ir.Usage(10, 0, cached_tokens=0, reasoning_tokens=0),
            {"promptTokenCount": 10, "candidatesTokenCount": 0, "totalTokenCount": 10},
        ),
        (ir.Usage(10), {"promptTokenCount": 10}),
        (ir.Usage(output_tokens=3), {"candidatesTokenCount": 3}),
        (ir.Usage(), {}),
    ],
)
def test_usage(usage: ir.Usage, metadata: Body) -> None:
    assert answered(ir.Text("a"), usage=usage)["usageMetadata"] == metadata


def test_no_usage_is_none() -> None:
    assert "usageMetadata" not in answered(ir.Text("a"))


def test_candidates_keep_their_index() -> None:
    two = [ir.Candidate([ir.Text(str(n))], ir.Finish("stop"), n) for n in (1, 0)]
    assert [one["index"] for one in written_answer(ir.Answer(two))["candidates"]] == [1, 0]


def test_citations_are_written_in_bytes_of_the_whole_text() -> None:
    texts: list[ir.Block] = [
        ir.Text("für", citations=(ir.Citation("https://a.org", "A", "ür", 1, 3),)),
        ir.ToolCall("1", "f", "{}"),
        ir.Text(
            "so",
            citations=(
                ir.Citation("https://b.org", None, None, 0, 2),
                ir.Citation("https://a.org", "A", "quoted", 5, 9),
            ),
        ),
    ]
    assert answered(*texts)["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [
            {"web": {"uri": "https://a.org", "title": "A"}},
            {"web": {"uri": "https://b.org"}},
        ],
        "groundingSupports": [
            {
                "segment": {"startIndex": 1, "endIndex": 4, "text": "ür"},
                "groundingChunkIndices": [0],
            },
            {"segment": {"startIndex": 4, "endIndex": 6}, "groundingChunkIndices": [1]},
            {"segment": {"text": "quoted"}, "groundingChunkIndices": [0]},
        ],
    }


def test_probabilities_are_written() -> None:
    logprobs = (ir.LogProb("a", -0.5, (97,), (ir.LogProb("b", -1.0),)), ir.LogProb("c", -2.0))
    whole = ir.Answer([ir.Candidate([ir.Text("ac")], ir.Finish("stop"), logprobs=logprobs)])
    assert written_answer(whole)["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [
            {"token": "a", "logProbability": -0.5},
            {"token": "c", "logProbability": -2.0},
        ],
        "topCandidates": [
            {"candidates": [{"token": "b", "logProbability": -1.0}]},
            {"candidates": []},
        ],
    }
