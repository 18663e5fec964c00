"""The items of `input` as turns of a conversation.

Items that the assistant said stand one by one; the turn that they make up is one message, and so
are the outputs of its calls. Source: protocols.md, 1.2 (input items), 2.3, 2.4 and 2.5.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bitrouter.errors import InvalidRequest
from bitrouter.ir import (
    Block,
    Message,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols import openai
from bitrouter.protocols.continuity import holds_redacted, unseal
from bitrouter.protocols.responses.decode_content import (
    assistant_content,
    system_content,
    user_content,
)
from bitrouter.protocols.responses.decode_tools import Tools
from bitrouter.protocols.responses.namespaces import flat_name
from bitrouter.protocols.responses.types import Item, Part

_STATE: Final = "is kept by the provider that made it, and this model's cannot look it up"
_NOT_CARRIED: Final = {
    "item_reference": f"the item {_STATE}",
    "compaction": "a compacted conversation can be read only by the provider that made it",
    "compaction_trigger": "this model's provider cannot compact a conversation",
}


class Conversation:
    """Reads items one after another. `system` is what leads; `dropped` names what was left out."""

    def __init__(self, tools: Tools) -> None:
        self.system: list[Text] = []
        self.messages: list[Message] = []
        self.dropped: list[str] = []
        self._tools = tools

    def read(self, items: Sequence[Item]) -> None:
        """Take all items. Raises InvalidRequest naming the item."""
        for place, item in enumerate(items):
            kind = item.type
            if kind is None or kind == "message":
                self._message(item, f"input[{place}]")
            elif (take := _TAKERS.get(kind)) is not None:
                take(self, item, f"input[{place}]")
            elif kind in _NOT_CARRIED:
                raise InvalidRequest(f"input[{place}]: {_NOT_CARRIED[kind]}")
            else:
                self.dropped.append("input")

    def _message(self, item: Item, where: str) -> None:
        if item.content is None:
            raise InvalidRequest(
                f"{where}.content is required"
                if item.role
                else f"{where} needs a type, or a role and content"
            )
        match item.role:
            case "user":
                if blocks := user_content(item.content, f"{where}.content"):
                    self.messages.append(Message("user", [*blocks]))
            case "assistant":
                self._said(assistant_content(item.content, f"{where}.content"))
                if item.phase:
                    self.dropped.append("phase")
            case "system" | "developer":
                self._system(system_content(item.content, f"{where}.content"))
            case _:
                raise InvalidRequest(
                    f"{where}.role: {item.role!r:.80} is not user, assistant, system or developer"
                )

    def _system(self, texts: list[Text]) -> None:
        if not self.messages:
            self.system += texts
        elif texts:
            self.messages.append(Message("system", [*texts]))

    def _said(self, blocks: Sequence[Block]) -> None:
        """Add to the assistant's turn."""
        if not blocks:
            return
        if self.messages and self.messages[-1].role == "assistant":
            self.messages[-1].blocks.extend(blocks)
        else:
            self.messages.append(Message("assistant", [*blocks]))

    def _reasoning(self, item: Item, where: str) -> None:
        self._said(reasoning_blocks(item))

    def _call(self, item: Item, where: str) -> None:
        custom = item.type == "custom_tool_call"
        if not item.call_id or not item.name:
            raise InvalidRequest(f"{where} needs a call_id and a name")
        given = (item.input or "") if custom else item.arguments or "{}"
        if not isinstance(given, str):
            given = msgspec.json.encode(given).decode()
        name = flat_name(item.namespace, item.name)
        signature = self._carried_signature()
        self._said([ToolCall(item.call_id, name, given, custom, signature)])

    def _carried_signature(self) -> Signature | None:
        """The signature of the call that comes now, if a reasoning item has just carried it."""
        blocks = self.messages[-1].blocks if self.messages else []
        last = blocks[-1] if blocks else None
        if not isinstance(last, Reasoning) or last.text or last.redacted:
            return None
        if last.signature is None or last.signature.origin != _SIGNS_CALLS:
            return None
        blocks.pop()
        return last.signature

    def _output(self, item: Item, where: str) -> None:
        if not item.call_id:
            raise InvalidRequest(f"{where}.call_id is required")
        if item.output is None or isinstance(item.output, dict):
            raise InvalidRequest(f"{where}.output must be a string or an array")
        content = user_content(item.output, f"{where}.output")
        result = ToolResult(item.call_id, content)
        last = self.messages[-1] if self.messages else None
        if last and last.role == "user" and isinstance(last.blocks[-1], ToolResult):
            last.blocks.append(result)
        else:
            self.messages.append(Message("user", [result]))

    def _more_tools(self, item: Item, where: str) -> None:
        """Tools that came into the conversation later are there from its beginning."""
        self._tools.add(item.tools or (), f"{where}.tools")


_SIGNS_CALLS: Final = "g"  # Google signs calls themselves, the others what was thought before

_TAKERS: Final[dict[str, Callable[[Conversation, Item, str], None]]] = {
    "reasoning": Conversation._reasoning,
    "function_call": Conversation._call,
    "custom_tool_call": Conversation._call,
    "function_call_output": Conversation._output,
    "custom_tool_call_output": Conversation._output,
    "additional_tools": Conversation._more_tools,
    "tool_search_output": Conversation._more_tools,
}


def reasoning_blocks(item: Item) -> list[Reasoning]:
    """A reasoning item: a block for the summary and one for the thinking itself, where there is
    any. The signature is on the last, or on one without text.
    """
    carried = item.encrypted_content or ""
    signature = _signature(carried, item.id)
    if signature is not None and holds_redacted(carried):
        return [Reasoning("", signature, redacted=True)]
    blocks = []
    if summary := _joined(item.summary):
        blocks.append(Reasoning(summary))
    thought = item.content if isinstance(item.content, str) else _joined(item.content)
    if thought:
        blocks.append(Reasoning(thought, raw=True))
    if signature is not None:
        blocks = blocks or [Reasoning("")]
        blocks[-1].signature = signature
    return blocks


def _joined(parts: Sequence[Part] | None) -> str:
    return "\n\n".join(part.text for part in parts or () if part.text)


def _signature(carried: str, item_id: str | None) -> Signature | None:
    """What an item's encrypted_content is: another vendor's in an envelope, or OpenAI's own. An
    envelope that holds nothing, of nobody, marks reasoning that nobody signed.
    """
    if not carried:
        return None
    signature = unseal(carried)
    if signature is None:
        return Signature(openai.ORIGIN, carried, item_id)
    return signature if signature.origin else None
