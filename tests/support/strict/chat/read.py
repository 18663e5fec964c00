"""Reading a request to Chat Completions as OpenAI does: its rules, and what it means.

Source: protocols.md, 1.1 ("Rules of the API"), 4 (G46, G48).
"""

from typing import Any, Final

from msgspec import UNSET

from tests.support.strict.body import UNKNOWN, convert, given
from tests.support.strict.chat import shapes
from tests.support.strict.chat.messages import all_text, read_messages
from tests.support.strict.refused import Refused
from tests.support.strict.seen import (
    Seen,
    SeenTool,
)

# Models that reason take neither sampling nor the old name of the limit.
_REASONING: Final = ("gpt-5", "gpt-6", "o1", "o3", "o4")
_NOT_REASONING: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "stop",
    "max_tokens",
)
_SETTINGS: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "verbosity",
    "service_tier",
    "metadata",
    "logit_bias",
    "prompt_cache_key",
    "prompt_cache_retention",
)


def thinks_aloud(model: str) -> bool:
    """Whether the server is of the kind that shows its reasoning, and takes it back."""
    return "reasoner" in model


def read(body: dict[str, Any]) -> Seen:
    """What a request means. Raises Refused when it is not one."""
    thoughts = _take_reasoning(body)
    wire = convert(body, shapes.Request, _describe)
    _check_settings(wire)
    seen = Seen(wire.model, bool(given(wire.stream)))
    _read_tools(wire, seen)
    read_messages(wire, seen, thoughts)
    _read_settings(wire, seen)
    return seen


def _describe(what: str, place: str) -> Refused:
    if unknown := UNKNOWN.search(what):
        where = f"{place}.{unknown[1]}" if place else unknown[1]
        return Refused(
            f"Unrecognized request argument supplied: {where}",
            param=where,
            code="unknown_parameter",
        )
    return Refused(f"Invalid value for '{place}': {what}", param=place, code="invalid_value")


def _take_reasoning(body: dict[str, Any]) -> dict[int, str]:
    """The `reasoning_content` of each message, where the server takes it, which OpenAI does not."""
    messages = body.get("messages")
    if not thinks_aloud(str(body.get("model"))) or not isinstance(messages, list):
        return {}
    return {
        place: message.pop("reasoning_content")
        for place, message in enumerate(messages)
        if isinstance(message, dict) and isinstance(message.get("reasoning_content"), str)
    }


def _check_settings(wire: shapes.Request) -> None:
    if wire.model.startswith(_REASONING):
        for name in _NOT_REASONING:
            if given(getattr(wire, name)) is not None:
                raise Refused(
                    f"Unsupported parameter: '{name}' is not supported with this model.",
                    param=name,
                    code="unsupported_parameter",
                )
    elif not thinks_aloud(wire.model) and given(wire.reasoning_effort) is not None:
        raise Refused(
            f"Unrecognized request argument supplied: reasoning_effort ({wire.model})",
            param="reasoning_effort",
        )
    if given(wire.stream_options) is not None and not given(wire.stream):
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if given(wire.top_logprobs) is not None and not given(wire.logprobs):
        raise Refused("'logprobs' must be true to use 'top_logprobs'.", param="top_logprobs")
    if given(wire.max_tokens) is not None and given(wire.max_completion_tokens) is not None:
        raise Refused("max_tokens and max_completion_tokens cannot both be set", param="max_tokens")
    _check_json_word(wire)


def _check_json_word(wire: shapes.Request) -> None:
    if not isinstance(wire.response_format, shapes.ObjectFormat):
        return
    if not any("json" in all_text(message).lower() for message in wire.messages):
        raise Refused(
            "'messages' must contain the word 'json' in some form, to use 'response_format'"
            " of type 'json_object'.",
            param="messages",
        )


# -- tools ------------------------------------------------------------------------------------


