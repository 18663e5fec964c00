"""What a Gemini client's request means (protocols.md, 1.4 and 2.2)."""

from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.envelope import Fields
from bitrouter.errors import UnsupportedFeature
from bitrouter.protocols.base import Request, decode_body
from bitrouter.protocols.google.decode_config import decode_config
from bitrouter.protocols.google.decode_contents import decode_contents, decode_system
from bitrouter.protocols.google.decode_tools import decode_choice, decode_tools
from bitrouter.protocols.google.members import members, read_members, says_nothing
from bitrouter.protocols.google.signatures import ORIGIN

# Google's names for fields of ir.Request.
_SPELLINGS: Final = {
    "system": "systemInstruction",
    "tool_choice": "toolConfig",
    "max_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "thinking": "thinkingConfig",
    "output": "responseSchema",
    "service_tier": "serviceTier",
    "web_search": "googleSearch",
}
# Read below, or meaning nothing beside the path.
_KNOWN: Final = frozenset(
    {
        *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig"),
        *("serviceTier", "model", "stream"),
    }
)
_STATE: Final = ("cachedContent", "continuationToken")
_INNER_REQUEST: Final = "generateContentRequest"
_TIERS: Final = {"standard": "default", "unspecified": None}

_text: Final = msgspec.json.Decoder(str)


def decode_request(request: Request) -> ir.Request:
    """See Translator.decode_request. A request to count tokens may wrap the one to be counted.

    What Google's own providers can do and the neutral form cannot say is UnsupportedFeature.
    """
    fields = members(request.fields)
    if _INNER_REQUEST in fields:
        fields = read_members(fields[_INNER_REQUEST], _INNER_REQUEST)
    for name in _STATE:
        if name in fields and not says_nothing(fields[name]):
            raise UnsupportedFeature(f"{name} names what only Google's own servers keep")
    dropped = [name for name, raw in fields.items() if name not in _KNOWN and not says_nothing(raw)]
    settings = decode_config(fields, dropped)
    return ir.Request(
        model=request.model,
        messages=decode_contents(fields.get("contents"), dropped),
        origin=ORIGIN,
        stream=request.stream,
        system=decode_system(fields.get("systemInstruction"), dropped),
        dropped=dropped,
        spellings=_SPELLINGS,
        **settings,
        **decode_tools(fields, dropped),
        tool_choice=decode_choice(fields, dropped),
        service_tier=_tier(fields),
    )


def _tier(fields: Fields) -> str | None:
    """In the words of the neutral form, which are OpenAI's."""
    raw = fields.get("serviceTier")
    if raw is None:
        return None
    word = decode_body(_text, raw, "serviceTier").lower().removeprefix("service_tier_")
    return _TIERS.get(word, word) or None
