"""Tools, the choice among them, and structured output (protocols.md, 2.4 and 2.6)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import Message, OutputFormat, Request, Tool, ToolCall
from bitrouter.protocols.anthropic.cache_marks import CacheMarks
from bitrouter.protocols.anthropic.schemas import ANY_OBJECT, input_schema
from bitrouter.protocols.history import tool_names, wire_names
from bitrouter.protocols.portable import with_grammar

_MAX_NAME: Final = 128
_FINE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}
_FORCING: Final = ("any", "tool")
_ANSWER: Final = "structured_output"
_FREE_TEXT: Final = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


class Tools(msgspec.Struct):
    """What goes into a request: `tools` and `tool_choice`, the latter None for none.

    `wrapped` and `answer_tool` are those of translator.Encoded. `dropped` is what is lost.
    """

    wire: list[dict[str, Any]]
    choice: dict[str, Any] | None
    wrapped: frozenset[str]
    answer_tool: str | None
    dropped: tuple[str, ...] = ()

    @property
    def forced(self) -> bool:
        """Whether the model must call one, which a model that thinks cannot be told."""
        return self.choice is not None and self.choice["type"] in _FORCING


def names_on_wire(request: Request) -> dict[str, str]:
    """Tool names, for those that have to be written differently."""
    names = tool_names(request)
    if all(map(_FINE_NAME.fullmatch, names)):
        return {}
    written = wire_names(names, _NOT_IN_NAME, _MAX_NAME)
    return {name: other for name, other in written.items() if name != other}


def encode_tools(
    request: Request, traits: Traits, names: Mapping[str, str], marks: CacheMarks
) -> Tools:
    """The tools of a request. Raises UnsupportedFeature when one cannot be said."""
    dropped = []
    wire = [_tool(tool, traits, names, marks) for tool in request.tools]
    if request.web_search is not None:
        search: dict[str, Any] = {"type": traits.web_search, "name": "web_search"}
        if request.web_search.allowed_domains:
            search["allowed_domains"] = request.web_search.allowed_domains
        if request.web_search.context_size not in (None, "medium"):
            dropped.append("search_context_size")
        wire.append(search)
    tools = Tools(
        wire,
        _choice(request, names) if wire else None,
        frozenset(tool.name for tool in request.tools if tool.custom),
        None,
        tuple(dropped),
    )
    if request.output is not None and traits.structured_output == "tool":
        _answer_by_tool(tools, request.output)
    if not tools.wire:
        _declare_called(tools, request.messages, names)
    return tools


def _tool(
    tool: Tool, traits: Traits, names: Mapping[str, str], marks: CacheMarks
) -> dict[str, Any]:
    written: dict[str, Any] = {"name": names.get(tool.name, tool.name)}
    description = with_grammar(tool) if tool.custom else tool.description
    if description:
        written["description"] = description
    written["input_schema"] = (
        _FREE_TEXT if tool.custom else input_schema(tool.parameters, tool.name)
    )
    if tool.strict and traits.strict_tools and not tool.custom:
        written["strict"] = True
    marks.put(written, tool.cache)
    return written


def _choice(request: Request, names: Mapping[str, str]) -> dict[str, Any] | None:
    choice = request.tool_choice
    if choice is None:
        written = {"type": "auto"} if request.parallel_tools is False else None
    elif choice.mode == "required" and choice.names:
        written = {"type": "tool", "name": names.get(choice.names[0], choice.names[0])}
    else:
        written = {"type": _CHOICES[choice.mode]}
    if written is None or written["type"] == "none" or request.parallel_tools is not False:
        return written
    return {**written, "disable_parallel_tool_use": True}


def _answer_by_tool(tools: Tools, output: OutputFormat) -> None:
    """Structured output for a model that has none: a tool that has to be called, whose input is
    the answer. Where the client wants one of its own to be called there is no answer to shape.
    """
    if output.schema is None or tools.forced:
        return
    schema = input_schema(output.schema, "the answer")
    may_call = bool(tools.wire) and (tools.choice is None or tools.choice["type"] != "none")
    name = _ANSWER
    while any(tool.get("name") == name for tool in tools.wire):
        name += "_"
    tool: dict[str, Any] = {"name": name}
    tool["description"] = output.description or "Gives the answer. Its input is the answer."
    tools.wire.append({**tool, "input_schema": schema})
    tools.answer_tool = name
    parallel = (tools.choice or {}).get("disable_parallel_tool_use")
    if may_call:
        tools.choice = {"type": "any"} | ({"disable_parallel_tool_use": True} if parallel else {})
    else:
        tools.choice = {"type": "tool", "name": name, "disable_parallel_tool_use": True}


def _declare_called(tools: Tools, messages: Sequence[Message], names: Mapping[str, str]) -> None:
    """A history with calls needs tools: those that were called, not to be called again."""
    called = dict.fromkeys(
        block.name for turn in messages for block in turn.blocks if isinstance(block, ToolCall)
    )
    if called:
        tools.wire = [
            {"name": names.get(name, name), "input_schema": ANY_OBJECT} for name in called
        ]
        tools.choice = {"type": "none"}
