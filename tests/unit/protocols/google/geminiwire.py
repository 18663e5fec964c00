"""Gemini bodies and streams, and what the translator makes of them."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.jsonarray import JSONArrayDecoder
from bitrouter.protocols.base import Framing, Request
from bitrouter.protocols.google.codec import COUNT, GENERATE, STREAM, GoogleCodec
from bitrouter.protocols.translator import Encoded, Recipient, Reply
from bitrouter.sse import SSEDecoder

CODEC: Final = GoogleCodec()
TRANSLATOR: Final = CODEC.translator
LEVEL: Final = Traits(reasoning="level", web_search="googleSearch")
BUDGET: Final = Traits(reasoning="budget")

Body = dict[str, Any]

_QUERIES: Final = {Framing.SSE: "alt=sse", Framing.ARRAY: "alt=json"}


def request(body: Body, framing: Framing = Framing.WHOLE, *, count: bool = False) -> Request:
    """A client's request as the codec reads it, with a turn if it has none."""
    if not count:
        body = {"contents": [{"parts": [{"text": "hi"}]}]} | body
    if framing is Framing.NDJSON:
        body = body | {"stream": True}
    operation = STREAM if framing in _QUERIES else COUNT if count else GENERATE
    encoded = json.dumps(body, ensure_ascii=False).encode()
    return CODEC.read(operation, "asked-for", _QUERIES.get(framing, ""), encoded)


def decoded(**body: Any) -> ir.Request:
    """What a client's request means."""
    return TRANSLATOR.decode_request(request(body))


def decoded_text(body: str) -> ir.Request:
    """The same for a body as text, for what Python cannot write."""
    return TRANSLATOR.decode_request(CODEC.read(GENERATE, "asked-for", "", body.encode()))


def configured(**config: Any) -> ir.Request:
    """What a client's request with this `generationConfig` means."""
    return decoded(generationConfig=config)


def turn(role: str | None, *parts: Body | str) -> Body:
    """One of `contents`; a string is a text."""
    said = [{"text": part} if isinstance(part, str) else part for part in parts]
    return {"parts": said} if role is None else {"role": role, "parts": said}


def turns(*contents: Body) -> list[ir.Message]:
    """What turns of a client's request mean."""
    return decoded(contents=[*contents]).messages


def user_blocks(*parts: Body | str) -> list[ir.Block]:
    """What the parts of a user's turn mean."""
    return turns(turn("user", *parts))[0].blocks


def model_blocks(*parts: Body | str) -> list[ir.Block]:
    """What the parts of a model's turn mean."""
    return turns(turn("user", "hi"), turn("model", *parts))[1].blocks


def called(name: str = "f", call_id: str | None = None, **members: Any) -> Body:
    """A functionCall part."""
    call = {"name": name, "args": {}} | ({"id": call_id} if call_id else {})
    return {"functionCall": call | members}


def responded(name: str = "f", call_id: str | None = None, **members: Any) -> Body:
    """A functionResponse part."""
    response = {"name": name, "response": {"output": "ok"}} | ({"id": call_id} if call_id else {})
    return {"functionResponse": response | members}


def asked(*messages: ir.Message, **fields: Any) -> ir.Request:
    """A request of another vendor's client."""
    return ir.Request("m", list(messages) or [user("hi")], "x", **fields)


def _blocks(blocks: Sequence[ir.Block | str]) -> list[ir.Block]:
    return [ir.Text(one) if isinstance(one, str) else one for one in blocks]


def user(*blocks: ir.Block | str) -> ir.Message:
    """A turn of the user's; a string is a text."""
    return ir.Message("user", _blocks(blocks))


def assistant(*blocks: ir.Block | str) -> ir.Message:
    """A turn of the assistant's; a string is a text."""
    return ir.Message("assistant", _blocks(blocks))


def encoded(request: ir.Request, traits: Traits = LEVEL) -> Encoded:
    """The request as a provider gets it."""
    return TRANSLATOR.encode_request(request, Recipient("gemini-test", traits))


def body_of(request: ir.Request, traits: Traits = LEVEL) -> Body:
    """Its body."""
    body: Body = json.loads(encoded(request, traits).body)
    return body


