"""A facilitator that says yes at once, to anything, from an asyncio.Protocol.

Run as `python -m bench.facilitator PORT`. What it serves is x402.md, section 6.
"""

import asyncio
import sys
from typing import Final, cast

import uvloop

NETWORK: Final = "eip155:84532"
SIGNER: Final = "0x" + "fa" * 20

_SUPPORTED: Final = (
    b'{"kinds":[{"x402Version":2,"scheme":"exact","network":"%b"},'
    b'{"x402Version":2,"scheme":"upto","network":"%b",'
    b'"extra":{"facilitatorAddress":"%b"}}],"extensions":[],"signers":{"eip155:*":["%b"]}}'
    % (NETWORK.encode(), NETWORK.encode(), SIGNER.encode(), SIGNER.encode())
)
_VALID: Final = b'{"isValid":true}'
_SETTLED: Final = b'{"success":true,"transaction":"0x%b","network":"%b"}' % (
    b"ab" * 32,
    NETWORK.encode(),
)


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


_ANSWERS: Final = {
    b"GET /supported": _answer(_SUPPORTED),
    b"POST /verify": _answer(_VALID),
    b"POST /settle": _answer(_SETTLED),
}


class Facilitator(asyncio.Protocol):
    """One connection. Requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is whole."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end])
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(self._received) < head_end + 4 + int(length.partition(b"\r\n")[0] or b"0"):
            return
        self._received.clear()
        self._transport.write(_ANSWERS[b" ".join(head.split(b" ", 2)[:2])])


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Facilitator, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
