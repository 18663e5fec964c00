"""A provider for tests: it says byte for byte what it is told to, over a real socket.

It keeps what it was sent, as it came, so that a test can compare bodies as bytes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as the provider saw it. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the provider says. `chunks` are written one by one, each in a segment of its own.

    `chunked` chooses the framing; `cut` closes the connection after the last chunk without the end
    that the framing promises; `wait` is awaited before the head, `pause` between chunks,
    and `gap_s` seconds pass after each.
    """

    chunks: Sequence[bytes] = (b"{}",)
    status: int = 200
    content_type: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut: bool = False
    wait: asyncio.Event | None = None
    pause: asyncio.Event | None = None
    gap_s: float = 0.0


def sse(*chunks: bytes, **settings: object) -> Reply:
    """A stream of server-sent events."""
    return Reply(chunks, content_type="text/event-stream", chunked=True, **settings)  # type: ignore[arg-type]  # passed on as they are


Script = Callable[[Received], Reply | None]


class ScriptedUpstream:
    """A provider that answers by `script`; None closes the connection without a word."""

    def __init__(self, script: Script | Reply | None = None) -> None:
        self.script: Script | Reply | None = script or Reply()
        self._arrived = asyncio.Event()
        self.received: list[Received] = []
        self.connections = 0  # so far
        self.gone = asyncio.Event()  # a client has closed its connection
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Its base URL, without a version segment."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.received[-1]

    async def wait_for_request(self) -> Received:
        """Wait until there is one."""
        await self._arrived.wait()
        return self.last

    async def stop(self) -> None:
        """Close every connection."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        task.add_done_callback(self._tasks.discard)
        try:
            while (received := await _read_request(reader)) is not None:
                self.received.append(received)
                self._arrived.set()
                reply = self.script(received) if callable(self.script) else self.script
                if reply is None or not await self._answer(reply, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a cancellation is `stop`; asyncio's streams would log it (CPython 3.11)
        finally:
            self.gone.set()
            writer.close()

    async def _answer(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if reply.wait is not None:
            await _either(reply.wait.wait(), reader.read(1))
            if reader.at_eof():
                return False
        writer.write(_head(reply))
        for number, chunk in enumerate(reply.chunks):
            if number and reply.pause is not None:
                await _either(reply.pause.wait(), reader.read(1))
            if writer.is_closing():
                return False
            framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if reply.chunked else chunk
            if chunk or not reply.chunked:
                writer.write(framed)
            await writer.drain()
            await asyncio.sleep(reply.gap_s)
        if reply.cut:
            return False
        if reply.chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _either(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # any awaitable
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Scripted"]
    if reply.content_type is not None:
        lines.append(f"Content-Type: {reply.content_type}")
    if reply.chunked:
        lines.append("Transfer-Encoding: chunked")
    else:
        length = sum(map(len, reply.chunks)) + (1000 if reply.cut else 0)
        lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
