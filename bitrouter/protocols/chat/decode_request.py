"""What a client's request means. Source: protocols.md, 1.1, 2.2 to 2.6 and 2.8."""

from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols import openai
from bitrouter.protocols.base import Request, decode_body, decode_part
from bitrouter.protocols.chat import types
from bitrouter.protocols.chat.decode_messages import Conversation
from bitrouter.protocols.chat.decode_tools import decode_choice, decode_tools, json_object
from bitrouter.protocols.chat.mark import EXTRA, is_mark
from bitrouter.protocols.readlarge import Outsize, is_outsize_list, outsize_objects
from bitrouter.protocols.thinking import EFFORTS
from bitrouter.slices import LARGE

_SAYS_NOTHING: Final = frozenset({b"null", b"[]", b"{}", b'""'})
_KNOWN: Final = frozenset(types.Body.__struct_fields__)
_KNOWN_IN_MESSAGES: Final = frozenset(
    {*types.Message.__struct_fields__, "annotations", "reasoning_details", "thinking_blocks"}
)
_messages: Final = msgspec.json.Decoder(list[Fields])
_outsize: Final = Outsize(
    types.Body, {"messages": Outsize(types.Message, {"content": Outsize(types.Part)})}
)

# The client's names of what is called otherwise in ir.Request.
_SPELLINGS: Final = {
    "max_tokens": "max_completion_tokens",
    "parallel_tools": "parallel_tool_calls",
    "output": "response_format",
    "thinking": "reasoning_effort",
    "web_search": "web_search_options",
    "cache": "prompt_cache_breakpoint",
}
_OLD_SPELLINGS: Final = {k: v for k, v in _SPELLINGS.items() if k != "max_tokens"}


def decode_request(request: Request) -> ir.Request:
    """A request to generate. See Translator.decode_request."""
    body = _read(request)
    if not body.messages:
        raise InvalidRequest("messages must not be empty")
    if any(word != "text" for word in body.modalities or ()):
        raise UnsupportedFeature("modalities: this model's provider can be asked for text alone")
    conversation = Conversation(body.messages)
    tools, hosted = decode_tools(body)
    family = openai.family_fields(request.fields)
    return ir.Request(
        model=request.model,
        messages=conversation.turns,
        origin=openai.ORIGIN,
        stream=request.stream,
        system=conversation.system,
        tools=tools,
        web_search=_web_search(body.web_search_options),
        hosted_tools=hosted,
        tool_choice=decode_choice(body),
        # A legacy client can be told of one call alone.
        parallel_tools=False if body.functions else body.parallel_tool_calls,
        max_tokens=_first(body.max_completion_tokens, body.max_tokens),
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        stop=_stop(body.stop),
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=body.seed,
        n=body.n,
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs,
        thinking=_thinking(body.reasoning_effort),
        output=_output(body.response_format),
        verbosity=body.verbosity,
        user=body.safety_identifier or body.user or None,
        service_tier=body.service_tier,
        metadata=_metadata(body.metadata),
        family_fields=family,
        dropped=_dropped(request.fields, body, conversation, family),
        spellings=_spellings(body),
    )


def _read(request: Request) -> types.Body:
    if len(request.body) > LARGE:
        return _outsize.decode(request.body, request.fields)
    return decode_body(types.body, request.body)


def wants_usage(fields: Fields) -> bool:
    """Whether a client asked for the chunk with the usage: `stream_options.include_usage`."""
    raw = fields.get("stream_options")
    options = None if raw is None else decode_part(_stream_options, bytes(raw))
    return bool(options and options.include_usage)


def is_legacy(fields: Fields) -> bool:
    """Whether a client knows only of `functions`: its answers have `function_call`."""
    return _says(fields, "functions") and not _says(fields, "tools")


_stream_options: Final = msgspec.json.Decoder(types.StreamOptions | None)


def _says(fields: Fields, name: str) -> bool:
    return name in fields and bytes(fields[name]) not in _SAYS_NOTHING


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    given = [stop] if isinstance(stop, str) else stop or []
    return tuple(text for text in given if text)


def _thinking(effort: str | None) -> ir.Thinking | None:
    if effort is None:
        return None
    known = next((word for word in EFFORTS if word == effort), None)
    if known is None:
        raise InvalidRequest(f"reasoning_effort: {effort!r:.80} is not one of {', '.join(EFFORTS)}")
    # There is no field to ask for the thoughts with, and one for them in the answer.
    return ir.Thinking(effort=known, visible=None if known == "none" else True)


def _output(given: types.ResponseFormat | None) -> ir.OutputFormat | None:
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return ir.OutputFormat()
    if given.type != "json_schema":
        raise InvalidRequest(f"response_format.type: {given.type!r:.80} is not a type of format")
    described = given.json_schema
    if described is None:
        raise InvalidRequest("response_format.json_schema is required")
    schema = json_object(described.schema, "response_format.json_schema.schema")
    return ir.OutputFormat(schema, described.name, described.description, described.strict)


def _web_search(options: types.WebSearchOptions | None) -> ir.WebSearch | None:
    return None if options is None else ir.WebSearch(options.search_context_size)


def _metadata(raw: msgspec.Raw) -> msgspec.Raw | None:
    found = json_object(raw, "metadata")
    return None if found is None or bytes(found) == b"{}" else found


def _dropped(
    fields: Fields, body: types.Body, conversation: Conversation, family: Fields
) -> list[str]:
    """What the client said that the neutral form has no place for."""
    unknown = fields.keys() - _KNOWN - family.keys()
    dropped = sorted(name for name in unknown if _says(fields, name))
    if body.user and body.safety_identifier and body.user != body.safety_identifier:
        dropped.append("user")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        dropped.append("stream_options.include_obfuscation")
    if body.web_search_options is not None and body.web_search_options.user_location:
        dropped.append("web_search_options.user_location")
    if conversation.has_names:
        dropped.append("messages.name")
    return dropped + _unknown_in_messages(fields)


def _unknown_in_messages(fields: Fields) -> list[str]:
    if is_outsize_list(fields["messages"]):
        dropped = sorted(_unknown_in_outsize(fields["messages"]))
        return [f"messages.{name}" for name in dropped]
    messages = _messages.decode(fields["messages"])
    unknown = set().union(*messages) - _KNOWN_IN_MESSAGES
    dropped = [one for one in sorted(unknown) if any(_says_of_its_own(m, one) for m in messages)]
    return [f"messages.{name}" for name in dropped]


def _unknown_in_outsize(messages: msgspec.Raw) -> set[str]:
    """The same without holding all of them at once."""
    return {
        name
        for message in outsize_objects(messages)
        for name in message.keys() - _KNOWN_IN_MESSAGES
        if _says_of_its_own(message, name)
    }


def _says_of_its_own(message: Fields, name: str) -> bool:
    """The same for a member of a message, which may be our mark."""
    return _says(message, name) and not (name == EXTRA and is_mark(message[name]))


def _spellings(body: types.Body) -> dict[str, str]:
    spellings = _OLD_SPELLINGS if body.max_completion_tokens is None else _SPELLINGS
    if body.safety_identifier:
        spellings = spellings | {"user": "safety_identifier"}
    if body.functions:
        spellings = spellings | {"tools": "functions", "tool_choice": "function_call"}
    return spellings
