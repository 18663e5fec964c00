"""What others notice of large bodies: `python -m bench.stalls`, two minutes.

One client sends something large, another a small request every few milliseconds, and the router's
loop tells how late it is. The longest of both are printed, for each case, of the round of least
delay: another process can only add to it.
"""

import argparse
import functools
import gzip
import itertools
import socket
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.content import UPSTREAM_MODEL
from bench.heavy import MB, filling
from bench.process import free_port, python, router_environ, running, split_cores

_EVERY_S: Final = 0.004
_CALM_S: Final = 0.3
_WITHIN_S: Final = 60.0
_PATHS: Final = {"passed": "/v1/chat/completions", "translated": "/v1/messages"}


class Case(msgspec.Struct, frozen=True):
    """Something large. `what` is the provider's answer (bench.heavy), `way` passed or translated,
    `make` makes the body of what is asked.
    """

    name: str
    what: str
    way: str
    make: Callable[[], bytes]
    coding: str = "identity"


class Stall(msgspec.Struct, frozen=True):
    """What others noticed, in milliseconds: how late the loop was, how long small requests took."""

    status: int
    took: float
    late: list[float]
    small: list[float]


def question(what: str, content: bytes = b'"hi"', *, stream: bool = False) -> bytes:
    """A body that chat and Messages have in common."""
    return (
        b'{"model":"%b","max_tokens":9,"stream":%b,"messages":[{"role":"user","content":%b}]}'
        % (
            what.encode(),
            b"true" if stream else b"false",
            content,
        )
    )


def _parts(size: int) -> bytes:
    part = b'{"type":"text","text":"%b"}' % filling("text", 200)
    return b"[%b]" % b",".join([part] * (size // len(part)))


def _long_parts(size: int) -> bytes:
    part = b'{"type":"text","text":"%b"}' % filling("letters", min(3 * MB, size))
    return b"[%b]" % b",".join([part] * max(1, size // len(part)))


def _string(kind: str, size: int) -> bytes:
    return b'"%b"' % filling(kind, size)


_CONTENTS: Final[dict[str, Callable[[int], bytes]]] = {
    "one string of letters": functools.partial(_string, "letters"),
    "one string of text": functools.partial(_string, "text"),
    "parts of 200 bytes": _parts,
    "parts of 3 MB": _long_parts,
}


def _asking(name: str, size: int) -> Callable[[], bytes]:
    return lambda: question("small", _CONTENTS[name](size * MB))


def cases(only: str) -> Iterator[Case]:
    """All cases whose names have `only` in them."""
    found: list[tuple[str, str, Callable[[], bytes]]] = [
        (f"request {size} MB, {name}", "small", _asking(name, size))
        for size in (10, 60)
        for name in _CONTENTS
    ]
    for size, kind in itertools.product((10, 100), ("letters", "text")):
        what = f"whole-{kind}-{size}"
        found.append((f"answer {size} MB, {kind}", what, functools.partial(question, what)))
    for size in (1, 4, 8):
        what = f"event-{size}"
        ask = functools.partial(question, what, stream=True)
        found.append((f"event {size} MB", what, ask))
    for name, what, make in found:
        for way in _PATHS:
            if only in f"{name} {way}":
                yield Case(name, what, way, make)
    text = _asking("one string of text", 60)
    if only in "request gzip":
        name = "request 60 MB, gzip"
        yield Case(name, "small", "passed", lambda: gzip.compress(text(), 1), "gzip")
    if only in "request malformed":
        yield Case("request 60 MB, malformed", "small", "passed", lambda: text()[:-1] + b"]")


class Client:
    """A client on one connection, that waits for each answer to its end."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_WITHIN_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, body: bytes, coding: str = "identity", *, last: bool = False) -> int:
        """The status of the answer. `last` says that the connection ends with it."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer bench\r\nContent-Encoding: {coding}\r\n"
            f"Connection: {'close' if last else 'keep-alive'}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        self._socket.sendall(body)
        received = self._socket.recv(1 << 16)
        status = int(received[9:12])
        buffer = bytearray(1 << 20)
        while last and self._socket.recv_into(buffer):
            pass
        return status


@contextmanager
def lateness(port: int) -> Iterator[list[float]]:
    """What the router's loop tells meanwhile, in milliseconds."""
    told: list[float] = []
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("127.0.0.1", port))
        inbox.settimeout(0.05)

        def listen() -> None:
            while not over.is_set():
                try:
                    told.append(struct.unpack("d", inbox.recv(8))[0] * 1e3)
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield told
        finally:
            over.set()
            listener.join()


def measure(case: Case, body: bytes, port: int, told: list[float]) -> Stall:
    """Ask for something large once, and for something small all the time."""
    statuses: list[int] = []

    def ask() -> None:
        large = Client(port)
        statuses.append(large.ask(_PATHS[case.way], body, case.coding, last=True))

    small = Client(port)
    asking = threading.Thread(target=ask)
    delays: list[float] = []
    told.clear()
    begun = time.perf_counter()
    asking.start()
    took = 0.0
    while not took or time.perf_counter() < begun + took + _CALM_S:
        if not took and not asking.is_alive():
            took = time.perf_counter() - begun
        asked = time.perf_counter()
        small.ask(_PATHS["passed"], question("little"))
        delays.append((time.perf_counter() - asked) * 1e3)
        time.sleep(_EVERY_S)
    return Stall(statuses[0] if statuses else 0, took * 1e3, list(told), delays)


def config(port: int, heavy: int, little: int, whats: Sequence[str]) -> str:
    """A route for each answer."""
    providers = {
        what: {"derives": "openai", "api_protocol": "openai", "api_key": "sk-bench"}
        | {"api_base": f"http://127.0.0.1:{little if what == 'little' else heavy}/{what}/v1"}
        for what in {*whats, "little", "small"}
    }
    models = {
        what: {"endpoints": [{"provider": what, "model_id": UPSTREAM_MODEL}]} for what in providers
    }
    settings = {
        "server": {"listen": f"127.0.0.1:{port}"},
        "providers": providers,
        "models": models,
        "limits": {"max_event_bytes": "9MiB", "max_buffered_bytes": "2GiB"},
    }
    return msgspec.json.encode(settings).decode()


def _figures(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "- | -"
    p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
    return f"{p99:.1f} | {max(values):.1f}"


def main() -> int:
    """Measure, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    chosen = list(cases(asked.only))
    port, heavy, little, told_at = free_port(), free_port(), free_port(), free_port()
    mine, others = split_cores()
    with tempfile.TemporaryDirectory() as folder, lateness(told_at) as told:
        file = Path(folder) / "bitrouter.yaml"
        file.write_text(config(port, heavy, little, [case.what for case in chosen]))
        router = python("bench.lagging", told_at, "serve", "--config", file)
        with (
            running(python("bench.heavy", heavy), heavy, cores=others),
            running(python("bench.heavy", little), little, cores=others),
            running(router, port, router_environ(Path(folder)), cores=mine | others),
        ):
            print("| case | | status | took ms | loop late p99 | longest | small p99 | longest |")
            print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
            for case in chosen:
                body = case.make()
                best = min(
                    (measure(case, body, port, told) for _ in range(asked.rounds)),
                    key=lambda one: max(one.late, default=0),
                )
                print(
                    f"| {case.name} | {case.way} | {best.status} | {best.took:.0f} |"
                    f" {_figures(best.late)} | {_figures(best.small)} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
