"""What the adapters share."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import httpx2

from tests.matrix.question import OnText, Question, Reply

KEY = "client-key"


class Client(ABC):
    """One SDK. `headers` are those of the newest answer; `origin_of_ids` how its ids begin."""

    name: ClassVar[str]
    answer_prefix: ClassVar[str]

    def __init__(self) -> None:
        self.headers: httpx2.Headers = httpx2.Headers()
        self.http = self._http_client()

    def _http_client(self) -> httpx2.AsyncClient:
        """A connection pool that notes the headers of every answer."""

        async def note(response: httpx2.Response) -> None:
            self.headers = response.headers

        return httpx2.AsyncClient(event_hooks={"response": [note]}, timeout=20)

    @property
    def dropped(self) -> frozenset[str]:
        """What the router said it left out."""
        told = self.headers.get("x-bitrouter-dropped", "")
        return frozenset(name.strip() for name in told.split(",") if name.strip())

    async def ask(
        self, model: str, question: Question, *, stream: bool, on_text: OnText | None = None
    ) -> Reply:
        """Ask, and read the answer to its end. Raises Failed as the SDK tells it, and Unsayable."""
        self.headers = httpx2.Headers()
        reply = await self.send(model, question, stream, on_text or _ignore)
        reply.dropped = self.dropped
        return reply

    @abstractmethod
    async def send(self, model: str, question: Question, stream: bool, on_text: OnText) -> Reply:
        """See `ask`."""

    async def close(self) -> None:
        """Close the connections, which not every SDK does when they are given to it."""
        await self.http.aclose()


def _ignore(text: str) -> None:
    """Nobody waits for the first words."""


def said(**fields: Any) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None and value != ()}
