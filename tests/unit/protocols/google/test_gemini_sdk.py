"""google-genai as the client of what we write: it reads it, keeps it, and says it again.

Its transport is a function: what it sends is decoded, what is encoded it reads.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.protocols.base import Framing, Request
from bitrouter.protocols.translator import Recipient, Reply
from tests.unit.protocols.google.geminiwire import CODEC, LEVEL, TRANSLATOR, Body, body_of

FOREIGN = ir.Signature("a", "EqQB+/==", None)
USAGE = ir.Usage(5, 9, reasoning_tokens=2)
STOP = ir.Finish("stop")
AWKWARD = "a\u2028b\u2029c\u0085d"


class Wire:
    """The other end: what was asked, and the blocks of the next answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bodies: list[Body] = []
        self.answers: list[ir.Candidate] = []
        self.error: BadResponse | None = None

    @property
    def asked(self) -> ir.Request:
        """What the last request means."""
        return TRANSLATOR.decode_request(self.requests[-1])

    def __call__(self, sent: httpx2.Request) -> httpx2.Response:
        match = CODEC.match(sent.url.raw_path.decode().partition("?")[0])
        assert match is not None
        request = CODEC.read(*match, sent.url.query.decode(), sent.content)
        self.requests.append(request)
        self.bodies.append(json.loads(sent.content))
        numbers = iter(range(1000))
        reply = Reply(
            request, TRANSLATOR.decode_request(request), 1, lambda _: f"r{next(numbers)}", "q"
        )
        candidate = self.answers.pop(0)
        if not request.stream:
            body = TRANSLATOR.encode_answer(ir.Answer([candidate], usage=USAGE), reply)
            return httpx2.Response(200, content=body, headers={"content-type": "application/json"})
        assert request.framing is Framing.SSE
        encoder = TRANSLATOR.stream_encoder(reply)
        stream = encoder.encode([*events_of(candidate, complete=self.error is None)])
        if self.error is not None:
            stream += encoder.fail(self.error)
        return httpx2.Response(200, content=stream, headers={"content-type": "text/event-stream"})


def events_of(candidate: ir.Candidate, *, complete: bool) -> Iterator[ir.Event]:
    """The events of an answer, its texts in two pieces."""
    yield ir.Start("up", "m")
    for index, block in enumerate(candidate.blocks):
        signature = None
        if isinstance(block, ir.ToolCall):
            yield ir.BlockStart(index, "tool_call", id=block.id, name=block.name)
            text, signature = block.arguments, block.signature
        elif isinstance(block, ir.Reasoning):
            yield ir.BlockStart(index, "reasoning", redacted=block.redacted)
            text, signature = block.text, block.signature
        else:
            assert isinstance(block, ir.Text)
            yield ir.BlockStart(index, "text")
            text = block.text
        half = len(text) // 2
        yield from (ir.Delta(index, piece) for piece in (text[:half], text[half:]) if piece)
        if signature is not None:
            yield ir.Signed(index, signature)
        yield ir.BlockEnd(index)
    if complete:
        yield ir.Finished(candidate.finish)
        yield ir.End(USAGE)


@pytest.fixture
def wire() -> Wire:
    """The other end of `client`."""
    return Wire()


@pytest.fixture
def client(wire: Wire) -> Iterator[genai.Client]:
    """The SDK, talking to `wire`."""
    transport = httpx2.Client(transport=httpx2.MockTransport(wire))
    options = types.HttpOptions(base_url="http://router", httpx_client=transport)
    yield genai.Client(api_key="k", http_options=options)
    transport.close()


def said(*blocks: ir.Block) -> ir.Candidate:
    return ir.Candidate([*blocks], STOP)


THINKING = (
    ir.Reasoning(f"Let me think. {AWKWARD}", FOREIGN),
    ir.Reasoning("", ir.Signature("a", "hidden"), redacted=True),
    ir.Text(f"I will look. {AWKWARD}"),
    ir.ToolCall("toolu_1", "look", json.dumps({"at": AWKWARD}), signature=ir.Signature("o", "x")),
    ir.ToolCall("toolu_2", "look", "{}"),
)


def look(at: str = "here") -> dict[str, str]:
    """Look somewhere."""
    return {"seen": at}


