"""Counts of samples by size, in buckets that are chosen once."""

from bisect import bisect_left
from typing import Final

# Upper bounds of the buckets, in seconds; one more bucket takes what exceeds the last.
# A model's answer takes from milliseconds (an error, a cache) to `timeouts.total`; our own share
# of it tens of microseconds; loop lag is bad from 100 ms (reliability.md, section 5); a stream is
# silent between two events for milliseconds, or while a model thinks, up to `timeouts.idle`.
LATENCY_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.005, 0.025, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0),
)
OVERHEAD_BOUNDS_S: Final[tuple[float, ...]] = (
    *(50e-6, 100e-6, 250e-6, 500e-6),
    *(0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0),
)
LAG_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 5.0),
)
GAP_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.01, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0),
)


class Histogram:
    """Counts of samples by bucket, and their sum. `counts` has one more item than `bounds_s`.

    The counts are a list, to whose items adding is twice as fast as to those of an array.
    """

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one sample. A sample equal to a bound belongs to it, as Prometheus has it."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds
