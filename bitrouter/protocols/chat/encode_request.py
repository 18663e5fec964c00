"""A request as a chat server gets it. Source: protocols.md, 1.1, 2.2 to 2.8 and 2.11."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.envelope import Fields
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.chat.encode_content import CacheMarks
from bitrouter.protocols.chat.encode_messages import MessageWriter, plain_messages
from bitrouter.protocols.chat.encode_tools import (
    answer_tool,
    encode_choice,
    encode_output,
    encode_tool,
    is_strict,
    tool_wire_names,
)
from bitrouter.protocols.openai import ORIGIN, user_member
from bitrouter.protocols.portable import fitting
from bitrouter.protocols.thinking import effort_of, nearest_effort
from bitrouter.protocols.translator import Encoded, Recipient
from bitrouter.protocols.writelarge import encode_large

_MAX_STOPS: Final = 4
_JSON_ONLY: Final = ir.Text("Answer with one JSON object and nothing else.")
_SETTINGS: Final[tuple[str, ...]] = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "verbosity",
    "metadata",
)
_settings: Final[Callable[[ir.Request], tuple[Any, ...]]] = attrgetter(*_SETTINGS)
# protocols.md, 2.2: the words of other vendors, and those that chat has.
_TIERS: Final = {"standard_only": "default", "standard": "default"} | {
    word: word for word in ("auto", "default", "flex", "scale", "priority", "fast")
}
_MARKS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})
_CACHE_OPTIONS: Final[tuple[str, ...]] = ("mode", "ttl")
_CHAT_TTL: Final = b'"30m"'
_fields: Final = msgspec.json.Decoder(Fields)
_NO_NAMES: Final[Mapping[str, str]] = {}
_encode: Final = msgspec.json.Encoder().encode
_replace: Final = msgspec.structs.replace


def encode_request(request: ir.Request, recipient: Recipient) -> Encoded:
    """See Translator.encode_request."""
    traits = recipient.traits
    request, dropped = fitting(request, traits, ("top_k",))
    made_up = None
    if request.output is not None:
        request, made_up = _with_output(request, request.output, traits)
    names: dict[str, str] = {}
    body: dict[str, Any] = {"model": recipient.model_id}
    messages = plain_messages(request) if _is_toolless(request) else None
    if messages is not None:
        body["messages"] = messages
    else:
        names = tool_wire_names(request)
        dropped += _put_messages(body, request, traits, names)
    if request.tools or request.web_search is not None:
        dropped += _put_tools(body, request, traits, names)
    _put_settings(body, request, traits)
    if request.stop or request.thinking is not None or request.service_tier is not None:
        dropped += _put_limited(body, request, traits)
    if request.family_fields:
        dropped += _put_family(body, request)
    return Encoded(
        encode_large(body) if request.is_large else _encode(body),
        tuple(dropped),
        names={wire: name for name, wire in names.items()} if names else _NO_NAMES,
        answer_tool=made_up,
    )


def _is_toolless(request: ir.Request) -> bool:
    """Whether the messages are all that can have a mark or the name of a tool."""
    return not request.tools and request.tool_choice is None and request.cache is None


def _put_messages(
    body: dict[str, Any], request: ir.Request, traits: Traits, names: dict[str, str]
) -> list[str]:
    """The messages with their marks. Returns what was left out of these and the tools' marks."""
    marks = CacheMarks(traits.cache_hints)
    messages = body["messages"] = MessageWriter(names, traits, marks).write(request)
    if request.cache is not None:
        _mark_last(messages, request.cache, marks)
    marks.settle()
    left_out = marks.left_out or (not marks and any(tool.cache for tool in request.tools))
    return ["cache"] if left_out else []


def _with_output(
    request: ir.Request, output: ir.OutputFormat, traits: Traits
) -> tuple[ir.Request, str | None]:
    """The request with what the form of the answer needs besides `response_format`, and the name
    of the tool that takes its place for a model that does not know that.
    """
    if output.schema is None:
        # JSON mode is refused unless the prompt says JSON: protocols.md, 1.1.
        if traits.structured_output == "native" and _says_json(request):
            return request, None
        request = _replace(request, system=[*request.system, _JSON_ONLY])
        native = output if traits.structured_output == "native" else None
        return _replace(request, output=native), None
    if traits.structured_output == "native":
        return request, None
    choice = request.tool_choice
    if choice is not None and choice.mode == "required":
        return _replace(request, output=None), None  # this answer is a call
    tool = answer_tool(output, [tool.name for tool in request.tools])
    may_call = request.tools and (choice is None or choice.mode != "none")
    changed = _replace(
        request,
        tools=[*request.tools, tool],
        tool_choice=ir.ToolChoice("required", () if may_call else (tool.name,)),
        parallel_tools=None,
        output=None,
    )
    return changed, tool.name


def _says_json(request: ir.Request) -> bool:
    texts = [*request.system, *(block for message in request.messages for block in message.blocks)]
    return any(isinstance(text, ir.Text) and "json" in text.text.lower() for text in texts)


