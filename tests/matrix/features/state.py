"""What only its own vendor keeps or runs."""

from typing import Any, Final

from tests.matrix.cell import Cell
from tests.matrix.feature import every_pair, feature
from tests.matrix.outcome import lossy, refused

GROUP: Final = "State and hosted tools"


def _not_here(client: str, words: str) -> dict[tuple[str, str], Any]:
    return every_pair(refused(words), clients=(client,))


@feature(
    GROUP,
    "previous_response_id",
    modes="either",
    clients=("responses",),
    between=_not_here("responses", "previous_response_id"),
)
async def previous_response(cell: Cell) -> None:
    own = cell.own({"responses": {"store": True}})
    first = await cell.ask("[[short]]", own=own)
    before = cell.own({"responses": {"previous_response_id": first.id}})
    second = await cell.ask("Again", own=before)
    assert second.text == "Hi."
    assert [turn.text for turn in cell.seen.turns] == ["[[short]]", "Hi.", "Again"]


@feature(
    GROUP,
    "conversation",
    modes="either",
    clients=("responses",),
    between=every_pair(refused("conversation"), clients=("responses",))
    | {("responses", "responses"): refused("conv_1", "there is no such conversation")},
)
async def conversation(cell: Cell) -> None:
    await cell.ask("[[text]]", own=cell.own({"responses": {"conversation": "conv_1"}}))


@feature(
    GROUP,
    "hosted tools of OpenAI's",
    modes="either",
    clients=("responses",),
    between=_not_here("responses", "file_search"),
)
async def hosted_openai(cell: Cell) -> None:
    tool = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    await cell.ask("[[text]]", own=cell.own({"responses": {"tools": [tool]}}))
    assert cell.seen.hosted_tools == ["file_search"]


@feature(
    GROUP,
    "hosted tools of Google's",
    modes="either",
    clients=("google",),
    between=_not_here("google", "codeExecution"),
)
async def hosted_google(cell: Cell) -> None:
    await cell.ask("[[text]]", own=cell.own({"google": {"tools": [{"codeExecution": {}}]}}))
    assert cell.seen.hosted_tools == ["codeExecution"]


@feature(
    GROUP,
    "cachedContent",
    modes="either",
    clients=("google",),
    between={
        **_not_here("google", "cachedContent"),
    },
)
async def cached_content(cell: Cell) -> None:
    await cell.ask("[[text]]", own=cell.own({"google": {"cachedContent": "cachedContents/1"}}))


@feature(
    GROUP,
    "safety settings",
    modes="either",
    clients=("google",),
    between=every_pair(lossy("safetySettings"), clients=("google",)),
)
async def safety_settings(cell: Cell) -> None:
    setting = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    await cell.ask("[[text]]", own=cell.own({"google": {"safetySettings": [setting]}}))


@feature(
    GROUP,
    "marks in the prompt to cache up to",
    modes="either",
    clients=("anthropic",),
    to={name: lossy("cache") for name in ("chat", "responses", "google")},
)
async def cache_marks(cell: Cell) -> None:
    block = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    await cell.ask("[[text]]", own=cell.own({"anthropic": {"system": [block]}}))
    assert cell.seen.system == ["Long."]
    assert cell.seen.cache_marks == (["Long."] if cell.native else [])


@feature(
    GROUP,
    "OpenAI's marks in the prompt to cache up to",
    clients=("chat", "responses"),
    modes="either",
    models="marking",
    to={"google": lossy("cache")},
)
async def breakpoints(cell: Cell) -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    chat = {"role": "user", "content": [{"type": "text", "text": "[[text]]", **mark}]}
    responses = {"role": "user", "content": [{"type": "input_text", "text": "[[text]]", **mark}]}
    await cell.ask(
        "[[text]]",
        own=cell.own({"chat": {"messages": [chat]}, "responses": {"input": [responses]}}),
    )
    assert cell.seen.cache_marks == ([] if cell.loses("cache") else ["[[text]]"])


@feature(
    GROUP,
    "marks in the prompt to cache up to, newest OpenAI models",
    clients=("anthropic",),
    modes="either",
    models="marking",
    to={"google": lossy("cache")},
)
async def newest_cache_marks(cell: Cell) -> None:
    block = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    await cell.ask("[[text]]", own=cell.own({"anthropic": {"system": [block]}}))
    assert cell.seen.all_system == "Long."
    assert cell.seen.cache_marks == ([] if cell.loses("cache") else ["Long."])


@feature(GROUP, "store", clients=("chat", "responses"), modes="either")
async def store(cell: Cell) -> None:
    await cell.ask(
        "[[text]]", own=cell.own({"chat": {"store": True}, "responses": {"store": True}})
    )
