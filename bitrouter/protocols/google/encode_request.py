"""A request as Gemini wants it (protocols.md, 1.4 and 2.2)."""

from typing import Any, Final

import msgspec

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.protocols.google.encode_contents import encode_contents
from bitrouter.protocols.google.encode_tools import FORBIDDEN, MAX_NAME, encode_tools
from bitrouter.protocols.google.schemas import answer_schema, plain_schema
from bitrouter.protocols.history import all_system_texts, tool_names, wire_names
from bitrouter.protocols.portable import fitting, has_cache_marks
from bitrouter.protocols.thinking import budget_of, effort_of, nearest_effort
from bitrouter.protocols.translator import Encoded, Recipient
from bitrouter.protocols.writelarge import encode_large

_LACKS: Final = ("parallel_tools", "verbosity", "user", "metadata", "cache")
_MAX_STOPS: Final = 5
_MAX_BUDGET: Final = 24_576  # what every model with a budget takes
_MIN_BUDGET: Final = 128  # of those that cannot stop thinking
_PLAIN: Final = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("max_tokens", "maxOutputTokens"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)
_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_LEVELS: Final[dict[ir.Effort, ir.Effort]] = {"none": "minimal", "max": "xhigh"}

_encode: Final = msgspec.json.encode


def encode_request(request: ir.Request, recipient: Recipient) -> Encoded:
    """See Translator.encode_request."""
    traits = recipient.traits
    request, dropped = fitting(request, traits, _LACKS)
    if has_cache_marks(request):
        dropped.append("cache")
    # Whether to store the answer is nobody's loss.
    dropped += [name for name in request.family_fields if name != "store"]
    names = wire_names(tool_names(request), FORBIDDEN, MAX_NAME)
    system, turns = all_system_texts(request)
    body: dict[str, Any] = {"contents": encode_contents(turns, names, traits, dropped)}
    if system:
        text = "\n\n".join(one.text for one in system)
        body["systemInstruction"] = {"parts": [{"text": text}]}
    body |= encode_tools(request, names, traits, dropped)
    config = _sampling(request, dropped) | _form(request, traits, dropped)
    if config:
        body["generationConfig"] = config
    tier = _tier(request.service_tier, dropped)
    if tier:
        body["serviceTier"] = tier
    return Encoded(
        body=encode_large(body) if request.is_large else _encode(body),
        dropped=tuple(dict.fromkeys(dropped)),
        names={wire: name for name, wire in names.items() if wire != name},
        wrapped=frozenset(tool.name for tool in request.tools if tool.custom),
    )


def _tier(tier: str | None, dropped: list[str]) -> str | None:
    if tier is None or tier == "auto":
        return None
    if tier not in _TIERS:
        dropped.append("service_tier")
    return _TIERS.get(tier)


def _sampling(request: ir.Request, dropped: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for field, name in _PLAIN:
        value = getattr(request, field)
        if value is not None:
            config[name] = value
    if request.n is not None and request.n > 1:
        config["candidateCount"] = request.n
    if request.seed is not None:
        config["seed"] = _int32(request.seed)
    stop = [one for one in request.stop if one]
    if stop:
        config["stopSequences"] = stop[:_MAX_STOPS]
        if len(stop) > _MAX_STOPS:
            dropped.append("stop")
    if request.logprobs or request.top_logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs:
            config["logprobs"] = request.top_logprobs
    return config


def _form(request: ir.Request, traits: Traits, dropped: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.output is not None:
        config |= _output(request.output, traits)
    if request.thinking is not None:
        thinking = _thinking(request.thinking, traits, dropped)
        if thinking:
            config["thinkingConfig"] = thinking
    return config


def _int32(seed: int) -> int:
    """The seed as a number that Google takes, the same one every time."""
    return (seed + 2**31) % 2**32 - 2**31


def _output(output: ir.OutputFormat, traits: Traits) -> dict[str, Any]:
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if output.schema is None:
        return config
    where = "the schema of the answer"
    if traits.schema == "json_schema":
        return config | {"responseJsonSchema": plain_schema(output.schema, where)}
    return config | {"responseSchema": answer_schema(output.schema, where)}


def _thinking(thinking: ir.Thinking, traits: Traits, dropped: list[str]) -> dict[str, Any]:
    """`thinkingConfig`, by a number of tokens or by a word. Source: protocols.md, 2.5, "Effort"."""
    if traits.reasoning == "none":
        if effort_of(thinking) != "none" and thinking != ir.Thinking(visible=False):
            dropped.append("thinking")
        return {}
    config: dict[str, Any] = {}
    if traits.reasoning == "budget":
        budget = _budget(thinking, traits)
        if budget is not None:
            config["thinkingBudget"] = budget
    else:
        effort = effort_of(thinking)
        if effort is not None:
            effort = nearest_effort(_LEVELS.get(effort, effort), traits.efforts)
            config["thinkingLevel"] = _LEVELS.get(effort, effort).upper()
    if thinking.visible:
        config["includeThoughts"] = True
    return config


def _budget(thinking: ir.Thinking, traits: Traits) -> int | None:
    budget = budget_of(thinking)
    if budget is None or budget < 0:
        return budget
    if budget == 0:
        return _MIN_BUDGET if traits.efforts and "none" not in traits.efforts else 0
    return min(budget, _MAX_BUDGET)