WITHOUT_AUTOMATION = types.GenerateContentConfig(
    tools=[look],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_sdk_keeps_of_an_answer_comes_back_whole(
    wire: Wire, client: genai.Client, streamed: bool
) -> None:
    chat = client.chats.create(model="m", config=WITHOUT_AUTOMATION)
    wire.answers = [said(*THINKING), said(ir.Text("Fine."))]

    def send(message: Any) -> list[types.GenerateContentResponse]:
        if streamed:
            return [*chat.send_message_stream(message)]
        return [chat.send_message(message)]

    first = send("Where?")
    calls = [call for one in first for call in one.function_calls or ()]
    assert [(call.name, call.id, call.args) for call in calls] == [
        ("look", "toolu_1", {"at": AWKWARD}),
        ("look", "toolu_2", {}),
    ]
    assert "".join(part.text or "" for part in parts_of(first) if not part.thought) == (
        f"I will look. {AWKWARD}"
    )
    results = [
        types.Part(
            function_response=types.FunctionResponse(
                id=call.id, name=call.name, response={"output": f"saw {call.id}"}
            )
        )
        for call in calls
    ]
    last = send(results)[-1]
    assert last.candidates
    assert last.candidates[0].finish_reason is types.FinishReason.STOP

    history = wire.asked.messages
    assert [message.role for message in history] == ["user", "assistant", "user"]
    assert history[1].blocks == [
        *THINKING[:3],
        ir.ToolCall(
            "toolu_1",
            "look",
            json.dumps({"at": AWKWARD}, separators=(",", ":")),
            signature=ir.Signature("o", "x"),
        ),
        *THINKING[4:],
    ]
    assert [
        (block.call_id, block.content)
        for block in history[2].blocks
        if isinstance(block, ir.ToolResult)
    ] == [
        ("toolu_1", [ir.Text("saw toolu_1")]),
        ("toolu_2", [ir.Text("saw toolu_2")]),
    ]


def parts_of(chunks: list[types.GenerateContentResponse]) -> list[types.Part]:
    return [
        part
        for chunk in chunks
        for candidate in chunk.candidates or ()
        if candidate.content
        for part in candidate.content.parts or ()
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_functions_that_the_sdk_calls_by_itself(
    wire: Wire, client: genai.Client, streamed: bool
) -> None:
    wire.answers = [
        said(ir.ToolCall("1", "look", '{"at":"a"}'), ir.ToolCall("2", "look", "{}")),
        said(ir.ToolCall("3", "look", '{"at":"c"}')),
        said(ir.Text("Done.")),
    ]
    config = types.GenerateContentConfig(tools=[look])
    if streamed:
        stream = client.models.generate_content_stream(model="m", contents="Go", config=config)
        text = "".join(part.text or "" for part in parts_of([*stream]))
    else:
        text = client.models.generate_content(model="m", contents="Go", config=config).text or ""
    assert text == "Done."
    calls = [b for m in wire.asked.messages for b in m.blocks if isinstance(b, ir.ToolCall)]
    results = [b for m in wire.asked.messages for b in m.blocks if isinstance(b, ir.ToolResult)]
    assert [(call.id, call.arguments) for call in calls] == [
        ("1", '{"at":"a"}'),
        ("2", "{}"),
        ("3", '{"at":"c"}'),
    ]
    assert [result.call_id for result in results] == ["1", "2", "3"]
    body_of(wire.asked)  # in an order that providers take


def test_everything_that_the_sdk_can_ask_for_arrives(wire: Wire, client: genai.Client) -> None:
    wire.answers = [said(ir.Text('{"a":1}'))]
    client.models.generate_content(
        model="models/m",
        contents=[
            types.Part.from_bytes(data=b"\xfb\xff\xfe", mime_type="image/png"),
            types.Part.from_uri(file_uri="https://e.org/a.pdf", mime_type="application/pdf"),
            "See?",
        ],
        config=types.GenerateContentConfig(
            system_instruction="Be brief.",
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            candidate_count=1,
            max_output_tokens=100,
            stop_sequences=["x"],
            seed=7,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            response_logprobs=True,
            logprobs=2,
            response_mime_type="application/json",
            response_schema={"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}},
            thinking_config=types.ThinkingConfig(
                include_thoughts=True, thinking_level=types.ThinkingLevel.LOW
            ),
            tools=[
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(
                            name="f",
                            description="d",
                            parameters_json_schema={"type": "object", "properties": {"a": {}}},
                        )
                    ]
                ),
                types.Tool(google_search=types.GoogleSearch()),
            ],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
                )
            ),
            safety_settings=[
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HATE_SPEECH,
                    threshold=types.HarmBlockThreshold.BLOCK_NONE,
                )
            ],
        ),
    )
    asked = wire.asked
    assert asked.model == "m"
    assert asked.messages == [
        ir.Message(
            "user",
            [
                ir.Media("image", "image/png", "+//+"),
                ir.Media("document", "application/pdf", url="https://e.org/a.pdf"),
                ir.Text("See?"),
            ],
        )
    ]
    assert asked.system == [ir.Text("Be brief.")]
    assert (asked.temperature, asked.top_p, asked.top_k, asked.n) == (0.5, 0.9, 40, 1)
    assert (asked.max_tokens, asked.stop, asked.seed) == (100, ("x",), 7)
    assert (asked.presence_penalty, asked.frequency_penalty) == (0.1, 0.2)
    assert (asked.logprobs, asked.top_logprobs) == (True, 2)
    assert asked.output is not None
    assert asked.thinking == ir.Thinking("low", visible=True)
    assert [tool.name for tool in asked.tools] == ["f"]
    assert asked.web_search == ir.WebSearch()
    assert asked.tool_choice == ir.ToolChoice("required", ("f",))
    assert asked.dropped == ["safetySettings"]
    encoded = TRANSLATOR.encode_request(asked, Recipient("m", LEVEL))
    assert encoded.dropped == ()


def test_the_end_the_usage_and_the_name_of_an_answer(wire: Wire, client: genai.Client) -> None:
    wire.answers = [ir.Candidate([ir.Text("hi")], ir.Finish("length"))]
    answer = client.models.generate_content(model="m", contents="Hi")
    assert answer.candidates
    assert answer.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert (answer.model_version, answer.response_id) == ("m", "r0")
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count) == (5, 7)
    assert (usage.thoughts_token_count, usage.total_token_count) == (2, 14)


def test_an_error_in_a_stream_is_raised(wire: Wire, client: genai.Client) -> None:
    wire.answers = [said(ir.Text("hello"))]
    wire.error = BadResponse(f"broke {AWKWARD}")
    stream = client.models.generate_content_stream(model="m", contents="Hi")
    assert [next(stream).text, next(stream).text] == ["he", "llo"]
    with pytest.raises(errors.ServerError) as raised:
        next(stream)
    assert (raised.value.code, raised.value.status) == (502, "INTERNAL")
    assert raised.value.message == f"broke {AWKWARD}"


def test_a_chat_keeps_a_turn_that_said_nothing(wire: Wire, client: genai.Client) -> None:
    chat = client.chats.create(model="m")
    wire.answers = [said(), said(ir.Text("hi"))]
    assert [*chat.send_message_stream("Hi")]
    chat.send_message("And?")
    assert len(chat.get_history(curated=True)) == 4
