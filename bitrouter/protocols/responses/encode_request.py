"""A request for a Responses provider. Source: protocols.md, 1.2, 2.2 to 2.6 and 2.11."""

from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import OutputFormat, Request, Text, Tool, ToolChoice
from bitrouter.protocols import openai
from bitrouter.protocols.history import replace
from bitrouter.protocols.portable import fitting
from bitrouter.protocols.responses.cache_marks import CacheMarks
from bitrouter.protocols.responses.encode_input import InputWriter
from bitrouter.protocols.responses.encode_tools import (
    function,
    is_strict,
    names_on_wire,
    tool_choice,
    tools,
)
from bitrouter.protocols.thinking import effort_of, nearest_effort
from bitrouter.protocols.translator import Encoded, Recipient
from bitrouter.protocols.writelarge import encode_large

_LACKS: Final = (
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "n",
)
_MIN_OUTPUT_TOKENS: Final = 16
# Other vendors' words for tiers that exist here, and the words that the protocol has.
_TIERS: Final = {"standard": "default", "standard_only": "default"}
_KNOWN_TIERS: Final = frozenset(
    {"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"}
)
_ANSWER_TOOL: Final = "structured_output"
_ONLY_JSON: Final = Text("Answer with one JSON object and nothing else.")
_LITTLE: Final = ("none", "minimal", "low")

_encode: Final = msgspec.json.Encoder().encode

Body = dict[str, Any]


def encode_request(request: Request, recipient: Recipient) -> Encoded:
    """See Translator.encode_request."""
    traits = recipient.traits
    request, dropped = fitting(request, traits, _LACKS)
    request = _saying_json(request, traits)
    names = names_on_wire(request)
    body: Body = {"model": recipient.model_id}
    if request.stream:
        body["stream"] = True
    dropped += _put_input(body, request, names, traits)
    _put_sampling(body, request)
    dropped += _put_length(body, request, recipient)
    dropped += _put_thinking(body, request, traits)
    dropped += _put_tools(body, request, names, traits)
    answer_tool = _put_output(body, request, traits)
    dropped += _put_account(body, request)
    return Encoded(
        encode_large(body) if request.is_large else _encode(body),
        tuple(dropped),
        names={wire: name for name, wire in names.items() if wire != name},
        answer_tool=answer_tool,
    )


def _saying_json(request: Request, traits: Traits) -> Request:
    """The request with the word without which json_object is refused, or that stands in for it."""
    if request.output is None or request.output.schema is not None:
        return request
    native = traits.structured_output == "native"
    texts = [*request.system, *(block for turn in request.messages for block in turn.blocks)]
    if native and any(isinstance(text, Text) and "json" in text.text.lower() for text in texts):
        return request
    output = request.output if native else None
    return replace(request, system=[*request.system, _ONLY_JSON], output=output)


def _put_input(body: Body, request: Request, names: dict[str, str], traits: Traits) -> list[str]:
    marks = CacheMarks(traits.cache_hints)
    writer = InputWriter(names, marks)
    if instructions := writer.write_system(request.system):
        body["instructions"] = instructions
    writer.write(request.messages)
    if request.cache is not None:
        writer.mark_end(request.cache)
    marks.settle()
    body["input"] = writer.items
    left_out = marks.left_out or any(tool.cache for tool in request.tools)  # there is no place
    return ["cache"] if left_out else []


def _put_length(body: Body, request: Request, recipient: Recipient) -> list[str]:
    """What the model would refuse for being too much is cut down to its limit, and announced."""
    if request.max_tokens is None:
        return []
    wanted = max(request.max_tokens, _MIN_OUTPUT_TOKENS)
    given = min(wanted, recipient.max_output_tokens or wanted)
    body["max_output_tokens"] = given
    return ["max_tokens"] if given < request.max_tokens else []


def _put_sampling(body: Body, request: Request) -> None:
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.logprobs:
        body["include"] = ["message.output_text.logprobs"]
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs


def _put_thinking(body: Body, request: Request, traits: Traits) -> list[str]:
    """`reasoning`, and encrypted reasoning, without which no later turn could go on from it.

    Models that do not reason refuse both. Where `none` may be unknown it is left out, for a server
    that does not know it refuses it (protocols.md, 2.5).
    """
    thinking = request.thinking
    effort = effort_of(thinking) if thinking is not None else None
    if traits.reasoning == "none":
        return ["thinking"] if effort not in (None, "none") else []
    body.setdefault("include", []).append("reasoning.encrypted_content")
    if effort == "none" and not traits.efforts and request.origin != openai.ORIGIN:
        return []
    settings: dict[str, str] = {}
    if effort is not None:
        settings["effort"] = nearest_effort(effort, traits.efforts)
    if thinking is not None and thinking.visible and effort != "none":
        settings["summary"] = "auto"
    if settings:
        body["reasoning"] = settings
    return ["thinking"] if effort == "none" and settings["effort"] not in _LITTLE else []


def _put_tools(body: Body, request: Request, names: dict[str, str], traits: Traits) -> list[str]:
    declared = tools(request, traits, names)
    if not declared:
        return []
    body["tools"] = declared
    if request.tool_choice is not None:
        body["tool_choice"] = tool_choice(request, request.tool_choice, names)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    lowered = any(tool.strict and not is_strict(request, tool, traits) for tool in request.tools)
    return ["strict"] if lowered else []


def _put_output(body: Body, request: Request, traits: Traits) -> str | None:
    """`text`; or the tool whose arguments are the answer, where the model knows no formats."""
    text: Body = {}
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    answer_tool = None
    if request.output is not None:
        if traits.structured_output == "native":
            text["format"] = _format(request.output, request.origin)
        elif request.tool_choice is None or request.tool_choice.mode != "required":
            answer_tool = _put_answer_tool(body, request.output, request.tool_choice)
    if text:
        body["text"] = text
    return answer_tool


def _put_answer_tool(body: Body, output: OutputFormat, choice: ToolChoice | None) -> str:
    """Ask for the answer as a call: of this tool, or else of one that the client has."""
    others = body.setdefault("tools", [])
    taken = {tool.get("name") for tool in others}
    name = _ANSWER_TOOL
    while name in taken:
        name += "_"
    may_call = others and (choice is None or choice.mode != "none")
    body["tool_choice"] = "required" if may_call else {"type": "function", "name": name}
    tool = Tool(name, output.description or "The answer.", output.schema)
    others.append(function(name, tool, strict=False))
    return name


def _format(output: OutputFormat, origin: str) -> Body:
    if output.schema is None:
        return {"type": "json_object"}
    stated: Body = {
        "type": "json_schema",
        "name": output.name or "response",
        "schema": output.schema,
    }
    if output.description is not None:
        stated["description"] = output.description
    if origin != openai.ORIGIN:
        stated["strict"] = openai.is_strict_shape(output.schema)
    elif output.strict is not None:
        stated["strict"] = output.strict
    return stated


def _put_account(body: Body, request: Request) -> list[str]:
    """What is about the end user, the bill, and what the provider keeps."""
    body["store"] = False
    dropped: list[str] = []
    if request.origin == openai.ORIGIN:
        body |= request.family_fields
    else:
        dropped = [name for name in request.family_fields if name != "store"]
    if request.user is not None:
        body[openai.user_member(request)] = request.user
    if request.metadata is not None:
        body["metadata"] = request.metadata
    if request.service_tier is not None:
        tier = _TIERS.get(request.service_tier, request.service_tier)
        if tier in _KNOWN_TIERS:
            body["service_tier"] = tier
        else:
            dropped.append("service_tier")
    return dropped