def _mark_last(messages: list[dict[str, Any]], mark: ir.CacheMark, marks: CacheMarks) -> None:
    """Mark the end of the prompt: the last part that can carry a mark and has none."""
    for message in reversed(messages):
        content = message["content"]
        if content and isinstance(content, str):
            part = marks.put({"type": "text", "text": content}, mark)
            message["content"] = [part] if marks else content
            return
        for part in reversed(content or ()):
            if part["type"] != "refusal":
                if _MARKS.isdisjoint(part):
                    marks.put(part, mark)
                return


def _put_tools(
    body: dict[str, Any], request: ir.Request, traits: Traits, names: dict[str, str]
) -> list[str]:
    """The tools and what goes with them. Returns what was left out."""
    dropped = []
    if request.tools:
        strict = traits.strict_tools
        body["tools"] = [encode_tool(tool, names, strict=strict) for tool in request.tools]
        if any(tool.strict and not (strict and is_strict(tool)) for tool in request.tools):
            dropped.append("strict")
        if request.tool_choice is not None:
            body["tool_choice"] = encode_choice(request.tool_choice, request.tools, names)
        if request.parallel_tools is not None:
            body["parallel_tool_calls"] = request.parallel_tools
    search = request.web_search
    if search is not None:
        size = search.context_size
        body["web_search_options"] = {} if size is None else {"search_context_size": size}
        if search.allowed_domains:
            dropped.append("web_search")
    return dropped


def _put_settings(body: dict[str, Any], request: ir.Request, traits: Traits) -> None:
    """The settings of which chat takes every value."""
    if request.max_tokens is not None:
        body[traits.max_tokens_field] = request.max_tokens
    for name, value in zip(_SETTINGS, _settings(request), strict=True):
        if value is not None:
            body[name] = value  # noqa: PERF403 - a comprehension is a call, and copies
    if request.n is not None and request.n != 1:
        body["n"] = request.n
    if request.user is not None:
        body[user_member(request)] = request.user
    if request.output is not None:
        body["response_format"] = encode_output(request.output)
    if request.stream:
        body["stream"] = True
        if traits.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.logprobs is not None or request.top_logprobs is not None:
        _put_logprobs(body, request)


def _put_limited(body: dict[str, Any], request: ir.Request, traits: Traits) -> list[str]:
    """The settings of which it does not. Returns what was left out."""
    dropped: list[str] = []
    if request.stop:
        dropped += _put_stop(body, request.stop)
    if request.thinking is not None:
        dropped += _put_thinking(body, request, request.thinking, traits)
    if request.service_tier is not None:
        dropped += _put_tier(body, request.service_tier)
    return dropped


def _put_logprobs(body: dict[str, Any], request: ir.Request) -> None:
    """The number is refused without the flag."""
    if request.logprobs or (request.logprobs is None and request.top_logprobs):
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs


def _put_stop(body: dict[str, Any], stop: tuple[str, ...]) -> list[str]:
    body["stop"] = stop[:_MAX_STOPS]
    return ["stop"] if len(stop) > _MAX_STOPS else []


def _put_thinking(
    body: dict[str, Any], request: ir.Request, thinking: ir.Thinking, traits: Traits
) -> list[str]:
    """`reasoning_effort`; what is switched off is left out where the word may be unknown, for a
    server that does not know it refuses it (protocols.md, 2.5).
    """
    effort = effort_of(thinking)
    if effort is None:
        return []
    if traits.reasoning == "none":
        return [] if effort == "none" else ["thinking"]
    if effort == "none" and not traits.efforts and request.origin != ORIGIN:
        return []
    nearest = nearest_effort(effort, traits.efforts)
    if effort == "none" and nearest not in ("none", "minimal", "low"):
        return ["thinking"]
    body["reasoning_effort"] = nearest
    return []


def _put_tier(body: dict[str, Any], tier: str) -> list[str]:
    known = _TIERS.get(tier)
    if known is None:
        return ["service_tier"]
    body["service_tier"] = known
    return []


def _put_family(body: dict[str, Any], request: ir.Request) -> list[str]:
    """What belongs to OpenAI's protocols alone. Returns what was left out."""
    if request.origin != ORIGIN:
        return [name for name in request.family_fields if name != "store"]
    dropped = []
    for name, raw in request.family_fields.items():
        if name == "store":
            if bytes(raw) == b"true":  # false is what happens anyway
                body[name] = True
        elif name == "prompt_cache_options":
            options = _cache_options(raw)
            if options is None:
                dropped.append(name)
            else:
                body[name] = options
        else:
            body[name] = raw
    return dropped


def _cache_options(raw: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Those of the options that chat has too; Responses has more."""
    given = decode_part(_fields, bytes(raw)) or {}
    options = {name: given[name] for name in _CACHE_OPTIONS if name in given}
    if "ttl" in options and bytes(options["ttl"]) != _CHAT_TTL:
        del options["ttl"]
    return options or None
