"""Memory that grows is told from memory that is noisy, or rises once and for all."""

import random

import pytest

from bench.growth import MAX_GROWTH, MIN_SAMPLES, growth

BASE_MB = 60.0
COUNT = 540  # nine minutes


def noise(number: int) -> float:
    """Up to 0.5 MB either way, the same on every run."""
    return random.Random(number).uniform(-0.5, 0.5)


def rising(share: float) -> list[float]:
    """Samples that rise evenly by this share of the first."""
    return [BASE_MB * (1 + share * number / (COUNT - 1)) for number in range(COUNT)]


@pytest.mark.parametrize("share", [-0.10, 0.0, 0.01, 0.05])
def test_an_even_rise_is_told_as_what_it_is(share: float) -> None:
    judged = growth(rising(share))

    assert judged.fitted == pytest.approx(share, abs=1e-9)
    # From the middle of the first quarter to that of the last there are three quarters of it.
    assert judged.between_quarters == pytest.approx(share * 0.75, abs=0.002)
    assert judged.is_flat == (share < MAX_GROWTH)


def test_noise_is_no_growth() -> None:
    judged = growth([BASE_MB + noise(number) for number in range(COUNT)])

    assert judged.is_flat
    assert abs(judged.fitted) < 0.005


def test_a_slow_leak_shows_through_noise() -> None:
    judged = growth([mb + noise(number) for number, mb in enumerate(rising(0.03))])

    assert not judged.is_flat
    assert judged.fitted == pytest.approx(0.03, abs=0.005)


def test_single_peaks_are_no_growth() -> None:
    samples = [BASE_MB] * COUNT
    samples[100] = samples[300] = samples[-1] = 2 * BASE_MB

    judged = growth(samples)

    assert judged.between_quarters == 0
    assert judged.is_flat


def test_a_step_near_the_end_shows_between_the_quarters() -> None:
    samples = [BASE_MB] * (COUNT * 4 // 5) + [BASE_MB * 1.03] * (COUNT // 5)

    judged = growth(samples)

    assert judged.between_quarters == pytest.approx(0.03)
    assert not judged.is_flat


def test_the_medians_are_those_of_the_outer_quarters() -> None:
    judged = growth([10.0, 12.0, 99.0, 99.0, 99.0, 99.0, 11.0, 13.0])

    assert (judged.first_mb, judged.last_mb) == (11.0, 12.0)


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "met"), (0.05, "MISSED")])
def test_the_verdict_is_shown_with_its_figures(share: float, verdict: str) -> None:
    shown = str(growth(rising(share)))

    assert shown.endswith(f": {verdict}")
    assert f"least squares {share:+.2%}" in shown


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        growth([BASE_MB] * (MIN_SAMPLES - 1))
