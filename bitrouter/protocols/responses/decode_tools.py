"""The tools of a client's request, and which of them it wants called.

Source: protocols.md, 1.2 (`tools`, `tool_choice`) and 2.4.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bitrouter.errors import InvalidRequest
from bitrouter.ir import Tool, ToolChoice, WebSearch
from bitrouter.protocols.responses import types
from bitrouter.protocols.responses.decode_content import mark
from bitrouter.protocols.responses.namespaces import flat_name
from bitrouter.protocols.responses.types import ChosenTool, is_given

WEB_SEARCH: Final = "web_search"
_OWN: Final = ("function", "custom")


class Tools(msgspec.Struct):
    """What a list of tools declares. `dropped` names settings that have no neutral form."""

    tools: list[Tool] = []
    web_search: WebSearch | None = None
    hosted: list[str] = []
    dropped: list[str] = []

    def add(self, declared: Iterable[types.Tool], where: str) -> None:
        """Take what a list at `where` declares. Raises InvalidRequest."""
        for place, tool in enumerate(declared):
            self._add(tool, f"{where}[{place}]")

    def _add(self, tool: types.Tool, where: str) -> None:
        if tool.type in _OWN:
            self.tools.append(_own(tool, None, where))
        elif tool.type == "namespace":
            self.tools += _in_namespace(tool, where)
        elif tool.type.startswith(WEB_SEARCH):
            self._add_search(tool)
        elif tool.type:
            self.hosted.append(tool.type)
        else:
            raise InvalidRequest(f"{where}.type is required")

    def _add_search(self, tool: types.Tool) -> None:
        filters = tool.filters or types.Filters()
        self.web_search = WebSearch(tool.search_context_size, filters.allowed_domains or ())
        if is_given(tool.user_location):
            self.dropped.append("user_location")
        if tool.external_web_access is False:
            self.dropped.append("external_web_access")
        if filters.blocked_domains:
            self.dropped.append("blocked_domains")


def _own(tool: types.Tool, namespace: str | None, where: str) -> Tool:
    if not tool.name:
        raise InvalidRequest(f"{where}.name is required")
    return Tool(
        flat_name(namespace, tool.name),
        tool.description,
        _object(tool.parameters, f"{where}.parameters"),
        tool.strict,
        custom=tool.type == "custom",
        format=_object(tool.format, f"{where}.format"),
        cache=mark(None, tool.cache_control),
    )


def _in_namespace(space: types.Tool, where: str) -> Iterator[Tool]:
    if not space.name:
        raise InvalidRequest(f"{where}.name is required")
    for place, tool in enumerate(space.tools or ()):
        inside = f"{where}.tools[{place}]"
        if tool.type not in _OWN:
            raise InvalidRequest(f"{inside}.type must be function or custom")
        yield _own(tool, space.name, inside)


def _object(raw: msgspec.Raw, where: str) -> msgspec.Raw | None:
    """A member that is an object, None without it. Raises InvalidRequest when it is another."""
    if not is_given(raw):
        return None
    if memoryview(raw)[0] != ord("{"):
        raise InvalidRequest(f"{where} must be an object")
    return raw


_MODES: Final[dict[str, ToolChoice]] = {
    "auto": ToolChoice("auto"),
    "required": ToolChoice("required"),
    "none": ToolChoice("none"),
}


def tool_choice(choice: str | ChosenTool) -> ToolChoice:
    """What `tool_choice` means. A hosted tool goes by its type. Raises InvalidRequest."""
    if isinstance(choice, str):
        if choice not in _MODES:
            raise InvalidRequest(f"tool_choice: {choice!r:.80} is not auto, required or none")
        return _MODES[choice]
    if choice.type == "allowed_tools":
        return _allowed(choice)
    return ToolChoice("required", (_chosen_name(choice, "tool_choice"),))


def _allowed(choice: ChosenTool) -> ToolChoice:
    names = [
        _chosen_name(tool, f"tool_choice.tools[{place}]")
        for place, tool in enumerate(choice.tools or ())
    ]
    if not names:
        raise InvalidRequest("tool_choice.tools must name a tool")
    return ToolChoice(choice.mode or "auto", tuple(names))


def _chosen_name(tool: ChosenTool, where: str) -> str:
    if tool.type in _OWN:
        if not tool.name:
            raise InvalidRequest(f"{where}.name is required")
        return flat_name(tool.namespace, tool.name)
    return WEB_SEARCH if tool.type.startswith(WEB_SEARCH) else tool.type
