"""How much of an answer has been given out, where its own usage never came.

A client that leaves has had a part of an answer, and no provider says what the part comes to; and
some say it of no answer.
"""

import contextlib
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.ir import Delta, Usage
from bitrouter.jsonarray import JSONArrayDecoder
from bitrouter.protocols.base import Framing
from bitrouter.protocols.codec import Codec
from bitrouter.sse import SSEDecoder, SSEEvent

_BYTES_A_TOKEN: Final = 4
# Of a stream, before it is counted: some hundred events, which take less than a millisecond.
_MOST_UNREAD_BYTES: Final = 32 << 10


def completed(known: Usage, input_tokens: int, output_tokens: int) -> Usage:
    """The provider's own figures, and where there are none, ours."""
    return msgspec.structs.replace(
        known,
        input_tokens=input_tokens if known.input_tokens is None else known.input_tokens,
        output_tokens=output_tokens if known.output_tokens is None else known.output_tokens,
    )


def spoken_tokens(codec: Codec, body: bytes) -> int:
    """Tokens of a whole answer in the protocol of `codec`, by and large."""
    try:
        answer = codec.translator.decode_answer(body)
    except BadResponse:
        return -(-len(body) // _BYTES_A_TOKEN)
    blocks = (block for candidate in answer.candidates for block in candidate.blocks)
    return -(-sum(map(_bytes_in, blocks)) // _BYTES_A_TOKEN)


def _bytes_in(block: ir.Block) -> int:
    match block:
        case ir.ToolCall():
            said = block.name + block.arguments
        case ir.Text() | ir.Reasoning() | ir.Refusal():
            said = block.text
        case _:
            said = ""
    return len(said.encode("utf-8", "replace"))


class Tally:
    """Reads what the client is sent, in its own protocol, and counts what the model has said.

    Nobody asks for it when the provider gives its own figures, as nearly all do at the end of a
    stream. So what is sent is kept for a while, and read when that has become much, or on demand.
    """

    def __init__(self, codec: Codec, framing: Framing, max_event_bytes: int) -> None:
        self._framing = framing
        self._decoder = codec.translator.stream_decoder()
        self._sse = SSEDecoder(max_event_bytes)
        self._array = JSONArrayDecoder(max_event_bytes)
        self._rest = b""
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._bytes = 0

    @property
    def output_tokens(self) -> int:
        """Tokens generated so far, by and large: a quarter of the bytes of what was said."""
        self._read()
        return -(-self._bytes // _BYTES_A_TOKEN)

    def count(self, data: bytes) -> None:
        """Count what is in `data`."""
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > _MOST_UNREAD_BYTES:
            self._read()

    def _read(self) -> None:
        data = b"".join(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        with contextlib.suppress(BadResponse):  # for an event that is too large
            for event in self._events(data):
                for one in self._decoder.decode(event):
                    if isinstance(one, Delta):
                        self._bytes += len(one.text.encode("utf-8", "replace"))

    def _events(self, data: bytes) -> list[SSEEvent]:
        if self._framing is Framing.SSE:
            return self._sse.feed(data)
        if self._framing is Framing.ARRAY:
            elements = self._array.feed(data)
        else:
            *elements, self._rest = (self._rest + data).split(b"\n")
        return [SSEEvent(b"", element) for element in elements if element.strip()]
