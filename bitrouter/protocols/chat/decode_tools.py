"""A client's tools and which of them are to be called: protocols.md, 2.4."""

from typing import Final, Literal

import msgspec

from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest
from bitrouter.ir import Tool, ToolChoice
from bitrouter.protocols.chat import types
from bitrouter.protocols.chat.decode_content import cache_mark

_fields: Final = msgspec.json.Decoder(Fields)
_MODES: Final[dict[str, Literal["auto", "required", "none"]]] = {
    "auto": "auto",
    "required": "required",
    "none": "none",
}


def json_object(raw: msgspec.Raw, where: str) -> msgspec.Raw | None:
    """A member that must be an object if it is there. Raises InvalidRequest."""
    first = bytes(memoryview(raw)[:1])
    if first in (b"", b"n"):
        return None
    if first != b"{":
        raise InvalidRequest(f"{where} must be an object")
    return raw


def decode_tools(body: types.Body) -> tuple[list[Tool], tuple[str, ...]]:
    """`tools`, the legacy `functions`, and the types of tools that are neither function nor
    custom. Raises InvalidRequest.
    """
    tools: list[Tool] = []
    hosted: list[str] = []
    for place, tool in enumerate(body.tools or ()):
        where = f"tools[{place}]"
        if tool.type == "function":
            tools.append(_function(tool.function, where))
        elif tool.type == "custom":
            tools.append(_custom(tool.custom, where))
        else:
            hosted.append(tool.type)
            continue
        tools[-1].cache = cache_mark(tool.cache_control)
    for place, function in enumerate(body.functions or ()):
        tools.append(_declared(function, f"functions[{place}]"))
    return tools, tuple(hosted)


def _function(function: types.Function | None, where: str) -> Tool:
    if function is None:
        raise InvalidRequest(f"{where}.function is required")
    return _declared(function, f"{where}.function")


def _declared(function: types.Function, where: str) -> Tool:
    if not function.name:
        raise InvalidRequest(f"{where}.name must not be empty")
    parameters = json_object(function.parameters, f"{where}.parameters")
    return Tool(function.name, function.description, parameters, function.strict)


def _custom(custom: types.CustomTool | None, where: str) -> Tool:
    if custom is None or not custom.name:
        raise InvalidRequest(f"{where}.custom.name is required")
    return Tool(
        custom.name,
        custom.description,
        custom=True,
        format=_flat_format(custom.format, f"{where}.custom.format"),
    )


def _flat_format(given: Fields | None, where: str) -> msgspec.Raw | None:
    """The format as Responses writes it, which has the members of `grammar` beside `type`."""
    if given is None:
        return None
    flat = dict(given)
    grammar = json_object(flat.pop("grammar", msgspec.Raw()), f"{where}.grammar")
    if grammar is not None:
        flat |= _fields.decode(grammar)
    return msgspec.Raw(msgspec.json.encode(flat))


def decode_choice(body: types.Body) -> ToolChoice | None:
    """`tool_choice`, else the legacy `function_call`. Raises InvalidRequest."""
    if body.tool_choice is not None:
        if isinstance(body.tool_choice, str):
            return ToolChoice(_mode(body.tool_choice, "tool_choice"))
        return _chosen(body.tool_choice)
    if body.function_call is None:
        return None
    if isinstance(body.function_call, str):
        return ToolChoice(_mode(body.function_call, "function_call"))
    return ToolChoice("required", (body.function_call.name,))


def _mode(word: str, where: str) -> Literal["auto", "required", "none"]:
    mode = _MODES.get(word)
    if mode is None:
        raise InvalidRequest(f"{where}: {word!r:.80} is not one of {', '.join(_MODES)}")
    return mode


def _chosen(choice: types.ToolChoice) -> ToolChoice:
    if choice.type != "allowed_tools":
        return ToolChoice("required", (_name(choice, "tool_choice"),))
    allowed = choice.allowed_tools
    if allowed is None or not allowed.tools:
        raise InvalidRequest("tool_choice.allowed_tools.tools must name a tool")
    names = tuple(
        _name(tool, f"tool_choice.allowed_tools.tools[{place}]")
        for place, tool in enumerate(allowed.tools)
    )
    return ToolChoice(_mode(allowed.mode, "tool_choice.allowed_tools.mode"), names)


def _name(tool: types.NamedTool, where: str) -> str:
    named = tool.function or tool.custom
    if named is None or not named.name:
        raise InvalidRequest(f"{where} must name a function or a custom tool")
    return named.name
