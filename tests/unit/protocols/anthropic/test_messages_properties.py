"""What holds for anything that the neutral form can say."""

import json
from typing import Final

import msgspec
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.protocols.anthropic.codec import GENERATE
from bitrouter.protocols.base import Request
from bitrouter.protocols.continuity import seal
from tests.support.neutral import (
    answer_of,
    check_well_formed,
    events_of,
    neutral_answers,
    neutral_events,
)
from tests.support.neutralrequests import neutral_requests
from tests.unit.protocols.anthropic.sdk import check_request
from tests.unit.protocols.anthropic.wire import (
    ADAPTIVE,
    BUDGET,
    CODEC,
    TRANSLATOR,
    decoded,
    encoded,
    read_stream,
    reply,
    written,
)

ANYTHING: Final = settings(max_examples=80, deadline=None)
FEWER: Final = settings(max_examples=40, deadline=None)
PLAIN: Final = Traits(reasoning="none", structured_output="tool", strict_tools=False)


def sealed(signature: ir.Signature | None) -> ir.Signature:
    """The signature as a client carries it, read as one of Anthropic's."""
    if signature is not None and signature.origin == "a" and signature.value:
        return signature
    return ir.Signature("a", seal(signature or ir.Signature("o")))


def as_a_client_sees(answer: ir.Answer) -> ir.Answer:
    """What is left of an answer on this wire: its first candidate, its reasoning and its calls
    signed in envelopes, refusals as text, and every count known.
    """
    first = answer.candidates[0]
    blocks: list[ir.Block] = []
    for block in first.blocks:
        match block:
            case ir.Refusal():
                blocks.append(ir.Text(block.text))
            case ir.Reasoning():
                signature = sealed(block.signature)
                blocks.append(ir.Reasoning(block.text, signature, redacted=block.redacted))
            case ir.ToolCall():
                if block.signature:
                    blocks.append(ir.Reasoning("", sealed(block.signature)))
                given = block.arguments
                if block.custom:
                    given = msgspec.json.encode({"input": given}).decode()
                blocks.append(ir.ToolCall(block.id, block.name, given))
            case _:
                blocks.append(block)
    return ir.Answer([ir.Candidate(blocks, finish_seen(first))], usage=usage_seen(answer.usage))


def finish_seen(candidate: ir.Candidate) -> ir.Finish:
    finish = candidate.finish
    if finish.reason == "other":
        return ir.Finish("stop")
    return finish


def usage_seen(usage: ir.Usage | None) -> ir.Usage:
    known = usage or ir.Usage()
    return ir.Usage(
        known.input_tokens or 0,
        known.output_tokens or 0,
        known.cached_tokens or 0,
        known.cache_write_tokens or 0,
        known.reasoning_tokens,
    )


def without_names(answer: ir.Answer) -> ir.Answer:
    """The answer without what every answer has of its own: id, model, the vendor's word."""
    for candidate in answer.candidates:
        candidate.finish = msgspec.structs.replace(candidate.finish, raw=None)
    return msgspec.structs.replace(answer, id=None, model=None)


@ANYTHING
@given(neutral_answers())
def test_whole_answer_comes_back_as_it_went(answer: ir.Answer) -> None:
    expected = as_a_client_sees(answer)

    body = TRANSLATOR.encode_answer(answer, reply())

    assert without_names(TRANSLATOR.decode_answer(body)) == expected


@ANYTHING
@given(st.data(), st.booleans())
def test_stream_comes_back_as_it_went(data: st.DataObject, one_by_one: bool) -> None:
    answer = data.draw(neutral_answers())
    events = data.draw(events_of(answer))
    expected = as_a_client_sees(answer)

    read = read_stream([written(events, one_by_one=one_by_one)])

    check_well_formed(read)
    assert without_names(answer_of(read)) == expected


@FEWER
@given(neutral_events(), st.data())
def test_stream_that_is_cut_before_its_end_fails(
    events: list[ir.Event], data: st.DataObject
) -> None:
    stream = written(events)
    before_the_end = stream.index(b"event: message_delta")
    cut = data.draw(st.integers(0, before_the_end + len(b'event: message_delta\ndata: {"')))

    read = read_stream([stream[:cut]])

    check_well_formed(read)
    assert isinstance(read[-1], ir.Failed)
    assert not any(isinstance(event, ir.End | ir.Finished) for event in read)


# -- requests ---------------------------------------------------------------------------------

