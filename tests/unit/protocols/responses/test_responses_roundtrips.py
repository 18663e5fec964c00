"""What is written in Responses and read back is what was meant, but for what it cannot say."""

import json
from typing import Final

import msgspec
from hypothesis import given, settings
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from bitrouter import ir
from bitrouter.protocols.continuity import seal
from tests.support.neutral import (
    answer_of,
    check_well_formed,
    neutral_answers,
    neutral_events,
)
from tests.support.neutralrequests import neutral_requests
from tests.unit.protocols.responses.responseswire import (
    RESPONSES,
    data_of,
    encode,
    read_stream,
    reply,
    request,
    written,
)

FEWER: Final = settings(max_examples=60, deadline=None)
STREAMED: Final = TypeAdapter(ResponseStreamEvent)
BODY: Final = TypeAdapter(ResponseCreateParamsNonStreaming | ResponseCreateParamsStreaming)


def as_carried(signature: ir.Signature | None, *, redacted: bool = False) -> ir.Signature:
    """A signature as the provider of an answer would have written it."""
    if signature is not None and signature.origin == "o" and signature.value:
        return ir.Signature("o", signature.value, None)
    return ir.Signature("o", seal(signature or ir.Signature(""), redacted=redacted), None)


def without_id(signature: ir.Signature | None) -> ir.Signature | None:
    return msgspec.structs.replace(signature, id=None) if signature else None


def as_written(answer: ir.Answer) -> ir.Answer:
    """What Responses keeps of an answer: the first candidate, every count known, every thought
    signed, and the signature of a call before it.
    """
    first = answer.candidates[0]
    blocks: list[ir.Block] = []
    for block in first.blocks:
        match block:
            case ir.Text():
                cited = [
                    ir.Citation(one.url, one.title or one.url, start=0, end=0)
                    for one in block.citations
                ]
                blocks.append(ir.Text(block.text, citations=tuple(cited)))
            case ir.Reasoning():
                signature = as_carried(block.signature, redacted=block.redacted)
                blocks.append(ir.Reasoning(block.text, signature, block.raw))
            case ir.ToolCall():
                if block.signature:
                    blocks.append(ir.Reasoning("", as_carried(block.signature)))
                blocks.append(msgspec.structs.replace(block, signature=None))
            case _:
                blocks.append(block)
    candidate = ir.Candidate(blocks, as_ended(first), 0, first.logprobs)
    return ir.Answer([candidate], known(answer.usage), "resp_1", "asked-model")


def as_ended(candidate: ir.Candidate) -> ir.Finish:
    """A finish reason by way of a status."""
    refused = any(isinstance(block, ir.Refusal) for block in candidate.blocks)
    called = any(isinstance(block, ir.ToolCall) for block in candidate.blocks)
    reason = candidate.finish.reason
    if reason in ("length", "context"):
        return ir.Finish("length", raw="max_output_tokens")
    if reason == "filtered" and not refused:
        return ir.Finish("filtered", raw="content_filter")
    ended: ir.FinishReason = "tool_calls" if called else "filtered" if refused else "stop"
    return ir.Finish(ended, raw="completed")


def known(usage: ir.Usage | None) -> ir.Usage | None:
    """Usage as Responses has it: with all its parts."""
    if usage is None:
        return None
    return ir.Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens or 0,
        usage.cache_write_tokens or 0,
        usage.reasoning_tokens or 0,
    )


def as_read(answer: ir.Answer) -> ir.Answer:
    """An answer without the ids of its items, which are new every time."""
    for block in answer.candidates[0].blocks:
        if isinstance(block, ir.Reasoning):
            block.signature = without_id(block.signature)
    for one in answer.candidates:
        one.logprobs = with_bytes(one.logprobs)
    return answer


def with_bytes(logprobs: tuple[ir.LogProb, ...] | None) -> tuple[ir.LogProb, ...] | None:
    """Probabilities as they are written: a token's bytes are always given."""
    if logprobs is None:
        return None
    return tuple(
        ir.LogProb(one.token, one.logprob, tuple(one.token.encode()), with_bytes(one.top) or ())
        for one in logprobs
    )


ENDINGS: Final[tuple[ir.FinishReason, ...]] = (
    *("stop", "stop_sequence", "length", "context", "tool_calls", "filtered", "paused"),
)


@FEWER
@given(neutral_answers(finishes=ENDINGS))
def test_whole_answer_is_read_back_as_it_was_written(answer: ir.Answer) -> None:
    body = RESPONSES.encode_answer(answer, reply())

    expected = as_written(answer)
    expected.candidates[0].logprobs = with_bytes(expected.candidates[0].logprobs)
    assert as_read(RESPONSES.decode_answer(body)) == expected


@FEWER
@given(neutral_answers())
def test_whole_answer_is_one_for_the_sdk(answer: ir.Answer) -> None:
    parsed = Response.model_validate_json(RESPONSES.encode_answer(answer, reply()), strict=True)

    texts = [b.text for b in answer.candidates[0].blocks if isinstance(b, ir.Text)]
    assert parsed.output_text == "".join(texts)


@FEWER
@given(neutral_events(finishes=ENDINGS))
def test_stream_is_read_back_as_it_was_written(events: list[ir.Event]) -> None:
    read = read_stream([written(events)])

    check_well_formed(read)
    expected = as_written(answer_of(events))
    expected.candidates[0].logprobs = with_bytes(expected.candidates[0].logprobs)
    assert as_read(answer_of(read)) == expected


@FEWER
@given(neutral_events(candidates=1))
def test_stream_says_what_the_whole_answer_says(events: list[ir.Event]) -> None:
    stream = data_of(written(events))

    whole = json.loads(RESPONSES.encode_answer(answer_of(events), reply()))
    last = stream[-1]["response"]
    assert without_ids(last) == without_ids(whole)


def without_ids(response: dict[str, object]) -> dict[str, object]:
    output = response["output"]
    assert isinstance(output, list)
    return response | {"output": [item | {"id": ""} for item in output]}


@FEWER
@given(neutral_events())
def test_stream_is_one_for_the_sdk(events: list[ir.Event]) -> None:
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    sent = [STREAMED.validate_python(data) for data in data_of(written(events))]
    for event in sent:
        state.handle_event(event)

    assert [event.sequence_number for event in sent] == list(range(len(sent)))
    if sent[-1].type == "response.completed":
        texts = answer_of(events).candidates[0].blocks
        said = "".join(block.text for block in texts if isinstance(block, ir.Text))
        assert state._completed_response is not None
        assert state._completed_response.output_text == said


@FEWER
@given(neutral_requests(media=("image", "document"), origins=("a", "g")))
def test_request_is_one_for_the_sdk(asks: ir.Request) -> None:
    BODY.validate_json(encode(asks).body)


LOST: Final = ("top_k", "stop", "seed", "presence_penalty", "frequency_penalty", "n")


@FEWER
@given(
    neutral_requests(
        media=("image",),
        origins=("o",),
        call_signatures=False,
        without=(*LOST, "top_logprobs"),
        cache=False,
    )
)
def test_request_is_read_back_as_it_was_written(asks: ir.Request) -> None:
    body = encode(asks).body
    again = RESPONSES.decode_request(request(body))

    twice = encode(again).body

    assert as_dict(twice) == as_dict(body)
    assert again.dropped == []


def as_dict(body: bytes) -> dict[str, object]:
    decoded: dict[str, object] = json.loads(body)
    decoded.pop("store")
    return decoded
