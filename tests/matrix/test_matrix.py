"""Every feature in every cell, whole and streamed: it is full, lossy as declared, or refused."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.matrix.cell import MODELS, Cell
from tests.matrix.clients.base import KEY
from tests.matrix.conftest import Matrix
from tests.matrix.feature import Feature
from tests.matrix.features import all_features
from tests.matrix.outcome import CLIENTS, UPSTREAMS, spelled
from tests.matrix.question import Failed, Unsayable
from tests.support.strict.google.members import canonical

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The SDK's own, about what it makes of aiohttp.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]
_LIMIT_S = 15


def _cells() -> Iterator[object]:
    for one in all_features():
        for client in one.clients:
            for upstream in UPSTREAMS:
                for streamed in one.streamed(client, upstream):
                    mode = "streamed" if streamed else "whole"
                    name = f"{one.title} | {client} to {upstream} | {mode}"
                    yield pytest.param(one, client, upstream, streamed, id=name)


def _cell(matrix: Matrix, one: Feature, client: str, upstream: str, streamed: bool) -> Cell:
    provider = matrix.providers[upstream]
    provider.forget()
    model = MODELS[one.models][upstream]
    declared = one.declared(client, upstream)
    return Cell(matrix.clients[client], provider, model, streamed, declared)


@pytest.mark.parametrize(("tried", "client", "upstream", "streamed"), [*_cells()])
async def test_a_feature_becomes_what_is_declared(
    matrix: Matrix, tried: Feature, client: str, upstream: str, streamed: bool
) -> None:
    cell = _cell(matrix, tried, client, upstream, streamed)
    async with asyncio.timeout(_LIMIT_S):
        if cell.outcome.kind == "refused":
            with pytest.raises(Failed) as caught:
                await tried.attempt(cell)
            assert caught.value.status == 400
            assert cell.outcome.words in caught.value.message
        else:
            await tried.attempt(cell)
            assert cell.client.dropped == spelled(cell.outcome, client).dropped
    check_calls(cell)


def check_calls(cell: Cell) -> None:
    """What holds for every call that the router made."""
    for asked in cell.provider.asked:
        assert KEY not in str(dict(asked.headers))
        assert asked.headers["Content-Type"] == "application/json"
        if cell.provider.name == "google" and not cell.native:
            assert asked.body == canonical(asked.body), "one spelling, whoever asks"


@pytest.mark.parametrize(
    ("tried", "client"),
    [
        pytest.param(one, client, id=f"{one.title} | {client}")
        for one in all_features()
        for client in CLIENTS
        if client not in one.clients
    ],
)
async def test_what_a_clients_protocol_cannot_say_is_not_said(
    matrix: Matrix, tried: Feature, client: str
) -> None:
    cell = _cell(matrix, tried, client, client, streamed=False)
    with pytest.raises(Unsayable):
        await tried.attempt(cell)
