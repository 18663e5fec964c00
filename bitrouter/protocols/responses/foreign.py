"""Envelopes in a request that goes to a provider of this protocol as it is.

Source: protocols.md, 2.5, "Envelope".
"""

from typing import Any, Final

import msgspec

from bitrouter.envelope import replace_value, split_fields
from bitrouter.protocols import openai
from bitrouter.protocols.base import Request, decode_part
from bitrouter.protocols.continuity import MARKS, unseal

_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_item: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)
_encode: Final = msgspec.json.Encoder().encode


def without_foreign(request: Request) -> Request:
    """See Translator.without_foreign. Every other byte of the body is as it came."""
    items = decode_part(_items, request.fields.get("input", msgspec.Raw()))
    if items is None:
        return request
    kept = [one for item in items if (one := _opened(bytes(item))) is not None]
    if kept == [bytes(item) for item in items]:
        return request
    body = replace_value(request.body, request.fields, "input", b"[%b]" % b",".join(kept))
    return msgspec.structs.replace(request, body=body, fields=split_fields(body))


def _opened(raw: bytes) -> bytes | None:
    """An item as OpenAI may see it; None if it may not."""
    if MARKS[0] not in raw:
        return raw
    item = decode_part(_item, raw)
    if item is None or decode_part(_string, item.get("type", msgspec.Raw())) != "reasoning":
        return raw
    carried = decode_part(_string, item.get("encrypted_content", msgspec.Raw()))
    signature = unseal(carried) if carried else None
    if signature is None:
        return raw
    if signature.origin != openai.ORIGIN or not signature.value:
        return None
    opened: dict[str, Any] = item | {"encrypted_content": signature.value}
    if signature.id is not None:
        opened["id"] = signature.id
    return _encode(opened)
