"""What a router is provoked with for `bench.promises`, and how long it takes to do as promised.

Provider and clients are in one process, so that both ends of a wait are read from one clock.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final, cast

import msgspec

from bench import chat
from bench.content import EVENT_GAP_S
from bench.http1 import Response, http_request
from bench.pulse import Span

# What the provider does, by the model that it is asked for.
SILENT: Final = "silent"  # it does not answer
HALF: Final = "half"  # it stops in the middle of a body
STREAM: Final = "stream"  # it stops after the first event of a stream
DEAF: Final = "deaf"  # it is at another port, which takes connections and no TLS

_WITHIN_S: Final = 30.0
_ANSWERS: Final = {
    SILENT: b"",
    HALF: b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"a":',
    STREAM: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n%x\r\n%b\r\n" % (len(chat.EVENTS[0]), chat.EVENTS[0]),
}


class _Asked(msgspec.Struct):
    model: str


_asked: Final = msgspec.json.Decoder(_Asked)


class Provider:
    """Notes when it has been asked, and when a connection to it has ended."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[_Call] = asyncio.Queue()

    async def listen(self, port: int, *, at_once: bool) -> asyncio.Server:
        """Listen at a port. `at_once`: a connection is heard when it is there, not a request."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Call(self, at_once), "127.0.0.1", port)


class _Call(asyncio.Protocol):
    """One connection, for one request."""

    def __init__(self, provider: Provider, at_once: bool) -> None:
        self._provider = provider
        self._at_once = at_once
        self._received = bytearray()
        self.gone_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if self._at_once:
            self._provider.heard.put_nowait(self)

    def data_received(self, data: bytes) -> None:
        """Do what the model says, once the request is whole: its body is one line of JSON."""
        self._received += data
        _, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not self._at_once and found and body.endswith(b"}"):
            self._transport.write(_ANSWERS[_asked.decode(body).model])
            self._provider.heard.put_nowait(self)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.gone_at.set_result(time.monotonic())


class Client(asyncio.Protocol):
    """One connection to the router, for one request: `begun` is done with the first byte of the
    answer, `whole` with the last, of a stream never.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.whole: asyncio.Future[float] = loop.create_future()
        self.response = Response()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.response.feed(data)
        if not self.begun.done():
            self.begun.set_result(None)
        if self.response.complete and not self.whole.done():
            self.whole.set_result(time.monotonic())

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits."""
        for waited in (self.begun, self.whole):
            if not waited.done():
                waited.cancel()


async def _connect(port: int) -> Client:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Client, "127.0.0.1", port))[1]


def post(model: str, *, stream: bool = False) -> bytes:
    """A small chat request."""
    body = chat.request_body("Say so.", stream=stream).replace(b'"bench"', b'"%b"' % model.encode())
    return http_request(chat.PATH, chat.HEADER_LINES, body)


def get(path: str) -> bytes:
    """A request for a page."""
    return b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/plain\r\n\r\n" % path.encode()


async def hold(port: int, model: str, provider: Provider) -> Client:
    """A client whose stream has begun and goes on."""
    client = await _connect(port)
    client.transport.write(post(f"odd:{model}", stream=True))
    async with asyncio.timeout(_WITHIN_S):
        await provider.heard.get()
        await client.begun
    return client


async def leave(port: int, model: str, provider: Provider) -> Span:
    """Ask for what does not end, and leave: from then until the provider's connection has ended."""
    async with asyncio.timeout(_WITHIN_S):
        client = await _connect(port)
        name = f"{DEAF}:x" if model == DEAF else f"odd:{model}"
        client.transport.write(post(name, stream=model == STREAM))
        call = await provider.heard.get()
        if model == STREAM:
            await client.begun
        else:
            await asyncio.sleep(EVENT_GAP_S)  # what the provider has said is there
        left_at = time.monotonic()
        client.transport.abort()
        return left_at, await call.gone_at


async def ask(port: int, sent: bytes, status: int) -> Span:
    """From when it is sent until the whole answer is there. RuntimeError for another status."""
    async with asyncio.timeout(_WITHIN_S):
        client = await _connect(port)
        sent_at = time.monotonic()
        client.transport.write(sent)
        answered_at = await client.whole
    client.transport.abort()
    if client.response.status != status:
        said = bytes(client.response.body[:300])
        raise RuntimeError(f"{client.response.status} where {status} was expected: {said!r}")
    return sent_at, answered_at


async def ask_together(port: int, sent: Iterable[bytes], status: int) -> list[Span]:
    """All at once: see `ask`."""
    return list(await asyncio.gather(*(ask(port, one, status) for one in sent)))
