"""A conversation that moves from one vendor to another: a route falls back, or is changed.

What the first vendor signed comes back from the client, and must not reach the second.
"""

from typing import Final

from tests.matrix.cell import MODELS, Cell
from tests.matrix.feature import feature
from tests.matrix.features.reasoning import thinking
from tests.matrix.features.tools import TOOLS, results
from tests.matrix.outcome import UPSTREAMS

GROUP: Final = "Changing vendors"


async def _moved(cell: Cell, origin: str) -> None:
    """Thinking and a call at `origin`, the rest of it here."""
    asked = thinking(cell)
    first = await cell.ask(
        "Hi [[loop]]", at=(origin, MODELS["newest"][origin]), tools=TOOLS, **asked
    )
    assert [made.name for made in first.calls] == ["get_weather"]
    reply = await cell.ask(
        "Hi [[loop]]",
        first.replayed,
        results(first, "sun", remark="Thank you. [[reasoning]]"),
        tools=TOOLS,
        **asked,
    )
    assert reply.text == "Hello!"
    assert [one.name for one in cell.seen.calls] == ["get_weather"]
    assert [one.text for one in cell.seen.results] == ["sun"]
    assert cell.seen.turns[1].text == "Let me look."
    # Translated for a chat server thinking is plain text, whoever thought it.
    if cell.native or cell.provider.name != "chat":
        assert cell.seen.thoughts == []


@feature(GROUP, "a conversation that began at any other vendor", models="newest")
async def moved(cell: Cell) -> None:
    for origin in UPSTREAMS:
        if origin != cell.provider.name:
            await _moved(cell, origin)
