"""What only its own vendor keeps or runs."""

from typing import Any, Final

import pytest

from tests.matrix.cell import Cell
from tests.matrix.feature import every_pair, feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Failed

GROUP: Final = "State and hosted tools"


def _not_here(client: str, words: str) -> dict[tuple[str, str], Any]:
    return every_pair(refused(words), clients=(client,))


@feature(
    GROUP,
    "previous_response_id",
    clients=("responses",),
    between=_not_here("responses", "previous_response_id"),
)
async def previous_response(cell: Cell) -> None:
    if not cell.native:
        await cell.ask("[[text]]", own={"previous_response_id": "resp_1"})
        return
    with pytest.raises(Failed, match="not found"):
        await cell.ask("[[text]]", own={"previous_response_id": "resp_1"})


@feature(
    GROUP,
    "conversation",
    clients=("responses",),
    between={
        **_not_here("responses", "conversation"),
        ("responses", "responses"): lossy(note="passed on: it is the provider's"),
    },
)
async def conversation(cell: Cell) -> None:
    if not cell.native:
        await cell.ask("[[text]]", own={"conversation": "conv_1"})


@feature(
    GROUP,
    "hosted tools of OpenAI's",
    clients=("responses",),
    between=_not_here("responses", "file_search"),
)
async def hosted_openai(cell: Cell) -> None:
    tool = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    await cell.ask("[[text]]", own={"tools": [tool]})
    assert cell.seen.hosted_tools == ["file_search"]


@feature(
    GROUP,
    "hosted tools of Google's",
    clients=("google",),
    between=_not_here("google", "codeExecution"),
)
async def hosted_google(cell: Cell) -> None:
    await cell.ask("[[text]]", own={"tools": [{"codeExecution": {}}]})
    assert cell.seen.hosted_tools == ["codeExecution"]


@feature(
    GROUP,
    "web search",
    clients=("responses", "anthropic", "google"),
    to={"chat": refused("web_search")},
)
async def web_search(cell: Cell) -> None:
    own: dict[str, dict[str, Any]] = {
        "responses": {"tools": [{"type": "web_search"}]},
        "anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "google": {"tools": [{"googleSearch": {}}]},
    }
    await cell.ask("[[text]]", own=own[cell.client.name])
    expected = "googleSearch" if cell.provider.name == "google" else "web_search"
    assert cell.seen.hosted_tools == [expected]


@feature(
    GROUP,
    "cachedContent",
    clients=("google",),
    between={
        **_not_here("google", "cachedContent"),
        ("google", "google"): lossy(note="passed on: it is the provider's"),
    },
)
async def cached_content(cell: Cell) -> None:
    await cell.ask("[[text]]", own={"cachedContent": "cachedContents/1"})


@feature(
    GROUP,
    "safety settings",
    clients=("google",),
    between=every_pair(lossy("safetySettings"), clients=("google",)),
)
async def safety_settings(cell: Cell) -> None:
    setting = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    await cell.ask("[[text]]", own={"safetySettings": [setting]})


@feature(
    GROUP,
    "marks in the prompt to cache up to",
    clients=("anthropic",),
    to={name: lossy("cache") for name in ("chat", "responses", "google")},
)
async def cache_marks(cell: Cell) -> None:
    block = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    await cell.ask("[[text]]", own={"system": [block]})
    assert cell.seen.system == ["Long."]
    assert cell.seen.cache_marks == (["Long."] if cell.native else [])


@feature(GROUP, "store", clients=("chat", "responses"))
async def store(cell: Cell) -> None:
    await cell.ask("[[text]]", own={"store": True})
