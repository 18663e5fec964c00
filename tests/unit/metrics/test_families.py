"""Families as text: what a label may hold, how values are written, where the text is cut."""

import math
from collections.abc import Iterator

import pytest

from bitrouter.metrics.families import Family, counter, gauge, histogram, join, labels, render
from bitrouter.metrics.histogram import Histogram


def text(*families: Family, openmetrics: bool = False) -> str:
    return "".join(render(families, openmetrics=openmetrics))


def test_a_counter_has_its_suffix_where_the_format_wants_it() -> None:
    samples = [(labels(result="ok"), 3)]
    assert text(counter("n", "About.", samples)) == (
        '# HELP n_total About.\n# TYPE n_total counter\nn_total{result="ok"} 3\n'
    )
    assert text(counter("n", "About.", samples), openmetrics=True) == (
        '# HELP n About.\n# TYPE n counter\nn_total{result="ok"} 3\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (True, "1"),
        (False, "0"),
        (1 << 60, "1152921504606846976"),
        (0.25, "0.25"),
        (5e-05, "5e-05"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_values_are_written_as_prometheus_reads_them(value: float, written: str) -> None:
    assert text(gauge("n", "About.", [("", value)])).splitlines()[-1] == f"n {written}"


def test_what_a_label_may_not_hold_is_escaped() -> None:
    assert labels(a='1"2', b="3\\4", c="5\n6", d="\u00fc") == (
        'a="1\\"2",b="3\\\\4",c="5\\n6",d="\u00fc"'
    )


def test_a_histogram_has_cumulative_buckets_and_their_sum() -> None:
    seconds = Histogram((0.5, 1.0))
    for sample in (0.5, 0.75, 9.0):
        seconds.observe(sample)
    assert text(histogram("n", "About.", [(labels(stage="route"), seconds)])).splitlines()[2:] == [
        'n_bucket{stage="route",le="0.5"} 1',
        'n_bucket{stage="route",le="1.0"} 2',
        'n_bucket{stage="route",le="+Inf"} 3',
        'n_count{stage="route"} 3',
        'n_sum{stage="route"} 10.25',
    ]


def test_pieces_are_short_and_nothing_is_made_before_it_is_asked_for() -> None:
    made = []

    def samples() -> list[tuple[str, float]]:
        made.append(1)
        return [("", number) for number in range(2000)]

    def families() -> Iterator[Family]:
        yield gauge("first", "About.", samples())
        yield gauge("second", "About.", samples())

    pieces = render(families(), openmetrics=False)
    assert made == []
    assert next(pieces).count("\n") < 600
    assert made == [1]
    assert sum(piece.count("\n") for piece in pieces) > 3000


def test_what_a_library_made_comes_first_and_its_end_last() -> None:
    assert join(b"theirs 1\n", ["ours 1\n"]) == b"theirs 1\nours 1\n"
    assert join(b"theirs 1\n# EOF\n", ["ours 1\n"]) == b"theirs 1\nours 1\n# EOF\n"
