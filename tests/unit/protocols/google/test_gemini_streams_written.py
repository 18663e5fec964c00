"""A stream for a Gemini client, event by event, in each of its framings."""

import base64
import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import BadResponse, RouterError, UpstreamTimeout
from bitrouter.protocols.base import Framing
from bitrouter.protocols.continuity import holds_redacted, unseal_from_base64
from tests.unit.protocols.google.geminiwire import (
    TRANSLATOR,
    Body,
    elements_in,
    parts_in,
    reply,
    written,
)

FRAMINGS = (Framing.SSE, Framing.NDJSON, Framing.ARRAY)
EACH_FRAMING = pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.name)
OWN = ir.Signature("g", "AAAA")
FOREIGN = ir.Signature("a", "sig+/=")
STOP = ir.Finished(ir.Finish("stop"))
# Every character that some splitter of lines takes for the end of one.
AWKWARD = 'a"b\\c\n\r\v\f\x1c\x85\u2028\u2029\x00 ü 🥊'


def text_events(*texts: str) -> list[ir.Event]:
    deltas = [ir.Delta(0, text) for text in texts]
    return [ir.Start("up", "m"), ir.BlockStart(0, "text"), *deltas, ir.BlockEnd(0), STOP, ir.End()]


def call_events(*pieces: str, **fields: Any) -> list[ir.Event]:
    """The events of one call."""
    start = ir.BlockStart(0, "tool_call", id="call_1", name="f", **fields)
    return [start, *(ir.Delta(0, piece) for piece in pieces), ir.BlockEnd(0)]


def parts_of(*events: ir.Event) -> list[Body]:
    """The parts of a stream with these events, without the one at its end."""
    parts = parts_in(written([ir.Start(), *events, STOP, ir.End()]))
    assert parts[-1] == {"text": ""}
    return parts[:-1]


# -- framings -----------------------------------------------------------------------------------


def test_server_sent_events_to_the_byte() -> None:
    element = (
        '{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"index":0}],'
        '"modelVersion":"asked-for","responseId":"1"}'
    )
    last = (
        '{"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP",'
        '"index":0}],"modelVersion":"asked-for","responseId":"1"}'
    )
    assert written(text_events("hi")).decode() == f"data: {element}\n\ndata: {last}\n\n"
    assert written(text_events("hi"), Framing.NDJSON).decode() == f"{element}\n{last}\n"
    assert written(text_events("hi"), Framing.ARRAY).decode() == f"[{element},\n{last}]"


@EACH_FRAMING
def test_a_stream_that_says_nothing_is_one_element(framing: Framing) -> None:
    stream = written([ir.Start(), STOP, ir.End()], framing)
    (element,) = elements_in(stream, framing)
    assert element["candidates"][0]["content"]["parts"] == [{"text": ""}]
    assert element["candidates"][0]["finishReason"] == "STOP"


@EACH_FRAMING
def test_it_does_not_matter_how_events_are_handed_in(framing: Framing) -> None:
    events = text_events("a", "b", AWKWARD)
    assert written(events, framing) == written(events, framing, one_by_one=True)


@EACH_FRAMING
def test_nothing_is_sent_before_there_is_something_to_say(framing: Framing) -> None:
    encoder = TRANSLATOR.stream_encoder(reply(framing))
    assert encoder.encode([ir.Start("up", "m"), ir.BlockStart(0, "text")]) == b""
    assert encoder.encode([ir.Delta(0, "hi")]) != b""


@EACH_FRAMING
def test_no_line_ends_but_at_the_end_of_an_element(framing: Framing) -> None:
    events: list[ir.Event] = [
        ir.Start(),
        ir.BlockStart(0, "text"),
        ir.Delta(0, AWKWARD),
        ir.Delta(0, AWKWARD, (ir.LogProb(AWKWARD, -1.0),)),
        ir.BlockEnd(0),
        *renumbered(1, call_events(json.dumps({"a": AWKWARD}, ensure_ascii=False, indent=1))),
        ir.Finished(ir.Finish("filtered", detail=AWKWARD)),
        ir.End(),
    ]
    stream = written(events, framing)
    after = {Framing.SSE: "\n\n", Framing.NDJSON: "\n", Framing.ARRAY: ",\n"}[framing]
    cut = [line for line in stream.decode().splitlines() if line]
    assert len(cut) == len(elements_in(stream, framing)) == 4
    assert stream.decode().count(after) == (3 if framing is Framing.ARRAY else 4)
    parts = parts_in(stream, framing)
    assert parts[0]["text"] == parts[1]["text"] == AWKWARD
    assert parts[2]["functionCall"]["args"] == {"a": AWKWARD}
    assert elements_in(stream, framing)[-1]["candidates"][0]["finishMessage"] == AWKWARD