def _read_tools(wire: shapes.Request, seen: Seen) -> None:
    for place, tool in enumerate(given(wire.tools) or ()):
        if isinstance(tool, shapes.FunctionTool):
            read_tool = _function(tool.function, place)
        else:
            custom = tool.custom
            read_tool = SeenTool(custom.name, given(custom.description), custom=True)
        if read_tool.name in seen.tools:
            raise Refused(f"tools[{place}]: duplicate name {read_tool.name!r}", param="tools")
        seen.tools[read_tool.name] = read_tool
    for legacy in given(wire.functions) or ():
        schema = given(legacy.parameters)
        seen.tools[legacy.name] = SeenTool(legacy.name, given(legacy.description), schema)
        seen.legacy = True
    if given(wire.tools) == []:
        raise Refused("[] is too short - 'tools'", param="tools")
    seen.parallel = given(wire.parallel_tool_calls)
    seen.choice = _choice(given(wire.tool_choice))
    for name in ("tool_choice", "parallel_tool_calls"):
        if getattr(wire, name) is not UNSET and not given(wire.tools):
            raise Refused(f"'{name}' is only allowed when 'tools' are specified.", param=name)
    unknown = set((seen.choice or "").partition(":")[2].split(",")) - {""} - seen.tools.keys()
    if unknown:
        raise Refused(f"tool_choice: {sorted(unknown)} not found in 'tools'", param="tool_choice")
    if given(wire.web_search_options) is not None:
        seen.hosted_tools.append("web_search")


def _function(definition: shapes.FunctionDefinition, place: int) -> SeenTool:
    schema, strict = given(definition.parameters), given(definition.strict)
    where = f"tools[{place}].function.parameters"
    if schema is not None and schema.get("type") != "object":
        raise Refused(f"Invalid schema for function: {where}", param=where)
    if strict and not is_strict(schema):
        raise Refused(
            f"Invalid schema for function '{definition.name}': 'additionalProperties' is required"
            " to be supplied and to be false, and all properties must be required",
            param=where,
            code="invalid_function_parameters",
        )
    return SeenTool(definition.name, given(definition.description), schema, strict)


def is_strict(schema: Any) -> bool:
    """Whether a schema is as OpenAI's strict mode wants it."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties", {})
    if schema.get("type") == "object":
        required = set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or required != set(properties):
            return False
    inner = [schema.get(name) for name in ("items", "anyOf")]
    return all(map(is_strict, [*properties.values(), *schema.get("$defs", {}).values(), *inner]))


def _choice(choice: Any) -> str | None:
    match choice:
        case shapes.ChosenFunction(function=function):
            return f"required:{function.name}"
        case shapes.ChosenCustom(custom=custom):
            return f"required:{custom.name}"
        case shapes.AllowedTools(allowed_tools=allowed):
            names = [
                tool.function.name if isinstance(tool, shapes.ChosenFunction) else tool.custom.name
                for tool in allowed.tools
            ]
            return f"{allowed.mode}:{','.join(names)}"
        case _:
            return None if choice is None else str(choice)


# -- the rest ---------------------------------------------------------------------------------


def _read_settings(wire: shapes.Request, seen: Seen) -> None:
    for name in _SETTINGS:
        value = given(getattr(wire, name))
        if value is not None:
            seen.settings[name] = value
    limit = given(wire.max_completion_tokens) or given(wire.max_tokens)
    if limit is not None:
        seen.settings["max_tokens"] = limit
    if stop := given(wire.stop):
        seen.settings["stop"] = [stop] if isinstance(stop, str) else stop
    if user := given(wire.safety_identifier) or given(wire.user):
        seen.settings["user"] = user
    if effort := given(wire.reasoning_effort):
        seen.thinking["effort"] = effort
    seen.n = given(wire.n) or 1
    options = given(wire.stream_options)
    seen.usage_in_stream = bool(options and given(options.include_usage))
    _read_format(wire, seen)


def _read_format(wire: shapes.Request, seen: Seen) -> None:
    match given(wire.response_format):
        case shapes.ObjectFormat():
            seen.output = {}
        case shapes.SchemaFormat(json_schema=form):
            if given(form.strict) and not is_strict(given(form.schema)):
                raise Refused(
                    f"Invalid schema for response_format '{form.name}'", param="response_format"
                )
            seen.output = {"name": form.name, "schema": given(form.schema)}
            seen.output["strict"] = given(form.strict)
        case _:
            pass
