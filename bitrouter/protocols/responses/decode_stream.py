"""A provider's stream: its events in the neutral form.

What was not told piece by piece is told when its item, or at last the answer, is there whole; what
was is not told twice. Source: protocols.md, 1.2, "Stream", 2.9 and 4 (G8 to G15).
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from bitrouter.ir import End, Event, Failed, Failure, Finished, Start, Usage
from bitrouter.protocols import openai
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.passthrough import cut_stream
from bitrouter.protocols.responses.output import (
    CALLS,
    call_of,
    finish_of,
    read_citations,
    read_logprobs,
    read_parts,
    read_usage,
    signature_of,
    summary_of,
    thought_of,
)
from bitrouter.protocols.responses.stream_blocks import ItemKey, Place, StreamBlocks
from bitrouter.protocols.responses.types import ABSENT, OutputItem, Response, is_given
from bitrouter.sse import SSEEvent


class _Event(msgspec.Struct):
    """Any event. What few events have is decoded by who needs it."""

    type: str = ""
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    logprobs: msgspec.Raw = ABSENT
    annotation: msgspec.Raw = ABSENT
    item: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT

    @property
    def key(self) -> ItemKey:
        """The item that it tells of, as the server numbers it, or else by its id."""
        return self.item_id if self.output_index is None else self.output_index

    def place(self, kind: str) -> Place:
        """The part of the item that it tells of."""
        return self.key, kind, self.content_index


_decode: Final = msgspec.json.Decoder(_Event).decode
_response: Final = msgspec.json.Decoder(Response)
_item: Final = msgspec.json.Decoder(OutputItem)
_fields: Final = msgspec.json.Decoder(dict[str, Any])
_NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_WORDS: Final = "the upstream's answer failed, and it does not say why"


class ResponsesStreamDecoder:
    """See translator.StreamDecoder."""

    def __init__(self) -> None:
        self._blocks = StreamBlocks()
        self._waiting: list[_Event] = []  # of other items than the call that is open
        self._started = False
        self._over = False
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """See translator.StreamDecoder."""
        return self._usage

    def decode(self, event: SSEEvent) -> list[Event]:
        """See translator.StreamDecoder."""
        if self._over:
            return []
        try:
            told = _decode(event.data)
        except _NOT_DECODED:
            return []
        out: list[Event] = []
        if (handle := _OF_ITEMS.get(told.type)) is not None:
            self._start(Response(), out)
            self._take(handle, told, out)
        elif (handle := _OF_ANSWER.get(told.type)) is not None:
            handle(self, told, out)
        elif told.type == "error" or (not told.type and is_given(told.error)):
            self._fail(event.data, out)
        return out

    def finish(self) -> list[Event]:
        """See translator.StreamDecoder. Every end is said, so this can only be a cut."""
        if self._over:
            return []
        self._over = True
        cut = cut_stream()
        return [Failed(Failure(cut.status, cut.detail, cut.code))]

    def _start(self, response: Response, out: list[Event]) -> None:
        if not self._started:
            self._started = True
            out.append(Start(response.id, response.model))

    # -- items ------------------------------------------------------------------------------

    def _take(self, handle: "_Handler", told: _Event, out: list[Event]) -> None:
        """Follow an event of an item. Blocks cannot overlap, so what comes of another item while
        the arguments of a call are being told waits for their end.
        """
        if self._blocks.is_other(told.output_index, told.item_id):
            self._waiting.append(told)
            return
        handle(self, told, out)
        if self._waiting and not self._blocks.in_call:
            self._take_waiting(out)

    def _take_waiting(self, out: list[Event]) -> None:
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            self._take(_OF_ITEMS[told.type], told, out)

    def _text(self, told: _Event, out: list[Event]) -> None:
        if told.delta:
            logprobs = read_logprobs(told.logprobs)
            self._blocks.tell(out, told.place("text"), "text", told.delta, logprobs)

    def _text_done(self, told: _Event, out: list[Event]) -> None:
        place = told.place("text")
        if told.text and not self._blocks.has_told(place):
            self._blocks.tell(out, place, "text", told.text, read_logprobs(told.logprobs))

    def _cited(self, told: _Event, out: list[Event]) -> None:
        for citation in read_citations([told.annotation]):
            self._blocks.cite(out, told.place("text"), citation)

    def _refusal(self, told: _Event, out: list[Event]) -> None:
        if told.delta:
            self._blocks.tell(out, told.place("refusal"), "refusal", told.delta)

    def _refusal_done(self, told: _Event, out: list[Event]) -> None:
        place = told.place("refusal")
        if told.refusal and not self._blocks.has_told(place):
            self._blocks.tell(out, place, "refusal", told.refusal)

    def _summary(self, told: _Event, out: list[Event]) -> None:
        if told.delta:
            self._blocks.think(out, told.key, told.summary_index, told.delta, raw=False)

    def _thought(self, told: _Event, out: list[Event]) -> None:
        if told.delta:
            self._blocks.think(out, told.key, told.content_index, told.delta, raw=True)

    def _added(self, told: _Event, out: list[Event]) -> None:
        """A call begins. Everything else begins with the first thing that is told of it."""
        item = decode_part(_item, told.item)
        call = call_of(item) if item and item.type in CALLS else None
        if item and call and not self._blocks.has_call(call.id):
            self._blocks.begin_call(out, call, told.output_index, item.id or told.item_id)

    def _arguments(self, told: _Event, out: list[Event]) -> None:
        if told.delta:
            self._blocks.tell_arguments(out, told.delta)

    def _arguments_done(self, told: _Event, out: list[Event]) -> None:
        given = told.arguments
        if isinstance(given, dict):
            given = msgspec.json.encode(given).decode()
        self._blocks.end_call(out, given or told.input)

    def _item_done(self, told: _Event, out: list[Event]) -> None:
        item = decode_part(_item, told.item)
        if item is not None:
            key = item.id if told.output_index is None else told.output_index
            self._complete(item, key, out)

    def _complete(self, item: OutputItem, key: ItemKey, out: list[Event]) -> None:
        """Tell of a whole item what was not told yet, and end it."""
        if self._blocks.is_completed(key, item):
            return
        self._blocks.complete(key, item)
        if item.type == "message":
            self._complete_message(item, key, out)
        elif item.type == "reasoning":
            self._complete_reasoning(item, key, out)
        elif item.type in CALLS and (call := call_of(item)):
            self._blocks.complete_call(out, call)

    def _complete_message(self, item: OutputItem, key: ItemKey, out: list[Event]) -> None:
        for index, part in enumerate(read_parts(item)):
            place = (key, "refusal" if part.refusal else "text", index)
            if not self._blocks.has_told(place):
                if part.refusal:
                    self._blocks.tell(out, place, "refusal", part.refusal)
                elif part.text:
                    logprobs = read_logprobs(part.logprobs)
                    self._blocks.tell(out, place, "text", part.text, logprobs)
            for citation in read_citations(part.annotations)[self._blocks.cited_in(place) :]:
                self._blocks.cite(out, place, citation)
        self._blocks.end(out)

    def _complete_reasoning(self, item: OutputItem, key: ItemKey, out: list[Event]) -> None:
        if (summary := summary_of(item)) and not self._blocks.has_thought(key, raw=False):
            self._blocks.think(out, key, None, summary, raw=False)
        if (thought := thought_of(item)) and not self._blocks.has_thought(key, raw=True):
            self._blocks.think(out, key, None, thought, raw=True)
        signature = signature_of(item)
        if signature is not None:
            self._blocks.sign(out, key, signature)
        self._blocks.end(out)

    # -- the answer -------------------------------------------------------------------------

    def _created(self, told: _Event, out: list[Event]) -> None:
        self._start(decode_part(_response, told.response) or Response(), out)

    def _ended(self, told: _Event, out: list[Event]) -> None:
        response = decode_part(_response, told.response) or Response()
        self._usage = read_usage(response) or self._usage
        if is_given(response.error):
            self._fail(_error_body(response), out)
            return
        if told.type == "response.incomplete":
            response.status = "incomplete"
        self._start(response, out)
        self._flush(out)
        for key, raw in enumerate(response.output or ()):
            item = decode_part(_item, raw)
            if item is not None:
                self._catch_up(item, key, out)
        self._blocks.end(out)
        finish = finish_of(response, called=self._blocks.called, refused=self._blocks.refused)
        out += (Finished(finish), End(self._usage))
        self._over = True

    def _flush(self, out: list[Event]) -> None:
        """Nothing more comes: what waits is told."""
        self._blocks.end(out)
        while self._waiting:
            self._take_waiting(out)
            self._blocks.end(out)

    def _catch_up(self, item: OutputItem, key: ItemKey, out: list[Event]) -> None:
        """Tell an item of the final output, if nothing was told of it; or its signature."""
        if self._blocks.is_completed(key, item):
            return
        if not self._blocks.has_item(key, item):
            self._complete(item, key, out)
        elif item.type == "reasoning" and (signature := signature_of(item)):
            self._blocks.sign(out, key, signature)

    def _failed(self, told: _Event, out: list[Event]) -> None:
        response = decode_part(_response, told.response) or Response()
        self._usage = read_usage(response) or self._usage
        self._fail(_error_body(response), out)

    def _fail(self, body: bytes, out: list[Event]) -> None:
        failure = openai.decode_failure(decode_part(_fields, body) or {})
        if not failure.message:
            failure = Failure(failure.status, _NO_WORDS, failure.code)
        out.append(Failed(failure))
        self._over = True


def _error_body(response: Response) -> bytes:
    """What would be the body of an error answer."""
    return b'{"error":%b}' % (bytes(response.error) or b"null")


_Handler = Callable[[ResponsesStreamDecoder, _Event, list[Event]], None]

_OF_ITEMS: Final[dict[str, _Handler]] = {
    "response.output_text.delta": ResponsesStreamDecoder._text,
    "response.output_text.done": ResponsesStreamDecoder._text_done,
    "response.output_text.annotation.added": ResponsesStreamDecoder._cited,
    "response.refusal.delta": ResponsesStreamDecoder._refusal,
    "response.refusal.done": ResponsesStreamDecoder._refusal_done,
    "response.reasoning_summary_text.delta": ResponsesStreamDecoder._summary,
    "response.reasoning_text.delta": ResponsesStreamDecoder._thought,
    "response.function_call_arguments.delta": ResponsesStreamDecoder._arguments,
    "response.function_call_arguments.done": ResponsesStreamDecoder._arguments_done,
    "response.custom_tool_call_input.delta": ResponsesStreamDecoder._arguments,
    "response.custom_tool_call_input.done": ResponsesStreamDecoder._arguments_done,
    "response.output_item.added": ResponsesStreamDecoder._added,
    "response.output_item.done": ResponsesStreamDecoder._item_done,
}
_OF_ANSWER: Final[dict[str, _Handler]] = {
    "response.created": ResponsesStreamDecoder._created,
    "response.in_progress": ResponsesStreamDecoder._created,
    "response.queued": ResponsesStreamDecoder._created,
    "response.completed": ResponsesStreamDecoder._ended,
    "response.incomplete": ResponsesStreamDecoder._ended,
    "response.failed": ResponsesStreamDecoder._failed,
}
