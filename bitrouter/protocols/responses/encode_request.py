"""A request for a Responses provider. Source: protocols.md, 1.2, 2.2 to 2.6 and 2.11."""

from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import OutputFormat, Request, Tool, ToolChoice
from bitrouter.protocols import openai
from bitrouter.protocols.portable import fitting
from bitrouter.protocols.responses.encode_input import input_items, message
from bitrouter.protocols.responses.encode_tools import (
    function,
    is_strict,
    names_on_wire,
    tool_choice,
    tools,
)
from bitrouter.protocols.thinking import effort_of, nearest_effort
from bitrouter.protocols.translator import Encoded, Recipient

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
_ONLY_JSON: Final = "Answer with one JSON object and nothing else."

_encode: Final = msgspec.json.Encoder().encode

Body = dict[str, Any]


def encode_request(request: Request, recipient: Recipient) -> Encoded:
    """See Translator.encode_request."""
    traits = recipient.traits
    request, dropped = fitting(request, traits, _LACKS)
    names = names_on_wire(request)
    body: Body = {"model": recipient.model_id}
    if request.stream:
        body["stream"] = True
    _put_input(body, request, names, traits)
    _put_sampling(body, request, recipient)
    dropped += _put_thinking(body, request, traits)
    dropped += _put_tools(body, request, names, traits)
    answer_tool = _put_output(body, request, traits)
    dropped += _put_account(body, request)
    return Encoded(
        _encode(body),
        tuple(dropped),
        names={wire: name for name, wire in names.items() if wire != name},
        answer_tool=answer_tool,
    )


def _put_input(body: Body, request: Request, names: dict[str, str], traits: Traits) -> None:
    """`instructions` and `input`. Texts with a cache mark can only be marked in a message."""
    marks = traits.cache_hints
    items = input_items(request.messages, names, marks=marks)
    texts = [text for text in request.system if text.text]
    if any(text.cache for text in texts) and marks != "none":
        items.insert(0, message("developer", texts, marks=marks))
    elif texts:
        body["instructions"] = "\n\n".join(text.text for text in texts)
    body["input"] = items


def _put_sampling(body: Body, request: Request, recipient: Recipient) -> None:
    if request.max_tokens is not None:
        most = max(request.max_tokens, _MIN_OUTPUT_TOKENS)
        body["max_output_tokens"] = min(most, recipient.max_output_tokens or most)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.logprobs:
        body["include"] = ["message.output_text.logprobs"]
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs


def _put_thinking(body: Body, request: Request, traits: Traits) -> list[str]:
    """`reasoning`, and encrypted reasoning, without which no later turn could go on from it."""
    if traits.reasoning == "none":
        asked = request.thinking is not None and effort_of(request.thinking) != "none"
        return ["thinking"] if asked else []
    body.setdefault("include", []).append("reasoning.encrypted_content")
    if request.thinking is None:
        return []
    settings: dict[str, str] = {}
    effort = effort_of(request.thinking)
    # Servers that do not know `none` refuse it, and most models do not.
    if effort is not None and (effort != "none" or "none" in traits.efforts):
        settings["effort"] = nearest_effort(effort, traits.efforts)
    if request.thinking.visible and effort != "none":
        settings["summary"] = "auto"
    if settings:
        body["reasoning"] = settings
    return []


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
        if request.output.schema is not None and traits.structured_output == "tool":
            answer_tool = _put_answer_tool(body, request.output, request.tool_choice)
        else:
            text["format"] = _format(request.output, request.origin)
            if request.output.schema is None:
                _put_word_json(body)
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
    if not others or (choice is not None and choice.mode == "none"):
        body["tool_choice"] = {"type": "function", "name": name}
    elif choice is None or choice.mode == "auto":
        body["tool_choice"] = "required"
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


def _put_word_json(body: Body) -> None:
    """json_object is refused unless the word stands somewhere in what is asked."""
    if b"json" not in _encode([body.get("instructions"), body["input"]]).lower():
        told = [body["instructions"]] if "instructions" in body else []
        body["instructions"] = "\n\n".join([*told, _ONLY_JSON])


def _put_account(body: Body, request: Request) -> list[str]:
    """What is about the end user, the bill, and what the provider keeps."""
    body["store"] = False
    dropped = []
    if request.origin == openai.ORIGIN:
        body |= request.family_fields
    else:
        dropped += [name for name in request.family_fields if name != "store"]
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
