"""Reading a request to Responses as OpenAI does: its rules, and what it means.

Source: protocols.md, 1.2, 2.3 ("Ids"), 4 (G45, G47).
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.support.strict.body import UNKNOWN, check_base64, convert, given
from tests.support.strict.chat.messages import document_from_data_url, image_from_url
from tests.support.strict.chat.read import is_strict
from tests.support.strict.refused import Refused
from tests.support.strict.responses import shapes
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
from tests.support.strict.signing import Signer

_REASONING: Final = ("gpt-5", "gpt-6", "o1", "o3", "o4")
_SETTINGS: Final = (
    "temperature",
    "top_p",
    "top_logprobs",
    "service_tier",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "truncation",
)


def reasons(model: str) -> bool:
    """Whether a model reasons, so that it takes other settings."""
    return model.startswith(_REASONING)


def read(body: dict[str, Any], signer: Signer, stored: dict[str, list[SeenTurn]]) -> Seen:
    """What a request means. Raises Refused when it is not one.

    `stored` are the turns of each response that is kept, by its id.
    """
    wire = convert(body, shapes.Request, _describe)
    seen = Seen(wire.model, bool(given(wire.stream)))
    _check_settings(wire)
    if (previous := given(wire.previous_response_id)) is not None:
        if previous not in stored:
            raise Refused(
                f"Previous response with id '{previous}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        seen.turns += stored[previous]
    if instructions := given(wire.instructions):
        seen.system.append(instructions)
    _read_tools(wire, seen)
    _read_input(wire, seen, signer)
    _read_settings(wire, seen)
    return seen


def _describe(what: str, place: str) -> Refused:
    if unknown := UNKNOWN.search(what):
        where = f"{place}.{unknown[1]}" if place else unknown[1]
        return Refused(f"Unknown parameter: '{where}'.", param=where, code="unknown_parameter")
    return Refused(f"Invalid '{place}': {what}", param=place, code="invalid_value")


def _check_settings(wire: shapes.Request) -> None:
    unsupported = (
        ("temperature", "top_p", "top_logprobs") if reasons(wire.model) else ("reasoning",)
    )
    for name in unsupported:
        if given(getattr(wire, name)) is not None:
            raise Refused(
                f"Unsupported parameter: '{name}' is not supported with this model.", param=name
            )
    include = given(wire.include) or ()
    if "reasoning.encrypted_content" in include and not reasons(wire.model):
        raise Refused("Encrypted content is not supported with this model.", param="include")
    if given(wire.stream_options) is not None and not given(wire.stream):
        raise Refused(
            "'stream_options' is only allowed when 'stream' is set", param="stream_options"
        )
    if (conversation := given(wire.conversation)) is not None:
        raise Refused(f"Conversation with id '{conversation}' not found.", param="conversation")
    if given(wire.prompt) is not None:
        raise Refused("Prompt not found.", kind="not_found", param="prompt")


# -- tools ------------------------------------------------------------------------------------


def _read_tools(wire: shapes.Request, seen: Seen) -> None:
    for place, tool in enumerate(given(wire.tools) or ()):
        match tool:
            case shapes.FunctionTool():
                _add(seen, _function(tool, place), place)
            case shapes.CustomTool():
                _add(seen, SeenTool(tool.name, given(tool.description), custom=True), place)
            case shapes.Namespace():
                for inner in tool.tools:
                    spoken = f"{tool.name}.{inner.name}"
                    _add(seen, SeenTool(spoken, given(inner.description)), place)
            case _:
                seen.hosted_tools.append(str(type(tool).__struct_config__.tag))
    seen.parallel = given(wire.parallel_tool_calls)
    seen.choice = _choice(given(wire.tool_choice))
    names = set((seen.choice or "").partition(":")[2].split(",")) - {""}
    if names - seen.tools.keys():
        raise Refused(f"Tool choice {sorted(names)} not found in 'tools'.", param="tool_choice")
    if seen.choice == "required" and not seen.tools and not seen.hosted_tools:
        raise Refused("Tool choice 'required' must be specified with 'tools'.", param="tool_choice")


def _add(seen: Seen, tool: SeenTool, place: int) -> None:
    if tool.name in seen.tools:
        raise Refused(f"Duplicate tool name: {tool.name}", param=f"tools[{place}].name")
    seen.tools[tool.name] = tool


def _function(tool: shapes.FunctionTool, place: int) -> SeenTool:
    where = f"tools[{place}].parameters"
    schema, strict = tool.parameters, given(tool.strict)
    if schema is not None and schema.get("type") != "object":
        raise Refused(f"Invalid schema for function '{tool.name}'", param=where)
    if strict and not is_strict(schema):
        raise Refused(
            f"Invalid schema for function '{tool.name}': 'additionalProperties' is required to be"
            " supplied and to be false.",
            param=where,
            code="invalid_function_parameters",
        )
    return SeenTool(tool.name, given(tool.description), schema, strict)


def _choice(choice: Any) -> str | None:
    match choice:
        case shapes.ChosenFunction(name=name) | shapes.ChosenCustom(name=name):
            return f"required:{name}"
        case shapes.AllowedTools(mode=mode, tools=tools):
            return f"{mode}:{','.join(tool.name for tool in tools)}"
        case shapes.ChosenHosted():
            return "required"
        case _:
            return None if choice is None else str(choice)


# -- input ------------------------------------------------------------------------------------


def _read_input(wire: shapes.Request, seen: Seen, signer: Signer) -> None:
    if isinstance(wire.input, str):
        seen.turns.append(SeenTurn("user", [wire.input]))
        return
    items = [_item(item, f"input[{place}]") for place, item in enumerate(wire.input)]
    if not items and not seen.turns:
        raise Refused("Missing required parameter: 'input'.", param="input")
    _check_calls(items, seen)
    for place, item in enumerate(items):
        where = f"input[{place}]"
        match item:
            case shapes.InputMessage(role="user"):
                seen.turns.append(SeenTurn("user", [*_message(item, where, seen)]))
            case shapes.InputMessage():
                _read_system(item, where, seen)
            case shapes.FunctionCallOutput() | shapes.CustomCallOutput():
                _turn(seen, "user").blocks.append(_result(item, where))
            case shapes.ReasoningItem():
                following = items[place + 1] if place + 1 < len(items) else None
                _check_reasoning(item, following, where)
                _turn(seen, "assistant").blocks.append(_thought(item, signer, where))
            case _:
                _turn(seen, "assistant").blocks += _said(item, where)
    if isinstance(items[-1] if items else None, shapes.ReasoningItem):
        raise Refused("Item of type 'reasoning' was provided without its required following item.")


def _item(item: dict[str, Any], where: str) -> shapes.Item:
    kind = item.get("type", "message")
    shape = shapes.ITEMS.get(kind)
    if kind == "item_reference":
        raise Refused(f"Item with id '{item.get('id')}' not found.", kind="not_found", param=where)
    if kind == "message":
        shape = shapes.OutputMessage if item.get("role") == "assistant" else shapes.InputMessage
    if shape is None:
        raise Refused(f"Invalid value: '{kind}'.", param=f"{where}.type", code="invalid_value")

    def describe(what: str, place: str) -> Refused:
        return _describe(what, f"{where}.{place}" if place else where)

    return convert(item, shape, describe)


def _turn(seen: Seen, role: Any) -> SeenTurn:
    """The turn that goes on: outputs belong together, and so does what the model said."""
    last = seen.turns[-1] if seen.turns else None
    if last is None or last.role != role or (role == "user" and not last.results):
        last = SeenTurn(role)
        seen.turns.append(last)
    return last


def _check_calls(items: Sequence[shapes.Item], seen: Seen) -> None:
    calls = [call.id for turn in seen.turns for call in turn.calls]
    for item in items:
        match item:
            case shapes.FunctionCall() | shapes.CustomCall():
                if item.call_id in calls:
                    raise Refused(f"Duplicate call_id {item.call_id}", param="input")
                calls.append(item.call_id)
            case shapes.FunctionCallOutput() | shapes.CustomCallOutput():
                if item.call_id not in calls:
                    raise Refused(
                        f"No tool call found for function call output with call_id {item.call_id}.",
                        param="input",
                    )
                calls.remove(item.call_id)
            case _:
                pass
    answered = {result.id for turn in seen.turns for result in turn.results}
    if missing := [call for call in calls if call not in answered]:
        raise Refused(f"No tool output found for function call {missing[0]}.", param="input")


def _check_reasoning(item: shapes.ReasoningItem, following: shapes.Item | None, where: str) -> None:
    if given(item.content):
        raise Refused(
            f"Invalid '{where}.content': array too long. Expected an array with maximum length 0",
            param=f"{where}.content",
        )
    if given(item.encrypted_content) is None:
        raise Refused(
            f"Item with id '{given(item.id)}' not found. Items are not persisted when `store` is"
            " set to false.",
            kind="not_found",
            param="input",
        )
    said = (shapes.OutputMessage, shapes.FunctionCall, shapes.CustomCall, shapes.ReasoningItem)
    if not isinstance(following, said):
        raise Refused(
            f"Item '{given(item.id)}' of type 'reasoning' was provided without its required"
            " following item.",
            param="input",
        )


def _thought(item: shapes.ReasoningItem, signer: Signer, where: str) -> SeenThought:
    content = signer.content("reasoning", given(item.encrypted_content) or "")
    if content is None:
        raise Refused(
            "The encrypted content could not be verified. Reason: Encrypted content could not be"
            " decrypted or parsed.",
            param=f"{where}.encrypted_content",
            code="invalid_encrypted_content",
        )
    return SeenThought(content)


def _read_system(item: shapes.InputMessage, where: str, seen: Seen) -> None:
    texts = [block for block in _message(item, where, seen) if isinstance(block, str)]
    if seen.turns:
        seen.turns.append(SeenTurn("system", [*texts]))
    else:
        seen.system.append("".join(texts))


def _message(item: shapes.InputMessage, where: str, seen: Seen) -> Iterator[SeenBlock]:
    if isinstance(item.content, str):
        yield item.content
        return
    for place, part in enumerate(item.content):
        if isinstance(part, shapes.InputText) and given(part.prompt_cache_breakpoint) is not None:
            seen.cache_marks.append(part.text)
        yield _part(part, f"{where}.content[{place}]")


def _part(part: Any, where: str) -> str | SeenMedia:
    match part:
        case shapes.InputText(text=text):
            return text
        case shapes.InputImage():
            url = given(part.image_url)
            if url is None:
                raise Refused(f"{where}: no file with this file_id", param=where)
            return image_from_url(url, where)
        case shapes.InputAudio(input_audio=audio):
            check_base64(audio.data, where)
            return SeenMedia("audio", f"audio/{audio.format}", audio.data)
        case _:
            return _file(part, where)


def _file(part: shapes.InputFile, where: str) -> SeenMedia:
    if (url := given(part.file_url)) is not None:
        return SeenMedia("document", url=url)
    data = given(part.file_data)
    if data is None or given(part.filename) is None:
        raise Refused(f"Missing required parameter: '{where}.filename'", param=where)
    return document_from_data_url(data, where)


def _result(item: shapes.FunctionCallOutput | shapes.CustomCallOutput, where: str) -> SeenResult:
    if isinstance(item.output, str):
        return SeenResult(item.call_id, None, item.output)
    parts = [_part(part, f"{where}.output[{n}]") for n, part in enumerate(item.output)]
    media = tuple(part for part in parts if isinstance(part, SeenMedia))
    text = "".join(part for part in parts if isinstance(part, str))
    return SeenResult(item.call_id, None, text, media=media)


def _said(item: shapes.Item, where: str) -> Iterator[SeenBlock]:
    match item:
        case shapes.FunctionCall():
            try:
                arguments = json.loads(item.arguments)
            except ValueError as error:
                raise Refused(f"{where}.arguments: not JSON", param=where) from error
            space = given(item.namespace)
            name = f"{space}.{item.name}" if space else item.name
            yield SeenCall(item.call_id, name, arguments)
        case shapes.CustomCall():
            yield SeenCall(item.call_id, item.name, item.input)
        case shapes.OutputMessage(content=str(text)):
            yield text
        case shapes.OutputMessage():
            for part in item.content:
                assert not isinstance(part, str)
                yield part.text if isinstance(part, shapes.OutputText) else part.refusal
        case _:
            pass


# -- the rest ---------------------------------------------------------------------------------


def _read_settings(wire: shapes.Request, seen: Seen) -> None:
    for name in _SETTINGS:
        value = given(getattr(wire, name))
        if value is not None:
            seen.settings[name] = value
    if (limit := given(wire.max_output_tokens)) is not None:
        seen.settings["max_tokens"] = limit
    if user := given(wire.safety_identifier) or given(wire.user):
        seen.settings["user"] = user
    if "message.output_text.logprobs" in (given(wire.include) or ()):
        seen.settings["logprobs"] = True
    seen.settings["store"] = given(wire.store) is not False
    reasoning = given(wire.reasoning)
    if reasoning is not None:
        if effort := given(reasoning.effort):
            seen.thinking["effort"] = effort
        summary = given(reasoning.summary) or given(reasoning.generate_summary)
        seen.thoughts_shown = summary is not None
    text = given(wire.text)
    if text is not None:
        if verbosity := given(text.verbosity):
            seen.settings["verbosity"] = verbosity
        _read_format(given(text.format), seen)


def _read_format(form: Any, seen: Seen) -> None:
    match form:
        case shapes.ObjectFormat():
            texts = [*seen.system, *(turn.text for turn in seen.turns)]
            if not any("json" in text.lower() for text in texts):
                raise Refused(
                    "Response input messages must contain the word 'json' in some form to use"
                    " 'text.format' of type 'json_object'.",
                    param="input",
                )
            seen.output = {}
        case shapes.SchemaFormat():
            if given(form.strict) and not is_strict(form.schema):
                raise Refused(f"Invalid schema for '{form.name}'", param="text.format.schema")
            seen.output = {"name": form.name, "schema": form.schema, "strict": given(form.strict)}
        case _:
            pass