def renumbered(index: int, events: list[ir.Event]) -> list[ir.Event]:
    for event in events:
        if isinstance(event, ir.BlockStart | ir.Delta | ir.Signed | ir.Cited | ir.BlockEnd):
            event.index = index
    return events


@EACH_FRAMING
def test_every_element_has_the_model_that_was_asked_for_and_one_id(framing: Framing) -> None:
    events: list[ir.Event] = [ir.Start("up", "other"), *call_events("{}"), STOP, ir.End()]
    elements = elements_in(written(events, framing), framing)
    assert {(one["modelVersion"], one["responseId"]) for one in elements} == {("asked-for", "1")}


# -- events -------------------------------------------------------------------------------------


def test_texts_thoughts_and_refusals_go_out_as_they_come() -> None:
    encoder = TRANSLATOR.stream_encoder(reply(Framing.SSE))

    def encode(*events: ir.Event) -> list[Body]:
        stream = encoder.encode(events)
        return parts_in(stream) if stream else []

    assert encode(ir.Start(), ir.BlockStart(0, "reasoning", raw=True)) == []
    assert encode(ir.Delta(0, "hm")) == [{"text": "hm", "thought": True}]
    assert encode(ir.BlockEnd(0), ir.BlockStart(1, "text")) == []
    assert encode(ir.Delta(1, "a"), ir.Delta(1, "b")) == [{"text": "a"}, {"text": "b"}]
    assert encode(ir.BlockEnd(1), ir.BlockStart(2, "refusal"), ir.Delta(2, "no")) == [
        {"text": "no"}
    ]
    assert encode(ir.BlockEnd(2), ir.Finished(ir.Finish("filtered"))) == []


def test_a_call_waits_until_it_is_complete() -> None:
    encoder = TRANSLATOR.stream_encoder(reply(Framing.SSE))
    *most, end = call_events('{"a":', ' "b', 'c"}')
    for event in (ir.Start(), *most):
        assert encoder.encode([event]) == b""
    assert parts_in(encoder.encode([end])) == [
        {
            "functionCall": {"name": "f", "args": {"a": "bc"}, "id": "call_1"},
            "thoughtSignature": "skip_thought_signature_validator",
        }
    ]


@pytest.mark.parametrize(
    ("pieces", "args"), [((), {}), (("{}",), {}), (('{"a":[1,', "2]}"), {"a": [1, 2]})]
)
def test_arguments(pieces: tuple[str, ...], args: Body) -> None:
    assert parts_of(*call_events(*pieces))[0]["functionCall"]["args"] == args


@pytest.mark.parametrize("pieces", [('{"a": "b',), ("[1]",), ("nonsense",)])
def test_a_call_that_was_cut_is_left_out(pieces: tuple[str, ...]) -> None:
    assert parts_of(*call_events(*pieces)) == []


def test_a_call_of_free_text_is_a_function_of_one_text() -> None:
    (part,) = parts_of(*call_events("*** Be", "gin\n", custom=True))
    assert part["functionCall"]["args"] == {"input": "*** Begin\n"}


def test_parallel_calls_are_parts_of_their_own() -> None:
    first, second = call_events('{"a":1}'), renumbered(1, call_events('{"a":2}'))
    parts = parts_of(*first, *second)
    assert [part["functionCall"]["args"]["a"] for part in parts] == [1, 2]
    assert ["thoughtSignature" in part for part in parts] == [True, False]


@pytest.mark.parametrize("signature", [OWN, FOREIGN, ir.Signature("o")])
def test_a_call_goes_out_with_its_signature(signature: ir.Signature) -> None:
    start, *rest = call_events("{}")
    (part,) = parts_of(start, ir.Signed(0, signature), *rest)
    assert "functionCall" in part
    carried = part["thoughtSignature"]
    assert carried == "AAAA" if signature is OWN else unseal_from_base64(carried) == signature
    base64.b64decode(carried, validate=True)


@pytest.mark.parametrize("signature", [OWN, FOREIGN, ir.Signature("o")])
def test_a_thought_s_signature_follows_on_an_empty_thought(signature: ir.Signature) -> None:
    events: list[ir.Event] = [
        *(ir.BlockStart(0, "reasoning"), ir.Delta(0, "hm")),
        *(ir.Signed(0, signature), ir.BlockEnd(0)),
    ]
    thought, signed = parts_of(*events)
    assert thought == {"text": "hm", "thought": True}
    assert (signed["text"], signed["thought"]) == ("", True)
    carried = signed["thoughtSignature"]
    assert carried == "AAAA" if signature is OWN else unseal_from_base64(carried) == signature
    base64.b64decode(carried, validate=True)


