"""What Messages refuses beyond the shape of a request.

Source: protocols.md, 1.3 ("API rules"), 2.6, 4 (G32, G33, G36, G38).
"""

from collections.abc import Iterator
from typing import Any, Final

from tests.support.strict.anthropic import shapes
from tests.support.strict.anthropic.models import Abilities
from tests.support.strict.body import given
from tests.support.strict.refused import Refused

_MAX_MARKS: Final = 4
# The constrained decoder has no way to hold an answer to these.
_NOT_DECODED: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "not",
)
_FORMATS: Final = {
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
}


def check(wire: shapes.Request, able: Abilities) -> None:
    """Raise Refused for a request that is well formed and yet not taken."""
    _check_sampling(wire, able)
    _check_thinking(wire, able)
    _check_output(wire, able)
    _check_order(wire, able)
    for place, message in enumerate(wire.messages):
        _check_texts(message, place)
    _check_tool_pairs(wire)
    marks = sum(1 for _ in _marks(wire))
    if marks > _MAX_MARKS:
        raise Refused(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def _check_sampling(wire: shapes.Request, able: Abilities) -> None:
    temperature, top_p = given(wire.temperature), given(wire.top_p)
    if not able.sampling and not (temperature is top_p is given(wire.top_k) is None):
        raise Refused("`temperature`, `top_p` and `top_k` are not supported for this model.")
    if temperature is not None and top_p is not None and not able.temperature_with_top_p:
        raise Refused(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only"
            " one."
        )
    for place, sequence in enumerate(given(wire.stop_sequences) or ()):
        if not sequence.strip():
            raise Refused(f"stop_sequences.{place}: each stop sequence must contain non-whitespace")


def _check_thinking(wire: shapes.Request, able: Abilities) -> None:
    thinking = given(wire.thinking)
    if isinstance(thinking, shapes.Adaptive) and not able.adaptive_thinking:
        raise Refused("adaptive thinking is not supported on this model")
    if not isinstance(thinking, shapes.Enabled):
        return
    if not able.manual_thinking:
        raise Refused('"thinking.type.enabled" is not supported for this model.')
    if thinking.budget_tokens >= wire.max_tokens:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if given(wire.temperature) not in (None, 1):
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    if given(wire.top_k) is not None:
        raise Refused("`top_k` must be unset when thinking is enabled.")
    if isinstance(given(wire.tool_choice), shapes.ChoiceAny | shapes.ChoiceTool):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
    _check_begins_with_thinking(wire)


def _check_begins_with_thinking(wire: shapes.Request) -> None:
    turns = [m for m in wire.messages if isinstance(m, shapes.AssistantMessage)]
    if not turns or isinstance(turns[-1].content, str):
        return
    blocks = turns[-1].content
    if not any(isinstance(block, shapes.ToolUse) for block in blocks):
        return
    if not isinstance(blocks[0], shapes.Thinking | shapes.RedactedThinking):
        raise Refused(
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found"
            f" `{type(blocks[0]).__struct_config__.tag}`. When `thinking` is enabled, a final"
            " `assistant` message must start with a thinking block (preceeding the lastmost set of"
            " `tool_use` and `tool_result` blocks)."
        )


def _check_output(wire: shapes.Request, able: Abilities) -> None:
    output = given(wire.output_config)
    if output is None:
        return
    if given(output.effort) is not None and not able.effort:
        raise Refused("This model does not support the effort parameter.")
    form = given(output.format)
    if form is None:
        return
    if not able.structured_output:
        raise Refused("output_config.format: not supported on this model")
    _check_decodable(form.schema, "output_config.format.schema")


def _check_decodable(schema: Any, place: str) -> None:
    if isinstance(schema, list):
        for inner in schema:
            _check_decodable(inner, place)
    if not isinstance(schema, dict):
        return
    found = [name for name in _NOT_DECODED if name in schema]
    if found or schema.get("minItems", 0) > 1 or schema.get("format", "uri") not in _FORMATS:
        raise Refused(f"{place}: For '{schema.get('type')}' type, {found} is not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Refused(
            f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for inner in [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]:
        _check_decodable(inner, place)
    for name in ("items", "anyOf", "allOf"):
        _check_decodable(schema.get(name), place)


def _check_order(wire: shapes.Request, able: Abilities) -> None:
    if isinstance(wire.messages[0], shapes.AssistantMessage):
        raise Refused('messages: first message must use the "user" role')
    last = wire.messages[-1]
    if isinstance(last, shapes.AssistantMessage):
        thinks = isinstance(given(wire.thinking), shapes.Enabled | shapes.Adaptive)
        if not able.prefill or thinks:
            raise Refused(
                "This model does not support assistant message prefill. The conversation must end"
                " with a user message."
            )


def _check_texts(message: shapes.UserMessage | shapes.AssistantMessage, place: int) -> None:
    if not message.content:
        raise Refused(f"messages.{place}: all messages must have non-empty content")
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        text = block.text if isinstance(block, shapes.Text) else block
        if isinstance(text, str) and not text.strip():
            raise Refused("messages: text content blocks must contain non-whitespace text")
        if isinstance(block, shapes.ToolResult) and isinstance(inner := given(block.content), list):
            for part in inner:
                if isinstance(part, shapes.Text) and not part.text:
                    raise Refused("messages: text content blocks must be non-empty")


def _blocks(message: shapes.UserMessage | shapes.AssistantMessage) -> list[Any]:
    return [] if isinstance(message.content, str) else [*message.content]


def _check_tool_pairs(wire: shapes.Request) -> None:
    open_calls: list[str] = []
    seen: set[str] = set()
    tool_blocks = False
    for place, message in enumerate(wire.messages):
        blocks = _blocks(message)
        results = [block for block in blocks if isinstance(block, shapes.ToolResult)]
        calls = [block.id for block in blocks if isinstance(block, shapes.ToolUse)]
        tool_blocks = tool_blocks or bool(results or calls)
        _check_results(place, blocks, results, open_calls)
        if seen.intersection(calls) or len(set(calls)) != len(calls):
            raise Refused(f"messages.{place}: `tool_use` ids must be unique")
        seen.update(calls)
        open_calls = calls
    if open_calls:
        raise Refused(_unanswered(len(wire.messages), open_calls))
    if tool_blocks and not given(wire.tools):
        raise Refused(
            "Requests which have `tool_use` or `tool_result` blocks in history must define tools."
        )


def _check_results(
    place: int, blocks: list[Any], results: list[shapes.ToolResult], open_calls: list[str]
) -> None:
    answered = [result.tool_use_id for result in results]
    for unknown in set(answered) - set(open_calls):
        raise Refused(
            f"messages.{place}.content.0: unexpected `tool_use_id` found in `tool_result` blocks:"
            f" {unknown}. Each `tool_result` block must have a corresponding `tool_use` block in"
            " the previous message."
        )
    if set(open_calls) - set(answered) or len(answered) != len(open_calls):
        raise Refused(_unanswered(place, open_calls))
    if not all(isinstance(block, shapes.ToolResult) for block in blocks[: len(results)]):
        raise Refused(_unanswered(place, open_calls))


def _unanswered(place: int, calls: list[str]) -> str:
    return (
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately"
        f" after: {', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result`"
        " block in the next message."
    )


def _marks(wire: shapes.Request) -> Iterator[shapes.CacheControl]:
    """Every cache mark of a request."""
    marked: list[Any] = [wire]
    if isinstance(system := given(wire.system), list):
        marked += system
    for message in wire.messages:
        for block in _blocks(message):
            marked.append(block)
            inner = given(block.content) if isinstance(block, shapes.ToolResult) else None
            marked += inner if isinstance(inner, list) else []
    found = [given(getattr(block, "cache_control", None)) for block in marked]
    found += [tool.get("cache_control") for tool in given(wire.tools) or ()]
    yield from (mark for mark in found if mark is not None)