def contents_of(*messages: ir.Message, traits: Traits = LEVEL) -> list[Body]:
    """How turns are written."""
    contents: list[Body] = body_of(asked(*messages), traits)["contents"]
    return contents


def config_of(traits: Traits = LEVEL, **fields: Any) -> Body:
    """The `generationConfig` of a request with these fields."""
    config: Body = body_of(asked(**fields), traits).get("generationConfig", {})
    return config


def raw(value: Any) -> msgspec.Raw:
    """A value as the neutral form holds JSON."""
    return msgspec.Raw(json.dumps(value).encode())


def plain(schema: msgspec.Raw | None) -> Any:
    """The other way."""
    return None if schema is None else json.loads(bytes(schema))


def reply(framing: Framing = Framing.WHOLE) -> Reply:
    """To whom an answer is written: ids are counted."""
    wanted = request({}, framing)
    numbers = itertools.count(1)
    return Reply(
        request=wanted,
        asked=TRANSLATOR.decode_request(wanted),
        created_s=1_800_000_000,
        mint=lambda prefix: f"{prefix}{next(numbers)}",
        request_id="req_1",
    )


def element(*parts: Body | str, finish: str | None = None, **members: Any) -> Body:
    """A response with one candidate, with the finish reason and the other members of its own."""
    candidate: Body = {"content": turn("model", *parts), "index": 0} | members
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]}


def answer(*parts: Body | str, finish: str = "STOP", **members: Any) -> ir.Answer:
    """What a provider's whole answer means."""
    whole = element(*parts, finish=finish) | members
    return TRANSLATOR.decode_answer(json.dumps(whole).encode())


def answered(*blocks: ir.Block, finish: ir.Finish | None = None, **fields: Any) -> Body:
    """How a whole answer is written."""
    candidate = ir.Candidate(list(blocks), finish or ir.Finish("stop"))
    return written_answer(ir.Answer([candidate], **fields))


def written_answer(answer: ir.Answer) -> Body:
    """The same of an answer of any kind."""
    body: Body = json.loads(TRANSLATOR.encode_answer(answer, reply()))
    return body


def sse(*elements: Body | list[Body]) -> bytes:
    """A provider's stream."""
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}\n\n" for one in elements]
    return "".join(lines).encode()


def read_stream(chunks: Iterable[bytes]) -> list[ir.Event]:
    """What a provider's stream means, to its end."""
    sse_decoder, decoder = SSEDecoder(1 << 20), TRANSLATOR.stream_decoder()
    events: list[ir.Event] = []
    for chunk in chunks:
        for event in sse_decoder.feed(chunk):
            events += decoder.decode(event)
    for event in sse_decoder.finish():
        events += decoder.decode(event)
    return [*events, *decoder.finish()]


def events_of(*elements: Body | list[Body]) -> list[ir.Event]:
    """What a stream of these elements means."""
    return read_stream([sse(*elements)])


def written(
    events: Sequence[ir.Event], framing: Framing = Framing.SSE, *, one_by_one: bool = False
) -> bytes:
    """The stream for a client, its events handed in together or `one_by_one`."""
    encoder = TRANSLATOR.stream_encoder(reply(framing))
    copies = [msgspec.structs.replace(event) for event in events]
    if one_by_one:
        return b"".join(encoder.encode([event]) for event in copies)
    return encoder.encode(copies)


def elements_in(stream: bytes, framing: Framing = Framing.SSE) -> list[Body]:
    """The elements of a stream to a client."""
    if framing is Framing.ARRAY:
        found = JSONArrayDecoder(1 << 20).feed(stream)
        assert json.loads(stream) == [json.loads(one) for one in found]
    elif framing is Framing.NDJSON:
        assert stream.endswith(b"\n")
        found = stream.split(b"\n")[:-1]
    else:
        assert stream.endswith(b"\n\n")
        lines = stream.split(b"\n\n")[:-1]
        assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
        found = [line.removeprefix(b"data: ") for line in lines]
    return [json.loads(one) for one in found]


def parts_in(stream: bytes, framing: Framing = Framing.SSE) -> list[Body]:
    """The parts of the first candidate in a stream to a client, in order."""
    return [
        part
        for one in elements_in(stream, framing)
        for candidate in one["candidates"]
        if candidate["index"] == 0
        for part in candidate["content"]["parts"]
    ]
