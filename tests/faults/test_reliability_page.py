"""docs/reliability.md names, for every fault, a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
ROW = re.compile(r"^\| (?!fault|---)(.+?) \| (.+?) \| (.*`tests/.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = ROW.findall(PAGE.read_text())


def test_the_table_is_found() -> None:
    assert len(ROWS) > 50
    assert len({fault for fault, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("fault", "tests"), [(fault, tests) for fault, _, tests in ROWS])
def test_every_test_that_it_names_exists(fault: str, tests: str) -> None:
    named = NAMED.findall(tests)
    assert len(named) == tests.count("`") // 2
    for file, name in named:
        text = (ROOT / file).read_text()
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name}"


def test_every_line_of_its_tables_of_tests_is_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if "::test_" in line]
    assert len(lines) == len(ROWS)
