"""Parts of a Responses provider's stream."""

from typing import Any

from bitrouter import ir
from tests.support.neutral import answer_of, check_well_formed
from tests.unit.protocols.responses.responseswire import events_of


def blocks_of(*events: dict[str, Any]) -> list[ir.Block]:
    """The blocks that a stream of these events tells, which must be well formed."""
    read = events_of(*events)
    check_well_formed(read)
    return answer_of(read).candidates[0].blocks


def finish_of(*events: dict[str, Any]) -> ir.Finish:
    """Why a stream of these events ends."""
    return answer_of(events_of(*events)).candidates[0].finish


PAGE = {
    "type": "url_citation",
    "url": "https://example.org/",
    "title": "Example",
    "start_index": 0,
    "end_index": 2,
}
