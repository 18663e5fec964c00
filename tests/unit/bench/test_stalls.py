"""The bench of stalls sends what its cases say."""

import json
from collections.abc import Callable

import pytest

from bench.heavy import MB, answer, filling
from bench.stalls import _CONTENTS, cases, question
from bitrouter.envelope import split_fields
from bitrouter.protocols.base import is_json


@pytest.mark.parametrize("content", _CONTENTS.values(), ids=_CONTENTS.keys())
def test_a_request_is_json_of_its_size(content: Callable[[int], bytes]) -> None:
    body = question("small", content(MB))

    assert [*split_fields(body)] == ["model", "max_tokens", "stream", "messages"]
    assert 0.95 * MB < len(body) < 1.05 * MB


@pytest.mark.parametrize("kind", ["letters", "text"])
def test_an_answer_is_json_of_its_size(kind: str) -> None:
    body = answer(f"whole-{kind}-1").partition(b"\r\n\r\n")[2]

    assert is_json(body)
    assert 0.95 * MB < len(body) < 1.05 * MB
    assert json.loads(b'"%b"' % filling(kind, 1000))


def test_every_case_has_a_name_of_its_own() -> None:
    found = list(cases(""))

    assert len({(case.name, case.way) for case in found}) == len(found) == 32
    assert {case.way for case in cases("event 8 MB")} == {"passed", "translated"}
