"""A conversation as Gemini wants it (protocols.md, 1.4 "API rules", 2.3 and 2.5).

The user begins, the sides take turns, no part is empty, every call is answered in the turn after
it, and only Google's own signatures come back to it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bitrouter.config.schema import Traits
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
from bitrouter.protocols.google.parts import Part, call_part, media_part, sign_first_call
from bitrouter.protocols.google.signatures import ORIGIN
from bitrouter.protocols.google.values import write_response
from bitrouter.protocols.history import merged, only_own, plain_turns, settled, without_empty_texts

_BOTH: Final[frozenset[Role]] = frozenset({"user", "assistant"})
_ROLES: Final[dict[Role, str]] = {"user": "user", "assistant": "model"}
_SPOKEN: Final = (Text, Refusal)
_OPENING: Final = {"role": "user", "parts": [{"text": "."}]}

Content = dict[str, object]


def encode_contents(
    messages: Sequence[Message], names: Mapping[str, str], traits: Traits, dropped: list[str]
) -> list[Content]:
    """`contents`. `names` are how tools are written. Raises InvalidRequest if nothing is said,
    UnsupportedFeature for media that cannot go.
    """
    plain = plain_turns(messages)
    if plain is not None:
        return [{"role": _ROLES[role], "parts": [{"text": text}]} for role, text in plain]
    own = [
        Message(message.role, only_own(message.blocks, ORIGIN))
        if message.role == "assistant"
        else message
        for message in messages
    ]
    turns = settled(merged(without_empty_texts(own), _BOTH), lambda call_id: call_id)
    writer = _Writer(names, traits, dropped)
    contents = [content for turn in turns if (content := writer.content(turn)) is not None]
    if contents and contents[0]["role"] == "model":
        contents.insert(0, dict(_OPENING))
    return contents


class _Writer:
    """Writes turns for one model."""

    def __init__(self, names: Mapping[str, str], traits: Traits, dropped: list[str]) -> None:
        self._names = names
        self._traits = traits
        self._dropped = dropped

    def content(self, message: Message) -> Content | None:
        """One turn; None if nothing of it can be written."""
        if message.role == "assistant":
            parts = self._said(message.blocks)
            return {"role": "model", "parts": parts} if parts else None
        parts = self._asked(message.blocks)
        return {"role": "user", "parts": parts} if parts else None

    def _asked(self, blocks: Sequence[Block]) -> list[Part]:
        responses: list[Part] = []
        beside: list[Part] = []
        parts: list[Part] = []
        for block in blocks:
            if isinstance(block, ToolResult):
                responses.append(self._response(block, beside))
            elif isinstance(block, Text):
                parts.append({"text": block.text})
            elif isinstance(block, Media):
                parts += self._media(block)
        return [*responses, *beside, *parts]

    def _response(self, result: ToolResult, beside: list[Part]) -> Part:
        """A functionResponse. Media go into it where the model takes that, else `beside` it."""
        response: Part = {
            "name": self._names.get(result.name or "", result.name),
            "response": write_response(result),
        }
        if self._traits.tool_ids and result.call_id:
            response["id"] = result.call_id
        media = [
            part
            for block in result.content
            if isinstance(block, Media)
            for part in self._media(block)
        ]
        inside = [part for part in media if self._traits.tool_media and "text" not in part]
        if inside:
            response["parts"] = inside
        beside += [part for part in media if part not in inside]
        return {"functionResponse": response}

    def _media(self, media: Media) -> list[Part]:
        if media.detail not in (None, "auto"):
            self._dropped.append("detail")
        part = media_part(media)
        return [part] if part is not None else []

    def _said(self, blocks: Sequence[Block]) -> list[Part]:
        parts: list[Part] = []
        carried: str | None = None  # a signature without text, on its way to the call that follows
        for place, block in enumerate(blocks):
            if isinstance(block, ToolCall):
                parts.append(self._call(block, carried))
                carried = None
            elif isinstance(block, Reasoning):
                carried = self._reasoning(block, blocks[place + 1 : place + 2], parts)
            elif isinstance(block, _SPOKEN):
                if block.text:
                    parts.append({"text": block.text})
            elif isinstance(block, Media):
                parts += self._media(block)
        sign_first_call(parts)
        return parts

    def _call(self, call: ToolCall, carried: str | None) -> Part:
        part = call_part(call, self._names, with_id=self._traits.tool_ids)
        if part is None:  # what some model wrote and its client kept: it was answered all the same
            name = self._names.get(call.name, call.name)
            part = {"functionCall": {"name": name, "args": {"input": call.arguments}}}
        signature = call.signature.value if call.signature else carried
        if signature:
            part["thoughtSignature"] = signature
        return part

    def _reasoning(
        self, block: Reasoning, following: Sequence[Block], parts: list[Part]
    ) -> str | None:
        """Write a thought of Google's own, or its signature to where it belongs.

        One without text was on a part that is not a thought: the call that follows, which other
        protocols have no place to sign, else the text before. Returned if it is the call's.
        """
        value = block.signature.value if block.signature else ""
        if block.text:
            parts.append({"text": block.text, "thought": True, "thoughtSignature": value})
            return None
        if following and isinstance(following[0], ToolCall) and following[0].signature is None:
            return value
        if parts and parts[-1].keys() == {"text"}:
            parts[-1]["thoughtSignature"] = value
        else:
            parts.append({"text": "", "thoughtSignature": value})
        return None
