"""What a Gemini provider's whole answer means (protocols.md, 1.4 and 2.7)."""

import random
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.errors import BadResponse
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.failure import error_words
from bitrouter.protocols.google.citations import cite_texts
from bitrouter.protocols.google.finish import read_block, read_finish
from bitrouter.protocols.google.logprobs import read_logprobs
from bitrouter.protocols.google.said import Said
from bitrouter.protocols.google.signatures import ORIGIN, SKIP
from bitrouter.protocols.google.types import Candidate, FunctionCall, GenerateResponse, Part
from bitrouter.protocols.google.values import read_arguments

_Answers = GenerateResponse | list[GenerateResponse]
_answer: "Final[msgspec.json.Decoder[_Answers]]" = msgspec.json.Decoder(_Answers)
_any: Final = msgspec.json.Decoder()


def decode_answer(body: bytes) -> ir.Answer:
    """See Translator.decode_answer. A blocked prompt is an answer that was filtered."""
    answer = _read(body)
    if bytes(answer.error) not in (b"", b"null"):
        message, _ = error_words({"error": decode_part(_any, bytes(answer.error))})
        raise BadResponse(f"the upstream answered with an error: {message or 'unknown'}")
    candidates = [_candidate(one) for one in answer.candidates or ()]
    if not candidates:
        blocked = read_block(answer.prompt_feedback)
        if blocked is None:
            raise BadResponse("the upstream's answer has no candidates")
        candidates = [ir.Candidate([], blocked)]
    usage = answer.usage_metadata
    return ir.Answer(
        candidates,
        usage=usage.neutral() if usage else None,
        id=answer.response_id,
        model=answer.model_version,
    )


def _read(body: bytes) -> GenerateResponse:
    try:
        body.decode()  # msgspec does not look at the encoding of the strings that it skips
        answer = _answer.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadResponse("the upstream's answer is not what Gemini answers") from error
    if isinstance(answer, list):
        if len(answer) != 1:
            raise BadResponse("the upstream's answer is not what Gemini answers")
        return answer[0]
    return answer


def _candidate(candidate: Candidate) -> ir.Candidate:
    said = Said()
    for part in (candidate.content.parts if candidate.content else None) or ():
        _add(said, part)
    said.close()
    blocks = said.blocks
    if candidate.grounding_metadata is not None:
        cite_texts(blocks, candidate.grounding_metadata)
    called = any(isinstance(block, ir.ToolCall) for block in blocks)
    return ir.Candidate(
        blocks,
        read_finish(candidate, called=called),
        index=candidate.index or 0,
        logprobs=read_logprobs(candidate.logprobs_result) or None,
    )


def _add(said: Said, part: Part) -> None:
    """One part. An image has no place in the neutral form of an answer."""
    signature = signature_of(part)
    if part.text is not None:
        said.add_text(part.text, thought=bool(part.thought), signature=signature)
    elif part.function_call is not None:
        call = call_of(part.function_call, signature)
        if call is not None:
            said.add(call)


def signature_of(part: Part) -> ir.Signature | None:
    """A part's signature, which is Google's own."""
    value = part.thought_signature
    return ir.Signature(ORIGIN, value) if value and value != SKIP else None


def call_of(call: FunctionCall, signature: ir.Signature | None) -> ir.ToolCall | None:
    """A call, with an id of its own if it has none; None if it has no name, or no object.

    Raises BadResponse for arguments that are not in UTF-8.
    """
    try:
        arguments = read_arguments(call.args)
    except UnicodeDecodeError as error:
        raise BadResponse("the upstream's call is not valid UTF-8") from error
    if not call.name or arguments is None:
        return None
    return ir.ToolCall(call.id or _new_id(), call.name, arguments, signature=signature)


def _new_id() -> str:
    return f"call_{random.getrandbits(96):024x}"
