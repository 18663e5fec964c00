"""Sends cases to a router, and says what it should not have answered."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support.dialects import DIALECTS, provider, route_to
from tests.support.fuzz.requests import MODELS, Case
from tests.support.upstream import Received, Reply, sse

# A request whose end does not come has no answer; who sent it goes away then.
_NO_ANSWER_S: Final = 0.25
_NO_MORE_S: Final = 0.005  # after an answer there may be another, if the requests were several
_LIMIT_S: Final = 20.0  # for anything else

_HEAD: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n(.*?\r\n)??\r\n", re.DOTALL)
_LENGTH: Final = re.compile(rb"^content-length: (\d+)\r$", re.IGNORECASE | re.MULTILINE)


def settings(url: str) -> dict[str, Any]:
    """The content of bitrouter.yaml: a provider of each protocol at `url`, and a route to each."""
    return {
        "providers": {one.name: provider(one, url) for one in DIALECTS},
        "models": {MODELS[one.name]: route_to(one.name) for one in DIALECTS},
    }


@dataclass
class Report:
    """What came of a row of cases. `wrong` says of which number what was wrong."""

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Provider:
    """A provider of all protocols that answers properly, and judges what it is sent."""

    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def __call__(self, received: Received) -> Reply:
        """A script for tests.support.upstream."""
        self.asked += 1
        try:
            body = json.loads(received.body.decode(), parse_int=str, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            self.wrong.append(f"{received.target}: {error!r:.200}: {received.body[:200]!r}")
            return Reply((b"{}",), status=400)
        path = received.target.partition("?")[0]
        for dialect in DIALECTS:
            if path == dialect.upstream_path:
                streams = isinstance(body, dict) and body.get("stream") is True
                return sse(*dialect.events) if streams else Reply((dialect.answer,))
            if path.replace("streamGenerate", "generate") == dialect.upstream_path:
                in_events = "alt=sse" in received.target
                return sse(*dialect.events) if in_events else Reply((b"[%b]" % dialect.answer,))
        return Reply((b'{"error": {"message": "no such path"}}',), status=404)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


async def run(url: str, cases: Iterable[Case], at_a_time: int) -> Report:
    """Send the cases over connections of their own, so many at a time."""
    report = Report()
    left = iter(cases)
    await asyncio.gather(*(_work(url, left, report) for _ in range(at_a_time)))
    return report


async def _work(url: str, left: Iterator[Case], report: Report) -> None:
    parts = urlsplit(url)
    for case in left:
        try:
            async with asyncio.timeout(_LIMIT_S):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError as error:
            report.wrong.append(f"{case.number}: cannot connect: {error!r}")
            continue
        try:
            said = await _talk(case, reader, writer)
        except TimeoutError:
            report.wrong.append(f"{case.number}: said to close, and did not")
        else:
            _judge(case, said, report)
        finally:
            writer.transport.abort()


async def _talk(case: Case, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send all pieces: what was said until there was no more, or until the end if it was told."""
    said = b""
    with contextlib.suppress(ConnectionError):
        for piece in case.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(case.pause_s)
    while True:
        _, complete, closing = _read(said)
        limit_s = _NO_ANSWER_S if not complete else _LIMIT_S if closing else _NO_MORE_S
        try:
            async with asyncio.timeout(limit_s):
                some = await reader.read(1 << 16)
        except ConnectionError:
            return said
        except TimeoutError:
            if closing:
                raise
            return said
        if not some:
            return said
        said += some


def _read(said: bytes) -> tuple[list[int], bool, bool]:
    """The statuses of all answers, whether the last is complete, and whether it says to close."""
    statuses: list[int] = []
    at, complete, closing = 0, False, False
    while head := _HEAD.match(said, at):
        statuses.append(int(head[1]))
        fields = (head[2] or b"").lower()
        length = _LENGTH.search(fields)
        if length is not None:
            at = head.end() + int(length[1])
        elif b"transfer-encoding: chunked" in fields:
            end = said.find(b"0\r\n\r\n", head.end())
            at = end + 5 if end >= 0 else len(said) + 1
        else:
            at = head.end()
        complete = statuses[-1] >= 200 and at <= len(said)
        closing = closing or b"connection: close" in fields
    return statuses, complete and at == len(said), closing


def _judge(case: Case, said: bytes, report: Report) -> None:
    statuses, _, _ = _read(said)
    report.statuses.update(statuses)
    report.unanswered += not statuses
    if said and not said.startswith(b"HTTP/1."):
        report.wrong.append(f"{case.number}: not HTTP: {said[:100]!r}")
    for status in statuses:
        if status >= 500:
            report.wrong.append(f"{case.number}: {status}: {said[-300:]!r}")
    if b"Traceback" in said:
        report.wrong.append(f"{case.number}: a traceback: {said[-300:]!r}")
