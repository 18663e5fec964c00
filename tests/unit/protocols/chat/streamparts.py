"""Parts of a chat server's stream."""

from typing import Any

from bitrouter import ir
from tests.support.neutral import answer_of, check_well_formed
from tests.support.splits import WIRE
from tests.unit.protocols.chat.chatwire import chunk, events_of


def transcript(name: str) -> bytes:
    return (WIRE / "chat" / name).read_bytes()


def answer(*blocks: ir.Block, finish: ir.Finish, **more: Any) -> ir.Answer:
    """An answer with one candidate."""
    return ir.Answer([ir.Candidate([*blocks], finish)], **more)


def piece(index: int | None, **more: Any) -> dict[str, Any]:
    """A delta with a piece of a call."""
    name, arguments = more.pop("name", None), more.pop("arguments", None)
    function = {"name": name, "arguments": arguments}
    given = {key: value for key, value in function.items() if value is not None}
    at = {} if index is None else {"index": index}
    return {"tool_calls": [{**at, **more, "function": given}]}


def blocks_of(*deltas: dict[str, Any]) -> list[ir.Block]:
    """The blocks of a complete stream of these deltas."""
    events = events_of(*map(chunk, deltas), chunk({}, "stop"))
    check_well_formed(events)
    (candidate,) = answer_of(events).candidates
    return candidate.blocks
