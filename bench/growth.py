"""Whether memory grows, told from samples of it at equal distances."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

MAX_GROWTH: Final = 0.02  # of what it was, over all the samples
MIN_SAMPLES: Final = 8


class Growth(msgspec.Struct, frozen=True):
    """How memory went, in two ways that are fooled by different things.

    `fitted` is the rise of the least-squares line from the first sample to the last, as a share of
    where it begins: it sees a slow leak through noise, but one outlier near an end tilts it.
    `between_quarters` is how much the median of the last quarter of the samples exceeds that of the
    first, as a share of the latter: outliers do not move it. `first_mb` and `last_mb` are these
    medians, in the samples' unit.
    """

    fitted: float
    between_quarters: float
    first_mb: float
    last_mb: float

    @property
    def is_flat(self) -> bool:
        """Whether it grew by less than the limit, either way. Memory may shrink."""
        return self.fitted < MAX_GROWTH and self.between_quarters < MAX_GROWTH

    def __str__(self) -> str:
        return (
            f"{self.first_mb:.1f} -> {self.last_mb:.1f} MB (medians of the first and the last"
            f" quarter): {self.between_quarters:+.2%}, least squares {self.fitted:+.2%};"
            f" each may be {MAX_GROWTH:.0%}: {'met' if self.is_flat else 'MISSED'}"
        )


def growth(samples_mb: Sequence[float]) -> Growth:
    """Judge samples. Raises ValueError when they are fewer than `MIN_SAMPLES`."""
    count = len(samples_mb)
    if count < MIN_SAMPLES:
        raise ValueError(f"{count} samples of memory are too few to tell whether it grows")
    slope, begins_at = statistics.linear_regression(range(count), samples_mb)
    first = statistics.median(samples_mb[: count // 4])
    last = statistics.median(samples_mb[-(count // 4) :])
    return Growth(slope * (count - 1) / begins_at, last / first - 1, first, last)
