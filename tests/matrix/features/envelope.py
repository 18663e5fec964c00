"""What is around an answer: the model's name, ids, headers."""

import re
from typing import Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.features.tools import TOOLS

GROUP: Final = "Around the answer"
# A call's id is whatever its vendor gave; a client's protocol must allow it.
_IDS: Final = {
    "chat": r"[A-Za-z0-9_-]{1,40}",
    "responses": r"[A-Za-z0-9_-]{1,64}",
    "anthropic": r"[A-Za-z0-9_-]{1,64}",
    "google": r".*",
}


@feature(GROUP, "the model's name is the one asked for; native: the provider's")
async def model_name(cell: Cell) -> None:
    reply = await cell.ask("[[text]]")
    if cell.native:
        assert reply.model.startswith(cell.model)
    else:
        assert reply.model == cell.route


@feature(GROUP, "ids as the client's protocol has them")
async def ids(cell: Cell) -> None:
    first = await cell.ask("[[parallel]]", tools=TOOLS)
    second = await cell.ask("[[text]]")
    assert first.id.startswith(cell.client.answer_prefix)
    assert first.id != second.id
    assert second.id
    for made in first.calls:
        assert re.fullmatch(_IDS[cell.client.name], made.id or "")


@feature(GROUP, "the answer says who gave it, and its request id")
async def headers(cell: Cell) -> None:
    await cell.ask("[[text]]")
    told = cell.client.headers
    assert told["x-bitrouter-provider"] == f"{cell.provider.name}-mock"
    assert told["x-bitrouter-model"] == cell.model
    assert told["x-request-id"].startswith("req_")
    assert told["request-id"] == told["x-request-id"]
    kind = "text/event-stream" if cell.streamed else "application/json"
    assert told["content-type"].startswith(kind)
