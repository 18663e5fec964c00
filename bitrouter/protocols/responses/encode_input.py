"""Turns of a conversation as the items of `input`. Source: protocols.md, 1.2, 2.3 and 2.5."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import (
    Block,
    CacheMark,
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
    plain_turns,
    settled,
    without_empty_texts,
)
from bitrouter.protocols.responses.cache_marks import CacheMarks
from bitrouter.protocols.responses.encode_content import annotations, content, output

_ASSISTANT: Final[frozenset[Role]] = frozenset({"assistant"})
_MARKED: Final = ("user", "system", "developer")
_wire_id: Final = id_within(64)

InputItem = dict[str, Any]


class InputWriter:
    """Writes the items of a request. `names` are tool names as they go on the wire."""

    def __init__(self, names: Mapping[str, str], marks: CacheMarks) -> None:
        self._names = names
        self._marks = marks
        self._custom: set[str] = set()  # ids of calls, whose outputs are items of their own type
        self.items: list[InputItem] = []

    def write_system(self, texts: Sequence[Text]) -> str:
        """`instructions`, empty if there are none. Texts with a mark that the provider takes are an
        item instead, for instructions cannot be marked.
        """
        texts = [text for text in texts if text.text]
        if any(text.cache for text in texts):
            if self._marks.are_taken:
                item = {"role": "developer", "content": content([*texts], self._marks)}
                self.items.append(item)
                return ""
            self._marks.left_out = True
        return "\n\n".join(text.text for text in texts)

    def write(self, messages: Sequence[Message]) -> None:
        """All turns. Raises InvalidRequest when nothing is left to say, and UnsupportedFeature."""
        plain = plain_turns(messages)
        if plain is not None:
            self.items += [{"role": role, "content": text} for role, text in plain]
            return
        turns = merged(messages, _ASSISTANT)
        turns = [_own(turn) if turn.role == "assistant" else turn for turn in turns]
        for turn in settled(without_empty_texts(turns), _wire_id):
            if turn.role == "assistant":
                self._assistant(turn.blocks)
            else:
                self._user(turn)

    def mark_end(self, mark: CacheMark) -> None:
        """Mark the end of the prompt: the last part of its last message."""
        for item in reversed(self.items):
            if item.get("role") in _MARKED and self._marks.are_taken:
                if isinstance(item["content"], str):
                    item["content"] = [{"type": "input_text", "text": item["content"]}]
                self._marks.put(item["content"][-1], mark)
                return
        self._marks.left_out = True

    def _user(self, turn: Message) -> None:
        said: list[Text | Media] = []
        for block in turn.blocks:
            if isinstance(block, ToolResult):
                self._output(block)
            elif isinstance(block, Text | Media):
                said.append(block)
        if said:
            self.items.append({"role": turn.role, "content": content(said, self._marks)})

    def _output(self, result: ToolResult) -> None:
        custom = result.call_id in self._custom
        item = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": result.call_id,
            "output": output(result, self._marks),
        }
        self.items.append(item)

    def _assistant(self, blocks: Sequence[Block]) -> None:
        said: list[Text | Refusal] = []
        for block in blocks:
            if isinstance(block, Text | ToolCall) and block.cache is not None:
                self._marks.left_out = True  # there is no place for it in what the model said
            if isinstance(block, Text | Refusal):
                said.append(block)
                continue
            if said:
                self.items.append(_said(said))
                said = []
            self.items.append(self._item(block))
        if said:
            self.items.append(_said(said))

    def _item(self, block: Block) -> InputItem:
        if isinstance(block, ToolCall):
            return self._call(block)
        if isinstance(block, Reasoning):
            return _reasoning(block)
        raise UnsupportedFeature(
            "this model's provider cannot be given media that a model has made"
        )

    def _call(self, call: ToolCall) -> InputItem:
        item = {
            "type": "function_call",
            "call_id": call.id,
            "name": self._names.get(call.name, call.name),
        }
        if not call.custom:
            return item | {"arguments": call.arguments or "{}"}
        self._custom.add(call.id)
        return item | {"type": "custom_tool_call", "input": call.arguments}


def _own(turn: Message) -> Message:
    """The turn with the reasoning that OpenAI can read, and that something follows.

    Reasoning is refused without the item that it led to, and so is the end of an answer that was
    cut while the model still thought.
    """
    blocks = only_own(turn.blocks, openai.ORIGIN)
    while blocks and isinstance(blocks[-1], Reasoning):
        blocks.pop()
    return Message("assistant", blocks)


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
