"""Tools and the choice among them for a provider. Source: protocols.md, 1.2, 2.4 and 2.6."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import Request, Tool, ToolChoice, WebSearch
from bitrouter.protocols import openai
from bitrouter.protocols.history import tool_names, wire_names

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME: Final = 64
_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')


def names_on_wire(request: Request) -> dict[str, str]:
    """Every tool name of the request as it may be written; the client's name is the key."""
    return wire_names(tool_names(request), _FORBIDDEN, _MAX_NAME)


def tools(request: Request, traits: Traits, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The value of `tools`."""
    declared = [
        _custom(tool, names)
        if tool.custom
        else function(names[tool.name], tool, strict=is_strict(request, tool, traits))
        for tool in request.tools
    ]
    if request.web_search is not None:
        declared.append(_web_search(request.web_search, traits.web_search))
    return declared


def is_strict(request: Request, tool: Tool, traits: Traits) -> bool:
    """Whether a tool can be called strict. A schema of another vendor's client is often not in the
    shape that OpenAI wants of a strict one, and is never rewritten to get there.
    """
    if not tool.strict or not traits.strict_tools:
        return False
    if request.origin == openai.ORIGIN:
        return True
    return tool.parameters is not None and openai.is_strict_shape(tool.parameters)


def function(name: str, tool: Tool, *, strict: bool) -> dict[str, Any]:
    """A function. `strict` is always there: without it the API would try strict first."""
    declared: dict[str, Any] = {"type": "function", "name": name}
    if tool.description is not None:
        declared["description"] = tool.description
    given = tool.parameters
    declared["parameters"] = _NO_PARAMETERS if given is None or bytes(given) == b"{}" else given
    declared["strict"] = strict
    return declared


def _custom(tool: Tool, names: Mapping[str, str]) -> dict[str, Any]:
    declared: dict[str, Any] = {"type": "custom", "name": names[tool.name]}
    if tool.description is not None:
        declared["description"] = tool.description
    if tool.format is not None:
        declared["format"] = tool.format
    return declared


def _web_search(search: WebSearch, kind: str) -> dict[str, Any]:
    declared: dict[str, Any] = {"type": kind}
    if search.context_size is not None:
        declared["search_context_size"] = search.context_size
    if search.allowed_domains:
        declared["filters"] = {"allowed_domains": search.allowed_domains}
    return declared


def tool_choice(request: Request, choice: ToolChoice, names: Mapping[str, str]) -> Any:
    """The value of `tool_choice`: a word, the tool, or the tools that are allowed."""
    if not choice.names or choice.mode == "none":
        return choice.mode
    custom = {tool.name for tool in request.tools if tool.custom}
    chosen = [
        {"type": "custom" if name in custom else "function", "name": names[name]}
        for name in choice.names
    ]
    if choice.mode == "required" and len(chosen) == 1:
        return chosen[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": chosen}
