"""What is written in chat and read back is what was meant, but for what chat cannot say."""

import json

import msgspec
from hypothesis import given, settings
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bitrouter import ir
from bitrouter.protocols.chat.finish import decode_finish, encode_finish
from tests.support.neutral import (
    answer_of,
    check_well_formed,
    neutral_answers,
    neutral_events,
)
from tests.support.neutralrequests import neutral_requests
from tests.unit.protocols.chat.chatwire import (
    CHAT,
    check_request,
    chunks_of,
    encode,
    read_stream,
    reply,
    request,
    written,
)

few = settings(max_examples=50, deadline=None)  # rich examples, made slowly
ENDINGS: tuple[ir.FinishReason, ...] = (
    *("stop", "stop_sequence", "length", "context", "tool_calls", "filtered", "paused"),
)
ASKS_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def finish_as_read(candidate: ir.Candidate) -> ir.Finish:
    """A finish by way of chat's words."""
    refused = any(isinstance(block, ir.Refusal) for block in candidate.blocks)
    calls = any(isinstance(block, ir.ToolCall) for block in candidate.blocks)
    word = encode_finish(candidate.finish, has_refusal=refused, legacy=False)
    return decode_finish(word, has_calls=calls, has_refusal=refused)


def as_streamed(candidate: ir.Candidate) -> ir.Candidate:
    """What a stream in chat keeps of a candidate: all blocks in order, no signature of reasoning,
    a blank line before every thought but the first.
    """
    blocks: list[ir.Block] = []
    thought = ""
    for block in candidate.blocks:
        if not isinstance(block, ir.Reasoning):
            blocks.append(block)
        elif blocks and isinstance(last := blocks[-1], ir.Reasoning):
            last.text += f"\n\n{block.text}"
        else:
            blocks.append(ir.Reasoning(thought + block.text))
            thought = "\n\n"
    return ir.Candidate(blocks, finish_as_read(candidate), candidate.index, candidate.logprobs)


def as_whole(candidate: ir.Candidate) -> ir.Candidate:
    """What a whole answer in chat keeps: one thought, one text, one refusal, then the calls."""
    thoughts = [b.text for b in candidate.blocks if isinstance(b, ir.Reasoning) and b.text]
    texts = [b for b in candidate.blocks if isinstance(b, ir.Text)]
    refusals = [b.text for b in candidate.blocks if isinstance(b, ir.Refusal)]
    blocks: list[ir.Block] = [ir.Reasoning("\n\n".join(thoughts))] if thoughts else []
    if texts:
        blocks.append(ir.Text("".join(b.text for b in texts)))
    if refusals:
        blocks.append(ir.Refusal("".join(refusals)))
    blocks += [b for b in candidate.blocks if isinstance(b, ir.ToolCall)]
    return ir.Candidate(blocks, finish_as_read(candidate), candidate.index, candidate.logprobs)


def told(logprobs: tuple[ir.LogProb, ...] | None) -> tuple[ir.LogProb, ...] | None:
    """Logprobs as chat has them, with the bytes of each token."""
    if logprobs is None:
        return None
    return tuple(
        ir.LogProb(one.token, one.logprob, tuple(one.token.encode()), told(one.top) or ())
        for one in logprobs
    )


@few
@given(neutral_events(redacted=False, citations=False, same_in_a_row=False, finishes=ENDINGS))
def test_any_stream_reads_back_as_it_was_written(events: list[ir.Event]) -> None:
    stream = written(events, **ASKS_USAGE)

    read = read_stream([stream])

    check_well_formed(read)
    expected, found = answer_of(events), answer_of(read)
    assert found.usage == expected.usage
    candidates = [as_streamed(one) for one in expected.candidates]
    for one in candidates:
        one.logprobs = told(one.logprobs)
    assert found.candidates == candidates


@few
@given(neutral_events(custom_calls=False, finishes=ENDINGS))
def test_any_stream_is_one_that_the_sdk_accumulates(events: list[ir.Event]) -> None:
    stream = written(events, **ASKS_USAGE)

    *chunks, end = chunks_of(stream)
    assert end == "[DONE]"
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1
    final = state.current_completion_snapshot
    expected = answer_of(events)
    for candidate, choice in zip(expected.candidates, final.choices, strict=True):
        whole = as_whole(candidate)
        texts = [b.text for b in whole.blocks if isinstance(b, ir.Text)]
        calls = [b for b in whole.blocks if isinstance(b, ir.ToolCall)]
        assert choice.message.content == "".join(texts)
        got = [(one.id, one.function.name) for one in choice.message.tool_calls or []]
        assert got == [(one.id, one.name) for one in calls]
    if expected.usage is not None:
        assert final.usage is not None
        assert final.usage.prompt_tokens == expected.usage.input_tokens


