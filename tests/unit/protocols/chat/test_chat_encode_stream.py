"""The stream that a chat client gets, event by event, and as the SDK accumulates it."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.errors import InternalError, StreamFailed
from tests.unit.protocols.chat.chatwire import CHAT, accumulated, chunks_of, deltas, reply, written

START = ir.Start("upstream-id", "up-1")
USAGE = ir.Usage(3, 4, 1, 2, 0)
ASKS_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
LEGACY = {"functions": [{"name": "f"}], "stream": True}
MARKED = {"extra_content": {"bitrouter": "Br1~"}}


def text(*pieces: str, index: int = 0, candidate: int = 0) -> list[ir.Event]:
    """The events of a block of text."""
    said: list[ir.Event] = [ir.Delta(index, one) for one in pieces]
    return [ir.BlockStart(index, "text", candidate), *said, ir.BlockEnd(index)]


def call(*pieces: str, index: int = 0, name: str = "f", **more: Any) -> list[ir.Event]:
    """The events of a call; `signed` is its signature."""
    signed = [ir.Signed(index, more.pop("signed"))] if "signed" in more else []
    said: list[ir.Event] = [ir.Delta(index, one) for one in pieces]
    start = ir.BlockStart(index, "tool_call", id=f"call_{index}", name=name, **more)
    return [start, *signed, *said, ir.BlockEnd(index)]


def whole(*events: ir.Event, reason: ir.FinishReason = "stop", **more: Any) -> list[ir.Event]:
    """A complete stream."""
    return [START, *events, ir.Finished(ir.Finish(reason)), ir.End(more.get("usage"))]


def test_stream_is_said_in_the_documented_order() -> None:
    stream = written(whole(*text("a", "b"), usage=USAGE))

    same: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "asked-model",
    }
    choices: list[dict[str, Any]] = [
        {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"delta": {"content": "a"}, "finish_reason": None},
        {"delta": {"content": "b"}, "finish_reason": None},
        {"delta": {}, "finish_reason": "stop"},
    ]
    assert chunks_of(stream) == [
        *(same | {"choices": [{"index": 0} | one]} for one in choices),
        "[DONE]",
    ]


def test_usage_is_the_last_chunk_for_a_client_that_asked() -> None:
    *chunks, last, end = chunks_of(written(whole(*text("a"), usage=USAGE), **ASKS_USAGE))

    assert end == "[DONE]"
    assert all(one["usage"] is None for one in chunks)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_usage_that_is_not_known_is_not_said() -> None:
    *chunks, _ = chunks_of(written(whole(*text("a")), **ASKS_USAGE))

    assert all(one["choices"] for one in chunks)


def test_each_delta_is_sent_at_once() -> None:
    encoder = CHAT.stream_encoder(reply())

    sent = [encoder.encode([event]) for event in whole(*text("a", "b"))]

    assert [bool(one) for one in sent] == [True, False, True, True, False, True, True]


def test_events_together_are_the_same_bytes() -> None:
    events = whole(*text("a"), *call("{", "}", index=1), reason="tool_calls")

    assert CHAT.stream_encoder(reply()).encode(events) == written(events)


@pytest.mark.parametrize("awkward", ['"', "\\", "\n\n", "data: x\n\n", "\u2028", "🥊", "\x00"])
def test_any_text_stays_in_its_event(awkward: str) -> None:
    stream = written(whole(*text(awkward)))

    assert deltas(stream)[1:] == [{"content": awkward}]
    assert accumulated(stream).choices[0].message.content == awkward


def test_reasoning_and_refusals_have_members_of_their_own() -> None:
    stream = written(
        whole(
            *(ir.BlockStart(0, "reasoning"), ir.Delta(0, "hm")),
            *(ir.Signed(0, ir.Signature("a", "sig")), ir.BlockEnd(0)),
            *(ir.BlockStart(1, "refusal"), ir.Delta(1, "no"), ir.BlockEnd(1)),
            reason="filtered",
        )
    )

    assert deltas(stream)[1:] == [{"reasoning_content": "hm", **MARKED}, {"refusal": "no"}]
    assert accumulated(stream).choices[0].finish_reason == "stop"


def thought(index: int, *pieces: str, candidate: int = 0) -> list[ir.Event]:
    """The events of a block of reasoning."""
    said: list[ir.Event] = [ir.Delta(index, one) for one in pieces]
    return [ir.BlockStart(index, "reasoning", candidate), *said, ir.BlockEnd(index)]


def test_thoughts_are_set_apart_by_a_blank_line() -> None:
    stream = written(
        whole(*thought(0), *thought(1, "a", "b"), *text("x", index=2), *thought(3, "c"))
    )

    said = [one["reasoning_content"] for one in deltas(stream) if "reasoning_content" in one]
    assert said == ["a", "b", "\n\nc"]


def test_thoughts_are_marked_once_for_each_candidate() -> None:
    """Collectors of streams join strings: a mark that is said twice is another string."""
    thoughts = [*thought(0), *thought(1, "", "a", "", "b"), *thought(2, "", "c", "d")]
    stream = written(
        [
            START,
            *thoughts,
            *thought(3, "e", "f", candidate=1),
            *(ir.Finished(ir.Finish("stop"), index) for index in (0, 1)),
            ir.End(),
        ],
        n=2,
    )

    said = [one for one in deltas(stream) if one.get("reasoning_content")]
    assert [one["reasoning_content"] for one in said] == ["a", "b", "\n\nc", "d", "e", "f"]
    assert ["extra_content" in one for one in said] == [True, *[False] * 3, True, False]
    assert stream.count(b"Br1~") == 2
    for choice, thinking in zip(accumulated(stream).choices, ["ab\n\ncd", "ef"], strict=True):
        assert choice.message.reasoning_content == thinking
        assert choice.message.extra_content == {"bitrouter": "Br1~"}


def test_thoughts_with_probabilities_are_marked_like_any() -> None:
    logprobs = (ir.LogProb("a", -1.0),)
    block = (ir.BlockStart(0, "reasoning"), *(ir.Delta(0, "a", logprobs),) * 2, ir.BlockEnd(0))

    assert deltas(written(whole(*block)))[1:] == [
        {"reasoning_content": "a", **MARKED},
        {"reasoning_content": "a"},
    ]


def test_what_a_provider_of_the_same_protocol_said_is_not_marked() -> None:
    """It may want it back, and gets it."""
    native = msgspec.structs.replace(reply(stream=True), native=True)
    signed = call("{}", index=1, signed=ir.Signature("g", "c2ln"))

    stream = CHAT.stream_encoder(native).encode(whole(*thought(0, "a"), *signed))

    message = accumulated(stream).choices[0].message
    assert b"Br1~" not in stream
    assert message.reasoning_content == "a"
    assert message.tool_calls[0].extra_content == {"google": {"thought_signature": "c2ln"}}


def test_calls_are_numbered_and_announced_once() -> None:
    stream = written(
        whole(
            *text("x"),
            *call('{"a":', "1}", index=1),
            *call("{}", index=2, name="g"),
            reason="tool_calls",
        )
    )

    assert [one["tool_calls"] for one in deltas(stream)[2:]] == [
        [
            {
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": {"name": "f", "arguments": ""},
            }
        ],
        [{"index": 0, "function": {"arguments": '{"a":'}}],
        [{"index": 0, "function": {"arguments": "1}"}}],
        [
            {
                "index": 1,
                "id": "call_2",
                "type": "function",
                "function": {"name": "g", "arguments": ""},
            }
        ],
        [{"index": 1, "function": {"arguments": "{}"}}],
    ]
    choice = accumulated(stream).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [
        (one.id, one.function.name, one.function.arguments) for one in choice.message.tool_calls
    ] == [
        ("call_1", "f", '{"a":1}'),
        ("call_2", "g", "{}"),
    ]


def test_call_without_arguments_has_an_empty_object_of_them() -> None:
    stream = written(whole(*call(), reason="tool_calls"))

    (made,) = accumulated(stream).choices[0].message.tool_calls
    assert made.function.arguments == "{}"


def test_free_text_call_is_one() -> None:
    stream = written(whole(*call("ls", " -l", custom=True), *call(index=1, custom=True)))

    assert [one["tool_calls"][0] for one in deltas(stream)[1:]] == [
        {"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "f", "input": ""}},
        {"index": 0, "custom": {"input": "ls"}},
        {"index": 0, "custom": {"input": " -l"}},
        {"index": 1, "id": "call_1", "type": "custom", "custom": {"name": "f", "input": ""}},
    ]


EXTRA = {"google": {"thought_signature": "c2ln"}, "bitrouter": "Br1~"}


def test_googles_signature_is_announced_with_its_call() -> None:
    events = whole(*call("{}", signed=ir.Signature("g", "c2ln")), reason="tool_calls")

    stream = CHAT.stream_encoder(reply()).encode(events)

    first, second = (one["tool_calls"][0] for one in deltas(stream)[1:])
    assert (first["id"], first["extra_content"]) == ("call_0", EXTRA)
    assert "extra_content" not in second


@pytest.mark.parametrize("custom", [False, True])
def test_signature_that_comes_later_is_said_later(custom: bool) -> None:
    events = whole(*call("x", signed=ir.Signature("g", "c2ln"), custom=custom), reason="tool_calls")

    calls = [one["tool_calls"][0] for one in deltas(written(events))[1:]]

    assert ["extra_content" in one for one in calls] == [False, True, False]
    assert calls[1]["extra_content"] == EXTRA
    assert "id" not in calls[1]
    if not custom:
        (made,) = accumulated(written(events)).choices[0].message.tool_calls
        assert made.function.arguments == "x"
        assert made.extra_content == EXTRA


@pytest.mark.parametrize("signature", [ir.Signature("a", "c2ln"), ir.Signature("g")])
def test_no_other_signature_is_shown(signature: ir.Signature) -> None:
    events = whole(*call("{}", signed=signature), reason="tool_calls")

    assert b"extra_content" not in written(events)


def test_legacy_client_gets_one_legacy_call() -> None:
    events = whole(*call("{", "}", index=0), *call("{}", index=1), reason="tool_calls")

    stream = written(events, **LEGACY)

    assert deltas(stream)[1:] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{"}},
        {"function_call": {"arguments": "}"}},
    ]
    assert chunks_of(stream)[-2]["choices"][0]["finish_reason"] == "function_call"


def test_citations_are_said_once_for_the_whole_text() -> None:
    def cited(index: int, said: str, *citations: ir.Citation) -> list[ir.Event]:
        start, *rest, end = text(said, index=index)
        return [start, *rest, *(ir.Cited(index, one) for one in citations), end]

    first = ir.Citation("https://e.org/1", "t", start=1, end=2)
    second = ir.Citation("https://e.org/2")

    stream = written(whole(*cited(0, "Grüße ", first), *cited(1, "all", first, second)))

    (said,) = [one["annotations"] for one in deltas(stream) if "annotations" in one]
    places = [one["url_citation"]["start_index"] for one in said]
    assert places == [1, 7, 6]
    assert [one["url_citation"]["end_index"] for one in said] == [2, 8, 9]
    assert accumulated(stream).choices[0].message.annotations[2].url_citation.title == (
        "https://e.org/2"
    )


@pytest.mark.parametrize(("kind", "member"), [("text", "content"), ("refusal", "refusal")])
def test_logprobs_stand_beside_their_delta(kind: ir.StreamedKind, member: str) -> None:
    logprobs = (ir.LogProb("a", -1.0),)
    block = (ir.BlockStart(0, kind), ir.Delta(0, "a", logprobs), ir.BlockEnd(0))

    stream = written(whole(*block))

    (choice,) = chunks_of(stream)[1]["choices"]
    assert choice["delta"] == {member: "a"}
    assert choice["logprobs"][member] == [
        {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
    ]
    assert getattr(accumulated(stream).choices[0].logprobs, member)[0].token == "a"


def test_every_candidate_says_its_role_first() -> None:
    events = [
        START,
        *text("a", index=0),
        ir.BlockStart(1, "text", 1),
        ir.Delta(1, "b"),
        ir.Finished(ir.Finish("stop")),
        ir.BlockEnd(1),
        ir.Finished(ir.Finish("paused"), 1),
        ir.Finished(ir.Finish("stop"), 2),
        ir.End(),
    ]

    stream = written(events, n=3)

    said = [one["choices"][0] for one in chunks_of(stream)[:-1]]
    for index in range(3):
        own = [one["delta"] for one in said if one["index"] == index]
        assert own[0] == {"role": "assistant", "content": ""}
        assert all("role" not in delta for delta in own[1:])
    choices = accumulated(stream).choices
    assert [(one.message.content, one.finish_reason) for one in choices] == [
        ("a", "stop"),
        ("b", "stop"),
        ("", "stop"),
    ]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("context", "length"),
        ("tool_calls", "tool_calls"),
        ("filtered", "content_filter"),
        ("paused", "stop"),
        ("other", "stop"),
    ],
)
def test_finish_reason_is_written(reason: ir.FinishReason, word: str) -> None:
    (last,) = chunks_of(written(whole(*text("x"), reason=reason)))[-2]["choices"]

    assert (last["finish_reason"], last["delta"]) == (word, {})


def test_empty_answer_is_one() -> None:
    assert accumulated(written(whole())).choices[0].message.content == ""


# -- errors -----------------------------------------------------------------------------------


def test_error_is_the_last_event_and_no_end_follows() -> None:
    encoder = CHAT.stream_encoder(reply())
    sent = encoder.encode([START, *text("a")])

    error = encoder.fail(StreamFailed("busy", status=503, code="slow_down"))

    *_, last = chunks_of(sent + error)
    assert last == {
        "error": {"message": "busy", "type": "server_error", "param": None, "code": "slow_down"}
    }
    assert encoder.encode([ir.Delta(0, "x"), ir.Finished(ir.Finish("stop")), ir.End()]) == b""
    assert encoder.fail(InternalError("again")) == b""


def test_error_may_be_the_first_word() -> None:
    (only,) = chunks_of(CHAT.stream_encoder(reply()).fail(StreamFailed("m", status=502, code=None)))

    assert list(only) == ["error"]
    assert only["error"]["message"] == "m"


def test_nothing_but_a_fault_of_the_vendor_is_an_error() -> None:
    fault = ir.Finish("other", "MALFORMED_FUNCTION_CALL")

    stream = written([START, ir.Finished(fault), ir.End(USAGE)])

    *_, last = chunks_of(stream)
    assert "MALFORMED_FUNCTION_CALL" in last["error"]["message"]
    assert b"[DONE]" not in stream


def test_one_candidate_that_went_wrong_does_not_spoil_the_others() -> None:
    events = [
        START,
        *text("a"),
        ir.Finished(ir.Finish("other", "OTHER"), 1),
        ir.Finished(ir.Finish("stop")),
        ir.End(),
    ]

    choices = accumulated(written(events, n=2)).choices

    assert [(one.message.content, one.finish_reason) for one in choices] == [
        ("a", "stop"),
        ("", "stop"),
    ]


def test_ids_are_made_for_each_answer() -> None:
    ids = iter(["chatcmpl-a", "chatcmpl-b"])
    first = reply()
    minting = type(first)(
        request=first.request,
        asked=first.asked,
        created_s=1,
        mint=lambda prefix: next(ids) if prefix == "chatcmpl-" else "?",
        request_id="r",
    )

    one, other = (CHAT.stream_encoder(minting).encode([START]) for _ in range(2))

    assert json.loads(one.removeprefix(b"data: "))["id"] == "chatcmpl-a"
    assert json.loads(other.removeprefix(b"data: "))["id"] == "chatcmpl-b"
