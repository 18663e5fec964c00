"""Reading a request to Chat Completions as OpenAI does: its rules, and what it means.

Source: protocols.md, 1.1 ("Rules of the API"), 4 (G46, G48).
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import UNSET

from tests.support.strict.body import UNKNOWN, check_base64, convert, given
from tests.support.strict.chat import shapes
from tests.support.strict.refused import Refused
from tests.support.strict.seen import (
    Seen,
    SeenBlock,
    SeenCall,
    SeenMedia,
    SeenResult,
    SeenThought,
    SeenTool,
    SeenTurn,
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
    _read_messages(wire, seen, thoughts)
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
    if not any("json" in _all_text(message).lower() for message in wire.messages):
        raise Refused(
            "'messages' must contain the word 'json' in some form, to use 'response_format'"
            " of type 'json_object'.",
            param="messages",
        )


def _all_text(message: shapes.Message) -> str:
    content = given(message.content)
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content or () if isinstance(part, shapes.TextPart))


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


# -- messages ---------------------------------------------------------------------------------


def _read_messages(wire: shapes.Request, seen: Seen, thoughts: dict[int, str]) -> None:
    open_calls: list[str] = []
    for place, message in enumerate(wire.messages):
        where = f"messages[{place}]"
        if isinstance(message, shapes.ToolMessage | shapes.FunctionMessage):
            _read_result(message, where, seen, open_calls)
            continue
        if open_calls:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages"
                " responding to each 'tool_call_id'. The following tool_call_ids did not have"
                f" response messages: {', '.join(open_calls)}",
                param=where,
            )
        match message:
            case shapes.AssistantMessage():
                turn = _assistant(message, where)
                if place in thoughts:
                    turn.blocks.insert(0, SeenThought(thoughts[place]))
                seen.turns.append(turn)
                open_calls = [call.id for call in turn.calls if call.id is not None]
                if len(set(open_calls)) != len(open_calls):
                    raise Refused(f"{where}: duplicate tool call ids", param=where)
            case shapes.UserMessage():
                seen.turns.append(SeenTurn("user", list(_user(message, where))))
                _note_marks(message.content, seen.cache_marks)
            case _:
                _read_system(message, seen)
    if open_calls:
        raise Refused(f"tool_call_ids did not have response messages: {', '.join(open_calls)}")


def _read_system(message: shapes.SystemMessage | shapes.DeveloperMessage, seen: Seen) -> None:
    if seen.turns:
        seen.turns.append(SeenTurn("system", [_all_text(message)]))
    else:
        seen.system.append(_all_text(message))
    _note_marks(message.content, seen.cache_marks)


def _read_result(
    message: shapes.ToolMessage | shapes.FunctionMessage,
    where: str,
    seen: Seen,
    open_calls: list[str],
) -> None:
    if isinstance(message, shapes.FunctionMessage):
        result = SeenResult(None, message.name, message.content or "")
    else:
        if message.tool_call_id not in open_calls:
            raise Refused(
                "messages with role 'tool' must be a response to a preceding message with"
                " 'tool_calls'.",
                param=where,
            )
        open_calls.remove(message.tool_call_id)
        result = SeenResult(message.tool_call_id, None, _all_text(message))
    if not seen.turns or not seen.turns[-1].results:
        seen.turns.append(SeenTurn("user"))
    seen.turns[-1].blocks.append(result)


def _assistant(message: shapes.AssistantMessage, where: str) -> SeenTurn:
    content = None if message.content is UNSET else message.content
    calls, refusal = given(message.tool_calls), given(message.refusal)
    legacy = given(message.function_call)
    if content is None and not calls and legacy is None and refusal is None:
        raise Refused(
            f"Invalid value for 'content': expected a string, got null. ({where})",
            param=f"{where}.content",
        )
    blocks: list[SeenBlock] = []
    if isinstance(content, str):
        blocks += [content] if content else []
    else:
        for part in content or []:
            blocks.append(part.text if isinstance(part, shapes.TextPart) else part.refusal)
    blocks += [refusal] if refusal else []
    for call in calls or ():
        blocks.append(_call(call, where))
    if legacy is not None:
        blocks.append(SeenCall(None, legacy.name, json.loads(legacy.arguments)))
    return SeenTurn("assistant", blocks)


def _call(call: shapes.FunctionCall | shapes.CustomCall, where: str) -> SeenCall:
    if isinstance(call, shapes.CustomCall):
        return SeenCall(call.id, call.custom.name, call.custom.input)
    try:
        arguments = json.loads(call.function.arguments)
    except ValueError as error:
        raise Refused(f"{where}: arguments of {call.id} are not JSON", param=where) from error
    return SeenCall(call.id, call.function.name, arguments)


def _user(message: shapes.UserMessage, where: str) -> Iterator[SeenBlock]:
    if isinstance(message.content, str):
        yield message.content
        return
    if not message.content:
        raise Refused(f"{where}.content: [] is too short", param=f"{where}.content")
    for number, part in enumerate(message.content):
        yield _part(part, f"{where}.content[{number}]")


def _part(
    part: shapes.TextPart | shapes.ImagePart | shapes.AudioPart | shapes.FilePart, where: str
) -> SeenBlock:
    match part:
        case shapes.TextPart(text=text):
            return text
        case shapes.ImagePart(image_url=image):
            return image_from_url(image.url, where)
        case shapes.AudioPart(input_audio=audio):
            check_base64(audio.data, where)
            return SeenMedia("audio", f"audio/{audio.format}", audio.data)
        case _:
            return _file(part.file, where)


def image_from_url(url: str, where: str) -> SeenMedia:
    """An image given by http or as a data URL. Raises Refused when it is neither."""
    if url.startswith(("http://", "https://")):
        return SeenMedia("image", url=url)
    head, comma, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not comma or media_type not in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        raise Refused(f"Invalid image_url: {url[:40]}", param=where, code="invalid_image_url")
    check_base64(data, where)
    return SeenMedia("image", media_type, data)


def _file(file: shapes.FileFile, where: str) -> SeenMedia:
    data = given(file.file_data)
    if data is None:
        raise Refused(f"{where}: no file with this file_id", param=where)
    if given(file.filename) is None:
        raise Refused(f"Missing required parameter: '{where}.file.filename'", param=where)
    return document_from_data_url(data, where)


def document_from_data_url(url: str, where: str) -> SeenMedia:
    """A PDF as a data URL. Raises Refused when it is none."""
    data = url.removeprefix("data:application/pdf;base64,")
    if data == url:
        raise Refused(f"{where}: expected a base64-encoded data URL of a PDF", param=where)
    if not check_base64(data, where).startswith(b"%PDF-"):
        raise Refused(f"{where}: not a PDF", param=where)
    return SeenMedia("document", "application/pdf", data)


# -- the rest ---------------------------------------------------------------------------------


def _note_marks(parts: str | Sequence[Any], marks: list[str]) -> None:
    """Note what is marked to be cached up to: its text, or what else it is."""
    marked: Sequence[Any] = [] if isinstance(parts, str) else parts
    marks += [
        part.text if isinstance(part, shapes.TextPart) else "media"
        for part in marked
        if given(part.prompt_cache_breakpoint) is not None
    ]


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
