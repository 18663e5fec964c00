"""What holds for anything that the neutral form can say."""

import itertools
import json
import re
from typing import Any, Final

import msgspec
from google.genai import types as genai
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import Framing
from bitrouter.protocols.google.codec import GENERATE
from bitrouter.protocols.google.signatures import write_signature
from tests.support.neutral import (
    answer_of,
    check_well_formed,
    neutral_answers,
    neutral_events,
)
from tests.support.neutralrequests import neutral_requests
from tests.unit.protocols.google.geminiwire import (
    CODEC,
    TRANSLATOR,
    Body,
    elements_in,
    encoded,
    read_stream,
    reply,
    sse,
    written,
)

ANYTHING: Final = settings(max_examples=60, deadline=None)
_REASONS: Final[dict[str, ir.FinishReason]] = {
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "paused": "stop",
    "context": "length",
}


# -- answers ------------------------------------------------------------------------------------


def read_back(answer: ir.Answer) -> ir.Answer:
    """What one of our own decoders makes of an answer that was written for a client: refusals are
    texts, texts in a row one, and signatures Google's whatever is in them.
    """
    return ir.Answer(
        [_candidate(candidate) for candidate in sorted(answer.candidates, key=lambda c: c.index)],
        usage=_usage(answer.usage),
        id="1",
        model="asked-for",
    )


def _candidate(candidate: ir.Candidate) -> ir.Candidate:
    blocks: list[ir.Block] = []
    for block in map(_block, candidate.blocks):
        last = blocks[-1] if blocks else None
        if isinstance(block, ir.Text) and isinstance(last, ir.Text):
            blocks[-1] = ir.Text(last.text + block.text)
        elif isinstance(block, ir.Reasoning) and _is_unsigned(last):
            assert isinstance(last, ir.Reasoning)
            blocks[-1] = ir.Reasoning(last.text + block.text, block.signature)
        else:
            blocks.append(block)
    called = any(isinstance(block, ir.ToolCall) for block in blocks)
    reason = _REASONS.get(candidate.finish.reason, candidate.finish.reason)
    if called and reason == "stop":
        reason = "tool_calls"
    finish = ir.Finish(reason, detail=candidate.finish.detail)
    return ir.Candidate(blocks, finish, candidate.index, _logprobs(candidate.logprobs))


def _block(block: ir.Block) -> ir.Block:
    match block:
        case ir.Refusal():
            return ir.Text(block.text)
        case ir.Reasoning():
            return ir.Reasoning(block.text, _signature(block.signature, block.redacted))
        case ir.ToolCall():
            arguments = block.arguments
            if block.custom:
                arguments = msgspec.json.encode({"input": arguments}).decode()
            signature = _signature(block.signature, False)
            return ir.ToolCall(block.id, block.name, arguments, signature=signature)
        case _:
            return block


def _is_unsigned(block: ir.Block | None) -> bool:
    return isinstance(block, ir.Reasoning) and block.signature is None


def _signature(signature: ir.Signature | None, redacted: bool) -> ir.Signature | None:
    carried = write_signature(signature, redacted=redacted)
    return ir.Signature("g", carried) if carried else None


def _logprobs(logprobs: tuple[ir.LogProb, ...] | None) -> tuple[ir.LogProb, ...] | None:
    if not logprobs:
        return None
    return tuple(
        ir.LogProb(one.token, one.logprob, top=_logprobs(one.top) or ()) for one in logprobs
    )


def _usage(usage: ir.Usage | None) -> ir.Usage | None:
    if usage is None:
        return None
    return ir.Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens or None,
        None,
        usage.reasoning_tokens or None,
    )


def without_raw(answer: ir.Answer) -> ir.Answer:
    """The answer without the vendor's words for its ends."""
    for candidate in answer.candidates:
        candidate.finish = msgspec.structs.replace(candidate.finish, raw=None)
    return answer


@ANYTHING
@given(neutral_answers(citations=False))
def test_an_answer_is_read_back_as_what_it_was(answer: ir.Answer) -> None:
    body = json.loads(TRANSLATOR.encode_answer(answer, reply()))
    plain = json.dumps(body, ensure_ascii=False).encode()  # whatever was escaped in it
    assert without_raw(TRANSLATOR.decode_answer(plain)) == read_back(answer)
    genai.GenerateContentResponse.model_validate(body)


@ANYTHING
@given(neutral_events(citations=False), st.sampled_from([*Framing][1:]), st.booleans())
def test_a_stream_is_read_back_as_what_it_was(
    events: list[ir.Event], framing: Framing, one_by_one: bool
) -> None:
    elements = elements_in(written(events, framing, one_by_one=one_by_one), framing)
    found = read_stream([sse(*elements)])
    check_well_formed(found)
    assert without_raw(answer_of(found)) == read_back(answer_of(events))
    for element in elements:
        genai.GenerateContentResponse.model_validate(element)
        assert all(candidate["content"]["parts"] for candidate in element["candidates"])


