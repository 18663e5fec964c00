"""Anthropic Messages: what the clients of the translated scenarios speak."""

from typing import Final

import msgspec

from bench.content import (
    ANSWER,
    ANSWER_TOKENS,
    INPUT_TOKENS,
    MAX_TOKENS,
    MODEL,
    SYSTEM,
    TEMPERATURE,
    WORD,
    WORDS,
)

PATH: Final = "/v1/messages"
HEADER_LINES: Final = b"Authorization: Bearer bench\r\nanthropic-version: 2023-06-01\r\n"


def request_body(question: str, *, stream: bool) -> bytes:
    """The same request as in `bench.chat`, for the same question."""
    return (
        f'{{"model":"{MODEL}","system":"{SYSTEM}","messages":[{{"role":"user",'
        f'"content":"{question}"}}],"max_tokens":{MAX_TOKENS},"temperature":{TEMPERATURE},'
        f'"stream":{"true" if stream else "false"}}}'
    ).encode()


class _Block(msgspec.Struct):
    type: str
    text: str


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int


class _Message(msgspec.Struct):
    type: str
    role: str
    model: str
    content: list[_Block]
    stop_reason: str
    usage: _Usage


class _Delta(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    delta: _Delta = _Delta()
    usage: _Usage | None = None


_message: Final = msgspec.json.Decoder(_Message)
_event: Final = msgspec.json.Decoder(_Event)

_EXPECTED_TYPES: Final = [
    "message_start",
    "content_block_start",
    *["content_block_delta"] * WORDS,
    "content_block_stop",
    "message_delta",
    "message_stop",
]


def is_answer(body: bytes, *, stream: bool) -> bool:
    """Whether it says what the provider said, all of it and in order."""
    try:
        return _is_whole_stream(body) if stream else _is_whole(body)
    except msgspec.DecodeError:
        return False


def _is_whole(body: bytes) -> bool:
    expected = _Message(
        type="message",
        role="assistant",
        model=MODEL,
        content=[_Block("text", ANSWER)],
        stop_reason="end_turn",
        usage=_Usage(INPUT_TOKENS, ANSWER_TOKENS),
    )
    return _message.decode(body) == expected


def _is_whole_stream(body: bytes) -> bool:
    *blocks, rest = body.split(b"\n\n")
    lines = [block.split(b"\n") for block in blocks]
    if rest or any(len(pair) != 2 or not pair[1].startswith(b"data: ") for pair in lines):
        return False
    events = [_event.decode(data[6:]) for _, data in lines]
    names = [name.removeprefix(b"event: ").decode() for name, _ in lines]
    words = [event.delta.text for event in events if event.delta.type == "text_delta"]
    return (
        names == [event.type for event in events] == _EXPECTED_TYPES
        and words == [WORD] * WORDS
        and events[-2].delta.stop_reason == "end_turn"
        and events[-2].usage == _Usage(INPUT_TOKENS, WORDS)
    )
