"""Tools in namespaces, which no other protocol has: there they bear both names in one.

Source: protocols.md, 2.4, "namespace".
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from bitrouter.envelope import Fields
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.history import hashed
from bitrouter.protocols.responses.types import Tool

_MAX_LENGTH: Final = 64
_KEPT: Final = 50  # characters of a name that is too long, before `__` and a hash


def flat_name(namespace: str | None, name: str) -> str:
    """One name for a tool and its namespace; the same every time."""
    if not namespace:
        return name
    flat = f"{namespace}__{name}"
    return flat if len(flat) <= _MAX_LENGTH else f"{flat[:_KEPT]}__{hashed(flat)}"


Names = Mapping[str, tuple[str, str]]


def names_apart(tools: Iterable[Tool]) -> Names:
    """The namespace and the name behind each flat name. A tool of the same plain name comes first,
    for it cannot be called anything else.
    """
    tools = list(tools)
    plain = {tool.name for tool in tools if tool.type != "namespace"}
    apart = {}
    for space in tools:
        for tool in (space.tools or ()) if space.type == "namespace" else ():
            flat = flat_name(space.name, tool.name or "")
            if flat not in plain:
                apart[flat] = (space.name or "", tool.name or "")
    return apart


class _Item(msgspec.Struct):
    tools: list[Tool] | None = None


_tools: Final = msgspec.json.Decoder(list[Tool])
_items: Final = msgspec.json.Decoder(list[_Item])
_MENTION: Final = b'"namespace"'


def names_in(fields: Fields) -> Names:
    """The same for a client's request, of which only what mentions namespaces is looked into."""
    tools: list[Tool] = []
    if (raw := fields.get("tools")) is not None and _MENTION in bytes(raw):
        declared = decode_part(_tools, raw)
        tools += declared or []
    if (raw := fields.get("input")) is not None and _MENTION in bytes(raw):
        for item in decode_part(_items, raw) or []:
            tools += item.tools or []
    return names_apart(tools)
