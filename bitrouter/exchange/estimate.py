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
_LEAST_BYTES_A_TOKEN: Final = 2
_MOST_MEDIA_TOKENS: Final = 3000
_LEAST_CHARS_A_MEDIA_TOKEN: Final = 8
_MOST_MESSAGE_TOKENS: Final = 16
_MOST_OVERHEAD: Final = 500  # what a provider adds by itself, for tools above all
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
_LINKS: Final = ("https://", "http://", "gs://")
_any: Final = msgspec.json.Decoder()


class Size(msgspec.Struct):
    """What a body is made of: bytes of text and of members' names, media and their characters, and
    links, behind which there may be media.
    """

    text: int = 0
    names: int = 0
    links: int = 0
    media: int = 0
    media_chars: int = 0
    messages: int = 0

    @property
    def tokens(self) -> int:
        """By and large: bytes of text divided by four, a constant for each image or document."""
        text = (self.text + self.names // 2) // _BYTES_A_TOKEN
        return max(1, text + self.media * _MEDIA_TOKENS + self.messages * _MESSAGE_TOKENS)

    @property
    def most_tokens(self) -> int:
        """What it will hardly be more than, whatever the model (x402.md, section 12).

        Half of the bytes of text, for no tokenizer in use makes more of any but made-up text. An
        eighth of what may be media: it may also be text that is made to look so.
        """
        text = (self.text + self.names) // _LEAST_BYTES_A_TOKEN
        media = (self.media + self.links) * _MOST_MEDIA_TOKENS
        media += self.media_chars // _LEAST_CHARS_A_MEDIA_TOKEN
        return _MOST_OVERHEAD + text + media + self.messages * _MOST_MESSAGE_TOKENS


def estimated_tokens(body: bytes) -> int:
    """Tokens in a request body of any protocol. Raises InvalidRequest when it cannot be read."""
    return measure(body).tokens


def measure(body: bytes) -> Size:
    """Look at a request body of any protocol; the same for the same bytes, always.

    Raises InvalidRequest when it cannot be read.
    """
    try:
        return _size(_any.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("the body cannot be read to estimate its tokens") from error


def _size(body: Any) -> Size:
    size = Size()
    waiting = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            size.messages += "role" in node
            waiting += [value for name, value in node.items() if name not in _NOT_SHOWN]
            size.names += sum(map(len, node))
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str):
            if _is_media(node):
                size.media += 1
                size.media_chars += len(node)
            else:
                size.links += node.startswith(_LINKS)
                size.text += len(node.encode("utf-8", "replace"))
    return size


def _is_media(text: str) -> bool:
    """Base64, by itself or in a data URL: long, and without a space."""
    if text.startswith("data:"):
        return True
    return len(text) > _MEDIA_CHARS and text.isascii() and not any(c in text for c in " \n\t.,")
