"""Putting a conversation into the order that providers insist on.

What clients send is looser than what any one API takes: results that come late or never, ids and
tool names that another vendor forbids, empty texts, several turns of one side in a row.
Source: protocols.md, 2.3 and 2.4 ("Names").
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from bitrouter.errors import InvalidRequest
from bitrouter.ir import Block, Message, Reasoning, Request, Role, Text, ToolCall, ToolResult

_NO_RESULT: Final = "no result provided"
_HASHED: Final = 12  # hexadecimal characters
# As tuples: a union is made anew, and searched slowly, wherever it is asked for.
_CALLS_AND_RESULTS: Final = (ToolCall, ToolResult)
_SIGNED: Final = (Reasoning, ToolCall)

replace: Final = msgspec.structs.replace


def plain_turns(messages: Sequence[Message]) -> list[tuple[Role, str]] | None:
    """Each turn's text, of a conversation that no vendor wants put in order, which most are: the
    user begins, the sides take turns, each with one text alone, not blank, unmarked, citing nobody.

    None for any other; what is below finds nothing to do in one of these.
    """
    turns: list[tuple[Role, str]] = []
    expected: Role = "user"
    for message in messages:
        blocks = message.blocks
        if message.role != expected or len(blocks) != 1:
            return None
        only = blocks[0]
        if not isinstance(only, Text) or only.cache is not None or only.citations:
            return None
        text = only.text
        if not text or text.isspace():  # where strip would copy a long one
            return None
        turns.append((expected, text))
        expected = "assistant" if expected == "user" else "user"
    return turns or None


def all_system_texts(request: Request) -> tuple[list[Text], list[Message]]:
    """Every system text in order, and the other turns: for a protocol with one place for them."""
    texts = [text for text in request.system if text.text]
    if "system" not in [message.role for message in request.messages]:
        return texts, request.messages
    turns = []
    for message in request.messages:
        if message.role == "system":
            texts += [b for b in message.blocks if isinstance(b, Text) and b.text]
        else:
            turns.append(message)
    return texts, turns


def without_empty_texts(messages: Iterable[Message], *, blank: bool = False) -> list[Message]:
    """The turns without empty texts (with `blank`, without those of white space alone), and
    without turns that have nothing else. Raises InvalidRequest if nothing is left.
    """
    kept = []
    for message in messages:
        blocks = [
            block
            for block in message.blocks
            if not isinstance(block, Text) or (block.text.strip() if blank else block.text)
        ]
        if blocks:
            unchanged = len(blocks) == len(message.blocks)
            kept.append(message if unchanged else Message(message.role, blocks))
    if not kept:
        raise InvalidRequest("the messages are all empty")
    return kept


def merged(messages: Sequence[Message], roles: frozenset[Role]) -> list[Message]:
    """Turns in a row of one of `roles` as one turn, their blocks in order."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role and message.role in roles:
            turns[-1] = Message(message.role, [*turns[-1].blocks, *message.blocks])
        else:
            turns.append(message)
    return turns


def settled(messages: Sequence[Message], wire_id: Callable[[str], str]) -> list[Message]:
    """Every call answered once, in the user's turn right after it, results first in call order.

    A result without a call is dropped, a call without a result gets one that says so. Ids become
    `wire_id(id)`, and unique; each result gets its call's id and name. Turns of one side in a row
    must have been merged, or the calls of the first have no turn after them.
    """
    if not _has_calls_or_results(messages):
        return list(messages)
    pairs = _pair_up(messages)
    taken: set[str] = set()
    turns: list[Message] = []
    owed: list[ToolResult] = []
    for message in messages:
        blocks = list(message.blocks)
        if message.role == "user":
            turns.append(Message("user", [*owed, *_without_results(blocks)]))
            owed = []
            continue
        if owed:
            turns.append(Message("user", list(owed)))
            owed = []
        for place, block in enumerate(blocks):
            if isinstance(block, ToolCall):
                new_id = _unique(wire_id(block.id), taken)
                blocks[place] = replace(block, id=new_id)
                result = pairs.get(id(block)) or _missing(block)
                owed.append(replace(result, call_id=new_id, name=block.name))
        turns.append(Message(message.role, blocks))
    if owed:
        turns.append(Message("user", list(owed)))
    return [turn for turn in turns if turn.blocks]


def _has_calls_or_results(messages: Iterable[Message]) -> bool:
    for message in messages:
        for block in message.blocks:
            if isinstance(block, _CALLS_AND_RESULTS):
                return True
    return False


def _without_results(blocks: Iterable[Block]) -> list[Block]:
    return [block for block in blocks if not isinstance(block, ToolResult)]


def _missing(call: ToolCall) -> ToolResult:
    return ToolResult(call.id, [Text(_NO_RESULT)], is_error=True)


def _pair_up(messages: Sequence[Message]) -> dict[int, ToolResult]:
    """Each call's result, by the call's identity: ids may come again in later turns.

    A result belongs to the newest turn before it that has an unanswered call of its id.
    """
    waiting: dict[str, list[list[ToolCall]]] = {}
    pairs: dict[int, ToolResult] = {}
    for message in messages:
        in_turn: dict[str, list[ToolCall]] = {}
        for block in message.blocks:
            if isinstance(block, ToolCall):
                in_turn.setdefault(block.id, []).append(block)
            elif isinstance(block, ToolResult) and (turns := waiting.get(block.call_id)):
                pairs[id(turns[-1].pop(0))] = block
                if not turns[-1]:
                    turns.pop()
        for call_id, calls in in_turn.items():
            waiting.setdefault(call_id, []).append(calls)
    return pairs


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name[:56]}_{number}"
    taken.add(candidate)
    return candidate


def hashed(text: str) -> str:
    """A short name for a long one, the same every time, so that prompt caches keep hitting."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASHED]


def id_within(max_length: int) -> Callable[[str], str]:
    """Ids as they are, but for those too long for a vendor: protocols.md, 2.3, "Ids"."""
    return lambda call_id: call_id if 0 < len(call_id) <= max_length else f"call_{hashed(call_id)}"


def tool_names(request: Request) -> list[str]:
    """Every tool name that a request has anywhere, each once."""
    names = [tool.name for tool in request.tools]
    names += request.tool_choice.names if request.tool_choice else ()
    for message in request.messages:
        if message.role == "assistant":
            names += [block.name for block in message.blocks if isinstance(block, ToolCall)]
    return list(dict.fromkeys(names)) if names else names


def wire_names(names: Iterable[str], forbidden: re.Pattern[str], max_length: int) -> dict[str, str]:
    """How the names are written to a vendor that does not take every one: all of them, each unlike
    the others. What `forbidden` matches becomes `_`; what is too long is cut and gets a hash.
    """
    wire: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = forbidden.sub("_", name) or "_"
        if len(plain) > max_length:
            plain = f"{plain[: max_length - _HASHED - 1]}_{hashed(name)}"
        if plain in taken:
            plain = f"{plain[: max_length - _HASHED - 1]}_{hashed(name)}"
        taken.add(plain)
        wire[name] = plain
    return wire


def only_own(blocks: Iterable[Block], origin: str) -> list[Block]:
    """The blocks without reasoning that another vendor signed, or nobody did; and calls without
    another's signature. What is left may be shown to `origin`.
    """
    kept: list[Block] = []
    for block in blocks:
        signature = block.signature if isinstance(block, _SIGNED) else None
        if signature is not None and signature.origin == origin and signature.value:
            kept.append(block)
        elif isinstance(block, ToolCall):
            kept.append(replace(block, signature=None) if signature else block)
        elif not isinstance(block, Reasoning):
            kept.append(block)
    return kept
