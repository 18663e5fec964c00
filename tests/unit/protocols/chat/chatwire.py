"""What the tests of the chat protocol ask and read."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.protocols.base import Request
from bitrouter.protocols.chat.codec import GENERATE, ChatCodec
from bitrouter.protocols.chat.translator import ChatTranslator
from bitrouter.protocols.translator import Encoded, Recipient, Reply
from bitrouter.sse import SSEDecoder

_PLAIN = TypeAdapter[Any](CompletionCreateParamsNonStreaming)
_STREAMED = TypeAdapter[Any](CompletionCreateParamsStreaming)
_MEMBERS = {*CompletionCreateParamsNonStreaming.__annotations__} | {
    *CompletionCreateParamsStreaming.__annotations__
}
CODEC = ChatCodec()
CHAT = ChatTranslator()
HI = [{"role": "user", "content": "Hi"}]


def request(body: dict[str, Any] | bytes) -> Request:
    """A client's request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CODEC.read(GENERATE, None, "", raw)


def asked(**members: Any) -> ir.Request:
    """What a client's request with these members means."""
    return CHAT.decode_request(request({"model": "m", "messages": HI} | members))


def turns(*messages: dict[str, Any]) -> list[ir.Message]:
    """What a client's messages mean, after those that lead."""
    return asked(messages=[*messages]).messages


def encode(asks: ir.Request, **traits: Any) -> Encoded:
    """A request for a chat server with these traits."""
    return CHAT.encode_request(asks, Recipient("up-1", Traits(**traits)))


def body_of(asks: ir.Request, **traits: Any) -> dict[str, Any]:
    """What goes to a chat server with these traits."""
    body: dict[str, Any] = json.loads(encode(asks, **traits).body)
    return body


def check_request(body: dict[str, Any]) -> None:
    """Assert that the SDK's types know every member of a body, and take it."""
    assert body.keys() <= _MEMBERS
    _read_all((_STREAMED if body.get("stream") else _PLAIN).validate_python(body))


def _read_all(value: Any) -> None:
    """Read through what is checked only as it is read."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for one in value:
            _read_all(one)


def neutral(*blocks: ir.Block, **fields: Any) -> ir.Request:
    """A request of another vendor's client, with one user's turn unless `messages` are given."""
    turn = ir.Message("user", [*blocks] or [ir.Text("Hi")])
    return ir.Request(**{"model": "m", "messages": [turn], "origin": "a", **fields})


def sent(asks: ir.Request, **traits: Any) -> list[dict[str, Any]]:
    """The messages that go to a chat server."""
    messages: list[dict[str, Any]] = body_of(asks, **traits)["messages"]
    return messages


def reply(**members: Any) -> Reply:
    """To whom an answer goes: a client that sent these members."""
    sent_by_client = request({"model": "asked-model", "messages": HI} | members)
    numbers = itertools.count(1)
    return Reply(
        request=sent_by_client,
        asked=CHAT.decode_request(sent_by_client),
        created_s=1_700_000_000,
        mint=lambda prefix: f"{prefix}{next(numbers)}",
        request_id="req_1",
    )


def answered(answer: ir.Answer, **members: Any) -> dict[str, Any]:
    """A whole answer as a client gets it."""
    body: dict[str, Any] = json.loads(CHAT.encode_answer(answer, reply(**members)))
    return body


def read_stream(chunks: Iterable[bytes]) -> list[ir.Event]:
    """The neutral events of a provider's stream."""
    framing, decoder = SSEDecoder(1 << 20), CHAT.stream_decoder()
    events: list[ir.Event] = []
    for chunk in chunks:
        for one in framing.feed(chunk):
            events += decoder.decode(one)
    for one in framing.finish():
        events += decoder.decode(one)
    return events + decoder.finish()


def events_of(*chunks: dict[str, Any] | str, done: bool = True) -> list[ir.Event]:
    """The neutral events of a stream of these chunks, which a string stands for as it is."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    texts += ["[DONE]"] if done else []
    return read_stream(f"data: {text}\n\n".encode() for text in texts)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a provider's stream."""
    index = more.pop("index", 0)
    logprobs = {"logprobs": more.pop("logprobs")} if "logprobs" in more else {}
    choice = {"index": index, "delta": delta, "finish_reason": finish, **logprobs}
    return {"id": "c1", "model": "up-1", "choices": [choice], **more}


def written(events: Sequence[ir.Event], **members: Any) -> bytes:
    """The stream that a client gets, each event encoded on its own."""
    encoder = CHAT.stream_encoder(reply(**members))
    return b"".join(encoder.encode([event]) for event in events)


def chunks_of(stream: bytes) -> list[Any]:
    """The data of a stream's events; the end marker is a string."""
    lines = stream.decode().split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    found = [line.removeprefix("data: ") for line in lines]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


def deltas(stream: bytes) -> list[dict[str, Any]]:
    """The deltas of a stream, without those that say nothing."""
    said = [one["choices"][0]["delta"] for one in chunks_of(stream)[:-1] if one.get("choices")]
    return [delta for delta in said if delta]


def accumulated(stream: bytes) -> Any:
    """What the SDK makes of a stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in chunks_of(stream)[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    return state.get_final_completion()
