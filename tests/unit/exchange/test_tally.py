"""How much of a stream has been given out."""

import pytest

from bitrouter.exchange.tally import Tally
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import Framing
from tests.support.dialects import DIALECTS, Dialect


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_token_is_four_bytes_of_what_was_said(dialect: Dialect, size: int) -> None:
    tally = Tally(BY_API_PROTOCOL[dialect.api_protocol], Framing.SSE, 1 << 20)
    stream = b"".join(dialect.events)
    for start in range(0, len(stream), size):
        tally.count(stream[start : start + size])
    assert tally.output_tokens == 3  # "Hello there"


def test_it_counts_in_the_other_framings_of_google() -> None:
    element = b'{"candidates":[{"content":{"parts":[{"text":"12345678"}]}}]}'
    codec = BY_API_PROTOCOL["google"]
    array = Tally(codec, Framing.ARRAY, 1 << 20)
    for part in (b"[" + element, b"\n,\n" + element[:20], element[20:] + b"]"):
        array.count(part)
    assert array.output_tokens == 4
    lines = Tally(codec, Framing.NDJSON, 1 << 20)
    for part in (element + b"\n" + element[:20], element[20:] + b"\n"):
        lines.count(part)
    assert lines.output_tokens == 4


def test_nothing_was_said_at_first() -> None:
    assert Tally(BY_API_PROTOCOL["openai"], Framing.SSE, 1 << 20).output_tokens == 0
