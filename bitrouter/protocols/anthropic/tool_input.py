"""The input of a call: a JSON object on this wire, the text of one in the neutral form.

Its keys keep their order and its numbers their spelling, or prompt caches would miss
(protocols.md, 2.1).
"""

from typing import Final

import msgspec

from bitrouter.ir import ToolCall
from bitrouter.protocols.base import is_json_object

EMPTY: Final = msgspec.Raw(b"{}")


def input_text(raw: msgspec.Raw) -> str:
    """An input as text without white space between its tokens; what is no object is none: `{}`."""
    return msgspec.json.format(bytes(raw), indent=-1).decode() if is_object(raw) else "{}"


def is_object(raw: msgspec.Raw) -> bool:
    """Whether a JSON value is an object."""
    return memoryview(raw)[0] == ord("{")


def input_object(call: ToolCall) -> msgspec.Raw | None:
    """The input of a call, None if its arguments are not that of a function: not one JSON object.

    The text of a free-text tool stands in the property `input`.
    """
    if call.custom:
        return msgspec.Raw(msgspec.json.encode({"input": call.arguments}))
    if not call.arguments.strip():
        return EMPTY
    written = call.arguments.encode()
    return msgspec.Raw(written) if is_json_object(written) else None


def input_object_of_any(call: ToolCall) -> msgspec.Raw:
    """The same for a call whose arguments the model wrote wrongly: they stand in `arguments`, so
    that whoever runs the tool sees them and says what is wrong.
    """
    found = input_object(call)
    if found is not None:
        return found
    return msgspec.Raw(msgspec.json.encode({"arguments": call.arguments}))
