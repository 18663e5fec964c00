"""Reading a request to generateContent as Google does, and what it means."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.support.strict.body import UNKNOWN, convert, given
from tests.support.strict.google import rules, shapes
from tests.support.strict.google.members import canonical
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
from tests.support.strict.signing import Signer

_SETTINGS: Final = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_OTHER_ALPHABET: Final = str.maketrans("-_", "+/")


def read(body: dict[str, Any], model: str, stream: bool, signer: Signer) -> Seen:
    """What a request means. Raises Refused when it is not one."""
    wire = convert(canonical(body), shapes.Request, _describe)
    rules.check(wire, model)
    seen = Seen(model, stream)
    instruction = given(wire.systemInstruction)
    if instruction is not None:
        rules.check_parts(instruction.parts, "system_instruction.parts")
        seen.system += [given(part.text) or "" for part in instruction.parts]
    _read_tools(wire, seen)
    for place, content in enumerate(wire.contents):
        blocks = list(_blocks(given(content.parts) or [], f"contents[{place}]", signer))
        role = "assistant" if rules.is_model(content) else "user"
        if seen.turns and seen.turns[-1].role == role:
            seen.turns[-1].blocks += blocks
        else:
            seen.turns.append(SeenTurn("assistant" if role == "assistant" else "user", blocks))
    _read_settings(wire, seen)
    return seen


def _describe(what: str, place: str) -> Refused:
    at = f" at '{place}'" if place else ""
    if unknown := UNKNOWN.search(what):
        return Refused(
            f'Invalid JSON payload received. Unknown name "{unknown[1]}"{at}: Cannot find field.'
        )
    return Refused(f"Invalid value{at}: {what}")


def _from_base64(data: str, where: str) -> bytes:
    """Bytes in either alphabet. Raises Refused when it is neither, or not padded."""
    try:
        decoded = base64.b64decode(data.translate(_OTHER_ALPHABET), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed") from error
    if not decoded:
        raise Refused(f"{where}: empty data")
    return decoded


# -- tools ------------------------------------------------------------------------------------


def _read_tools(wire: shapes.Request, seen: Seen) -> None:
    for tool in given(wire.tools) or ():
        for name in tool.__struct_fields__:
            if name != "functionDeclarations" and given(getattr(tool, name)) is not None:
                seen.hosted_tools.append(name)
        for declaration in given(tool.functionDeclarations) or ():
            schema = given(declaration.parametersJsonSchema)
            if schema is None and (subset := given(declaration.parameters)) is not None:
                schema = msgspec.to_builtins(subset)
            seen.tools[declaration.name] = SeenTool(
                declaration.name, given(declaration.description), schema
            )
    config = given(wire.toolConfig)
    calling = given(config.functionCallingConfig) if config is not None else None
    if calling is None:
        return
    mode = given(calling.mode) or "AUTO"
    word = {"ANY": "required", "NONE": "none"}.get(mode, "auto")
    names = given(calling.allowedFunctionNames)
    seen.choice = f"{word}:{','.join(names)}" if names else word


# -- contents ---------------------------------------------------------------------------------


def _blocks(parts: list[shapes.Part], where: str, signer: Signer) -> Iterator[SeenBlock]:
    for number, part in enumerate(parts):
        place = f"{where}.parts[{number}]"
        signed = _signature(part, place, signer)
        if signed:
            yield SeenThought(signed)
        if given(part.thought):
            continue
        if (call := given(part.functionCall)) is not None:
            arguments = given(call.args) or {}
            yield SeenCall(given(call.id), call.name, arguments, signed is not None)
        elif (answer := given(part.functionResponse)) is not None:
            yield _result(answer, place)
        elif (text := given(part.text)) is not None:
            if text:
                yield text
        else:
            yield _media(given(part.inlineData), given(part.fileData), place)


def _signature(part: shapes.Part, where: str, signer: Signer) -> str | None:
    """The thinking that a part's signature vouches for, None if there is no such signature."""
    value = given(part.thoughtSignature)
    if value is None:
        return None
    decoded = _from_base64(value, f"{where}.thought_signature")
    if rules.SKIP in (value, decoded.decode(errors="replace")):
        return None
    content = signer.content("thought", base64.b64encode(decoded).decode())
    if content is None:
        raise Refused("Thought signature is not valid")
    return content


def _result(answer: shapes.FunctionResponse, where: str) -> SeenResult:
    response = answer.response
    failed = "error" in response
    said = response["error"] if failed else response.get("output", response)
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    media = [
        _media(given(part.inlineData), given(part.fileData), f"{where}.function_response")
        for part in given(answer.parts) or ()
    ]
    return SeenResult(given(answer.id), answer.name, text, failed, tuple(media))


def _media(blob: shapes.Blob | None, file: shapes.FileData | None, where: str) -> SeenMedia:
    if blob is not None:
        decoded = _from_base64(blob.data, f"{where}.inline_data.data")
        return SeenMedia(_kind(blob.mimeType), blob.mimeType, base64.b64encode(decoded).decode())
    if file is None or not file.fileUri.startswith(("https://", "http://", "gs://")):
        raise Refused(f"{where}: Invalid or unsupported file uri")
    return SeenMedia(_kind(given(file.mimeType) or ""), given(file.mimeType), url=file.fileUri)


def _kind(media_type: str) -> Any:
    first = media_type.partition("/")[0]
    if first not in ("image", "audio", "application", "text"):
        raise Refused(f"Unsupported MIME type: {media_type}")
    return first if first in ("image", "audio") else "document"


# -- settings ---------------------------------------------------------------------------------


def _read_settings(wire: shapes.Request, seen: Seen) -> None:
    if tier := given(wire.serviceTier):
        seen.settings["service_tier"] = tier
    config = given(wire.generationConfig)
    if config is None:
        return
    for name, neutral in _SETTINGS.items():
        value = given(getattr(config, name))
        if value is not None:
            seen.settings[neutral] = value
    seen.n = given(config.candidateCount) or 1
    thinking = given(config.thinkingConfig)
    if thinking is not None:
        seen.thoughts_shown = bool(given(thinking.includeThoughts))
        if (budget := given(thinking.thinkingBudget)) is not None:
            seen.thinking["budget"] = budget
        if level := given(thinking.thinkingLevel):
            seen.thinking["level"] = level
    if given(config.responseMimeType) == "application/json":
        schema = given(config.responseJsonSchema)
        if schema is None and (subset := given(config.responseSchema)) is not None:
            schema = msgspec.to_builtins(subset)
        seen.output = {} if schema is None else {"schema": schema}
