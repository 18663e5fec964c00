"""What providers say that are not well, and a client that keeps all that it is told."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from multidict import CIMultiDictProxy

from tests.support.dialects import Dialect
from tests.support.router import RunningRouter
from tests.support.upstream import Received, Reply, sse

LIMIT_S = 20


class Never(asyncio.Event):
    """What does not happen, on any event loop."""

    async def wait(self) -> Literal[True]:
        """Wait without end."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError


NEVER = Never()


def complete(dialect: Dialect, *, stream: bool) -> Reply:
    """The dialect's whole answer, or its complete stream."""
    return sse(*dialect.events) if stream else Reply((dialect.answer,))


def complete_body(dialect: Dialect, *, stream: bool) -> bytes:
    """What a client of the same dialect gets of that."""
    return b"".join(dialect.events) if stream else dialect.answer


def error(status: int, **more: Any) -> Reply:
    """An error answer in a shape that every dialect reads a message from."""
    body = {"type": "error", "error": {"message": f"status {status}", "type": "x"}}
    return Reply((json.dumps(body).encode(),), status=status, **more)


def in_turn(*replies: Reply | None) -> Callable[[Received], Reply | None]:
    """A provider that says one thing after the other, and the last for ever."""
    left = list(replies)
    return lambda received: left.pop(0) if len(left) > 1 else left[0]


def attempts_of(router: RunningRouter) -> dict[tuple[str, str], int]:
    """The attempts that were counted, by endpoint and by how they ended."""
    endpoints = router.router.services.metrics.endpoints
    return {
        (label, result): count
        for label, endpoint in endpoints.items()
        for result, count in endpoint.attempts.items()
    }


@dataclass(frozen=True)
class Got:
    """A whole answer as a client got it."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def provider(self) -> str | None:
        """Who is said to have given it."""
        return self.headers.get("x-bitrouter-provider")

    @property
    def attempts(self) -> int:
        """How many attempts it is said to have taken."""
        return int(self.headers.get("x-bitrouter-attempts", "0"))


async def ask(
    router: RunningRouter, dialect: Dialect, *, stream: bool = False, model: str = "m"
) -> Got:
    """Send one request for `model`, and read all of the answer."""
    path = dialect.path(model, stream=stream)
    body = dialect.body(model, stream=stream)
    async with asyncio.timeout(LIMIT_S), router.http.post(path, json=body) as response:
        return Got(response.status, response.headers, await response.read())
