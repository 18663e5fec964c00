"""A Messages client's request, as the neutral form says it (protocols.md, 1.3 and 2.2 to 2.8)."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.anthropic import types
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.decode_messages import (
    decode_texts,
    decode_turns,
    mark,
)
from bitrouter.protocols.base import Request, decode_body
from bitrouter.protocols.readlarge import Outsize
from bitrouter.slices import LARGE

_request: Final = msgspec.json.Decoder(types.MessagesRequest)
_outsize: Final = Outsize(
    types.MessagesRequest, {"messages": Outsize(types.Turn, {"content": Outsize(msgspec.Raw)})}
)
_client_tool: Final = msgspec.json.Decoder(types.ClientTool)
_hosted_tool: Final = msgspec.json.Decoder(types.HostedTool)

_SPELLINGS: Final = {
    "stop": "stop_sequences",
    "output": "output_config",
    "user": "metadata",
    "cache": "cache_control",
    "parallel_tools": "tool_choice",
}
_KNOWN: Final = frozenset({*types.MessagesRequest.__struct_fields__, "model"})
_METADATA: Final = frozenset(types.Metadata.__struct_fields__)
_OUTPUT_CONFIG: Final = frozenset(types.OutputConfig.__struct_fields__)
_NOTHING: Final = (b"null", b"false", b"0", b'""', b"[]", b"{}")
_USUAL: Final = {"speed": b'"standard"', "allowed_callers": b'["direct"]'}
_WEB_SEARCH: Final = "web_search_"
# Members of a tool that only Anthropic understands; the tool works without.
_TOOL_EXTRAS: Final = {
    *("defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"),
    *("max_uses", "blocked_domains", "user_location"),
}
# protocols.md, 2.2: default <-> standard_only.
_TIERS: Final = {"standard_only": "default"}


def decode_request(request: Request) -> ir.Request:
    """What a client's request means. Raises InvalidRequest naming the place."""
    try:
        return _decode(request)
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error


def _decode(request: Request) -> ir.Request:
    body = _read(request)
    dropped = unknown_members(request.fields, _KNOWN)
    leading, messages = decode_turns(body.messages, dropped)
    system = leading
    if body.system is not None:
        system = [*decode_texts(body.system, "system", dropped), *leading]
    asked = ir.Request(
        request.model,
        messages,
        ORIGIN,
        stream=request.stream,
        system=system,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        stop=tuple(body.stop_sequences) if body.stop_sequences else (),
        dropped=dropped,
        spellings=_SPELLINGS,
    )
    if body.cache_control is not None:
        asked.cache = mark(body.cache_control)
    _decode_settings(asked, request, body)
    if body.tools or body.mcp_servers:
        _decode_tools(asked, body)
    if body.tool_choice is not None:
        _decode_choice(asked, body.tool_choice)
    return asked


def _read(request: Request) -> types.MessagesRequest:
    if len(request.body) > LARGE:
        return _outsize.decode(request.body, request.fields)
    return decode_body(_request, request.body)


def unknown_members(fields: Mapping[str, msgspec.Raw], known: frozenset[str]) -> list[str]:
    """The members that nobody reads but that say something: not null, nor empty, nor false, nor
    what happens anyway.
    """
    if known.issuperset(fields):
        return []
    return _telling(fields, fields.keys() - known)


def _telling(fields: Mapping[str, msgspec.Raw], names: Iterable[str]) -> list[str]:
    return sorted(
        name
        for name in names
        if (value := bytes(fields[name])) not in _NOTHING and value != _USUAL.get(name)
    )


def _decode_settings(asked: ir.Request, request: Request, body: types.MessagesRequest) -> None:
    if body.service_tier:
        asked.service_tier = _TIERS.get(body.service_tier, body.service_tier)
    if body.metadata is not None:
        asked.user = body.metadata.user_id
        asked.dropped += _unknown_in(request, "metadata", _METADATA)
    if body.output_config is not None:
        if body.output_config.format is not None:
            asked.output = ir.OutputFormat(schema=body.output_config.format.schema)
        asked.dropped += _unknown_in(request, "output_config", _OUTPUT_CONFIG)
    if body.thinking is not None or body.output_config is not None:
        asked.thinking = _thinking(body, asked.dropped)


def _unknown_in(request: Request, name: str, known: frozenset[str]) -> list[str]:
    inside = types.members.decode(request.fields[name])
    return [f"{name}.{one}" for one in unknown_members(inside, known)]


def _thinking(body: types.MessagesRequest, dropped: list[str]) -> ir.Thinking | None:
    effort = body.output_config.effort if body.output_config else None
    config = body.thinking
    if config is not None and config.type == "between_tools":
        dropped.append("thinking")
        config = None
    if config is None:
        return ir.Thinking(effort) if effort else None
    if config.type == "disabled":
        if effort:
            dropped.append("output_config.effort")
        return ir.Thinking("none")
    visible = None if config.display is None else config.display != "omitted"
    if config.type == "adaptive":
        return ir.Thinking(effort, adaptive=True, visible=visible)
    if config.budget_tokens is None:
        raise InvalidRequest("thinking.budget_tokens is required")
    # The models that take a budget show what they think unless told not to.
    return ir.Thinking(effort, config.budget_tokens, visible=visible is not False)


def _decode_tools(asked: ir.Request, body: types.MessagesRequest) -> None:
    hosted = [server.name for server in body.mcp_servers or ()]
    for place, raw in enumerate(body.tools or ()):
        where = f"tools[{place}]"
        kind = decode_body(types.typed, raw, where).type
        if kind is None or kind == "custom":
            asked.tools.append(_client_tool_of(raw, where))
        elif kind.startswith(_WEB_SEARCH):
            domains = decode_body(_hosted_tool, raw, where).allowed_domains
            asked.web_search = ir.WebSearch(allowed_domains=tuple(domains or ()))
        else:
            hosted.append(decode_body(_hosted_tool, raw, where).name or kind)
            continue
        asked.dropped += _extras(raw)
    asked.hosted_tools = tuple(hosted)


def _client_tool_of(raw: msgspec.Raw, where: str) -> ir.Tool:
    tool = decode_body(_client_tool, raw, where)
    return ir.Tool(
        tool.name,
        tool.description,
        None if bytes(tool.input_schema) == b"null" else tool.input_schema,
        tool.strict,
        cache=mark(tool.cache_control),
    )


def _extras(raw: msgspec.Raw) -> list[str]:
    """Members of a tool that get lost, under the name of the whole."""
    inside = types.members.decode(raw)
    return [f"tools.{name}" for name in _telling(inside, _TOOL_EXTRAS.intersection(inside))]


def _decode_choice(asked: ir.Request, choice: types.ToolChoice) -> None:
    if choice.disable_parallel_tool_use:
        asked.parallel_tools = False
    match choice.type:
        case "tool":
            if choice.name is None:
                raise InvalidRequest("tool_choice.name is required")
            asked.tool_choice = ir.ToolChoice("required", (choice.name,))
        case "any":
            asked.tool_choice = ir.ToolChoice("required")
        case "auto" | "none":
            asked.tool_choice = ir.ToolChoice(choice.type)
