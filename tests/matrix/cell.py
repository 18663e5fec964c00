"""One client protocol in front of one upstream protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.matrix.clients.base import Client
from tests.matrix.outcome import Outcome
from tests.matrix.question import OnText, Question, Reply, Unsayable, ask
from tests.support.strict.provider import StrictProvider
from tests.support.strict.seen import Seen

# One model of each generation, as far as they are told apart.
MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": {
        "chat": "gpt-4.1",
        "responses": "gpt-4.1",
        "anthropic": "claude-sonnet-4-5",
        "google": "gemini-2.5-flash",
    },
    "thinking": {
        "chat": "deepseek-reasoner",
        "responses": "gpt-5.1",
        "anthropic": "claude-sonnet-4-5",
        "google": "gemini-2.5-flash",
    },
    "newest": {
        "chat": "deepseek-reasoner",
        "responses": "gpt-5.1",
        "anthropic": "claude-opus-4-6",
        "google": "gemini-3-flash",
    },
    "without sampling": {
        "chat": "gpt-5.1",
        "responses": "gpt-5.1",
        "anthropic": "claude-opus-5",
        "google": "gemini-3-flash",
    },
    "marking": {
        "chat": "gpt-5.6-sol",
        "responses": "gpt-5.6-sol",
        "anthropic": "claude-sonnet-4-5",
        "google": "gemini-2.5-flash",
    },
    "old": {
        "chat": "gpt-4.1",
        "responses": "gpt-4.1",
        "anthropic": "claude-3-5-haiku-latest",
        "google": "gemini-2.0-flash",
    },
}


def route_to(provider: str, model: str) -> str:
    """The name of a provider's model."""
    return f"{provider}-mock:{model}"


@dataclass
class Cell:
    """Where a feature is tried. `outcome` is what was declared for it, in neutral names."""

    client: Client
    provider: StrictProvider
    model: str
    streamed: bool
    outcome: Outcome

    @property
    def native(self) -> bool:
        """Whether the client speaks the upstream's own protocol."""
        return self.client.name == self.provider.name

    @property
    def pair(self) -> tuple[str, str]:
        """The client's protocol and the upstream's."""
        return self.client.name, self.provider.name

    @property
    def route(self) -> str:
        """The name that the client asks for."""
        return route_to(self.provider.name, self.model)

    @property
    def seen(self) -> Seen:
        """The newest request as the upstream understood it."""
        return self.provider.last

    def loses(self, name: str) -> bool:
        """Whether a field, by its neutral name, is declared to be dropped here."""
        return self.outcome.kind == "lossy" and name in self.outcome.dropped

    def own(self, fields: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """This client's own fields, by protocol. Raises Unsayable when it has none for this."""
        if self.client.name not in fields:
            raise Unsayable("only other protocols have it")
        return fields[self.client.name]

    async def ask(
        self,
        *turns: Any,
        on_text: OnText | None = None,
        at: tuple[str, str] | None = None,
        **settings: Any,
    ) -> Reply:
        """Ask, whole or streamed as it is this cell's turn; `at` another provider's model."""
        question: Question = ask(*turns, **settings)
        return await self.client.ask(
            route_to(*at) if at else self.route, question, stream=self.streamed, on_text=on_text
        )
