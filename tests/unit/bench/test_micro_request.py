"""The count of what a request makes Python do."""

import pytest

from bench.micro.request import measure
from bench.scenarios import SCENARIOS

SMALL = next(one for one in SCENARIOS if one.name == "0.3kB-whole-c64")
TRANSLATED = next(one for one in SCENARIOS if one.name == "0.3kB-whole-c64-translated")


def test_it_is_the_same_every_time() -> None:
    first, _ = measure(SMALL)
    second, _ = measure(SMALL)
    assert first.bytecodes == pytest.approx(second.bytecodes, rel=0.01)
    assert first.calls == pytest.approx(second.calls, rel=0.01)


def test_it_tells_the_functions_of_the_way_and_how_often_each_is_called() -> None:
    cost, _ = measure(SMALL)
    assert cost.functions["metrics/store.py MetricsStore.record"][1] == 1
    assert cost.functions["upstream/wire.py Wire.send"][1] == 1
    assert cost.bytecodes == pytest.approx(sum(one for one, _ in cost.functions.values()))


def test_to_translate_is_more() -> None:
    assert measure(TRANSLATED)[0].bytecodes > measure(SMALL)[0].bytecodes
