"""Messages bodies and streams, and what the translator makes of them."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.protocols.anthropic.codec import COUNT, GENERATE, AnthropicCodec
from bitrouter.protocols.anthropic.decode_stream import MessagesStreamDecoder
from bitrouter.protocols.base import Request
from bitrouter.protocols.translator import Encoded, Recipient, Reply
from bitrouter.sse import SSEDecoder

CODEC: Final = AnthropicCodec()
TRANSLATOR: Final = CODEC.translator
ADAPTIVE: Final = Traits(reasoning="adaptive")
BUDGET: Final = Traits(reasoning="budget")

Body = dict[str, Any]


def request(body: Body, *, count: bool = False) -> Request:
    """A client's request as the codec reads it, the required members filled in."""
    whole = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    return raw_request(json.dumps(whole | body, ensure_ascii=False).encode(), count=count)


def raw_request(body: bytes, *, count: bool = False) -> Request:
    """The same, of a body as it is."""
    return CODEC.read(COUNT if count else GENERATE, None, "", body)


def decoded(**body: Any) -> ir.Request:
    """What a client's request means."""
    return TRANSLATOR.decode_request(request(body))


def decoded_blocks(*blocks: Body, role: str = "user") -> list[ir.Block]:
    """What blocks of one turn mean."""
    turns = [{"role": "user", "content": "hi"}, {"role": role, "content": [*blocks]}]
    return decoded(messages=turns).messages[1].blocks


def asked(*messages: ir.Message, **fields: Any) -> ir.Request:
    """A request of another vendor's client."""
    given = list(messages) or [ir.Message("user", [ir.Text("hi")])]
    return ir.Request("m", given, "x", **fields)


def user(*blocks: ir.Block | str) -> ir.Message:
    """A turn of the user's; a string is a text."""
    return ir.Message("user", [ir.Text(one) if isinstance(one, str) else one for one in blocks])


def assistant(*blocks: ir.Block | str) -> ir.Message:
    """A turn of the assistant's; a string is a text."""
    return ir.Message(
        "assistant", [ir.Text(one) if isinstance(one, str) else one for one in blocks]
    )


def encoded(
    request: ir.Request, traits: Traits = ADAPTIVE, *, max_output_tokens: int | None = None
) -> Encoded:
    """The request as a provider gets it."""
    return TRANSLATOR.encode_request(request, Recipient("claude-test", traits, max_output_tokens))


def body_of(
    request: ir.Request, traits: Traits = ADAPTIVE, *, max_output_tokens: int | None = None
) -> Body:
    """Its body."""
    body: Body = json.loads(encoded(request, traits, max_output_tokens=max_output_tokens).body)
    return body


def encoded_blocks(*blocks: ir.Block) -> list[Body]:
    """How blocks of a user's turn are written."""
    content = body_of(asked(user(*blocks)))["messages"][0]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def reply(**body: Any) -> Reply:
    """To whom an answer is written: ids are counted."""
    wanted = request(body)
    numbers = itertools.count(1)
    return Reply(
        request=wanted,
        asked=TRANSLATOR.decode_request(wanted),
        created_s=1_800_000_000,
        mint=lambda prefix: f"{prefix}{next(numbers)}",
        request_id="req_1",
    )


def answer(*blocks: Body, **fields: Any) -> ir.Answer:
    """What a provider's whole answer means."""
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [*blocks],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    return TRANSLATOR.decode_answer(json.dumps(whole | fields).encode())


def answered(*blocks: ir.Block, finish: ir.Finish | None = None, **fields: Any) -> Body:
    """How an answer is written."""
    candidate = ir.Candidate(list(blocks), finish or ir.Finish("stop"))
    body: Body = json.loads(
        TRANSLATOR.encode_answer(ir.Answer([candidate], **fields), reply(model="asked-for"))
    )
    return body


def sse(*events: Body, named: bool = True) -> bytes:
    """A stream of events, each with its `event:` line unless it is not `named`."""
    head = "event: {}\n" if named else ""
    return "".join(
        f"{head.format(event['type'])}data: {json.dumps(event)}\n\n" for event in events
    ).encode()


START: Final[Body] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
}
STOP: Final[Body] = {"type": "message_stop"}


def block_start(index: int, **block: Any) -> Body:
    """content_block_start."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_delta(index: int, **delta: Any) -> Body:
    """content_block_delta."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def block_stop(index: int) -> Body:
    """content_block_stop."""
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str | None = "end_turn", **usage: int) -> Body:
    """message_delta."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": usage}


def read_stream(chunks: Iterable[bytes]) -> list[ir.Event]:
    """What a provider's stream means, to its end."""
    sse_decoder, decoder = SSEDecoder(1 << 20), MessagesStreamDecoder()
    events: list[ir.Event] = []
    for chunk in chunks:
        for event in sse_decoder.feed(chunk):
            events += decoder.decode(event)
    for event in sse_decoder.finish():
        events += decoder.decode(event)
    return [*events, *decoder.finish()]


def events_of(*events: Body, named: bool = True) -> list[ir.Event]:
    """What a stream of these events means."""
    return read_stream([sse(*events, named=named)])


def written(events: Sequence[ir.Event], *, one_by_one: bool = False) -> bytes:
    """The stream for a client, its events handed in together or `one_by_one`."""
    encoder = TRANSLATOR.stream_encoder(reply(model="asked-for"))
    copies = [msgspec.structs.replace(event) for event in events]
    if one_by_one:
        return b"".join(encoder.encode([event]) for event in copies)
    return encoder.encode(copies)


def wire_events(stream: bytes) -> list[Body]:
    """The data of a stream's events, whose `event:` lines must say the same."""
    found = []
    for event in SSEDecoder(1 << 20).feed(stream):
        data: Body = json.loads(event.data)
        assert data["type"] == event.name.decode()
        found.append(data)
    return found
