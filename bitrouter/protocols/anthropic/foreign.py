"""Taking other vendors' thinking out of a request that goes on as it came (protocols.md, 2.5)."""

from typing import Final

import msgspec

from bitrouter.envelope import replace_value
from bitrouter.ir import Signature
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.base import Request, decode_part
from bitrouter.protocols.continuity import may_hold_envelope, unseal

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)

# The member in which a block carries a signature.
_CARRIERS: Final = {"thinking": "signature", "redacted_thinking": "data"}


def without_foreign(request: Request) -> Request:
    """See Translator.without_foreign. A turn that has nothing else goes with what it held.

    What is not as it should be stays as it is: the provider will say so. Raises InvalidRequest for
    a duplicate key.
    """
    raw = request.fields.get("messages")
    if raw is None or not may_hold_envelope(request.body):
        return request
    turns = decode_part(_elements, raw) or []
    cleaned = [_clean_turn(turn) for turn in turns]
    if all(new is old for new, old in zip(cleaned, turns, strict=True)):
        return request
    messages = _array([turn for turn in cleaned if turn is not None])
    body = replace_value(request.body, request.fields, "messages", messages)
    fields = {**request.fields, "messages": msgspec.Raw(messages)}
    return msgspec.structs.replace(request, body=body, fields=fields)


def _clean_turn(raw: msgspec.Raw) -> msgspec.Raw | None:
    """A turn without what is foreign; None if that was all it had."""
    if not may_hold_envelope(bytes(raw)):
        return raw
    turn = decode_part(types.members, raw)
    content = decode_part(_elements, turn["content"]) if turn and "content" in turn else None
    if turn is None or content is None:
        return raw
    cleaned = [_clean_block(block) for block in content]
    if all(new is old for new, old in zip(cleaned, content, strict=True)):
        return raw
    kept = [block for block in cleaned if block is not None]
    if not kept:
        return None
    return msgspec.Raw(msgspec.json.encode({**turn, "content": msgspec.Raw(_array(kept))}))


def _clean_block(raw: msgspec.Raw) -> msgspec.Raw | None:
    """A block, with its envelope opened if that is Anthropic's own; None if it is another's."""
    kind = decode_part(types.typed, raw)
    carrier = _CARRIERS.get(kind.type or "") if kind else None
    block = decode_part(types.members, raw) if carrier else None
    if carrier is None or block is None or carrier not in block:
        return raw
    signature = unseal(decode_part(_string, block[carrier]) or "")
    if signature is None:
        return raw
    if not _is_own(signature):
        return None
    value = msgspec.Raw(msgspec.json.encode(signature.value))
    return msgspec.Raw(msgspec.json.encode({**block, carrier: value}))


def _is_own(signature: Signature) -> bool:
    return signature.origin == ORIGIN and bool(signature.value)


def _array(elements: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(map(bytes, elements)) + b"]"
