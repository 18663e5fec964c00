"""Taking out of a request that goes on as it came what the router put into its history.

Source: protocols.md, 2.5, "Envelope".
"""

from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter.envelope import remove_members, replace_value
from bitrouter.protocols.base import Request, decode_part
from bitrouter.protocols.chat.mark import EXTRA, is_marked
from bitrouter.protocols.continuity import MARKS, may_hold_envelope

_MESSAGES: Final = "messages"
_CALLS: Final = "tool_calls"
_OF_A_MESSAGE: Final = frozenset({"reasoning_content", EXTRA})
_OF_A_CALL: Final = frozenset({EXTRA})

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)


def without_foreign(request: Request) -> Request:
    """See Translator.without_foreign. Of what is marked (mark.py) all goes: it is another vendor's.

    That holds for Google's signature too where the provider is Gemini behind Chat Completions, and
    for thinking where the provider wants its own back: only a translated request is written by the
    model's traits. What has no mark is the client's, or its provider's, and stays; so does what is
    not as it should be: the provider will say so. Raises InvalidRequest for a duplicate key, in the
    body or in what is edited.
    """
    raw = request.fields.get(_MESSAGES)
    if raw is None or not may_hold_envelope(request.body):
        return request
    messages = _edited(raw, _clean_message)
    if messages is raw:
        return request
    body = replace_value(request.body, request.fields, _MESSAGES, bytes(messages))
    fields = {**request.fields, _MESSAGES: messages}
    return msgspec.structs.replace(request, body=body, fields=fields)


def _edited(array: msgspec.Raw, edit: Callable[[msgspec.Raw], msgspec.Raw]) -> msgspec.Raw:
    """An array with its elements edited, and what stands between them; the very same if there is
    nothing to edit.
    """
    whole = bytes(array)
    out: list[bytes] = []
    position = kept = 1
    for old in decode_part(_elements, array) or ():
        # Before it are white space and commas alone, so the first place is its own.
        start = whole.index(bytes(old), position)
        position = start + len(old)
        new = edit(old)
        if new is not old:
            out += (whole[kept:start], bytes(new))
            kept = position
    return msgspec.Raw(b"".join((b"[", *out, whole[kept:]))) if out else array


def _clean_message(raw: msgspec.Raw) -> msgspec.Raw:
    message = bytes(raw)
    if MARKS[0] not in message:
        return raw
    members = decode_part(_members, raw)
    if members is None or decode_part(_string, members.get("role", msgspec.Raw())) != "assistant":
        return raw
    old = members.get(_CALLS, msgspec.Raw())
    calls = _edited(old, _clean_call)
    if calls is not old:
        message = replace_value(message, members, _CALLS, bytes(calls))
        members[_CALLS] = calls
    if _has_mark(members):
        message = remove_members(message, members, _OF_A_MESSAGE)
    return raw if message == bytes(raw) else msgspec.Raw(message)


def _clean_call(raw: msgspec.Raw) -> msgspec.Raw:
    members = decode_part(_members, raw)
    if members is None or not _has_mark(members):
        return raw
    return msgspec.Raw(remove_members(bytes(raw), members, _OF_A_CALL))


def _has_mark(members: dict[str, msgspec.Raw]) -> bool:
    return EXTRA in members and is_marked(members[EXTRA])
