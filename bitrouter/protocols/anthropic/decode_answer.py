"""A provider's whole answer (protocols.md, 1.3 and 2.7). Blocks of unknown types are passed over:
what Anthropic's own tools did is in the text as well.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter.errors import BadResponse
from bitrouter.ir import Answer, Block, Candidate, Citation, Reasoning, Signature, Text, ToolCall
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.finish import decode_finish
from bitrouter.protocols.anthropic.tool_input import input_text
from bitrouter.protocols.base import decode_answer as decode_whole
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.history import hashed

_answer: Final = msgspec.json.Decoder(types.MessagesAnswer)
_text: Final = msgspec.json.Decoder(types.AnswerText)
_call: Final = msgspec.json.Decoder(types.AnswerCall)
_thinking: Final = msgspec.json.Decoder(types.ThinkingBlock)
_redacted: Final = msgspec.json.Decoder(types.RedactedThinkingBlock)


def decode_answer(body: bytes) -> Answer:
    """What an answer means. Raises BadResponse when it is none."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadResponse("the upstream's answer is not a message") from error


def _decode(body: bytes) -> Answer:
    message = decode_whole(_answer, body)
    if message is None:
        raise BadResponse("the upstream's answer is not a message")
    blocks = []
    for raw in message.content:
        reader = _READERS.get(types.typed.decode(raw).type or "")
        block = reader(raw) if reader else None
        if block is not None:
            blocks.append(block)
    _name_calls(blocks, message.id or "")
    finish = decode_finish(
        message.stop_reason,
        message.stop_sequence,
        message.stop_details,
        called=any(isinstance(block, ToolCall) for block in blocks),
    )
    usage = decode_part(types.usage, message.usage)
    return Answer(
        [Candidate(blocks, finish)],
        usage=usage.neutral() if usage else None,
        id=message.id,
        model=message.model,
    )


def _read_text(raw: msgspec.Raw) -> Block | None:
    block = _text.decode(raw)
    return Text(block.text, citations=_citations(block.citations)) if block.text else None


def _citations(raw: msgspec.Raw) -> tuple[Citation, ...]:
    given = decode_part(types.web_citations, raw)
    found = (citation_of(one) for one in given or ())
    return tuple(citation for citation in found if citation)


def citation_of(given: types.WebCitation) -> Citation | None:
    """A citation of a page; None for one of a document, which is nobody else's affair."""
    return Citation(given.url, given.title, given.cited_text or None) if given.url else None


def _read_call(raw: msgspec.Raw) -> Block | None:
    block = _call.decode(raw)
    return ToolCall(block.id or "", block.name, input_text(block.input))


def _name_calls(blocks: list[Block], answer_id: str) -> None:
    """Give an id to calls without one, as some servers that imitate the API leave them."""
    for place, block in enumerate(blocks):
        if isinstance(block, ToolCall) and not block.id:
            block.id = f"toolu_{hashed(f'{answer_id} {place} {block.name} {block.arguments}')}"


def _read_thinking(raw: msgspec.Raw) -> Block | None:
    block = _thinking.decode(raw)
    return Reasoning(block.thinking, Signature(ORIGIN, block.signature or ""))


def _read_redacted(raw: msgspec.Raw) -> Block | None:
    return Reasoning("", Signature(ORIGIN, _redacted.decode(raw).data), redacted=True)


_READERS: Final[dict[str, Callable[[msgspec.Raw], Block | None]]] = {
    "text": _read_text,
    "tool_use": _read_call,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
}
