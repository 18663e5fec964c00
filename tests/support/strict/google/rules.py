"""What generateContent refuses beyond the shape of a request.

Source: protocols.md, 1.4 ("API rules"), 2.6, 4 (G23, G25, G28, G29); google.genai.types.
"""

from typing import Any, Final

from tests.support.strict.body import given
from tests.support.strict.google import shapes
from tests.support.strict.refused import Refused

SKIP: Final = "skip_thought_signature_validator"
_DATA: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
)
_FORMATS: Final = ("float", "double", "int32", "int64", "date-time", "enum")


def check(wire: shapes.Request, model: str) -> None:
    """Raise Refused for a request that is well formed and yet not taken."""
    for place, content in enumerate(wire.contents):
        check_parts(given(content.parts), f"contents[{place}].parts")
    if is_model(wire.contents[0]):
        raise Refused("Please ensure that the conversation begins with a user turn.")
    _check_tools(wire)
    _check_config(wire, model)
    turns = _turns(wire)
    for number, (model_turn, parts) in enumerate(turns):
        following = turns[number + 1][1] if number + 1 < len(turns) else []
        if model_turn:
            _check_calls(parts, following)
        if model_turn and model.startswith("gemini-3"):
            _check_signatures(parts)
        if not model_turn and number == 0:
            _check_calls([], parts)


def is_model(content: shapes.Content) -> bool:
    """Whether a turn is the model's."""
    return given(content.role) == "model"


def _turns(wire: shapes.Request) -> list[tuple[bool, list[shapes.Part]]]:
    """The turns, those of one side in a row being one."""
    turns: list[tuple[bool, list[shapes.Part]]] = []
    for content in wire.contents:
        if not turns or turns[-1][0] != is_model(content):
            turns.append((is_model(content), []))
        turns[-1][1].extend(given(content.parts) or ())
    return turns


def check_parts(parts: list[shapes.Part] | None, place: str) -> None:
    """Raise Refused for a turn, or a part of it, that holds nothing, or two things."""
    if not parts:
        raise Refused(
            f"GenerateContentRequest.{place}: contents.parts must not be empty.", param=place
        )
    for number, part in enumerate(parts):
        there = [name for name in _DATA if given(getattr(part, name)) is not None]
        where = f"GenerateContentRequest.{place}[{number}]"
        if len(there) != 1:
            raise Refused(
                f"{where}.data: required oneof field 'data' must have one initialized field"
                f" and has {there}",
                param=place,
            )
        if given(part.text) == "" and given(part.thoughtSignature) is None and len(parts) == 1:
            raise Refused(f"{where}: must include at least one parts field", param=place)


def _check_calls(parts: list[shapes.Part], following: list[shapes.Part]) -> None:
    calls = [call for part in parts if (call := given(part.functionCall))]
    answers = [answer for part in following if (answer := given(part.functionResponse))]
    if len(calls) != len(answers):
        raise Refused(
            "Please ensure that the number of function response parts is equal to the number of"
            " function call parts of the function call turn."
        )
    for call, answer in zip(calls, answers, strict=True):
        if call.name != answer.name:
            raise Refused(
                f"function response {answer.name!r} is in the place of one for {call.name!r}"
            )
        if given(answer.id) is not None and given(answer.id) != given(call.id):
            raise Refused(f"function response id {given(answer.id)!r} is not that of its call")


def _check_signatures(parts: list[shapes.Part]) -> None:
    first = next((part for part in parts if given(part.functionCall)), None)
    if first is not None and given(first.thoughtSignature) is None:
        raise Refused(
            "Function call is missing a thought_signature in functionCall parts. This is required"
            " for tools to work correctly, and missing thought_signature may lead to degraded model"
            " performance."
        )


# -- tools ------------------------------------------------------------------------------------


def _check_tools(wire: shapes.Request) -> None:
    declared: list[str] = []
    for place, tool in enumerate(given(wire.tools) or ()):
        for number, declaration in enumerate(given(tool.functionDeclarations) or ()):
            where = f"tools[{place}].function_declarations[{number}]"
            _check_declaration(declaration, where)
            if declaration.name in declared:
                raise Refused(f"Duplicate function declaration found: {declaration.name}")
            declared.append(declaration.name)
    config = given(wire.toolConfig)
    calling = given(config.functionCallingConfig) if config is not None else None
    if calling is None:
        return
    if not declared:
        raise Refused("Function calling config is set without function_declarations.")
    names, mode = given(calling.allowedFunctionNames), given(calling.mode)
    if names and mode not in ("ANY", "VALIDATED"):
        raise Refused(
            "allowed_function_names should only be set when the function calling mode is ANY."
        )
    if unknown := set(names or ()) - set(declared):
        raise Refused(f"allowed_function_names {sorted(unknown)} is not declared")