def test_a_thought_of_google_s_without_a_signature_has_none() -> None:
    signed = ir.Signed(0, ir.Signature("g"))
    assert parts_of(ir.BlockStart(0, "reasoning"), signed, ir.BlockEnd(0)) == []


def test_redacted_thinking_says_so() -> None:
    start = ir.BlockStart(0, "reasoning", redacted=True)
    (part,) = parts_of(start, ir.Signed(0, FOREIGN), ir.BlockEnd(0))
    assert holds_redacted(part["thoughtSignature"])


def test_probabilities_go_with_their_text() -> None:
    events: list[ir.Event] = [
        ir.Start(),
        ir.BlockStart(0, "text"),
        ir.Delta(0, "a", (ir.LogProb("a", -0.5),)),
        ir.Delta(0, "b"),
        *(ir.BlockEnd(0), STOP, ir.End()),
    ]
    candidates = [one["candidates"][0] for one in elements_in(written(events))]
    assert [one.get("logprobsResult") for one in candidates] == [
        {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]},
        None,
        None,
    ]


def test_citations_go_with_the_last_element() -> None:
    events: list[ir.Event] = [
        ir.Start(),
        *(ir.BlockStart(0, "text"), ir.Delta(0, "ab")),
        ir.Cited(0, ir.Citation("https://a.org", "A", "b", 1, 2)),
        ir.Cited(0, ir.Citation("https://b.org")),
        *(ir.BlockEnd(0), STOP, ir.End()),
    ]
    first, last = elements_in(written(events))
    assert "groundingMetadata" not in first["candidates"][0]
    assert last["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [
            {"web": {"uri": "https://a.org", "title": "A"}},
            {"web": {"uri": "https://b.org"}},
        ],
        "groundingSupports": [{"segment": {"text": "b"}, "groundingChunkIndices": [0]}],
    }


def test_the_last_element_has_the_reason_and_the_usage() -> None:
    finish = ir.Finish("filtered", detail="because")
    events: list[ir.Event] = [
        ir.Start(),
        ir.Finished(finish),
        ir.End(ir.Usage(3, 5, None, None, 2)),
    ]
    (last,) = elements_in(written(events))
    assert last["candidates"] == [
        {
            "content": {"role": "model", "parts": [{"text": ""}]},
            "finishReason": "SAFETY",
            "finishMessage": "because",
            "index": 0,
        }
    ]
    assert last["usageMetadata"] == {
        "promptTokenCount": 3,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 2,
        "totalTokenCount": 8,
    }


def test_candidates_keep_their_index_to_the_end() -> None:
    events: list[ir.Event] = [
        ir.Start(),
        *(ir.BlockStart(0, "text", 0), ir.BlockStart(1, "text", 1)),
        *(ir.Delta(1, "b"), ir.Delta(0, "a")),
        *(ir.BlockEnd(1), ir.BlockEnd(0)),
        *(ir.Finished(ir.Finish("length"), 1), ir.Finished(ir.Finish("stop"), 0), ir.End()),
    ]
    found = [
        [
            (one["index"], one["content"]["parts"][0]["text"], one.get("finishReason"))
            for one in each
        ]
        for each in (element["candidates"] for element in elements_in(written(events)))
    ]
    assert found == [[(1, "b", None)], [(0, "a", None)], [(1, "", "MAX_TOKENS"), (0, "", "STOP")]]


# -- errors -------------------------------------------------------------------------------------


@EACH_FRAMING
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_is_an_element_that_begins_with_it(framing: Framing, begun: bool) -> None:
    encoder = TRANSLATOR.stream_encoder(reply(framing))
    sent = encoder.encode([ir.Start(), ir.BlockStart(0, "text")])
    if begun:
        sent += encoder.encode([ir.Delta(0, "a")])
    sent += encoder.fail(BadResponse(f"broke {AWKWARD}"))
    *_, last = elements_in(sent, framing)
    assert last == {"error": {"code": 502, "message": f"broke {AWKWARD}", "status": "INTERNAL"}}
    assert b'{"error":{"code":502,' in sent
    assert len([line for line in sent.decode().splitlines() if line]) == (2 if begun else 1)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (UpstreamTimeout("total", 5), 504, "DEADLINE_EXCEEDED"),
        (BadResponse("x"), 502, "INTERNAL"),
    ],
)
def test_the_code_of_an_error_is_a_number(error: RouterError, code: int, status: str) -> None:
    (element,) = elements_in(TRANSLATOR.stream_encoder(reply(Framing.SSE)).fail(error))
    assert (element["error"]["code"], element["error"]["status"]) == (code, status)
