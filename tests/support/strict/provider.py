"""What the strict providers share: the server, and the order in which a request is looked at."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.support.strict import body
from tests.support.strict.refused import Refused
from tests.support.strict.script import Step, next_step
from tests.support.strict.seen import Seen
from tests.support.strict.signing import Signer

# Not a divisor of any event's length, so that they are cut everywhere.
_SEGMENT_BYTES: Final = 97


class Hold(Enum):
    """In a stream: nothing more until the test lets it go."""

    HERE = "hold"


Pieces = list[bytes | Hold]


@dataclass(frozen=True)
class Answer:
    """What is sent: a whole body, or the pieces of a stream. A `cut` one breaks off at its end."""

    pieces: Sequence[bytes | Hold]
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes


class StrictProvider(ABC):
    """One service. `seen` and `asked` hold the requests that it took, `refused` what it did not."""

    name: ClassVar[str]
    api_protocol: ClassVar[str]
    key: ClassVar[str]

    def __init__(self) -> None:
        self.signer = Signer(f"secret of {self.name}")
        self.issued: set[str] = set()
        self.forget()

    def forget(self) -> None:
        """Begin anew, but for the ids that have been issued."""
        self.seen: list[Seen] = []
        self.asked: list[Asked] = []
        self.refused: list[Refused] = []
        self.release = asyncio.Event()

    @property
    def last(self) -> Seen:
        """The newest request that was taken."""
        return self.seen[-1]

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url: str = site.name

    async def stop(self) -> None:
        """Close every connection."""
        self.release.set()
        await self._runner.cleanup()

    def new_id(self, prefix: str) -> str:
        """An id that was never given, of the usual length. It is remembered as issued."""
        number = len(self.issued)
        new = f"{prefix}{number:06d}AbCdEfGhIjKlMnOp"
        self.issued.add(new)
        return new

    @abstractmethod
    def check_caller(self, asked: Asked) -> None:
        """Raise Refused when the credential, or a header that must be there, is not right."""

    @abstractmethod
    def read(self, asked: Asked) -> Seen:
        """What a request means. Raises Refused when the service would not take it."""

    @abstractmethod
    def answer(self, step: Step, seen: Seen, asked: Asked) -> Answer:
        """The answer that says `step`, whole or as a stream."""

    @abstractmethod
    def refuse(self, refused: Refused, asked: Asked) -> Answer:
        """The service's own error answer."""

    def streamed(self, events: list[bytes], step: Step, error: bytes) -> Answer:
        """The events as server-sent events, with the step's fault and its pause, if it has any."""
        pieces: list[bytes | Hold] = [*events]
        middle = len(pieces) // 2
        when = step.fault.when if step.fault else None
        if when == "first":
            pieces = [error]
        elif when == "middle":
            pieces[middle:] = [error]
        elif when == "cut":
            del pieces[middle:]
        if step.waits:
            pieces.insert(middle, Hold.HERE)
        return Answer(pieces, "text/event-stream", stream=True, cut=when == "cut")

    def whole(self, answer: object, step: Step) -> Answer:
        """The answer as one body of JSON, or the half of it. What would be an error in a stream is
        an error before it here.
        """
        encoded = json.dumps(answer, ensure_ascii=False).encode()
        if step.fault is None:
            return Answer([encoded])
        if step.fault.when != "cut":
            raise step.fault.refused
        return Answer([encoded[: len(encoded) // 2]], cut=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        # raw_path: a model's name may hold an escaped slash.
        asked = Asked(request.rel_url.raw_path, request.query, request.headers, {}, raw)
        try:
            self.check_caller(asked)
            asked = Asked(asked.path, asked.query, asked.headers, body.load(raw), raw)
            seen = self.read(asked)
            step = next_step(seen)
            self.seen.append(seen)
            self.asked.append(asked)
            if step.fault is not None and step.fault.when == "status":
                raise step.fault.refused
            answer = self.answer(step, seen, asked)
        except Refused as refused:
            self.refused.append(refused)
            answer = self.refuse(refused, asked)
        return await self._send(request, answer)

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.headers["Content-Type"] = answer.content_type
        size = sum(len(piece) for piece in answer.pieces if isinstance(piece, bytes))
        if not answer.stream:
            response.content_length = size + (100 if answer.cut else 0)
        await response.prepare(request)
        for piece in _segments(answer.pieces) if answer.stream else answer.pieces:
            if isinstance(piece, Hold):
                await self.release.wait()
            else:
                await response.write(piece)
                await asyncio.sleep(0)
        if answer.cut and request.transport is not None:
            request.transport.close()
        else:
            await response.write_eof()
        return response


def _segments(pieces: Sequence[bytes | Hold]) -> Iterator[bytes | Hold]:
    """The same bytes, cut where no event ends."""
    waiting = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            waiting += piece
            continue
        yield waiting
        yield piece
        waiting = b""
    for start in range(0, len(waiting), _SEGMENT_BYTES):
        yield waiting[start : start + _SEGMENT_BYTES]
