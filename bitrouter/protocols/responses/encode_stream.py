"""A stream for a Responses client. Source: protocols.md, 1.2, "Stream", 2.10, 2.12 and 3.3."""

import msgspec

from bitrouter.errors import RouterError
from bitrouter.ir import (
    BlockEnd,
    BlockStart,
    Cited,
    Delta,
    End,
    Event,
    Events,
    Finish,
    Finished,
    Signed,
    Start,
    ToolCall,
    Usage,
)
from bitrouter.protocols import openai
from bitrouter.protocols.responses.encode_items import OutputItem, message_item
from bitrouter.protocols.responses.error import failed_error
from bitrouter.protocols.responses.namespaces import names_in
from bitrouter.protocols.responses.response_object import ResponseObject, ending
from bitrouter.protocols.responses.stream_items import (
    Block,
    CallBlock,
    EventWriter,
    Output,
    ReasoningBlock,
    RefusalBlock,
    TextBlock,
    whole_output,
)
from bitrouter.protocols.translator import Reply


class ResponsesStreamEncoder:
    """See translator.StreamEncoder. Only the first candidate can be told."""

    def __init__(self, reply: Reply) -> None:
        self._response = ResponseObject(reply)
        self._events = EventWriter()
        self._output = Output(self._events, reply.mint, names_in(reply.request.fields))
        self._block: Block | None = None
        self._started = False
        self._has_refusal = False
        self._usage: Usage | None = None
        self._finish = Finish("stop")

    def encode(self, events: Events) -> bytes:
        """See translator.StreamEncoder."""
        for event in events:
            if isinstance(event, Delta):
                if self._block is not None and self._block.index == event.index:
                    self._block.delta(event)
            else:
                self._take(event)
        return self._events.take()

    def _take(self, event: Event) -> None:
        match event:
            case Start():
                self._start(event)
            case BlockStart(candidate=0):
                self._block = self._opened(event)
            case Signed() if self._block and self._block.index == event.index:
                self._block.signed(event.signature)
            case Cited() if self._block and self._block.index == event.index:
                self._block.cited(event.citation)
            case BlockEnd() if self._block and self._block.index == event.index:
                self._block.end()
                self._block = None
            case Finished(candidate=0):
                self._finish = event.finish
            case End():
                self._end(event)
            case _:
                pass  # of another candidate

    def _start(self, event: Start) -> None:
        self._started = True
        self._usage = event.usage
        self._tell("response.created", self._response.state("in_progress"))
        self._tell("response.in_progress", self._response.state("in_progress"))

    def _tell(self, name: str, response: bytes) -> None:
        self._events.event(name, {"response": msgspec.Raw(response)})

    def _opened(self, start: BlockStart) -> Block:
        """The writer of a block. A message goes on with texts alone."""
        if start.kind == "text":
            return TextBlock(start.index, self._output)
        if start.kind == "refusal":
            self._has_refusal = True
            return RefusalBlock(start.index, self._output)
        self._output.close_message()
        if start.kind == "reasoning":
            return ReasoningBlock(start.index, self._output, raw=start.raw, redacted=start.redacted)
        call = ToolCall(start.id, start.name, "", start.custom)
        return CallBlock(start.index, self._output, call)

    def _end(self, event: End) -> None:
        has_output = bool(self._output.items) or self._output.message is not None
        end = ending(self._finish, has_output=has_output, has_refusal=self._has_refusal)
        self._output.close_message("completed" if end.status == "completed" else "incomplete")
        response = self._response.state(
            end.status,
            self._output.items,
            event.usage or self._usage,
            error=end.error,
            incomplete=end.incomplete,
        )
        self._tell(f"response.{end.status}", response)

    def fail(self, error: RouterError) -> bytes:
        """`response.failed` with the output so far, or the flat `error` if nothing was told yet."""
        if not self._started:
            self._events.event("error", openai.error_object(error) | {"type": "error"})
            return self._events.take()
        response = self._response.state(
            "failed",
            whole_output(self._output.items, self._unfinished()),
            self._usage,
            error=failed_error(error),
        )
        self._tell("response.failed", response)
        return self._events.take()

    def _unfinished(self) -> OutputItem | None:
        if self._block is not None:
            return self._block.unfinished()
        message = self._output.message
        return message_item(message.id, message.parts, "incomplete") if message else None
