"""Parts of a chat client's request."""

from typing import Any

FUNCTION = {"type": "function", "function": {"name": "look_up"}}


def call(call_id: str = "call_1", name: str = "look_up", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}
