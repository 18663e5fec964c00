"""The counts of payments as metrics. docs/metrics.md has the list."""

from collections.abc import Iterable

from bitrouter.metrics.families import Family, counter, gauge, histogram, labels
from bitrouter.payments.counters import Counters


def families(counters: Counters) -> Iterable[Family]:
    """What has been counted up to now."""
    yield counter(
        "bitrouter_payments_required",
        "Answers that asked for payment.",
        [("", counters.required)],
    )
    yield counter(
        "bitrouter_payment_verifications",
        "What the facilitator said of payments.",
        [
            (labels(result="valid"), counters.verify_valid),
            (labels(result="invalid"), counters.verify_invalid),
            (labels(result="unavailable"), counters.verify_unavailable),
        ],
    )
    yield counter(
        "bitrouter_payment_settlements",
        "How settlements ended; unknown are those whose outcome was not told at first.",
        [
            (labels(result="settled"), counters.settled),
            (labels(result="refused"), counters.refused),
            (labels(result="unknown"), counters.unknown),
            (labels(result="lost"), counters.lost),
        ],
    )
    yield counter(
        "bitrouter_payment_units",
        "Smallest units of the assets, as authorised and as charged.",
        [
            (labels(kind="quoted"), counters.units_quoted),
            (labels(kind="charged"), counters.units_charged),
        ],
    )
    yield histogram(
        "bitrouter_payment_settle_seconds",
        "How long settlements took, from the first call to the outcome.",
        [("", counters.settle_seconds)],
    )
    yield gauge(
        "bitrouter_payments_unsettled",
        "Settlements that run or wait for their outcome.",
        [("", counters.unsettled)],
    )
