"""A provider's whole answer. Source: protocols.md, 1.2 and 2.7."""

from collections.abc import Iterable
from typing import Final

import msgspec

from bitrouter.errors import BadResponse
from bitrouter.ir import Answer, Block, Candidate, LogProb, Refusal, ToolCall
from bitrouter.protocols import base
from bitrouter.protocols.responses.output import (
    CALLS,
    block_of,
    call_of,
    finish_of,
    read_items,
    read_logprobs,
    read_parts,
    read_usage,
    reasoning_of,
)
from bitrouter.protocols.responses.types import OutputItem, Response, is_given

_response: Final = msgspec.json.Decoder(Response)
# The other statuses are of answers that are not there, or not yet.
_ENDED: Final = (None, "completed", "incomplete")


def decode_answer(body: bytes) -> Answer:
    """See Translator.decode_answer."""
    response = base.decode_answer(_response, body)
    if response is None:
        raise BadResponse("the upstream's answer is not a response")
    if response.status not in _ENDED or is_given(response.error):
        raise _no_answer(response)
    if response.output is None:
        raise BadResponse("the upstream's answer has no output")
    blocks: list[Block] = []
    logprobs: list[LogProb] = []
    for item in read_items(response.output):
        blocks += _blocks(item, logprobs)
    finish = finish_of(
        response,
        called=any(isinstance(block, ToolCall) for block in blocks),
        refused=any(isinstance(block, Refusal) for block in blocks),
    )
    candidate = Candidate(blocks, finish, logprobs=tuple(logprobs) or None)
    return Answer([candidate], read_usage(response), response.id, response.model)


def _blocks(item: OutputItem, logprobs: list[LogProb]) -> Iterable[Block]:
    """What an item says; nothing for those of a provider's own tools."""
    if item.type == "message":
        return _said(item, logprobs)
    if item.type == "reasoning":
        return reasoning_of(item)
    call = call_of(item) if item.type in CALLS else None
    return [call] if call else []


def _said(item: OutputItem, logprobs: list[LogProb]) -> list[Block]:
    blocks: list[Block] = []
    for part in read_parts(item):
        if block := block_of(part):
            blocks.append(block)
            logprobs += read_logprobs(part.logprobs)
    return blocks


def _no_answer(response: Response) -> BadResponse:
    """The provider's own words may quote the prompt, and are left out of what may be logged."""
    if not is_given(response.error):
        return BadResponse(f"the upstream's answer is {response.status!r:.40}, not completed")
    return BadResponse("the upstream's answer is an error in the place of a response")