def _check_declaration(declaration: shapes.FunctionDeclaration, where: str) -> None:
    schema = given(declaration.parameters)
    if schema is None:
        return
    if given(declaration.parametersJsonSchema) is not None:
        raise Refused(f"{where}: only one of parameters and parameters_json_schema can be set")
    if given(schema.type) not in ("OBJECT", "object"):
        raise Refused(f"{where}.parameters.type: functions take an OBJECT")
    if not given(schema.properties):
        raise Refused(f"{where}.parameters.properties: should be non-empty for OBJECT type")
    check_schema(schema, f"{where}.parameters")


def check_schema(schema: shapes.Schema, where: str) -> None:
    """Raise Refused for a schema that has only known keywords and is not one all the same."""
    kind = str(schema.type or "").upper()
    properties = given(schema.properties)
    place = f"GenerateContentRequest.{where}"
    if kind == "ARRAY" and given(schema.items) is None:
        raise Refused(f"{place}.items: missing field.")
    if not kind and not schema.anyOf:
        raise Refused(f"{place}: schema didn't specify the schema type field.")
    if kind and schema.anyOf:
        raise Refused(f"{place}: when using any_of, it must be the only field set.")
    _check_values(schema, kind, place)
    for name, inner in (properties or {}).items():
        check_schema(inner, f"{where}.properties[{name}]")
    for number, choice in enumerate(schema.anyOf or ()):
        check_schema(choice, f"{where}.any_of[{number}]")
    if (items := given(schema.items)) is not None:
        check_schema(items, f"{where}.items")


def _check_values(schema: shapes.Schema, kind: str, place: str) -> None:
    enum, form = given(schema.enum), given(schema.format)
    if enum is not None and (kind != "STRING" or not all(enum)):
        raise Refused(f"{place}.enum: only allowed for STRING type, and cannot be empty")
    if form is not None and form not in _FORMATS:
        raise Refused(f"{place}.format: only 'enum' and 'date-time' are supported for STRING type")
    unknown = set(given(schema.required) or ()) - set(given(schema.properties) or ())
    if unknown:
        raise Refused(f"{place}.required[0]: property is not defined")


# -- settings ---------------------------------------------------------------------------------


def _check_config(wire: shapes.Request, model: str) -> None:
    config = given(wire.generationConfig)
    if config is None:
        return
    schema, json_schema = given(config.responseSchema), given(config.responseJsonSchema)
    if schema is not None and json_schema is not None:
        raise Refused("only one of response_schema and response_json_schema can be set")
    if schema is not None:
        check_schema(schema, "generation_config.response_schema")
    plain = given(config.responseMimeType) in (None, "text/plain")
    if plain and (schema is not None or json_schema is not None):
        raise Refused(
            "Invalid value at 'generation_config.response_mime_type': a response schema needs"
            " application/json"
        )
    if given(config.logprobs) is not None and not given(config.responseLogprobs):
        raise Refused("logprobs needs response_logprobs")
    _check_thinking(given(config.thinkingConfig), model)


def _check_thinking(thinking: Any, model: str) -> None:
    if thinking is None:
        return
    budget, level = given(thinking.thinkingBudget), given(thinking.thinkingLevel)
    if not model.startswith(("gemini-2.5", "gemini-3")):
        raise Refused("Unable to submit request because thinking is not supported by this model.")
    if level is not None and not model.startswith("gemini-3"):
        raise Refused("Thinking level is not supported for this model.")
    if level is not None and budget is not None:
        raise Refused("You can only set one of thinking budget and thinking level.")
    if level == "XHIGH":
        raise Refused("Thinking level XHIGH is not supported for this model.")
    if budget is not None and budget > 24576:
        raise Refused("The thinking budget is invalid. Please choose a value between 0 and 24576.")
    if budget == 0 and "pro" in model:
        raise Refused("Budget 0 is invalid. This model only works in thinking mode.")
