"""What a Gemini provider's stream means (protocols.md, 1.4 and 2.9).

Each element is a whole response with only the new parts. Nothing marks the end but a finish reason
and the end of the bytes, and parts may come after the reason.
"""

from typing import Final

import msgspec

from bitrouter.ir import (
    BlockStart,
    Cited,
    Delta,
    End,
    Event,
    Failed,
    Failure,
    Finish,
    Finished,
    LogProb,
    Signature,
    Signed,
    Start,
    ToolCall,
    Usage,
)
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.blocks import OpenBlocks
from bitrouter.protocols.google.citations import read_citations
from bitrouter.protocols.google.decode_answer import call_of, signature_of
from bitrouter.protocols.google.error import failure_in
from bitrouter.protocols.google.finish import read_block, read_finish
from bitrouter.protocols.google.logprobs import read_logprobs
from bitrouter.protocols.google.types import (
    Candidate,
    GenerateResponse,
    GroundingMetadata,
    Part,
    Segment,
)
from bitrouter.protocols.google.usage import UsageMetadata
from bitrouter.protocols.passthrough import cut_stream
from bitrouter.sse import SSEEvent

_element: Final = msgspec.json.Decoder(GenerateResponse)


class _Progress:
    """What is known of one candidate so far."""

    __slots__ = ("called", "finish", "grounding", "is_ascii", "text_end", "text_start")

    def __init__(self) -> None:
        self.called = False
        self.finish: Candidate | None = None
        self.grounding: GroundingMetadata | None = None
        # Characters of the candidate's text before the open block, and up to now. They are bytes
        # as well, as which Google counts them, as long as all of it is ASCII.
        self.text_start = 0
        self.text_end = 0
        self.is_ascii = True


