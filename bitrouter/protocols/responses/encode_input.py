"""Turns of a conversation as the items of `input`. Source: protocols.md, 1.2, 2.3 and 2.5."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import (
    Block,
    Media,
    Message,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols import openai
from bitrouter.protocols.history import (
    id_within,
    merged,
    only_own,
    settled,
    without_empty_texts,
)
from bitrouter.protocols.responses.encode_content import annotations, output, user_parts

_MAX_ID: Final = 64
_ASSISTANT: Final[frozenset[Role]] = frozenset({"assistant"})
_MAX_MARKS: Final = 4
_MARKS: Final = ("prompt_cache_breakpoint", "cache_control")

InputItem = dict[str, Any]


def input_items(
    messages: Sequence[Message], names: Mapping[str, str], *, marks: str
) -> list[InputItem]:
    """The items for all turns. `names` are tool names as they go on the wire, `marks` is
    Traits.cache_hints. Raises InvalidRequest when nothing is left to say.
    """
    turns = merged(messages, _ASSISTANT)
    turns = [_own(turn) if turn.role == "assistant" else turn for turn in turns]
    turns = settled(without_empty_texts(turns), id_within(_MAX_ID))
    custom = _custom_calls(turns)
    items: list[InputItem] = []
    for turn in turns:
        if turn.role == "assistant":
            items += _assistant_items(turn.blocks, names)
        else:
            items += _user_items(turn, custom, marks)
    if marks != "none":
        _keep_last_marks(items)
    return items


def _own(turn: Message) -> Message:
    """The turn with the reasoning that OpenAI can read, and that something follows.

    Reasoning is refused without the item that it led to, and so is the end of an answer that was
    cut while the model still thought.
    """
    blocks = only_own(turn.blocks, openai.ORIGIN)
    while blocks and isinstance(blocks[-1], Reasoning):
        blocks.pop()
    return Message("assistant", blocks)


def _custom_calls(turns: Iterable[Message]) -> frozenset[str]:
    """The ids of calls of free-text tools, whose outputs are items of their own type."""
    return frozenset(
        block.id
        for turn in turns
        for block in turn.blocks
        if isinstance(block, ToolCall) and block.custom
    )


def _user_items(turn: Message, custom: frozenset[str], marks: str) -> Iterator[InputItem]:
    content: list[Text | Media] = []
    for block in turn.blocks:
        if isinstance(block, ToolResult):
            kind = "custom_tool_call" if block.call_id in custom else "function_call"
            yield {
                "type": f"{kind}_output",
                "call_id": block.call_id,
                "output": output(block, marks=marks),
            }
        elif isinstance(block, Text | Media):
            content.append(block)
    if content:
        yield message(turn.role, content, marks=marks)


def message(role: str, content: Sequence[Text | Media], *, marks: str) -> InputItem:
    """An easy message: a string if it is one text without a mark."""
    parts = user_parts(content, marks=marks)
    if len(parts) == 1 and len(parts[0]) == 2 and parts[0]["type"] == "input_text":
        return {"role": role, "content": parts[0]["text"]}
    return {"role": role, "content": parts}


def _assistant_items(blocks: Sequence[Block], names: Mapping[str, str]) -> list[InputItem]:
    items: list[InputItem] = []
    said: list[Text | Refusal] = []
    for block in blocks:
        if isinstance(block, Text | Refusal):
            said.append(block)
            continue
        if said:
            items.append(_said(said))
            said = []
        items.append(_item(block, names))
    if said:
        items.append(_said(said))
    return items


def _item(block: Block, names: Mapping[str, str]) -> InputItem:
    if isinstance(block, ToolCall):
        return _call(block, names)
    if isinstance(block, Reasoning):
        return _reasoning(block)
    raise UnsupportedFeature("input: this model's provider takes no media that the model has made")


def _said(blocks: Sequence[Text | Refusal]) -> InputItem:
    """One message for texts in a row: a string if it is a single plain one."""
    first = blocks[0]
    if len(blocks) == 1 and isinstance(first, Text) and not first.citations:
        return {"role": "assistant", "content": first.text}
    return {"type": "message", "role": "assistant", "content": [_said_part(one) for one in blocks]}


def _said_part(block: Text | Refusal) -> dict[str, Any]:
    if isinstance(block, Refusal):
        return {"type": "refusal", "refusal": block.text}
    return {
        "type": "output_text",
        "text": block.text,
        "annotations": annotations(block.citations),
    }


def _call(call: ToolCall, names: Mapping[str, str]) -> InputItem:
    name = names.get(call.name, call.name)
    if call.custom:
        return {
            "type": "custom_tool_call",
            "call_id": call.id,
            "name": name,
            "input": call.arguments,
        }
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": name,
        "arguments": call.arguments or "{}",
    }


def _reasoning(reasoning: Reasoning) -> InputItem:
    """Without the id, which names nothing where nothing is stored; and without the thinking itself,
    which is refused.
    """
    text = "" if reasoning.raw else reasoning.text
    return {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}] if text else [],
        "encrypted_content": reasoning.signature.value if reasoning.signature else None,
    }


def _keep_last_marks(items: Sequence[InputItem]) -> None:
    """Leave the last four cache marks, which is all that a request may have."""
    left = _MAX_MARKS
    for item in reversed(items):
        for part in reversed(_parts(item)):
            for mark in _MARKS:
                if mark in part:
                    if left == 0:
                        del part[mark]
                    else:
                        left -= 1


def _parts(item: InputItem) -> list[dict[str, Any]]:
    parts = item.get("content", item.get("output"))
    return parts if isinstance(parts, list) else []
