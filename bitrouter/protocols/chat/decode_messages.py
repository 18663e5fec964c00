"""A client's messages as a conversation: protocols.md, 1.1 and 2.3."""

from collections.abc import Sequence

from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.ir import (
    Block,
    Media,
    Message,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols.chat import types
from bitrouter.protocols.chat.decode_content import cache_mark, decode_content, decode_texts
from bitrouter.protocols.history import hashed


class Conversation:
    """Takes messages one after another. `system` is what leads, `turns` what follows; `has_names`
    says that a participant has a name, for which there is no other place.
    """

    def __init__(self, messages: Sequence[types.Message]) -> None:
        self.system: list[Text] = []
        self.turns: list[Message] = []
        self.has_names = False
        self._results: list[Block] | None = None  # of the turn that is being put together
        self._last_call = ""  # the id made for the last legacy function_call
        for place, message in enumerate(messages):
            self._add(message, f"messages[{place}]")

    def _add(self, message: types.Message, where: str) -> None:
        role = message.role
        if role in ("tool", "function"):
            self._add_result(message, where)
            return
        self._results = None
        self.has_names = self.has_names or bool(message.name)
        if role == "user":
            self.turns.append(Message("user", [*_marked(message, where)]))
        elif role == "assistant":
            self._add_said(message, where)
        elif role in ("system", "developer"):
            self._add_system(message, where)
        else:
            raise InvalidRequest(f"{where}.role: {role!r:.80} is not a role")

    def _add_system(self, message: types.Message, where: str) -> None:
        texts = decode_texts(message.content, where)
        if texts and message.cache_control is not None:
            texts[-1].cache = cache_mark(message.cache_control)
        if not self.turns:
            self.system += texts
        elif texts:
            self.turns.append(Message("system", [*texts]))

    def _add_said(self, message: types.Message, where: str) -> None:
        if message.audio is not None:
            raise UnsupportedFeature(f"{where}.audio refers to a sound that only its vendor keeps")
        blocks: list[Block] = []
        reasoning = message.reasoning_content or message.reasoning
        if reasoning and isinstance(reasoning, str):
            blocks.append(Reasoning(reasoning))
        blocks += _said(message, where)
        if message.refusal:
            blocks.append(Refusal(message.refusal))
        for place, call in enumerate(message.tool_calls or ()):
            blocks.append(_call(call, f"{where}.tool_calls[{place}]"))
        if message.function_call is not None:
            blocks.append(self._legacy_call(message.function_call, where))
        if blocks:
            self.turns.append(Message("assistant", blocks))

    def _legacy_call(self, call: types.FunctionCall, where: str) -> ToolCall:
        """A call without an id: it gets one, the same every time the history is sent."""
        if not call.name:
            raise InvalidRequest(f"{where}.function_call.name is required")
        self._last_call = f"call_{hashed(f'{where} {call.name}')}"
        return ToolCall(self._last_call, call.name, types.written_by_model(call))

    def _add_result(self, message: types.Message, where: str) -> None:
        call_id = message.tool_call_id
        if message.role == "function":
            call_id = call_id or self._last_call
        elif not call_id:
            raise InvalidRequest(f"{where}.tool_call_id is required")
        content = [] if message.content is None else _marked(message, where)
        kept = [block for block in content if isinstance(block, Media) or block.text]
        result = ToolResult(call_id or "", kept, name=message.name)
        if self._results is None:
            self._results = []
            self.turns.append(Message("user", self._results))
        self._results.append(result)


def _marked(message: types.Message, where: str) -> list[Text | Media]:
    """The content, with the message's own cache mark on the last part."""
    content = decode_content(message.content, where)
    if content and message.cache_control is not None:
        content[-1].cache = cache_mark(message.cache_control)
    return content


def _said(message: types.Message, where: str) -> list[Block]:
    """The texts and refusals in an assistant's content."""
    content = message.content
    if content is None or isinstance(content, str):
        return [Text(content)] if content else []
    blocks: list[Block] = []
    for place, part in enumerate(content):
        if part.type == "text" and part.text is not None:
            mark = cache_mark(part.cache_control, part.prompt_cache_breakpoint)
            blocks += [Text(part.text, mark)] if part.text else []
        elif part.type == "refusal" and part.refusal is not None:
            blocks += [Refusal(part.refusal)] if part.refusal else []
        else:
            raise InvalidRequest(f"{where}.content[{place}] must be a text or a refusal")
    if blocks and isinstance(last := blocks[-1], Text) and message.cache_control is not None:
        last.cache = cache_mark(message.cache_control)
    return blocks


def _call(call: types.ToolCall, where: str) -> ToolCall:
    kind = call.type or ("custom" if call.custom else "function")
    named = call.custom if kind == "custom" else call.function
    if kind not in ("function", "custom"):
        raise InvalidRequest(f"{where}.type: {kind!r:.80} is not a type of call")
    if not call.id:
        raise InvalidRequest(f"{where}.id is required")
    if named is None or not named.name:
        raise InvalidRequest(f"{where}.{kind}.name is required")
    value = call.thought_signature()
    return ToolCall(
        call.id,
        named.name,
        types.written_by_model(named),
        kind == "custom",
        Signature(types.GOOGLE, value) if value else None,
    )
