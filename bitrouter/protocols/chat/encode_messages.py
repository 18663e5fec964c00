"""A conversation as chat's messages: protocols.md, 2.3."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bitrouter.config.schema import Traits
from bitrouter.ir import (
    Block,
    Media,
    Message,
    Reasoning,
    Refusal,
    Request,
    Role,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from bitrouter.protocols import media
from bitrouter.protocols.chat.encode_content import (
    CacheMarks,
    Part,
    encode_content,
    encode_part,
)
from bitrouter.protocols.chat.types import google_extra
from bitrouter.protocols.history import id_within, merged, plain_turns, settled, without_empty_texts
from bitrouter.protocols.openai import ORIGIN

_MAX_ID: Final = 40
_UNSIGNED: Final = Signature(ORIGIN)
_SIDES: Final[frozenset[Role]] = frozenset({"user", "assistant"})
_wire_id: Final = id_within(_MAX_ID)


def plain_messages(request: Request) -> list[dict[str, Any]] | None:
    """All messages of a conversation that has nothing but plain turns and unmarked system texts, as
    MessageWriter would write them; None for any other.
    """
    turns = plain_turns(request.messages)
    if turns is None:
        return None
    written: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
    if request.system:
        texts = []
        for text in request.system:
            if text.cache is not None:
                return None
            if text.text:
                texts.append(text.text)
        if texts:
            written.insert(0, {"role": "system", "content": "\n\n".join(texts)})
    return written


class MessageWriter:
    """Writes the turns of one request. `names` are the tools' names as they go on the wire."""

    def __init__(self, names: Mapping[str, str], traits: Traits, marks: CacheMarks) -> None:
        self._names = names
        self._traits = traits
        self._marks = marks

    def write(self, request: Request) -> list[dict[str, Any]]:
        """All messages, the system's first.

        Raises UnsupportedFeature for media that chat has no form for, InvalidRequest when there
        is nothing to say.
        """
        written = self._system(request.system)
        shown = request.messages
        if not self._traits.replay_reasoning:
            shown = [_without_reasoning(message) for message in shown]
        turns = merged(without_empty_texts(shown), _SIDES)
        for turn in settled(turns, _wire_id):
            if turn.role == "assistant":
                written += self._said(turn)
            elif turn.role == "user":
                written += self._asked(turn)
            else:
                written += self._system([b for b in turn.blocks if isinstance(b, Text)])
        return written

    def _system(self, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """One message: parts only where a mark must be kept apart."""
        kept = [text for text in texts if text.text]
        if not kept:
            return []
        if self._marks and any(text.cache for text in kept):
            content: str | list[Part] = encode_content(kept, self._marks)
        else:
            for text in kept:
                if text.cache is not None:
                    self._marks.put({}, text.cache)
            content = "\n\n".join([text.text for text in kept])
        return [{"role": "system", "content": content}]

    def _asked(self, turn: Message) -> list[dict[str, Any]]:
        """The results of calls, each a message of its own, then what the user says."""
        written: list[dict[str, Any]] = []
        shown: list[Text | Media] = []
        for block in turn.blocks:
            if isinstance(block, ToolResult):
                pictures = [b for b in block.content if _is_shown(b)]
                written.append(self._result(block))
                shown += pictures
        shown += [block for block in turn.blocks if isinstance(block, Text | Media)]
        if shown:
            written.append({"role": "user", "content": encode_content(shown, self._marks)})
        return written

    def _result(self, result: ToolResult) -> dict[str, Any]:
        """A `tool` message, which holds text alone: of what is shown apart it keeps a note."""
        texts = [_text_of(block) for block in result.content]
        text = "\n".join(text for text in texts if text)
        if result.is_error and not text.lstrip().lower().startswith("error"):
            text = f"Error: {text}"
        marks = [b.cache for b in result.content if b.cache and not _is_shown(b)]
        last = Text(text, result.cache or (marks[-1] if marks else None))
        content = encode_content([last], self._marks)
        return {"role": "tool", "tool_call_id": result.call_id, "content": content}

    def _said(self, turn: Message) -> list[dict[str, Any]]:
        """An assistant's message; none if nothing of it can be shown."""
        message: dict[str, Any] = {"role": "assistant", "content": self._words(turn.blocks)}
        if self._traits.replay_reasoning and (reasoning := _reasoning(turn.blocks)):
            message["reasoning_content"] = reasoning
        calls = [self._call(block) for block in turn.blocks if isinstance(block, ToolCall)]
        if calls:
            message["tool_calls"] = calls
        return [message] if calls or message["content"] else []

    def _words(self, blocks: Sequence[Block]) -> str | list[Part] | None:
        """Its texts as one string, null for none; parts where there is more to say than text."""
        texts = [_spoken(block) for block in blocks if isinstance(block, Text | Media)]
        refusals = [block for block in blocks if isinstance(block, Refusal)]
        if refusals or (self._marks and any(text.cache for text in texts)):
            parts = [encode_part(text, self._marks) for text in texts]
            return parts + [{"type": "refusal", "refusal": one.text} for one in refusals]
        for text in texts:
            self._marks.put({}, text.cache)
        return "".join(text.text for text in texts) or None

    def _call(self, call: ToolCall) -> dict[str, Any]:
        name = self._names.get(call.name, call.name)
        extra = google_extra(call.signature) if self._traits.call_signatures else {}
        if call.custom:
            custom = {"name": name, "input": call.arguments}
            return {"id": call.id, "type": "custom", "custom": custom, **extra}
        function = {"name": name, "arguments": call.arguments or "{}"}
        return {"id": call.id, "type": "function", "function": function, **extra}


def _without_reasoning(message: Message) -> Message:
    if not any(isinstance(block, Reasoning) for block in message.blocks):
        return message
    kept: list[Block] = [one for one in message.blocks if not isinstance(one, Reasoning)]
    return Message(message.role, kept)


def _is_shown(block: Text | Media) -> bool:
    """Whether it cannot stand in a `tool` message."""
    return isinstance(block, Media) and media.as_text(block) is None


def _text_of(block: Text | Media) -> str:
    if isinstance(block, Text):
        return block.text
    return media.as_text(block) or f"[{block.kind}]"


def _spoken(block: Text | Media) -> Text:
    """What an assistant may have said: of a picture that it made there is a note."""
    return block if isinstance(block, Text) else Text(_text_of(block), block.cache)


def _reasoning(blocks: Sequence[Block]) -> str:
    """The thinking that a chat server itself may have had: nobody else's, and not encrypted."""
    return "".join(
        block.text
        for block in blocks
        if isinstance(block, Reasoning)
        and (block.signature is None or block.signature == _UNSIGNED)
    )
