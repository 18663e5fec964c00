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
_LEAST_CHARS_A_DOUBTFUL_TOKEN: Final = 8
_MOST_MESSAGE_TOKENS: Final = 16
_MOST_OVERHEAD: Final = 500  # what a provider adds by itself, for tools above all
# One value takes 0.9 us to look at, and 50 bytes: a body of nothing but brackets would take a
# minute, and gigabytes. Text and code of so many commas and brackets are longer than any window.
_MOST_VALUES: Final = 1 << 19
# So many take 10 ms.
_MANY_VALUES: Final = 1 << 13
_LARGE: Final = 256 << 10  # bytes: reading them as JSON takes a millisecond or more
# Bytes: nothing but brackets is read in 8 ms. To count them first takes twice what reading takes.
_READ_AT_ONCE: Final = 128 << 10
# Members whose text the model is not shown. It is where they are a tool's own.
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
_DATA: Final = "data:"
_LINKS: Final = ("https://", "http://", "gs://")
_POINTERS: Final = (_DATA, *_LINKS)
_any: Final = msgspec.json.Decoder()


class Size(msgspec.Struct):
    """What a body is made of: bytes of text and of members' names, media and their characters, and
    links, behind which there may be media. `hidden` are bytes that the model is not shown, as far
    as one can tell; `values` are all there are, and `tokens_given` the numbers that stand in lists.
    """

    text: int = 0
    names: int = 0
    links: int = 0
    media: int = 0
    media_chars: int = 0
    messages: int = 0
    hidden: int = 0
    values: int = 0
    tokens_given: int = 0

    @property
    def tokens(self) -> int:
        """By and large: bytes of text divided by four, a constant for each image or document."""
        text = (self.text + self.names // 2) // _BYTES_A_TOKEN + self.tokens_given
        return max(1, text + self.media * _MEDIA_TOKENS + self.messages * _MESSAGE_TOKENS)

    @property
    def most_tokens(self) -> int:
        """What it will hardly be more than, whatever the model (x402.md, section 12).

        Half of the bytes of text, for no tokenizer in use makes more of any but made-up text. An
        eighth of what may be media or hidden: it may also be text that is made to look so. And one
        for each value, which may be a token's number, or stand in a tool's schema.
        """
        text = (self.text + self.names) // _LEAST_BYTES_A_TOKEN
        media = (self.media + self.links) * _MOST_MEDIA_TOKENS
        doubtful = (self.media_chars + self.hidden) // _LEAST_CHARS_A_DOUBTFUL_TOKEN
        rest = self.values + self.messages * _MOST_MESSAGE_TOKENS
        return _MOST_OVERHEAD + text + media + doubtful + rest


def estimated_tokens(body: bytes) -> int:
    """Tokens in a request body of any protocol. Raises InvalidRequest when it cannot be read."""
    if _has_too_many(body):
        return len(body) // _BYTES_A_TOKEN
    return measure(body).tokens


def measure_if_quick(body: bytes) -> Size | None:
    """As `measure`; None where it would keep the event loop from its other work for milliseconds.

    Raises InvalidRequest when the body cannot be read.
    """
    size = len(body)
    if size > _LARGE or (size > _READ_AT_ONCE and _most_values(body) > _MANY_VALUES):
        return None
    return _measured(body, _MANY_VALUES)


def _has_too_many(body: bytes) -> bool:
    """Whether to read it could take a minute. A value has at least a byte of its own."""
    return len(body) > _MOST_VALUES and _most_values(body) > _MOST_VALUES


def _most_values(body: bytes) -> int:
    """A bound on how many values there are, found without reading them."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def measure(body: bytes) -> Size:
    """Look at a request body of any protocol; the same for the same bytes, always.

    Raises InvalidRequest when it cannot be read, or is not worth the time that it would take.
    """
    if _has_too_many(body):
        raise InvalidRequest(
            f"the body has more than {_MOST_VALUES} commas and brackets: too many to be priced"
        )
    size = _measured(body, len(body))
    assert size is not None  # a body has no more values than bytes
    return size


def _measured(body: bytes, most_values: int) -> Size | None:
    """See measure. None when there are more values than that."""
    try:
        return _size(_any.decode(body), most_values)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("the body cannot be read to estimate its tokens") from error


def _size(body: Any, most_values: int) -> Size | None:
    messages = tokens_given = 0
    names: list[str] = []
    texts: list[str] = []
    hidden: list[Any] = []
    values = [body]
    for node in values:  # which grows meanwhile
        kind = type(node)  # the decoder makes no subclasses
        if kind is str:
            texts.append(node)
        elif kind is dict:
            messages += "role" in node
            names += node
            # By their names in C, not one by one here: a third of what all of this takes.
            hidden += [node.pop(name) for name in _NOT_SHOWN.intersection(node)]
            values += node.values()
            if len(values) > most_values:
                return None
        elif kind is list:
            values += node
            if len(values) > most_values:
                return None
            tokens_given += [*map(type, node)].count(int)  # without bool, which is another type
    hidden_bytes = _bytes_within(hidden, most_values)
    if hidden_bytes is None:
        return None
    size = _texts(texts)
    size.names = _bytes_of("".join(names))
    size.messages = messages
    size.values = len(values)
    size.tokens_given = tokens_given
    size.hidden = hidden_bytes
    return size


def _texts(texts: list[str]) -> Size:
    """What some texts are."""
    size = Size()
    said = []
    for text in texts:
        if len(text) > _MEDIA_CHARS or text.startswith(_POINTERS):
            if _is_media(text):
                size.media += 1
                size.media_chars += len(text)
                continue
            size.links += text.startswith(_LINKS)
        said.append(text)
    size.text = _bytes_of("".join(said))
    return size


def _bytes_within(values: list[Any], most_values: int) -> int | None:
    """The bytes of all text in some values, which are used up. None when there are more of them."""
    try:
        return _bytes_of("".join(values))
    except TypeError:  # one of them is no text, as few are
        pass
    items = 0
    texts: list[str] = []
    for node in values:  # which grows meanwhile
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, dict):
            texts += node
            values += node.values()
        elif isinstance(node, list):
            values += node
            items += len(node)
        if len(values) > most_values:
            return None
    return items + _bytes_of("".join(texts))


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _is_media(text: str) -> bool:
    """Base64, by itself or in a data URL: long, and without a space."""
    if text.startswith(_DATA):
        return True
    return len(text) > _MEDIA_CHARS and text.isascii() and not any(c in text for c in " \n\t.,")
