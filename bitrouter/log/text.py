"""Text from outside, made fit for one line of a log."""

from typing import Any, Final

MAX_VALUE_CHARS: Final = 256


def is_plain(text: str) -> bool:
    """Whether a text can stand in a line as it is."""
    return len(text) <= MAX_VALUE_CHARS and text.isascii() and text.isprintable()


def plain(value: Any, max_chars: int = MAX_VALUE_CHARS) -> str:
    """The value without control and direction characters, which could forge a line."""
    text = str(value)[:max_chars]
    return text if text.isprintable() else ascii(text)[1:-1]