@ANYTHING
@given(neutral_events())
def test_a_stream_and_a_whole_answer_say_the_same(events: list[ir.Event]) -> None:
    streamed = answer_of(read_stream([written(events)]))
    whole = TRANSLATOR.decode_answer(TRANSLATOR.encode_answer(answer_of(events), reply()))
    for answer in (streamed, whole):
        for candidate in answer.candidates:
            for block in candidate.blocks:
                if isinstance(block, ir.Text):
                    block.citations = ()
    whole.candidates.sort(key=lambda one: one.index)
    assert streamed == whole


@ANYTHING
@given(neutral_events(), st.data())
def test_a_stream_that_is_cut_is_never_complete(events: list[ir.Event], data: Any) -> None:
    stream = written(events).rstrip(b"\n")
    length = data.draw(st.integers(0, len(stream) - 1))
    found = read_stream([stream[:length]])
    check_well_formed(found)
    assert isinstance(found[-1], ir.Failed)


# -- requests -----------------------------------------------------------------------------------

_TRAITS: Final = st.builds(
    Traits,
    reasoning=st.sampled_from(["level", "budget"]),
    efforts=st.sampled_from([(), ("low", "medium", "high"), ("low", "high")]),
    schema=st.sampled_from(["subset", "json_schema"]),
    strict_tools=st.just(False),
    tool_ids=st.booleans(),
    tool_media=st.booleans(),
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def check_body(body: Body) -> None:
    """Assert the rules of the API."""
    contents = body["contents"]
    assert contents[0]["role"] == "user"
    for content in contents:
        genai.Content.model_validate(content)
        assert content["parts"]
        for part in content["parts"]:
            assert part.get("text") != "" or "thoughtSignature" in part
    for first, second in itertools.pairwise(contents):
        assert first["role"] != second["role"]
        calls = [part["functionCall"] for part in first["parts"] if "functionCall" in part]
        given = [
            part["functionResponse"]
            for part in second["parts"][: len(calls)]
            if "functionResponse" in part
        ]
        if first["role"] == "model":
            assert [one["name"] for one in calls] == [one["name"] for one in given]
            assert [one.get("id") for one in calls] == [one.get("id") for one in given]
            assert not any("functionResponse" in part for part in second["parts"][len(calls) :])
            assert all(_NAME.fullmatch(one["name"]) for one in calls)
    for tool in body.get("tools", ()):
        genai.Tool.model_validate(tool)
    genai.GenerationConfig.model_validate(body.get("generationConfig", {}))


@ANYTHING
@given(neutral_requests(), _TRAITS)
def test_any_request_keeps_the_rules_of_the_api(request: ir.Request, traits: Traits) -> None:
    check_body(json.loads(encoded(request, traits).body))


@ANYTHING
@given(neutral_requests(), _TRAITS)
def test_what_was_written_is_read_and_written_the_same(request: ir.Request, traits: Traits) -> None:
    first = encoded(request, traits).body
    meant = TRANSLATOR.decode_request(CODEC.read(GENERATE, "m", "", first))
    assert meant.dropped == []
    assert json.loads(encoded(meant, traits).body) == json.loads(first)


@ANYTHING
@given(neutral_requests(), _TRAITS)
def test_a_request_is_written_the_same_every_time(request: ir.Request, traits: Traits) -> None:
    assert encoded(request, traits) == encoded(request, traits)


_any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["user", "model", "AUTO", "TEXT", "AAAA", "image/png", "https://e.org/", ""])
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "role",
                        "parts",
                        "text",
                        "thought",
                        "thoughtSignature",
                        "functionCall",
                        "name",
                    ),
                    *(
                        "args",
                        "functionResponse",
                        "response",
                        "id",
                        "inline_data",
                        "data",
                        "mime_type",
                    ),
                    *("fileData", "fileUri", "functionDeclarations", "parameters", "googleSearch"),
                    *("parameters_json_schema", "functionCallingConfig", "mode", "properties"),
                    *("allowedFunctionNames", "temperature", "topK", "stopSequences", "seed"),
                    *("responseSchema", "responseMimeType", "thinkingConfig", "thinkingBudget"),
                    *("responseModalities", "candidateCount", "type", "anyOf", "nullable"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_any_json, min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(
            [
                *("systemInstruction", "system_instruction", "tools", "toolConfig"),
                *("generationConfig", "generation_config", "serviceTier", "safetySettings"),
                *("cachedContent", "labels", "store"),
            ]
        ),
        _any_json,
        max_size=3,
    ),
)
def test_no_client_breaks_the_decoder(contents: list[Any], members: Body) -> None:
    body = json.dumps({"contents": contents} | members).encode()
    request = CODEC.read(GENERATE, "m", "", body)
    try:
        meant = TRANSLATOR.decode_request(request)
        encoded(meant, Traits(web_search="x", hosted_tools="drop"))
    except InvalidRequest:
        pass
