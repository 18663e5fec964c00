"""What a Responses client's request means. Source: protocols.md, 1.2 and 2.2 to 2.6."""

from collections.abc import Mapping
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest
from bitrouter.protocols import openai
from bitrouter.protocols.base import Request, decode_body
from bitrouter.protocols.readlarge import Outsize
from bitrouter.protocols.responses.decode_input import Conversation
from bitrouter.protocols.responses.decode_tools import Tools, tool_choice
from bitrouter.protocols.responses.types import (
    Body,
    Item,
    Part,
    ReasoningSettings,
    TextFormat,
    TextSettings,
    is_given,
)
from bitrouter.slices import LARGE

_body: Final = msgspec.json.Decoder(Body)
_parts: Final = Outsize(Part)
_outsize: Final = Outsize(Body, {"input": Outsize(Item, {"content": _parts, "output": _parts})})

_STATE: Final = ("previous_response_id", "conversation", "prompt")
_KNOWN: Final = {*Body.__struct_fields__, *_STATE, "model", "stream"}
_EMPTY: Final = (b"null", b"[]", b"{}", b'""')
# `include` values that are granted whether or not they are asked for.
_ALWAYS_INCLUDED: Final = frozenset(
    {"reasoning.encrypted_content", "message.input_image.image_url"}
)
_LOGPROBS: Final = "message.output_text.logprobs"

SPELLINGS: Final[Mapping[str, str]] = {
    "system": "instructions",
    "web_search": "tools",
    "hosted_tools": "tools",
    "parallel_tools": "parallel_tool_calls",
    "max_tokens": "max_output_tokens",
    "logprobs": "include",
    "thinking": "reasoning",
    "output": "text.format",
    "verbosity": "text.verbosity",
    "cache": "prompt_cache_breakpoint",
}
_WITH_SAFETY_IDENTIFIER: Final = {**SPELLINGS, "user": "safety_identifier"}


def decode_request(request: Request) -> ir.Request:
    """See Translator.decode_request."""
    body = _read(request)
    _refuse_state(request.fields, body)
    tools = Tools()
    tools.add(body.tools or (), "tools")
    conversation = _conversation(body, tools)
    family = openai.family_fields(request.fields)
    decoded = ir.Request(
        model=request.model,
        messages=conversation.messages,
        origin=openai.ORIGIN,
        stream=request.stream,
        system=conversation.system,
        tools=tools.tools,
        web_search=tools.web_search,
        hosted_tools=tuple(dict.fromkeys(tools.hosted)),
        parallel_tools=body.parallel_tool_calls,
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        thinking=_thinking(body.reasoning) if body.reasoning else None,
        user=body.safety_identifier or body.user,
        service_tier=body.service_tier,
        metadata=request.fields["metadata"] if body.metadata else None,
        family_fields=family,
        dropped=[*conversation.dropped, *tools.dropped, *_dropped(request.fields, family, body)],
        spellings=_WITH_SAFETY_IDENTIFIER if body.safety_identifier else SPELLINGS,
    )
    if body.tool_choice is not None:
        decoded.tool_choice = tool_choice(body.tool_choice)
    if body.top_logprobs or _LOGPROBS in (body.include or ()):
        decoded.logprobs = True
        decoded.top_logprobs = body.top_logprobs
    if body.text is not None:
        decoded.output = _output_format(body.text)
        decoded.verbosity = body.text.verbosity
    return decoded


def _read(request: Request) -> Body:
    if len(request.body) > LARGE:
        return _outsize.decode(request.body, request.fields)
    return decode_body(_body, request.body)


def _refuse_state(fields: Fields, body: Body) -> None:
    """What stands for a conversation that lies at another provider cannot be left out."""
    for name in _STATE:
        if name in fields and is_given(fields[name]):
            raise InvalidRequest(
                f"{name}: this state is kept by the provider that made it, and the request goes to"
                " another: send the whole conversation in input"
            )
    if body.background:
        raise InvalidRequest(
            "background: nobody would keep the answer until it is fetched: leave it out"
        )
    if body.input is None:
        raise InvalidRequest("input is required: a string or an array")


def _conversation(body: Body, tools: Tools) -> Conversation:
    conversation = Conversation(tools)
    if body.instructions:
        conversation.system.append(ir.Text(body.instructions))
    if isinstance(body.input, str):
        conversation.messages.append(ir.Message("user", [ir.Text(body.input)]))
    else:
        conversation.read(body.input or ())
    return conversation


def _thinking(settings: ReasoningSettings) -> ir.Thinking | None:
    summary = settings.summary or settings.generate_summary
    visible = (summary != "none") if summary else None
    if settings.effort is None and visible is None:
        return None
    return ir.Thinking(settings.effort, visible=visible)


def _output_format(text: TextSettings) -> ir.OutputFormat | None:
    if text.format is None or text.format.type == "text":
        return None
    if text.format.type == "json_object":
        return ir.OutputFormat()
    if text.format.type == "json_schema":
        return _schema_format(text.format)
    raise InvalidRequest(
        f"text.format.type: {text.format.type!r:.80} is not text, json_object or json_schema"
    )


def _schema_format(stated: TextFormat) -> ir.OutputFormat:
    if not is_given(stated.schema) or memoryview(stated.schema)[0] != ord("{"):
        raise InvalidRequest("text.format.schema must be an object")
    return ir.OutputFormat(stated.schema, stated.name, stated.description, stated.strict)


def _dropped(fields: Fields, family: Mapping[str, msgspec.Raw], body: Body) -> list[str]:
    """The members that have no neutral form and say more than what happens anyway."""
    dropped = [
        name
        for name, raw in fields.items()
        if name not in _KNOWN and name not in family and bytes(raw) not in _EMPTY
    ]
    if body.truncation not in (None, "disabled"):
        dropped.append("truncation")
    if body.stream_options and body.stream_options.include_obfuscation:
        dropped.append("stream_options")
    if not _ALWAYS_INCLUDED.union((_LOGPROBS,)).issuperset(body.include or ()):
        dropped.append("include")
    if body.safety_identifier and body.user:
        dropped.append("user")
    settings = body.reasoning
    if settings and settings.context not in (None, "auto"):
        dropped.append("reasoning.context")
    if settings and settings.mode not in (None, "standard"):
        dropped.append("reasoning.mode")
    return dropped
