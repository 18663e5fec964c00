"""What a provider's whole answer means. Source: protocols.md, 1.1 and 2.7."""

import random

import msgspec

from bitrouter.errors import BadResponse
from bitrouter.ir import (
    Answer,
    Block,
    Candidate,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from bitrouter.protocols.chat import pieces, types
from bitrouter.protocols.chat.finish import decode_finish
from bitrouter.protocols.chat.usage import decode_usage


def decode_answer(body: bytes) -> Answer:
    """See Translator.decode_answer."""
    try:
        completion = types.decode_completion(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadResponse("the upstream's answer is not a chat completion") from error
    if completion.error:
        raise BadResponse("the upstream's answer is an error in the place of a chat completion")
    if not completion.choices:
        raise BadResponse("the upstream's answer has no choices")
    candidates: list[Candidate] = []
    for choice in completion.choices:
        candidates.append(_candidate(choice, len(candidates)))
    return Answer(
        candidates,
        decode_usage(completion.usage),
        string(completion.id),
        string(completion.model),
    )


def string(value: object) -> str | None:
    """What should be a string; None for nothing and for anything else."""
    return value if isinstance(value, str) and value else None


def new_call_id() -> str:
    """An id for a call that came without one. Nothing secret hangs on it."""
    return f"call_{random.getrandbits(96):024x}"


def _candidate(choice: types.Choice, place: int) -> Candidate:
    message = choice.message or choice.delta or types.Delta()
    blocks = _words(message)
    has_refusal = bool(blocks) and isinstance(blocks[-1], Refusal)
    has_calls = False
    if message.tool_calls or message.function_call is not None:
        calls = _calls(message)
        has_calls = bool(calls)
        blocks += calls
    finish = decode_finish(choice.finish_reason, has_calls=has_calls, has_refusal=has_refusal)
    index = place if choice.index is None else choice.index
    given = choice.logprobs
    return Candidate(blocks, finish, index, None if given is None else pieces.logprobs_of(given))


def _words(message: types.Delta) -> list[Block]:
    blocks: list[Block] = []
    if reasoning := pieces.reasoning_of(message):
        blocks.append(Reasoning(reasoning))
    if text := pieces.text_of(message.content):
        cited = message.annotations
        said = Text(text, citations=tuple(pieces.citations_of(cited))) if cited else Text(text)
        blocks.append(said)
    if message.refusal is not None and (refusal := string(message.refusal)):
        blocks.append(Refusal(refusal))
    return blocks


def _calls(message: types.Delta) -> list[Block]:
    calls: list[Block] = []
    for call in message.tool_calls or ():
        named = call.custom or call.function
        if named is None or not named.name:
            continue
        value = call.thought_signature()
        custom = isinstance(named, types.CustomCall)
        calls.append(
            ToolCall(
                call.id or new_call_id(),
                named.name,
                types.written_by_model(named),
                custom,
                Signature(types.GOOGLE, value) if value else None,
            )
        )
    legacy = message.function_call
    if legacy is not None and legacy.name and not calls:
        calls.append(ToolCall(new_call_id(), legacy.name, types.written_by_model(legacy)))
    return calls
