"""How much of a stream has been given out, where its own usage never came.

A client that leaves has had a part of an answer, and no provider says what the part comes to.
"""

from typing import Final

from bitrouter.ir import Delta
from bitrouter.jsonarray import JSONArrayDecoder
from bitrouter.protocols.base import Framing
from bitrouter.protocols.codec import Codec
from bitrouter.sse import SSEDecoder, SSEEvent

_BYTES_A_TOKEN: Final = 4


class Tally:
    """Reads what the client is sent, in its own protocol, and counts what the model has said."""

    def __init__(self, codec: Codec, framing: Framing, max_event_bytes: int) -> None:
        self._framing = framing
        self._decoder = codec.translator.stream_decoder()
        self._sse = SSEDecoder(max_event_bytes)
        self._array = JSONArrayDecoder(max_event_bytes)
        self._rest = b""
        self._bytes = 0

    @property
    def output_tokens(self) -> int:
        """Tokens generated so far, by and large: a quarter of the bytes of what was said."""
        return -(-self._bytes // _BYTES_A_TOKEN)

    def count(self, data: bytes) -> None:
        """Count what is in `data`."""
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