@few
@given(neutral_answers(redacted=False, citations=False, finishes=ENDINGS))
def test_any_answer_reads_back_as_it_was_written(answer: ir.Answer) -> None:
    body = CHAT.encode_answer(answer, reply())

    read = CHAT.decode_answer(body)

    ChatCompletion.model_validate(json.loads(body))
    candidates = [as_whole(one) for one in answer.candidates]
    for one in candidates:
        one.logprobs = told(one.logprobs)
    assert read == ir.Answer(candidates, answer.usage, "chatcmpl-1", "asked-model")


SAME = (
    *("stream", "tool_choice", "parallel_tools", "max_tokens", "temperature", "top_p", "stop"),
    *("presence_penalty", "frequency_penalty", "seed", "verbosity", "user", "service_tier"),
)


def block_as_said(block: ir.Block) -> ir.Block:
    """A block of a request as chat says it."""
    match block:
        case ir.Text():
            return ir.Text(block.text)
        case ir.Media(text=str(text)):
            return ir.Text(text)
        case ir.Media(kind="document"):
            return msgspec.structs.replace(block, name=block.name or "document.pdf", cache=None)
        case ir.Media():
            return msgspec.structs.replace(block, cache=None)
        case ir.ToolCall():
            return msgspec.structs.replace(block, signature=None)
        case ir.ToolResult():
            text = "\n".join(one.text for one in block.content if isinstance(one, ir.Text))
            if block.is_error and not text.lower().lstrip().startswith("error"):
                text = f"Error: {text}"
            return ir.ToolResult(block.call_id, [ir.Text(text)])
        case _:
            return block


def messages_as_said(messages: list[ir.Message]) -> list[tuple[str, ir.Block]]:
    """All blocks in order, each with who says it; how they are cut into messages is chat's."""
    return [
        (message.role, block_as_said(block))
        for message in messages
        for block in message.blocks
        if not isinstance(block, ir.Reasoning)
    ]


def raw(value: msgspec.Raw | None) -> object:
    return None if value is None else json.loads(bytes(value))


@few
@given(neutral_requests(media=("image", "document", "audio"), result_media=False))
def test_any_request_reads_back_as_it_was_meant(asks: ir.Request) -> None:
    encoded = encode(asks, max_tokens_field="max_completion_tokens")

    body = json.loads(encoded.body)
    check_request(body)
    read = CHAT.decode_request(request(body))
    assert {name: getattr(read, name) for name in SAME} == {
        name: getattr(asks, name) for name in SAME
    }
    assert bool(read.logprobs) == bool(asks.logprobs)
    assert read.dropped == []
    texts = [text.text for text in asks.system]
    sentence = "Answer with one JSON object and nothing else."
    if any(text.text.endswith(sentence) for text in read.system):
        texts.append(sentence)
    assert [text.text for text in read.system] == (["\n\n".join(texts)] if texts else [])
    assert messages_as_said(read.messages) == messages_as_said(asks.messages)
    assert [(t.name, t.description, raw(t.parameters), t.custom) for t in read.tools] == [
        (t.name, t.description, raw(t.parameters), t.custom) for t in asks.tools
    ]
    assert raw(read.metadata) == raw(asks.metadata)
    if asks.output is None:
        assert read.output is None
    else:
        assert read.output is not None
        assert raw(read.output.schema) == raw(asks.output.schema)
    if asks.thinking is not None and asks.thinking.effort not in (None, "none"):
        assert read.thinking is not None
        assert read.thinking.effort == asks.thinking.effort


@few
@given(neutral_requests(media=("image", "document", "audio")))
def test_any_request_is_in_the_order_that_the_api_insists_on(asks: ir.Request) -> None:
    body = json.loads(encode(asks).body)

    check_request(body)
    messages = body["messages"]
    assert all(message["role"] != "system" for message in messages[1:]) or any(
        message.role == "system" for message in asks.messages
    )
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_calls.pop(0)
        else:
            assert open_calls == []
        open_calls += [call["id"] for call in message.get("tool_calls", ())]
        assert message["content"] or message.get("tool_calls") or message["role"] == "tool"
    assert open_calls == []
