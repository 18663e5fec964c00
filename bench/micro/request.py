"""What a request makes Python do, counted: the same on every machine and at any load.

Run from the top of the repository: `python -m bench.micro.request [SCENARIO]`. The whole way of a
request through a router in this process, from the bytes of a client's socket to those of a
provider's and back; the sockets are stood in for, so that nothing but the router's own work and
aiohttp's is there, but for the log. Prints bytecodes and calls of Python functions a request, the
functions that take the most, and the CPU time, the only figure that depends on the machine. Work
in C that a bytecode begins is not counted.
"""

import argparse
import asyncio
import collections
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

import msgspec
import uvloop
from aiohttp.client_proto import ResponseHandler

from bench import chat
from bench.content import MODEL, UPSTREAM_MODEL
from bench.scenarios import SCENARIOS, Scenario, request
from bitrouter.app import Router
from bitrouter.config.load import load_config
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.server.connection import Server
from bitrouter.upstream.pool import Pool

COUNTED: Final = 50  # requests; all are alike, but for what the first one prepares
_WARM: Final = 20
_TIMED: Final = 2000
_SHOWN: Final = 40
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(chat.WHOLE), chat.WHOLE)
)
_CONFIG: Final = f"""\
server: {{listen: '127.0.0.1:0', log: {{level: info}}}}
providers: {{up: {{api_protocol: openai, api_base: 'http://127.0.0.1:9', api_key: bench}}}}
models: {{{MODEL}: {{endpoints: [{{provider: up, model_id: {UPSTREAM_MODEL}}}]}}}}
"""


class Cost(msgspec.Struct, frozen=True):
    """Of one request: bytecodes, calls of Python functions (a coroutine that goes on counts as
    one), and for each function, `module.py name`, its own bytecodes and calls.
    """

    bytecodes: float
    calls: float
    functions: dict[str, tuple[float, float]]


class _Stand(asyncio.Transport):
    """Stands in for the socket under `protocol`, and takes everything at once."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """It has no more to say than it said."""

    resume_reading = pause_reading

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))


class _Provider(_Stand):
    """Answers each write, which is a request."""

    def write(self, data: Any) -> None:
        self._loop.call_soon(self._protocol.data_received, _ANSWER)


class _Client(_Stand):
    """Asks `times` times, once it has the answer before; `done` has an error if one is wrong."""

    def __init__(self, server: Server, asks: bytes, times: int) -> None:
        super().__init__(server())
        self._asks = asks
        self._left = times
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._protocol.connection_made(self)
        self._ask()

    def _ask(self) -> None:
        self._left -= 1
        self._loop.call_soon(self._protocol.data_received, self._asks)

    def write(self, data: Any) -> None:
        if not data.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(f"a wrong answer: {bytes(data)!r:.300}"))
        elif self._left:
            self._ask()
        else:
            self.done.set_result(None)
            self.close()


async def _connect_to_stand(pool: Pool, *_: object) -> ResponseHandler:
    protocol = pool._factory()
    protocol.connection_made(_Provider(protocol))
    return protocol


class _Counter:
    """Counts bytecodes and calls for the length of a `with`."""

    def __init__(self) -> None:
        self.bytecodes: collections.Counter[str] = collections.Counter()
        self.calls: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> "_Counter":
        sys.settrace(self._trace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code.co_filename == __file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = f"{'/'.join(code.co_filename.split('/')[-2:])} {code.co_qualname}"
        if event == "opcode":
            self.bytecodes[name] += 1
        elif event == "call":
            self.calls[name] += 1
        return self._trace

    def cost(self, requests: int) -> Cost:
        """What one of so many requests took."""
        return Cost(
            self.bytecodes.total() / requests,
            self.calls.total() / requests,
            {
                name: (number / requests, self.calls[name] / requests)
                for name, number in self.bytecodes.most_common()
            },
        )


async def _run(server: Server, scenario: Scenario, times: int) -> None:
    await _Client(server, request(scenario), times).done


async def _measure(scenario: Scenario, timed: int) -> tuple[Cost, float]:
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "bitrouter.yaml"
        file.write_text(_CONFIG)
        config = load_config(file, {"BITROUTER_HOME": home}, BY_API_PROTOCOL)
        router = Router(config, {"BITROUTER_HOME": home}, lambda: config)
        await router.start()
        server = router._runners[0].server
        assert isinstance(server, Server)
        try:
            await _run(server, scenario, _WARM)
            with _Counter() as counter:
                await _run(server, scenario, COUNTED)
            before = time.process_time()
            if timed:
                await _run(server, scenario, timed)
            cpu_us = (time.process_time() - before) / max(timed, 1) * 1e6
        finally:
            await router.stop()
        return counter.cost(COUNTED), cpu_us


def measure(scenario: Scenario, timed: int = 0) -> tuple[Cost, float]:
    """The cost of one request, and its CPU time in microseconds over `timed` of them."""
    ordinary, Pool._create_connection = Pool._create_connection, _connect_to_stand  # type: ignore[method-assign, assignment]  # there is nothing to connect to
    try:
        return uvloop.run(_measure(scenario, timed))
    finally:
        Pool._create_connection = ordinary  # type: ignore[method-assign]  # as it was


def main() -> None:
    """Print what a scenario's request costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.request", description=__doc__)
    whole = {one.name: one for one in SCENARIOS if not one.stream}
    parser.add_argument("scenario", nargs="?", default="0.3kB-whole-c64", choices=whole)
    cost, cpu_us = measure(whole[parser.parse_args().scenario], _TIMED)
    print(f"{cost.bytecodes:.0f} bytecodes, {cost.calls:.0f} calls, {cpu_us:.0f} us of CPU")
    for name, (bytecodes, calls) in list(cost.functions.items())[:_SHOWN]:
        print(f"{bytecodes:8.1f} bytecodes {calls:5.1f} calls  {name}")


if __name__ == "__main__":
    os.environ.pop("PYTHONASYNCIODEBUG", None)
    main()
