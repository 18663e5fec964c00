"""Tools and the choice among them as Gemini wants them (protocols.md, 1.4, 2.4 and 2.6)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import Request, Tool, WebSearch
from bitrouter.protocols.google.schemas import plain_schema, tool_parameters
from bitrouter.protocols.portable import with_grammar

FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]|\A(?=[0-9-])")
MAX_NAME: Final = 64

_FREE_TEXT: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}'
)
_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def encode_tools(
    request: Request, names: Mapping[str, str], traits: Traits, dropped: list[str]
) -> dict[str, Any]:
    """`tools` and `toolConfig`, where there is anything to say. `names` are how tools are written.

    Raises InvalidRequest for a schema that is none.
    """
    tools = _choosable(request)
    written: list[dict[str, Any]] = []
    if tools:
        declarations = [_declaration(tool, names, traits) for tool in tools]
        written.append({"functionDeclarations": declarations})
    if request.web_search is not None:
        written.append({"googleSearch": {}})
        dropped += _lost_options(request.web_search)
    if not written:
        return {}
    config = _calling(request, names, traits) if tools else None
    if config is None:
        return {"tools": written}
    return {"tools": written, "toolConfig": {"functionCallingConfig": config}}


def _choosable(request: Request) -> list[Tool]:
    """The tools that may be called. Google takes a list of them only where one must be."""
    choice = request.tool_choice
    if choice is None or choice.mode != "auto" or not choice.names:
        return request.tools
    return [tool for tool in request.tools if tool.name in choice.names]


def _lost_options(search: WebSearch) -> list[str]:
    size = search.context_size if search.context_size != "medium" else None
    options = {"search_context_size": size, "allowed_domains": search.allowed_domains}
    return [name for name, value in options.items() if value]


def _declaration(tool: Tool, names: Mapping[str, str], traits: Traits) -> dict[str, Any]:
    out: dict[str, Any] = {"name": names.get(tool.name, tool.name)}
    description = with_grammar(tool) if tool.custom else tool.description
    if description:
        out["description"] = description
    schema = _FREE_TEXT if tool.custom else tool.parameters
    if schema is None:
        return out
    where = f"the parameters of tool {tool.name!r:.80}"
    if traits.schema == "json_schema":
        return out | {"parametersJsonSchema": plain_schema(schema, where)}
    parameters = tool_parameters(schema, where)
    return out | {"parameters": parameters} if parameters is not None else out


def _calling(request: Request, names: Mapping[str, str], traits: Traits) -> dict[str, Any] | None:
    choice = request.tool_choice
    strict = traits.strict_tools and any(tool.strict for tool in request.tools)
    if choice is None or choice.mode == "auto":
        if strict:
            return {"mode": "VALIDATED"}
        return {"mode": "AUTO"} if choice else None
    if choice.mode == "none" or not choice.names:
        return {"mode": _MODES[choice.mode]}
    return {"mode": "ANY", "allowedFunctionNames": [names.get(one, one) for one in choice.names]}
