"""What is counted about payments: plain integers, read by whoever exposes them."""

from typing import Final

from bitrouter.metrics.histogram import Histogram

# A settlement waits for its transaction's receipt, so it takes as long as a block or more.
SETTLE_BOUNDS_S: Final = (
    *(0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0),
    *(10.0, 20.0, 30.0, 60.0, 120.0, 600.0),
)


class Counters:
    """One object for the whole process, written by the event loop alone.

    `required` are answers with terms. Verifications: `verify_valid`, `verify_invalid`,
    `verify_unavailable` (no clear word from the facilitator). Settlements by how they ended:
    `settled`; `refused`; `lost`, whose time ran out undecided or unpaid; `unknown` counts those
    whose outcome was not known at first, each once, and again under what it became. Units are the
    assets' smallest. `unsettled` is a gauge: settlements that run or wait for their outcome.
    """

    __slots__ = (
        *("lost", "refused", "required", "settle_seconds", "settled", "units_charged"),
        *("units_quoted", "unknown", "unsettled"),
        *("verify_invalid", "verify_unavailable", "verify_valid"),
    )

    def __init__(self) -> None:
        self.required = 0
        self.verify_valid = 0
        self.verify_invalid = 0
        self.verify_unavailable = 0
        self.settled = 0
        self.refused = 0
        self.unknown = 0
        self.lost = 0
        self.units_quoted = 0
        self.units_charged = 0
        self.unsettled = 0
        self.settle_seconds = Histogram(SETTLE_BOUNDS_S)