class GoogleStreamDecoder:
    """See StreamDecoder."""

    def __init__(self) -> None:
        self._blocks = OpenBlocks()
        self._candidates: dict[int, _Progress] = {}
        self._usage: UsageMetadata | None = None
        self._blocked: Finish | None = None
        self._started = False
        self._over = False

    @property
    def usage(self) -> Usage | None:
        """The newest counts: they are cumulative."""
        return self._usage.neutral() if self._usage is not None else None

    def decode(self, event: SSEEvent) -> list[Event]:
        """See StreamDecoder.decode. An error may stand in an array of one."""
        if self._over:
            return []
        if b'"error"' in event.data and (failure := failure_in(event.data)) is not None:
            return self._fail(failure)
        element = decode_part(_element, event.data)
        return self._decode(element) if element is not None else []

    def finish(self) -> list[Event]:
        """See StreamDecoder.finish."""
        if self._over:
            return []
        progress = self._candidates
        cut = not progress or any(one.finish is None for one in progress.values())
        if cut and self._blocked is None:
            return self._fail(Failure(502, cut_stream().detail))
        self._over = True
        out: list[Event] = []
        for number, one in progress.items():
            self._end_block(out, one, number)
        for number, one in (progress or {0: _Progress()}).items():
            out.append(Finished(self._reason(one), number))
        out.append(End(self.usage))
        return out

    def _reason(self, progress: _Progress) -> Finish:
        """Why a candidate ended: by its own word, or by that on the prompt, which may come late."""
        if progress.finish is not None:
            return read_finish(progress.finish, called=progress.called)
        return self._blocked or Finish("other")

    def _fail(self, failure: Failure) -> list[Event]:
        self._over = True
        message = failure.message or "the upstream reported an error without saying which"
        return [Failed(msgspec.structs.replace(failure, message=message))]

    def _decode(self, element: GenerateResponse) -> list[Event]:
        out: list[Event] = []
        if element.usage_metadata is not None:
            self._usage = element.usage_metadata
        if not self._started:
            self._started = True
            out.append(Start(element.response_id, element.model_version, self._input()))
        if element.candidates:
            for candidate in element.candidates:
                self._decode_candidate(out, candidate)
        else:
            self._blocked = read_block(element.prompt_feedback) or self._blocked
        return out

    def _input(self) -> Usage | None:
        """What the first element says of the usage: of the answer it knows nothing yet."""
        usage = self.usage
        if usage is None:
            return None
        return Usage(input_tokens=usage.input_tokens, cached_tokens=usage.cached_tokens)

    def _decode_candidate(self, out: list[Event], candidate: Candidate) -> None:
        number = candidate.index or 0
        progress = self._candidates.get(number)
        if progress is None:
            progress = self._candidates[number] = _Progress()
        if candidate.content is not None and candidate.content.parts:
            logprobs = read_logprobs(candidate.logprobs_result)
            for part in candidate.content.parts:
                logprobs = self._decode_part(out, part, progress, number, logprobs)
        if candidate.grounding_metadata is not None:
            progress.grounding = candidate.grounding_metadata
        if candidate.finish_reason:
            progress.finish = candidate

    def _decode_part(
        self,
        out: list[Event],
        part: Part,
        progress: _Progress,
        number: int,
        logprobs: tuple[LogProb, ...],
    ) -> tuple[LogProb, ...]:
        """One part. Returns the probabilities that are still to be told: the first text has all."""
        text = part.text
        if text is not None:
            if text and not part.thought:
                self._text(out, text, progress, number, logprobs)
                logprobs = ()
            elif text:
                self._end_text(out, progress, number)
                out.append(Delta(self._blocks.ensure(out, "reasoning", number), text))
            signature = signature_of(part)
            if signature is not None:
                self._sign(out, signature, progress, number, thought=bool(part.thought))
        elif part.function_call is not None:
            call = call_of(part.function_call, signature_of(part))
            if call is not None:
                self._call(out, call, progress, number)
        return logprobs

    def _text(
        self,
        out: list[Event],
        text: str,
        progress: _Progress,
        number: int,
        logprobs: tuple[LogProb, ...],
    ) -> None:
        block = self._blocks.current(number)
        if block is None or block.kind != "text":
            progress.text_start = progress.text_end
            index = self._blocks.start(out, BlockStart(0, "text", number))
        else:
            index = block.index
        progress.text_end += len(text)
        progress.is_ascii = progress.is_ascii and text.isascii()
        out.append(Delta(index, text, logprobs))

    def _sign(
        self,
        out: list[Event],
        signature: Signature,
        progress: _Progress,
        number: int,
        *,
        thought: bool,
    ) -> None:
        """A signature ends the thought that it is of. On a text it gets a carrier of its own."""
        block = self._blocks.current(number)
        if thought and block is not None and block.kind == "reasoning":
            index = block.index
        else:
            self._end_block(out, progress, number)
            index = self._blocks.start(out, BlockStart(0, "reasoning", number))
        out.append(Signed(index, signature))
        self._blocks.end(out, number)

    def _call(self, out: list[Event], call: ToolCall, progress: _Progress, number: int) -> None:
        self._end_block(out, progress, number)
        start = BlockStart(0, "tool_call", number, id=call.id, name=call.name)
        index = self._blocks.start(out, start)
        if call.signature is not None:
            out.append(Signed(index, call.signature))
        out.append(Delta(index, call.arguments))
        self._blocks.end(out, number)
        progress.called = True

    def _end_text(self, out: list[Event], progress: _Progress, number: int) -> None:
        block = self._blocks.current(number)
        if block is not None and block.kind == "text":
            self._end_block(out, progress, number)

    def _end_block(self, out: list[Event], progress: _Progress, number: int) -> None:
        """End the open block; a text with the citations that are known by then."""
        block = self._blocks.current(number)
        if block is not None and block.kind == "text" and progress.grounding is not None:
            citations = read_citations(progress.grounding, lambda one: _place(one, progress))
            out += [Cited(block.index, citation) for citation in citations]
            progress.grounding = None
        self._blocks.end(out, number)


def _place(segment: Segment, progress: _Progress) -> tuple[int | None, int | None]:
    start = (segment.start_index or 0) - progress.text_start
    end = (segment.end_index or 0) - progress.text_start
    length = progress.text_end - progress.text_start
    if not progress.is_ascii or not 0 <= start <= end <= length:
        return None, None
    return start, end
