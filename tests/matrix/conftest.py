"""One router in front of four strict providers, and one client of each SDK, for all tests."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.matrix.clients.anthropic import AnthropicClient
from tests.matrix.clients.base import Client
from tests.matrix.clients.chat import ChatClient
from tests.matrix.clients.google import GoogleClient
from tests.matrix.clients.responses import ResponsesClient
from tests.support.router import RunningRouter
from tests.support.strict import PROVIDERS
from tests.support.strict.provider import StrictProvider

_DERIVES = {"chat": "openai", "responses": "openai", "anthropic": "anthropic", "google": "google"}


@dataclass
class Matrix:
    """The clients and the providers by protocol."""

    clients: Mapping[str, Client]
    providers: Mapping[str, StrictProvider]


def _settings(providers: Mapping[str, StrictProvider]) -> dict[str, Any]:
    """bitrouter.yaml, with each provider as its vendor's own entry has it, but for the address."""
    return {
        "providers": {
            f"{name}-mock": {
                "derives": _DERIVES[name],
                "api_protocol": provider.api_protocol,
                "api_base": provider.url,
                "api_key": provider.key,
            }
            for name, provider in providers.items()
        },
        # Here errors are what is looked for: none of them is to keep the next question away.
        "retry": {"max_attempts": 1},
        "circuit_breaker": {"failures": 1_000_000},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """All of it, running."""
    providers = {kind.name: kind() for kind in PROVIDERS}
    for provider in providers.values():
        await provider.start()
    router = RunningRouter(tmp_path_factory.mktemp("matrix"), _settings(providers))
    await router.start()
    kinds = (ChatClient, ResponsesClient, AnthropicClient, GoogleClient)
    clients = {kind.name: kind(router.url) for kind in kinds}
    yield Matrix(clients, providers)
    for client in clients.values():
        await client.close()
    await router.stop()
    for provider in providers.values():
        await provider.stop()
