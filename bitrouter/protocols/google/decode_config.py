"""How a Gemini client wants its answer: `generationConfig` (protocols.md, 1.4 and 2.2)."""

from typing import Annotated, Any, Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.base import decode_body
from bitrouter.protocols.google.members import read_members, says_nothing
from bitrouter.protocols.google.schemas import json_schema, plain_schema
from bitrouter.protocols.thinking import EFFORTS

_WHERE: Final = "generationConfig"

# Not strict: Google takes numbers in strings, and whole numbers with a fraction of nothing.
_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Number = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]  # which NaN is not either
_integer: Final = msgspec.json.Decoder(_Int32, strict=False)
_number: Final = msgspec.json.Decoder(_Number, strict=False)
_flag: Final = msgspec.json.Decoder(bool)
_texts: Final = msgspec.json.Decoder(list[str])
_text: Final = msgspec.json.Decoder(str)
_objects: Final = msgspec.json.Decoder(Fields | list[Fields])

# Google's name, the field of ir.Request, and how its value is read.
_PLAIN: Final[dict[str, tuple[str, "msgspec.json.Decoder[Any]"]]] = {
    "temperature": ("temperature", _number),
    "topP": ("top_p", _number),
    "candidateCount": ("n", _integer),
    "maxOutputTokens": ("max_tokens", _integer),
    "seed": ("seed", _integer),
    "presencePenalty": ("presence_penalty", _number),
    "frequencyPenalty": ("frequency_penalty", _number),
    "responseLogprobs": ("logprobs", _flag),
    "logprobs": ("top_logprobs", _integer),
}
_OUTPUT: Final = frozenset(
    {"responseMimeType", "responseSchema", "responseJsonSchema", "responseFormat"}
)
_OTHERS: Final = _OUTPUT | {"topK", "stopSequences", "thinkingConfig", "responseModalities"}
_OTHER_OUTPUTS: Final = ("audio", "image", "video")
_JSON: Final = frozenset({"application/json", "application_json"})
_PLAIN_TEXT: Final = frozenset({"", "text/plain", "text_plain"})
_LEVELS: Final = {word: word for word in EFFORTS}


def decode_config(fields: Fields, dropped: list[str]) -> dict[str, Any]:
    """The fields of ir.Request that it sets. What it holds beyond them is added to `dropped`.

    Raises UnsupportedFeature for an answer that is not text or JSON.
    """
    raw = fields.get(_WHERE)
    if raw is None:
        return {}
    config = read_members(raw, _WHERE)
    settings: dict[str, Any] = {}
    for name, value in config.items():
        plain = _PLAIN.get(name)
        if plain is not None:
            settings[plain[0]] = decode_body(plain[1], value, f"{_WHERE}.{name}")
        elif name not in _OTHERS and not says_nothing(value):
            dropped.append(name)
    if not _OTHERS.isdisjoint(config):
        settings |= _others(config, dropped)
    if settings.get("n") == 0:  # as if it were not there
        del settings["n"]
    return settings


def _others(config: Fields, dropped: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "topK" in config:
        top_k = decode_body(_number, config["topK"], f"{_WHERE}.topK")
        settings["top_k"] = round(top_k)
    if "stopSequences" in config:
        stop = decode_body(_texts, config["stopSequences"], f"{_WHERE}.stopSequences")
        settings["stop"] = tuple(stop)
    if "thinkingConfig" in config:
        settings["thinking"] = _thinking(config["thinkingConfig"], dropped)
    if "responseModalities" in config:
        _check_modalities(config["responseModalities"])
    if not _OUTPUT.isdisjoint(config):
        settings["output"] = _output(config)
    return settings


def _check_modalities(raw: msgspec.Raw) -> None:
    where = f"{_WHERE}.responseModalities"
    for word in decode_body(_texts, raw, where):
        if word.upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            raise UnsupportedFeature(f"{where}: only a provider of Google's own answers in {word}")


def _thinking(raw: msgspec.Raw, dropped: list[str]) -> ir.Thinking | None:
    where = f"{_WHERE}.thinkingConfig"
    config = read_members(raw, where)
    effort: ir.Effort | None = None
    budget: int | None = None
    visible: bool | None = None
    for name, value in config.items():
        if name == "thinkingLevel":
            effort = _effort(decode_body(_text, value, f"{where}.{name}"), f"{where}.{name}")
        elif name == "thinkingBudget":
            budget = decode_body(_integer, value, f"{where}.{name}")
        elif name == "includeThoughts":
            visible = decode_body(_flag, value, f"{where}.{name}")
        elif not says_nothing(value):
            dropped.append(name)
    if effort is None and budget is None and visible is None:
        return None
    return ir.Thinking(effort, budget, adaptive=budget is not None and budget < 0, visible=visible)


def _effort(word: str, where: str) -> ir.Effort | None:
    level = word.lower()
    if level == "thinking_level_unspecified":
        return None
    if level not in _LEVELS:
        raise InvalidRequest(f"{where} is unknown: {word!r:.40}")
    return _LEVELS[level]


def _output(config: Fields) -> ir.OutputFormat | None:
    """The form of the answer. `responseFormat` is the newer way to say what the others do."""
    if "responseFormat" in config:
        return _response_format(config["responseFormat"])
    schema: msgspec.Raw | None = None
    if "responseJsonSchema" in config:
        schema = plain_schema(config["responseJsonSchema"], f"{_WHERE}.responseJsonSchema")
    elif "responseSchema" in config:
        schema = json_schema(config["responseSchema"], f"{_WHERE}.responseSchema")
    return _of_type(config.get("responseMimeType"), schema, f"{_WHERE}.responseMimeType")


def _response_format(raw: msgspec.Raw) -> ir.OutputFormat | None:
    where = f"{_WHERE}.responseFormat"
    found = decode_body(_objects, raw, where)
    output = None
    for one in found if isinstance(found, list) else [found]:
        for name in _OTHER_OUTPUTS:
            if name in one and not says_nothing(one[name]):
                raise UnsupportedFeature(f"{where}: only a provider of Google's own makes {name}")
        if "text" in one:
            text = read_members(one["text"], f"{where}.text")
            schema = text.get("schema")
            if schema is not None:
                schema = plain_schema(schema, f"{where}.text.schema")
            output = _of_type(text.get("mimeType"), schema, f"{where}.text.mimeType")
    return output


def _of_type(
    raw: msgspec.Raw | None, schema: msgspec.Raw | None, where: str
) -> ir.OutputFormat | None:
    kind = decode_body(_text, raw, where).lower() if raw is not None else ""
    if kind in _JSON or (kind == "" and schema is not None):
        return ir.OutputFormat(schema)
    if kind in _PLAIN_TEXT:
        return None
    raise UnsupportedFeature(f"{where}: only a provider of Google's own answers in {kind:.40}")
