"""A request for an Anthropic model (protocols.md, 1.3 and 2.2 to 2.8)."""

from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest
from bitrouter.ir import Request
from bitrouter.protocols.anthropic.cache_marks import CacheMarks, cache_control
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.encode_messages import (
    MessageEncoder,
    orderly,
    system_texts,
    without_reasoning,
)
from bitrouter.protocols.anthropic.encode_thinking import ThinkingPlan, plan_thinking
from bitrouter.protocols.anthropic.encode_tools import Tools, encode_tools, names_on_wire
from bitrouter.protocols.anthropic.schemas import output_schema
from bitrouter.protocols.history import all_system_texts
from bitrouter.protocols.portable import fitting, only_chosen
from bitrouter.protocols.translator import Encoded, Recipient
from bitrouter.protocols.writelarge import encode_large

_LACKS: Final = (
    *("presence_penalty", "frequency_penalty", "seed", "n", "logprobs", "top_logprobs"),
    *("verbosity", "metadata"),
)
# protocols.md, 2.2, "service tier".
_TIERS: Final = {
    "auto": "auto",
    "priority": "auto",
    "fast": "auto",
    "default": "standard_only",
    "standard": "standard_only",
}
_LEAST_TOP_P: Final = 0.95  # of a model that thinks


def encode_request(request: Request, recipient: Recipient) -> Encoded:
    """The request for a provider. Raises UnsupportedFeature when it cannot be told all of it."""
    try:
        return _encode(request, recipient)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("a schema is nested too deeply, or has a number too large") from error


def _encode(whole: Request, recipient: Recipient) -> Encoded:
    traits = recipient.traits
    request, dropped = fitting(whole, traits, _LACKS)
    request = only_chosen(request)
    names = names_on_wire(request)
    marks = CacheMarks()
    tools = encode_tools(request, traits, names, marks)
    texts, turns = all_system_texts(request)
    turns = orderly(turns)
    plan = plan_thinking(request, turns, recipient, forced=tools.forced)
    if plan.off(traits):
        turns = without_reasoning(turns)
    encoder = MessageEncoder(names, marks)
    body: dict[str, Any] = {"model": recipient.model_id, "max_tokens": plan.max_tokens}
    system = system_texts(request, texts)
    if system:
        body["system"] = encoder.system(system)
    body["messages"] = encoder.turns(turns)
    _add_tools(body, tools)
    dropped += _add_settings(body, request, plan)
    _add_output(body, request, plan, traits)
    if request.cache is not None:
        body["cache_control"] = cache_control(request.cache)
    marks.settle(taken=1 if request.cache else 0)
    lost = [*dropped, *_family_fields(whole), *tools.dropped, *encoder.dropped]
    return Encoded(
        encode_large(body) if whole.is_large else msgspec.json.encode(body),
        dropped=tuple(dict.fromkeys(lost)),
        headers=_headers(recipient),
        names={written: name for name, written in names.items()},
        wrapped=tools.wrapped,
        answer_tool=tools.answer_tool,
    )


def _headers(recipient: Recipient) -> dict[str, str]:
    headers = {"anthropic-version": recipient.traits.version}
    if recipient.traits.betas:
        headers["anthropic-beta"] = ",".join(recipient.traits.betas)
    return headers


def _family_fields(request: Request) -> list[str]:
    """What only another vendor's protocols share. Whether to store the answer is nobody's loss."""
    if request.origin == ORIGIN:
        return []
    return [name for name in request.family_fields if name != "store"]


def _add_tools(body: dict[str, Any], tools: Tools) -> None:
    if tools.wire:
        body["tools"] = tools.wire
    if tools.choice is not None:
        body["tool_choice"] = tools.choice


def _add_output(body: dict[str, Any], request: Request, plan: ThinkingPlan, traits: Traits) -> None:
    config: dict[str, Any] = {}
    if plan.effort is not None:
        config["effort"] = plan.effort
    output = request.output
    if output is not None and output.schema and traits.structured_output == "native":
        config["format"] = {"type": "json_schema", "schema": output_schema(output.schema)}
    if config:
        body["output_config"] = config


def _add_settings(body: dict[str, Any], request: Request, plan: ThinkingPlan) -> list[str]:
    """Everything that is one member. What is lost, in neutral names."""
    lost = _add_sampling(body, request, thinks=plan.on)
    if plan.thinking is not None:
        body["thinking"] = plan.thinking
    if plan.lost:
        lost.append("thinking")
    stop = [text for text in request.stop if text.strip()]
    if stop:
        body["stop_sequences"] = stop
    if len(stop) < len(request.stop):
        lost.append("stop")
    if request.stream:
        body["stream"] = True
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.service_tier:
        tier = _TIERS.get(request.service_tier)
        if tier:
            body["service_tier"] = tier
        else:
            lost.append("service_tier")
    return lost


def _add_sampling(body: dict[str, Any], request: Request, *, thinks: bool) -> list[str]:
    """Of temperature and top_p the API takes one; of a model that thinks, neither may stray."""
    lost = []
    temperature, top_p, top_k = request.temperature, request.top_p, request.top_k
    if temperature is not None and thinks:
        if temperature < 1:
            lost.append("temperature")
        temperature = None
    if top_p is not None and (temperature is not None or (thinks and top_p < _LEAST_TOP_P)):
        if top_p < 1:
            lost.append("top_p")
        top_p = None
    if top_k is not None and thinks:
        lost.append("top_k")
        top_k = None
    if temperature is not None:
        body["temperature"] = min(temperature, 1.0)
    if top_p is not None:
        body["top_p"] = top_p
    if top_k is not None:
        body["top_k"] = top_k
    return lost