_NOT_HERE: Final = (
    *("presence_penalty", "frequency_penalty", "seed", "n", "logprobs", "top_logprobs"),
    *("verbosity", "metadata"),
)


def read_back(body: bytes) -> ir.Request:
    """A provider's request, read as if a client had sent it."""
    operation, model = CODEC.match("/v1/messages") or (GENERATE, None)
    request: Request = CODEC.read(operation, model, "", body)
    return TRANSLATOR.decode_request(request)


def as_a_provider_sees(messages: list[ir.Message]) -> list[ir.Message]:
    """Turns as they are on this wire, which has no names of results."""
    seen = []
    for message in messages:
        if message.role != "system":
            blocks = [
                msgspec.structs.replace(block, name=None)
                if isinstance(block, ir.ToolResult)
                else block
                for block in message.blocks
            ]
            seen.append(ir.Message(message.role, blocks))
    return seen


def all_system(request: ir.Request) -> list[str]:
    texts = [text.text for text in request.system]
    for message in request.messages:
        if message.role == "system":
            texts += [block.text for block in message.blocks if isinstance(block, ir.Text)]
    return texts


@ANYTHING
@given(
    neutral_requests(
        without=(*_NOT_HERE, "thinking", "output"),
        media=("image", "document"),
        origins=("a",),
        call_signatures=False,
        custom_tools=False,
        cache=False,
    )
)
def test_request_comes_back_as_it_went(request: ir.Request) -> None:
    body = encoded(request).body

    read = read_back(body)

    assert read.messages == as_a_provider_sees(request.messages)
    assert [text.text for text in read.system] == (
        ["\n\n".join(all_system(request))] if all_system(request) else []
    )
    assert [(t.name, t.description, bool(t.strict)) for t in read.tools] == [
        (t.name, t.description, bool(t.strict)) for t in request.tools
    ]
    for tool, original in zip(read.tools, request.tools, strict=True):
        expected = original.parameters or b'{"type":"object","properties":{}}'
        assert tool.parameters is not None
        assert bytes(tool.parameters) == bytes(expected)
    assert (read.stream, read.user, read.stop) == (request.stream, request.user, request.stop)
    assert read.max_tokens == (request.max_tokens or 8192)
    if request.tool_choice is None or request.tool_choice.mode != "none":
        assert read.parallel_tools is (None if request.parallel_tools else request.parallel_tools)


@ANYTHING
@given(
    neutral_requests(media=("image", "document"), cache=False),
    st.sampled_from([ADAPTIVE, BUDGET, PLAIN]),
)
def test_request_that_has_been_translated_is_not_changed_by_being_translated_again(
    request: ir.Request, traits: Traits
) -> None:
    once = encoded(request, traits).body

    assert encoded(read_back(once), traits).body == once


@FEWER
@given(neutral_requests(media=("image", "document")), st.sampled_from([ADAPTIVE, BUDGET, PLAIN]))
def test_sdk_takes_every_request_for_its_own(request: ir.Request, traits: Traits) -> None:
    check_request(json.loads(encoded(request, traits).body))


@FEWER
@given(neutral_answers())
def test_sdk_reads_every_answer(answer: ir.Answer) -> None:
    message = Message.model_validate_json(TRANSLATOR.encode_answer(answer, reply()), strict=True)

    assert message.type == "message"


# -- there and back again ---------------------------------------------------------------------


def as_it_is_replayed(blocks: list[ir.Block]) -> list[ir.Block]:
    """What a client brings back of an answer: everything but citations and who refused."""
    replayed: list[ir.Block] = []
    for block in blocks:
        match block:
            case ir.Text() | ir.Refusal():
                replayed.append(ir.Text(block.text))
            case ir.Reasoning():
                signature = block.signature or ir.Signature("o")
                replayed.append(ir.Reasoning(block.text, signature, redacted=block.redacted))
            case ir.ToolCall(custom=True):
                given = msgspec.json.encode({"input": block.arguments}).decode()
                replayed.append(ir.ToolCall(block.id, block.name, given))
            case _:
                replayed.append(block)
    return replayed


@ANYTHING
@given(neutral_answers(candidates=1))
def test_answer_that_a_client_replays_means_what_it_meant(answer: ir.Answer) -> None:
    message = json.loads(TRANSLATOR.encode_answer(answer, reply()))
    turn = {"role": "assistant", "content": message["content"]}

    [replayed] = decoded(messages=[turn]).messages

    assert replayed.blocks == as_it_is_replayed(answer.candidates[0].blocks)
