"""Keeping other vendors' signatures from Google on requests that are passed through.

Source: protocols.md, 2.5, "Envelope".
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from bitrouter.envelope import Fields, replace_value, split_fields
from bitrouter.ir import Signature
from bitrouter.protocols.base import Request, decode_part
from bitrouter.protocols.continuity import may_hold_envelope, unseal_from_base64
from bitrouter.protocols.google.members import INNER_REQUEST
from bitrouter.protocols.google.signatures import ORIGIN, SKIP

_CONTENTS: Final = "contents"
_SIGNATURES: Final = ("thoughtSignature", "thought_signature")
_CALLS: Final = ("functionCall", "function_call")

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_fields: Final = msgspec.json.Decoder(Fields)
_text: Final = msgspec.json.Decoder(str)

Part = dict[str, msgspec.Raw]


def without_foreign(request: Request) -> Request:
    """See Translator.without_foreign. A turn that loses nothing keeps its bytes.

    Raises InvalidRequest for a body with a duplicate key.
    """
    body = _cleaned(request.body, request.fields)
    for name in INNER_REQUEST & request.fields.keys():
        inner = bytes(request.fields[name])
        fields = decode_part(_fields, inner)
        if fields is not None:
            body = replace_value(body, split_fields(body), name, _cleaned(inner, fields))
    if body is request.body:
        return request
    return msgspec.structs.replace(request, body=body, fields=split_fields(body))


def _cleaned(body: bytes, fields: Fields) -> bytes:
    """A request with its `contents` cleaned, the very same if there is nothing to clean."""
    raw = fields.get(_CONTENTS)
    if raw is None or not may_hold_envelope(bytes(raw)):
        return body
    contents = decode_part(_list, bytes(raw))
    if contents is None:
        return body
    turns = [_Turn(content) for content in contents]
    for place, turn in enumerate(turns):
        if may_hold_envelope(bytes(turn.raw)):
            _clean(turn, turns[:place])
    written = [turn.written() for turn in turns if turn.parts or not turn.changed]
    return replace_value(body, fields, _CONTENTS, msgspec.json.encode(written))


class _Turn:
    """One of `contents`; what is no turn at all is left to Google to refuse."""

    def __init__(self, raw: msgspec.Raw) -> None:
        self.raw = raw
        self.changed = False
        self._fields = decode_part(_fields, bytes(raw)) or {}
        parts = decode_part(_list, bytes(self._fields.get("parts", b"")))
        self.parts = [decode_part(_fields, bytes(part)) or {} for part in parts or ()]

    def written(self) -> msgspec.Raw | Fields:
        """The turn as it came, or as it is now."""
        if not self.changed:
            return self.raw
        return self._fields | {"parts": msgspec.Raw(msgspec.json.encode(self.parts))}


def _clean(turn: _Turn, before: Sequence[_Turn]) -> None:
    """Open what is Google's own, take out what is not."""
    parts = turn.parts
    turn.parts = []
    lost = False
    for part in parts:
        name, signature = _envelope(part)
        if signature is None:
            turn.parts.append(part)
            continue
        turn.changed = True
        if signature.origin == ORIGIN and signature.value:
            turn.parts.append(part | {name: _raw(signature.value)})
            continue
        lost = True
        if _is_thought(part):
            _drop_thought([*before, turn])
        elif rest := _unsigned(part, name):
            turn.parts.append(rest)
    if lost:
        _sign_first_call(turn.parts)


def _envelope(part: Part) -> tuple[str, Signature | None]:
    for name in _SIGNATURES:
        carried = decode_part(_text, bytes(part[name])) if name in part else None
        signature = unseal_from_base64(carried) if carried else None
        if signature is not None:
            return name, signature
    return "", None


def _drop_thought(turns: Sequence[_Turn]) -> None:
    """Take away the beginning of a thought that was streamed: of its parts the last is signed.

    They may be turns of their own.
    """
    for turn in reversed(turns):
        while turn.parts and _is_unsigned_thought(turn.parts[-1]):
            turn.parts.pop()
            turn.changed = True
        if turn.parts or not turn.changed:
            return


def _unsigned(part: Part, name: str) -> Part | None:
    """The part without its signature; None if it was there for that alone."""
    rest = {key: value for key, value in part.items() if key != name}
    is_empty = rest.keys() <= {"text", "thought"} and bytes(rest.get("text", b'""')) == b'""'
    return None if is_empty else rest


def _sign_first_call(parts: list[Part]) -> None:
    """Gemini 3 wants the first call of a turn signed, and what signed it may just have gone."""
    for part in parts:
        if not part.keys().isdisjoint(_CALLS):
            if part.keys().isdisjoint(_SIGNATURES):
                part[_SIGNATURES[0]] = _raw(SKIP)
            return


def _is_thought(part: Part) -> bool:
    return bytes(part.get("thought", b"")) == b"true"


def _is_unsigned_thought(part: Part) -> bool:
    return _is_thought(part) and part.keys().isdisjoint(_SIGNATURES)


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))
