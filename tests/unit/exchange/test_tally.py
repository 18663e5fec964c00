"""How much of a stream has been given out."""

import pytest

from bitrouter.exchange.tally import Tally, completed, spoken_tokens
from bitrouter.ir import Usage
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


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_of_a_whole_answer_as_much(dialect: Dialect) -> None:
    assert spoken_tokens(BY_API_PROTOCOL[dialect.api_protocol], dialect.answer) == 3


def test_thoughts_and_calls_of_tools_were_said_too() -> None:
    answer = b"""{"type":"message","role":"assistant","model":"m","stop_reason":"tool_use",
        "content":[
        {"type":"thinking","thinking":"12345678","signature":"abc"},
        {"type":"tool_use","id":"t","name":"look","input":{"a":"1234567"}}]}"""
    assert spoken_tokens(BY_API_PROTOCOL["anthropic"], answer) == (8 + 4 + 15 + 3) // 4


def test_an_answer_that_cannot_be_read_is_counted_by_its_bytes() -> None:
    assert spoken_tokens(BY_API_PROTOCOL["openai"], b"[1,2,3,4]") == 3


def test_what_the_provider_has_counted_stays() -> None:
    known = Usage(input_tokens=5, cached_tokens=2)
    assert completed(known, 100, 7) == Usage(input_tokens=5, output_tokens=7, cached_tokens=2)
    assert completed(Usage(0, 0), 100, 7) == Usage(0, 0)


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n'


class Counting(Tally):
    """Notes how much was kept at the most before it was read."""

    kept = 0
    read = 0

    def _read(self) -> None:
        self.kept = max(self.kept, self._unread_bytes)
        self.read += 1
        super()._read()


def test_what_is_sent_is_not_read_before_it_is_much_or_somebody_asks() -> None:
    tally = Counting(BY_API_PROTOCOL["openai"], Framing.SSE, 1 << 20)
    for _ in range(100):
        tally.count(EVENT)
    assert tally.read == 0
    assert tally.output_tokens == 200


def test_little_of_a_long_stream_is_kept() -> None:
    tally = Counting(BY_API_PROTOCOL["openai"], Framing.SSE, 1 << 20)
    for _ in range(5000):
        tally.count(EVENT)
    assert tally.kept < (32 << 10) + 2 * len(EVENT)
    assert tally.output_tokens == 10_000


def test_an_event_that_is_too_large_is_not_counted_and_harms_nobody() -> None:
    tally = Tally(BY_API_PROTOCOL["openai"], Framing.SSE, 1000)
    tally.count(EVENT)
    assert tally.output_tokens == 2
    tally.count(b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 2000))
    assert tally.output_tokens == 2
