"""Tools, their choice and the form of the answer as chat writes them: protocols.md, 2.4, 2.6."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.protocols.history import tool_names, wire_names
from bitrouter.protocols.openai import is_strict_shape

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME: Final = 64
_ALLOWED: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEFAULT_NAME: Final = "response"
_ANY_OBJECT: Final = msgspec.Raw(b'{"type":"object"}')
_fields: Final = msgspec.json.Decoder(Fields)


def tool_wire_names(request: ir.Request) -> dict[str, str]:
    """How each tool of a request is called on the wire, where that differs from its own name."""
    names = tool_names(request)
    if all(map(_ALLOWED.fullmatch, names)):
        return {}
    written = wire_names(names, _FORBIDDEN, _MAX_NAME)
    return {name: wire for name, wire in written.items() if name != wire}


def encode_tool(tool: ir.Tool, names: Mapping[str, str], *, strict: bool) -> dict[str, Any]:
    """One declaration. `strict` is whether the model takes strict tools; a tool is one only if
    its schema has the shape for it.
    """
    declared: dict[str, Any] = {"name": names.get(tool.name, tool.name)}
    if tool.description is not None:
        declared["description"] = tool.description
    if tool.custom:
        if tool.format is not None:
            declared["format"] = _nested_format(tool.format)
        return {"type": "custom", "custom": declared}
    if tool.parameters is not None:
        declared["parameters"] = tool.parameters
    if strict and is_strict(tool):
        declared["strict"] = True
    return {"type": "function", "function": declared}


def is_strict(tool: ir.Tool) -> bool:
    """Whether a tool is asked to be strict, and can be."""
    return bool(tool.strict and tool.parameters is not None and is_strict_shape(tool.parameters))


def _nested_format(flat: msgspec.Raw) -> dict[str, Any]:
    """The grammar of a free-text tool, whose members stand under `grammar` here."""
    members: dict[str, Any] = {**_fields.decode(flat)}
    kind = members.pop("type", msgspec.Raw(b'"text"'))
    return {"type": kind, "grammar": members} if members else {"type": kind}


def encode_choice(
    choice: ir.ToolChoice, tools: Iterable[ir.Tool], names: Mapping[str, str]
) -> str | dict[str, Any]:
    """`tool_choice`."""
    if not choice.names or choice.mode == "none":
        return choice.mode
    custom = {tool.name for tool in tools if tool.custom}
    chosen = [
        {"type": kind, kind: {"name": names.get(name, name)}}
        for name in choice.names
        for kind in ("custom" if name in custom else "function",)
    ]
    if len(chosen) == 1 and choice.mode == "required":
        return chosen[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": chosen}}


def encode_output(output: ir.OutputFormat) -> dict[str, Any]:
    """`response_format`."""
    if output.schema is None:
        return {"type": "json_object"}
    name = _FORBIDDEN.sub("_", output.name or _DEFAULT_NAME)[:_MAX_NAME]
    described: dict[str, Any] = {"name": name, "schema": output.schema}
    if output.description is not None:
        described["description"] = output.description
    # Only a client that did not know of it is given what it would have asked for.
    wanted = output.strict is not False
    described["strict"] = wanted and is_strict_shape(output.schema)
    return {"type": "json_schema", "json_schema": described}


def answer_tool(output: ir.OutputFormat, taken: Iterable[str]) -> ir.Tool:
    """A tool whose arguments are the answer, for a model without structured output."""
    name = "structured_output"
    while name in taken:
        name += "_"
    return ir.Tool(
        name,
        output.description or "Give the answer.",
        output.schema if output.schema is not None else _ANY_OBJECT,
    )
