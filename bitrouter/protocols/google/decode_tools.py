"""The tools of a Gemini client's request, and which of them may be called.

Source: protocols.md, 1.4 and 2.4.
"""

from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import decode_body
from bitrouter.protocols.google.members import members, read_members, says_nothing
from bitrouter.protocols.google.schemas import json_schema, plain_schema
from bitrouter.protocols.google.types import FunctionDeclaration

_SEARCHES: Final = frozenset({"googleSearch", "googleSearchRetrieval"})
_DECLARATIONS: Final = "functionDeclarations"
_MODES: Final[dict[str, ir.ToolChoice | None]] = {
    "MODE_UNSPECIFIED": None,
    "AUTO": ir.ToolChoice("auto"),
    "VALIDATED": ir.ToolChoice("auto"),
    "ANY": ir.ToolChoice("required"),
    "NONE": ir.ToolChoice("none"),
}

_tool_objects: Final = msgspec.json.Decoder(list[Fields])
_declarations: Final = msgspec.json.Decoder(list[FunctionDeclaration])
_texts: Final = msgspec.json.Decoder(list[str])
_text: Final = msgspec.json.Decoder(str)


def decode_tools(fields: Fields, dropped: list[str]) -> dict[str, Any]:
    """`tools`, `web_search` and `hosted_tools` of ir.Request. One object may hold many tools."""
    raw = fields.get("tools")
    if raw is None:
        return {}
    tools: list[ir.Tool] = []
    hosted: list[str] = []
    search: ir.WebSearch | None = None
    objects = decode_body(_tool_objects, raw, "tools")
    for place, one in enumerate(objects):
        for name, value in members(one).items():
            if name == _DECLARATIONS:
                where = f"tools[{place}].{name}"
                found = decode_body(_declarations, value, where)
                tools += [
                    _tool(declaration, f"{where}[{number}]", dropped)
                    for number, declaration in enumerate(found)
                ]
            elif name in _SEARCHES:
                search = ir.WebSearch()
                dropped += [
                    key for key, option in _options(value).items() if not says_nothing(option)
                ]
            else:
                hosted.append(name)
    return {"tools": tools, "web_search": search, "hosted_tools": tuple(dict.fromkeys(hosted))}


def _options(raw: msgspec.Raw) -> Fields:
    return read_members(raw, "googleSearch")


def _tool(declaration: FunctionDeclaration, where: str, dropped: list[str]) -> ir.Tool:
    if not declaration.name:
        raise InvalidRequest(f"{where}.name is required")
    answered = (
        declaration.response,
        declaration.response_json_schema,
        declaration.response_json_schema_snake,
    )
    if any(map(_is_there, answered)):
        dropped.append("response")
    if declaration.behavior and declaration.behavior.upper() not in ("UNSPECIFIED", "BLOCKING"):
        dropped.append("behavior")
    return ir.Tool(declaration.name, declaration.description, _parameters(declaration, where))


def _parameters(declaration: FunctionDeclaration, where: str) -> msgspec.Raw | None:
    plain = declaration.parameters_json_schema
    if not _is_there(plain):
        plain = declaration.parameters_json_schema_snake
    if _is_there(plain):
        return plain_schema(plain, f"{where}.parametersJsonSchema")
    if _is_there(declaration.parameters):
        return json_schema(declaration.parameters, f"{where}.parameters")
    return None


def _is_there(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def decode_choice(fields: Fields, dropped: list[str]) -> ir.ToolChoice | None:
    """`toolConfig`. That calls be VALIDATED is a promise that the neutral form cannot make."""
    raw = fields.get("toolConfig")
    if raw is None:
        return None
    config = read_members(raw, "toolConfig")
    calling = config.pop("functionCallingConfig", None)
    dropped += [name for name, value in config.items() if not says_nothing(value)]
    return _choice(calling, dropped) if calling is not None else None


def _choice(raw: msgspec.Raw, dropped: list[str]) -> ir.ToolChoice | None:
    where = "toolConfig.functionCallingConfig"
    calling = read_members(raw, where)
    names: tuple[str, ...] = ()
    mode = "MODE_UNSPECIFIED"
    for name, value in calling.items():
        if name == "mode":
            mode = decode_body(_text, value, f"{where}.mode").upper()
        elif name == "allowedFunctionNames":
            allowed = decode_body(_texts, value, f"{where}.{name}")
            names = tuple(allowed)
        elif not says_nothing(value):
            dropped.append(name)
    if mode not in _MODES:
        raise InvalidRequest(f"{where}.mode is unknown: {mode!r:.40}")
    if mode == "VALIDATED":
        dropped.append("mode")
    choice = _MODES[mode]
    if choice is None or choice.mode == "none" or not names:
        return choice
    return ir.ToolChoice(choice.mode, names)
