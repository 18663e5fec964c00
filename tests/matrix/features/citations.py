"""The vendors' own search of the web, and the pages that an answer rests on."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import refused

GROUP: Final = "Web search"


@feature(GROUP, "web search", to={"chat": refused("web_search")}, modes="either")
async def web_search(cell: Cell) -> None:
    own: dict[str, dict[str, Any]] = {
        "chat": {"web_search_options": {}},
        "responses": {"tools": [{"type": "web_search"}]},
        "anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "google": {"tools": [{"googleSearch": {}}]},
    }
    await cell.ask("[[text]]", own=cell.own(own))
    expected = "googleSearch" if cell.provider.name == "google" else "web_search"
    assert cell.seen.hosted_tools == [expected]


@feature(GROUP, "pages that the answer rests on")
async def citations(cell: Cell) -> None:
    reply = await cell.ask("[[cited]]")
    assert reply.text == "Sunny. Warm."
    assert reply.cited == [
        ("https://example.com/sun", "Sun"),
        ("https://example.com/heat", "Heat"),
    ]
    again = await cell.ask("[[cited]]", reply.replayed, "Sure?")
    assert again.text == "Sunny. Warm."
