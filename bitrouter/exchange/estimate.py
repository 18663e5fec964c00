"""How many tokens a request may have, where no provider counts for us.

Agents ask for this all the time and cannot go on without an answer, so an estimate is better than
an error. Source: protocols.md, 1.3, "Models and counting".
"""

from typing import Any, Final

import msgspec

from bitrouter.errors import InvalidRequest

_BYTES_A_TOKEN: Final = 4
_MEDIA_TOKENS: Final = 1500  # an image or a page, by and large
_MEDIA_CHARS: Final = 1024  # base64 below that is text for all we know
_MESSAGE_TOKENS: Final = 4
# Members whose text the model is not shown.
_NOT_SHOWN: Final = frozenset(
    {"model", "type", "role", "id", "tool_use_id", "tool_call_id", "call_id", "media_type"}
    | {
        "mimeType",
        "mime_type",
        "signature",
        "thoughtSignature",
        "encrypted_content",
        "cache_control",
    }
)
_any: Final = msgspec.json.Decoder()


def estimated_tokens(body: bytes) -> int:
    """Tokens in a request body of any protocol: bytes of text divided by four, and a constant for
    each image or document. Raises InvalidRequest when the body cannot be read.
    """
    try:
        decoded = _any.decode(body)
        return max(1, _tokens(decoded))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("the body cannot be read to estimate its tokens") from error


def _tokens(body: Any) -> int:
    size = media = messages = 0
    waiting = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            messages += "role" in node
            waiting += [value for name, value in node.items() if name not in _NOT_SHOWN]
            size += sum(len(name) for name in node) // 2
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str):
            if _is_media(node):
                media += 1
            else:
                size += len(node.encode("utf-8", "replace"))
    return size // _BYTES_A_TOKEN + media * _MEDIA_TOKENS + messages * _MESSAGE_TOKENS


def _is_media(text: str) -> bool:
    """Base64, by itself or in a data URL: long, and without a space."""
    if text.startswith("data:"):
        return True
    return len(text) > _MEDIA_CHARS and text.isascii() and not any(c in text for c in " \n\t.,")
