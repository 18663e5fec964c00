"""The program's log: who writes it, from which level on, in which form."""

import functools
import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

import orjson

from bitrouter.log.message import MAX_MESSAGE_CHARS, MessageWriter, message_listeners
from bitrouter.log.outlet import Outlet
from bitrouter.log.repeats import Repeats
from bitrouter.log.request import RequestWriter, listeners
from bitrouter.log.text import MAX_VALUE_CHARS, plain

_NAME: Final = "bitrouter"
_MAX_FRAMES: Final = 6


class _Current:
    """What the log of the process consists of, since `set_up`."""

    outlet: Outlet | None = None
    repeats: Repeats | None = None


def set_up(level: str, log_format: str) -> None:
    """Send the program's log to stderr. May be called again, when the settings change."""
    outlet = _outlet()
    formatter = _JSONFormatter() if log_format == "json" else _TextFormatter()
    outlet.describe = functools.partial(_left_out, formatter)
    handler = _Handler(outlet, formatter)
    _Current.repeats = Repeats(handler.emit)
    handler.addFilter(_Current.repeats)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_NAME).setLevel(level.upper())
    listeners[:] = [one for one in listeners if not isinstance(one, RequestWriter)]
    message_listeners[:] = [one for one in message_listeners if not isinstance(one, MessageWriter)]
    if level in ("debug", "info"):
        listeners.append(RequestWriter(outlet, log_format))
        message_listeners.append(MessageWriter(outlet.write, log_format))
    # What a client sends that is not HTTP is no error of ours, and is answered.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def flush(limit_s: float = 1.0) -> bool:
    """Wait until all lines are written, at most so many seconds: whether they are."""
    return _Current.outlet is None or _Current.outlet.flush(limit_s)


def tell_repeats() -> None:
    """Say what was left out, if it is time to. To be called every second or so."""
    if _Current.repeats is not None:
        _Current.repeats.tell()


def dropped_lines() -> int:
    """How many lines were left out because nobody took them."""
    return 0 if _Current.outlet is None else _Current.outlet.dropped


def _outlet() -> Outlet:
    """The one to stderr. A new one only for another stderr: lines may be waiting in it."""
    outlet = _Current.outlet
    if outlet is None or outlet.stream is not sys.stderr:
        if outlet is not None:
            outlet.close()
        outlet = _Current.outlet = Outlet(sys.stderr)
    return outlet


def _left_out(formatter: logging.Formatter, number: int) -> str:
    message = f"{number} log lines were left out, because nobody took them"
    record = logging.LogRecord(_NAME, logging.WARNING, "", 0, message, None, None)
    return formatter.format(record) + "\n"


class _Handler(logging.Handler):
    """Formats, and leaves the writing to the outlet."""

    def __init__(self, outlet: Outlet, formatter: logging.Formatter) -> None:
        super().__init__()
        self._outlet = outlet
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            line = self.format(record)
        except Exception:  # what cannot be formatted must not fail what was going to be done
            self.handleError(record)
        else:
            self._outlet.write(line + "\n")


def describe_fault(error: BaseException) -> str:
    """What went wrong and where, innermost first, in one line.

    Neither a traceback nor the exception's text: those of client libraries hold request headers,
    a provider's key included.
    """
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    told = f"{type(error).__name__} at {' < '.join(reversed(frames[-_MAX_FRAMES:]))}"
    cause = error.__cause__ or error.__context__
    return f"{told}; from {describe_fault(cause)}" if cause else told


def _stamp(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1000):03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {name: _short(value) for name, value in fields.items()}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str):
        return value[:MAX_VALUE_CHARS].encode("utf-8", "backslashreplace").decode()
    return value


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": plain(record.getMessage(), MAX_MESSAGE_CHARS),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["fault"] = describe_fault(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={plain(value)}" for name, value in _fields(record).items())
        message = plain(record.getMessage(), MAX_MESSAGE_CHARS)
        text = f"{_stamp(record.created)} {record.levelname.lower():7} {message} {fields}".rstrip()
        if record.exc_info and record.exc_info[1]:
            text += f" fault={describe_fault(record.exc_info[1])}"
        return text
