"""What a request for another vendor keeps, and what it loses before anything is written.

The rules that are the same for every protocol: what the model refuses (its traits) is dropped and
announced, tool settings without tools go, and what would change the meaning is refused.
Source: protocols.md, 0.5, 2.2 and 2.4; config.schema.Traits.
"""

import functools
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import Request, Tool, ToolChoice, ToolResult

_EMPTY: Final[dict[str, Any]] = {"stop": ()}
_FIELDS: Final = frozenset(Request.__struct_fields__)


def fitting(request: Request, traits: Traits, lacks: tuple[str, ...]) -> tuple[Request, list[str]]:
    """The request without what cannot go, and the names of what went.

    `lacks` are the fields of ir.Request that the protocol has no way to say; `traits.unsupported`
    those that the model refuses. Raises UnsupportedFeature for a choice of a tool that would not be
    there, for hosted tools unless the traits say to drop them, and for more than one answer.
    """
    changes: dict[str, Any] = {}
    dropped: list[str] = []
    names, values_of, unsaid = _refused(lacks, traits.unsupported)
    values = values_of(request)
    if values != unsaid:
        _leave_out(zip(names, values, strict=True), changes, dropped)
    if request.hosted_tools or request.web_search is not None:
        dropped += _settle_hosted(request, traits, changes)
    if request.tool_choice is not None or request.parallel_tools is not None:
        _settle_choice(request, changes)
    return (msgspec.structs.replace(request, **changes) if changes else request), dropped


@functools.lru_cache(maxsize=256)  # a protocol's fields and a model's: a configuration has few
def _refused(
    lacks: tuple[str, ...], unsupported: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[Request], tuple[Any, ...]], tuple[Any, ...]]:
    """The fields that cannot go, what reads them all in one call, and what it gives of a request
    that says none of them, as nearly all do.
    """
    names = (*lacks, *unsupported)
    if "logprobs" in names:
        names = (*names, "top_logprobs")  # which is refused without it
    known = [name for name in names if name in _FIELDS]
    if not known:
        return (), lambda request: (), ()
    known.append(known[0])  # for of one name alone attrgetter gives no tuple
    values_of: Callable[[Request], tuple[Any, ...]] = attrgetter(*known)
    return tuple(known), values_of, values_of(Request("", [], ""))


def _leave_out(
    given: Iterable[tuple[str, Any]], changes: dict[str, Any], dropped: list[str]
) -> None:
    for name, value in given:
        if value is None or value == () or value == {} or name in changes:
            continue
        changes[name] = _EMPTY.get(name)
        if not _says_nothing(name, value):
            if name == "n":
                raise UnsupportedFeature(f"n: this model gives one answer at a time, not {value}")
            dropped.append(name)


def _says_nothing(name: str, value: Any) -> bool:
    """Whether it is what happens anyway."""
    if name == "n":
        return bool(value == 1)
    if name == "parallel_tools":
        return bool(value)
    return name in ("logprobs", "presence_penalty", "frequency_penalty") and not value


def _settle_hosted(request: Request, traits: Traits, changes: dict[str, Any]) -> list[str]:
    missing = list(request.hosted_tools)
    if request.web_search is not None and not traits.web_search:
        missing.append("web_search")
        changes["web_search"] = None
    if not missing:
        return []
    choice = request.tool_choice
    if choice is not None and choice.mode == "required":
        forced = [name for name in missing if name in choice.names]
        if forced:
            raise UnsupportedFeature(
                f"tool_choice: the hosted tool {forced[0]!r} has no counterpart at this model's"
                " provider, and a call of it is required"
            )
    if traits.hosted_tools == "refuse":
        raise UnsupportedFeature(
            f"tools: the hosted tool {missing[0]!r} has no counterpart at this model's provider"
            " (an operator can have such tools dropped: quirk hosted_tools)"
        )
    changes["hosted_tools"] = ()
    return ["tools"]


def _settle_choice(request: Request, changes: dict[str, Any]) -> None:
    """A choice, and leave to call in parallel, mean nothing without tools, and are refused."""
    choice = request.tool_choice
    has_tools = request.tools or changes.get("web_search", request.web_search)
    if not has_tools:
        if choice is not None and choice.mode == "required":
            raise UnsupportedFeature(
                "tool_choice: a call is required, and there is no tool to call"
            )
        changes["tool_choice"] = changes["parallel_tools"] = None
        return
    if choice is not None and choice.names:
        known = {tool.name for tool in request.tools}
        unknown = [name for name in choice.names if name not in known]
        if unknown:
            raise UnsupportedFeature(f"tool_choice: there is no tool {unknown[0]!r:.80}")


def has_cache_marks(request: Request) -> bool:
    """Whether something in the request is marked to be cached up to."""
    marked = [*request.system, *request.tools, *(b for m in request.messages for b in m.blocks)]
    for block in marked:
        if getattr(block, "cache", None) is not None:
            return True
        if isinstance(block, ToolResult) and any(inner.cache for inner in block.content):
            return True
    return False


def only_chosen(request: Request) -> Request:
    """The request with the tools that its choice leaves, for protocols that cannot say which."""
    choice = request.tool_choice
    if choice is None or not choice.names:
        return request
    if len(choice.names) == 1 and choice.mode == "required":
        return request  # which every protocol can say
    return msgspec.structs.replace(
        request,
        tools=[tool for tool in request.tools if tool.name in choice.names],
        tool_choice=ToolChoice(choice.mode),
    )


_PLAIN_TEXT: Final = b'{"type":"text"}'


def with_grammar(tool: Tool) -> str | None:
    """The description of a free-text tool that is sent as a function: with the grammar that its
    text has to follow, which a function's schema has no place for.
    """
    if tool.format is None or bytes(tool.format) == _PLAIN_TEXT:
        return tool.description
    grammar = f"The input has to follow this format: {bytes(tool.format).decode()}"
    return f"{tool.description}\n\n{grammar}" if tool.description else grammar
