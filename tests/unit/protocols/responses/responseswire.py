"""What the tests of the Responses protocol ask and read."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.protocols.base import Request
from bitrouter.protocols.responses.codec import GENERATE, ResponsesCodec
from bitrouter.protocols.responses.translator import ResponsesTranslator
from bitrouter.protocols.translator import Encoded, Recipient, Reply
from bitrouter.sse import SSEDecoder, SSEEvent

CODEC = ResponsesCodec()
RESPONSES = ResponsesTranslator()
CREATED_S = 1_700_000_000

# -- a client's side ------------------------------------------------------------------------


def request(body: dict[str, Any] | bytes) -> Request:
    """A client's request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CODEC.read(GENERATE, None, "", raw)


def asked(**members: Any) -> ir.Request:
    """What a client's request with these members means."""
    return RESPONSES.decode_request(request({"model": "m", "input": "Hi"} | members))


def turns(*items: dict[str, Any]) -> list[ir.Message]:
    """What a client's items mean, after those that lead."""
    return asked(input=[*items]).messages


def reply(**members: Any) -> Reply:
    """To whom an answer goes: a client that sent these members."""
    sent_by_client = request({"model": "asked-model", "input": "Hi"} | members)
    numbers = itertools.count(1)
    return Reply(
        request=sent_by_client,
        asked=RESPONSES.decode_request(sent_by_client),
        created_s=CREATED_S,
        mint=lambda prefix: f"{prefix}{next(numbers)}",
        request_id="req_1",
    )


def answered(answer: ir.Answer, **members: Any) -> dict[str, Any]:
    """A whole answer as a client gets it."""
    body: dict[str, Any] = json.loads(RESPONSES.encode_answer(answer, reply(**members)))
    return body


def answer_with(*blocks: ir.Block, finish: ir.FinishReason = "stop", **fields: Any) -> ir.Answer:
    """A whole answer of these blocks."""
    return ir.Answer([ir.Candidate([*blocks], ir.Finish(finish))], **fields)


def written(events: Sequence[ir.Event], **members: Any) -> bytes:
    """The stream that a client gets, each event encoded on its own."""
    encoder = RESPONSES.stream_encoder(reply(**members))
    return b"".join(encoder.encode([event]) for event in events)


def data_of(stream: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, both of whose lines must bear the same name."""
    blocks = stream.decode().split("\n\n")
    assert blocks.pop() == ""
    found = []
    for block in blocks:
        name, data = block.split("\n")
        decoded = json.loads(data.removeprefix("data: "))
        assert name == f"event: {decoded['type']}"
        found.append(decoded)
    return found


# -- a provider's side ----------------------------------------------------------------------


def encode(asks: ir.Request, **traits: Any) -> Encoded:
    """A request for a provider with these traits."""
    return RESPONSES.encode_request(asks, Recipient("up-1", Traits(**traits)))


def body_of(asks: ir.Request, **traits: Any) -> dict[str, Any]:
    """What goes to a provider with these traits."""
    body: dict[str, Any] = json.loads(encode(asks, **traits).body)
    return body


def sent(asks: ir.Request, **traits: Any) -> list[dict[str, Any]]:
    """The items that go to a provider with these traits."""
    items: list[dict[str, Any]] = body_of(asks, **traits)["input"]
    return items


def neutral(*blocks: ir.Block, **fields: Any) -> ir.Request:
    """A request of another vendor's client, with one user's turn unless `messages` are given."""
    turn = ir.Message("user", [*blocks] or [ir.Text("Hi")])
    return ir.Request(**{"model": "m", "messages": [turn], "origin": "a", **fields})


def conversation(*turns_: Sequence[ir.Block], **fields: Any) -> ir.Request:
    """A request whose turns alternate, the user's first."""
    roles = itertools.cycle(("user", "assistant"))
    messages = [
        ir.Message("user" if role == "user" else "assistant", [*blocks])
        for role, blocks in zip(roles, turns_, strict=False)
    ]
    return neutral(messages=messages, **fields)


def read_answer(**members: Any) -> ir.Answer:
    """What a provider's whole answer with these members means."""
    body = {"id": "resp_1", "object": "response", "model": "up-1", "output": []}
    return RESPONSES.decode_answer(json.dumps(body | {"status": "completed"} | members).encode())


def read_output(*items: Any, **members: Any) -> ir.Candidate:
    """What a provider's whole answer of these items means."""
    return read_answer(output=[*items], **members).candidates[0]


def read_stream(chunks: Iterable[bytes]) -> list[ir.Event]:
    """The neutral events of a provider's stream."""
    framing, decoder = SSEDecoder(1 << 20), RESPONSES.stream_decoder()
    events: list[ir.Event] = []
    for chunk in chunks:
        for one in framing.feed(chunk):
            events += decoder.decode(one)
    for one in framing.finish():
        events += decoder.decode(one)
    return events + decoder.finish()


def events_of(*events: dict[str, Any]) -> list[ir.Event]:
    """The neutral events of a stream of these."""
    decoder = RESPONSES.stream_decoder()
    found: list[ir.Event] = []
    for event in events:
        found += decoder.decode(SSEEvent(b"", json.dumps(event).encode()))
    return found + decoder.finish()


# -- items and events of a provider ---------------------------------------------------------


def message(*parts: Any, id: str = "msg_1") -> dict[str, Any]:
    """A message of a provider's answer; a string is a text."""
    content = [output_text(part) if isinstance(part, str) else part for part in parts]
    return {
        "type": "message",
        "id": id,
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def output_text(text: str, **members: Any) -> dict[str, Any]:
    """A text of a message."""
    return {"type": "output_text", "text": text, "annotations": []} | members


def function_call(call_id: str = "call_1", **members: Any) -> dict[str, Any]:
    """A call of `f`."""
    call = {"id": f"fc_{call_id}", "call_id": call_id, "name": "f", "arguments": '{"a":1}'}
    return {"type": "function_call", "status": "completed"} | call | members


def reasoning(*summaries: str, **members: Any) -> dict[str, Any]:
    """A reasoning item."""
    summary = [{"type": "summary_text", "text": text} for text in summaries]
    return {"type": "reasoning", "id": "rs_1", "summary": summary} | members


def told(name: str, output_index: int | None = 0, **members: Any) -> dict[str, Any]:
    """An event of an item."""
    place = {} if output_index is None else {"output_index": output_index}
    return {"type": f"response.{name}", **place, **members}


def created(**response: Any) -> dict[str, Any]:
    """The first event of a stream."""
    return {"type": "response.created", "response": {"id": "resp_1", "model": "up-1"} | response}


def text_delta(text: str, output_index: int | None = 0, **members: Any) -> dict[str, Any]:
    """More of a text."""
    return told("output_text.delta", output_index, **{"content_index": 0} | members, delta=text)


def completed(*output: Any, **response: Any) -> dict[str, Any]:
    """The last event of a stream."""
    answer = {"id": "resp_1", "model": "up-1", "status": "completed", "output": [*output]}
    return {"type": "response.completed", "response": answer | response}
