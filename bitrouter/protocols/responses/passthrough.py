"""Streams of Responses events on their way to a Responses client."""

import re
from typing import Any, Final

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import Failure, Usage
from bitrouter.protocols import openai
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.passthrough import SSEPassthrough
from bitrouter.protocols.responses.error import failed_error
from bitrouter.protocols.responses.usage import UsageHolder
from bitrouter.sse import SSEEvent

_LAST: Final = frozenset(
    {b"response.completed", b"response.incomplete", b"response.failed", b"error"}
)
# Some servers leave the `event:` line out. What looks like a last event is decoded to be sure, for
# a text may well contain the same words.
_MAY_BE_LAST: Final = re.compile(rb'"(?:response\.(?:completed|incomplete|failed)|error)"')


class _ErrorFields(msgspec.Struct):
    message: str | None = None
    code: str | None = None


class _Response(UsageHolder):
    error: _ErrorFields | None = None


class _Event(msgspec.Struct):
    type: str = ""
    message: str | None = None
    code: str | None = None
    sequence_number: int | None = None
    response: _Response | None = None


class _Created(msgspec.Struct):
    type: str = ""
    response: dict[str, Any] | None = None


_event: Final = msgspec.json.Decoder(_Event)
_created: Final = msgspec.json.Decoder(_Created)


def _failure(message: str | None, code: str | None) -> Failure:
    return openai.decode_failure({"error": {"message": message, "code": code}})


class ResponsesPassthrough(SSEPassthrough):
    """Keeps the first event and the newest; decodes the terminal one and errors."""

    def __init__(self, max_event_bytes: int) -> None:
        super().__init__(max_event_bytes)
        self._first = b""
        self._newest = b""
        self._usage: Usage | None = None

    def observe(self, event: SSEEvent) -> None:
        """Note the terminal event, with its usage, and an error."""
        if event.name in _LAST or (not event.name and _MAY_BE_LAST.search(event.data)):
            self._conclude_with(event.data)
        self._first = self._first or event.data
        self._newest = event.data

    def _conclude_with(self, data: bytes) -> None:
        event = decode_part(_event, data)
        if event is None:
            return
        if event.type in ("response.completed", "response.incomplete"):
            self.complete = True
        elif event.type == "error":
            self.failed = _failure(event.message, event.code)
        elif event.type == "response.failed":
            error = event.response.error if event.response else None
            self.failed = _failure(error.message, error.code) if error else _failure(None, None)
        if event.response and event.response.usage:
            self._usage = event.response.usage.neutral()

    @property
    def usage(self) -> Usage | None:
        """The usage of the terminal event."""
        return self._usage

    def fail(self, error: RouterError) -> bytes:
        """`response.failed` for the response that had begun, or the flat `error` before one."""
        newest = decode_part(_event, self._newest)
        number = (newest.sequence_number if newest else None) or 0
        created = decode_part(_created, self._first)
        if created is None or created.response is None:
            return error_event(error, 0)
        failed = created.response | {"status": "failed", "error": failed_error(error)}
        return _frame(
            "response.failed",
            {"type": "response.failed", "sequence_number": number + 1, "response": failed},
        )


def error_event(error: RouterError, sequence_number: int) -> bytes:
    """The flat `error` event (protocols.md, 1.2): its fields are not under `error`."""
    fields = openai.error_object(error) | {"type": "error"}
    return _frame("error", fields | {"sequence_number": sequence_number})


def _frame(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
