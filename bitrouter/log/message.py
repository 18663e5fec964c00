"""A line for what happens with nearly every request and is no request line: a settled payment."""

import contextlib
from collections.abc import Callable
from typing import Final

import orjson

from bitrouter.log.stamp import Stamp
from bitrouter.log.text import plain

MAX_MESSAGE_CHARS: Final = 1000

# A logger's name, and what it says.
Listener = Callable[[str, str], None]

# Who is told. Past stdlib's logging, as request lines are: its record, its search for the caller
# and its formatting take 16 us, this takes 4 (CPython 3.11).
message_listeners: Final[list[Listener]] = []


def log_message(logger: str, message: str) -> None:
    """Tell something of level `info`, if anybody listens. Never warnings: those are thinned out,
    which stdlib's handler sees to.
    """
    for listener in message_listeners:
        listener(logger, message)


class MessageWriter:
    """Writes such lines as the program's formatters do, as text or as JSON. `write` takes one."""

    def __init__(self, write: Callable[[str], object], log_format: str) -> None:
        self._write = write
        self._render = _json_line if log_format == "json" else _text_line
        self._stamp = Stamp()

    def __call__(self, logger: str, message: str) -> None:
        """Write one line. A stream that cannot be written to is no reason to fail a request."""
        if len(message) > MAX_MESSAGE_CHARS or not message.isprintable():
            message = plain(message, MAX_MESSAGE_CHARS)
        with contextlib.suppress(OSError):
            self._write(self._render(self._stamp(), logger, message))


def _json_line(time: str, logger: str, message: str) -> str:
    line = {"time": time, "level": "info", "logger": logger, "message": message}
    return orjson.dumps(line).decode() + "\n"


def _text_line(time: str, _logger: str, message: str) -> str:
    return f"{time} info    {message}\n"
