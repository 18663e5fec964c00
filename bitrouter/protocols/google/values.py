"""The objects of free form: a call's arguments and a function's response.

In the neutral form both are text. Source: protocols.md, 2.3, "Tool results".
"""

from typing import Any, Final

import msgspec

from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest
from bitrouter.ir import Text, ToolCall, ToolResult
from bitrouter.protocols.base import decode_part

_OUTPUTS: Final = ("output", "result")
_ERROR: Final = "error"

EMPTY: Final = msgspec.Raw(b"{}")

_object: Final = msgspec.json.Decoder(Fields)
_text: Final = msgspec.json.Decoder(str)


def compact(raw: msgspec.Raw) -> str:
    """The JSON text without white space between its tokens, which are as they came."""
    data = bytes(raw)
    try:
        return msgspec.json.format(data, indent=-1).decode()
    except RecursionError:  # at a depth that could just be read
        return data.decode()


def read_arguments(args: msgspec.Raw) -> str | None:
    """The arguments of a call as JSON text; None if they are not an object."""
    if bytes(args) in (b"", b"null"):
        return "{}"
    return compact(args) if memoryview(args)[0] == ord("{") else None


def read_response(response: msgspec.Raw, where: str) -> tuple[str, bool]:
    """What a function gave as text, and whether that is an error. Raises InvalidRequest."""
    if bytes(response) in (b"", b"null"):
        return "", False
    fields = decode_part(_object, bytes(response))
    if fields is None:
        raise InvalidRequest(f"{where} must be an object")
    is_error = _ERROR in fields and bytes(fields[_ERROR]) != b"null"
    if len(fields) == 1:
        (name, value), *_ = fields.items()
        text = decode_part(_text, bytes(value)) if is_error or name in _OUTPUTS else None
        if text is not None:
            return text, is_error
    return compact(response), is_error


def write_arguments(call: ToolCall) -> msgspec.Raw | None:
    """A call's arguments as an object; None if they are not one, as those of a cut answer."""
    if call.custom:
        return msgspec.Raw(msgspec.json.encode({"input": call.arguments}))
    return object_of(call.arguments or "{}")


def object_of(text: str) -> msgspec.Raw | None:
    """The text as the JSON object that it is; None if it is none.

    On one line: a line end between tokens would end an event of a stream.
    """
    data = text.strip().encode()
    if not data.startswith(b"{") or decode_part(_object, data) is None:
        return None
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return msgspec.Raw(data)


def write_response(result: ToolResult) -> dict[str, Any] | msgspec.Raw:
    """What a function gave as the object that Google wants."""
    text = "\n".join(block.text for block in result.content if isinstance(block, Text))
    if result.is_error:
        return {_ERROR: text}
    return object_of(text) or {"output": text}
