"""Events are found as the standard says, wherever the network cuts the stream."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter import sse
from bitrouter.errors import BadResponse
from bitrouter.sse import SSEDecoder, SSEEvent
from tests.support.eventstream import read_events
from tests.support.splits import WIRE, same_at_every_split

LIMIT = 1 << 20


def decode(chunks: Iterable[bytes]) -> tuple[list[SSEEvent], list[SSEEvent], bytes]:
    """The events that were ended, the one that was not, and all bytes in the order passed on."""
    decoder = SSEDecoder(LIMIT)
    events: list[SSEEvent] = []
    passed = b""
    for chunk in chunks:
        events += decoder.feed(chunk)
        passed += decoder.passed
    rest = decoder.finish()
    return events, rest, passed + decoder.passed


def check_every_split(stream: bytes) -> list[SSEEvent]:
    """The events before the stream's end; nothing of the stream may be lost or changed."""
    events, _, passed = same_at_every_split(stream, decode)
    assert passed == stream
    return events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([b"data: one", b"", b"data: two", b""], [(b"", b"one"), (b"", b"two")]),
        pytest.param([b"event: e", b"data: x", b""], [(b"e", b"x")], id="name"),
        pytest.param([b"data: x", b"event: e", b""], [(b"e", b"x")], id="name after data"),
        pytest.param([b"event: a", b"event: b", b"data: x", b""], [(b"b", b"x")], id="last name"),
        pytest.param([b"data: a", b"data: b", b""], [(b"", b"a\nb")], id="two lines of data"),
        pytest.param([b"data:a", b"data:  b", b""], [(b"", b"a\n b")], id="one space is dropped"),
        pytest.param([b": ping", b"", b"data: x", b""], [(b"", b"x")], id="comment"),
        pytest.param([b"data: a", b": c", b"data: b", b""], [(b"", b"a\nb")], id="comment within"),
        pytest.param([b"event: e", b"", b"data: x", b""], [(b"", b"x")], id="a name alone"),
        pytest.param([b"data:", b"", b"data", b"", b"data: ", b""], [], id="no data, no event"),
        pytest.param([b"data", b"data", b""], [(b"", b"\n")], id="data without colon"),
        pytest.param([b"", b"", b"data: x", b"", b"", b""], [(b"", b"x")], id="blank lines"),
        pytest.param([b"id: 1", b"retry: 5", b"x", b"data: y", b""], [(b"", b"y")], id="others"),
        pytest.param([b"DATA: x", b" data: x", b""], [], id="names are exact"),
        pytest.param(["data: ä🥊".encode(), b""], [(b"", "ä🥊".encode())], id="UTF-8"),
        pytest.param(
            ["data: a\u2028b\u2029c\u0085d\x0be\x0cf".encode(), b""],
            [(b"", "a\u2028b\u2029c\u0085d\x0be\x0cf".encode())],
            id="what only Unicode calls a line end",
        ),
        pytest.param([b"data: \xff\xc3", b""], [(b"", b"\xff\xc3")], id="not UTF-8"),
    ],
)
def test_events_are_those_of_the_standard_at_every_split(
    lines: list[bytes], expected: list[tuple[bytes, bytes]], end: bytes
) -> None:
    stream = end.join([*lines, b""])

    events = check_every_split(stream)

    assert [(event.name, event.data) for event in events] == expected
    assert read_events(stream) == expected


@pytest.mark.parametrize(
    "stream",
    [
        b"data: a\n\r\ndata: b\r\n\ndata: c\r\r\ndata: d\n\rdata: e\r\n\r\n",
        b"data: a\n\ndata: b\r\n\r\ndata: c\n\n",
        b"data: a\r\n\r\n\r\n\r\ndata: b\r\rdata: c\r\n\r",
        b"\r\ndata: a\rdata: b\ndata: c\r\n\n",
    ],
)
def test_line_ends_may_be_mixed(stream: bytes) -> None:
    events = check_every_split(stream)

    assert [(event.name, event.data) for event in events] == read_events(stream)


def test_byte_order_mark_is_dropped_at_the_start_and_nowhere_else() -> None:
    events = check_every_split(
        b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbf\n\n"
    )

    assert events == [SSEEvent(b"", b"a"), SSEEvent(b"", b"\xef\xbb\xbf")]


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data", b":", b" ", b"x", b"event"])))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_any_sequence_of_tokens_is_read_as_the_standard_says(tokens: list[bytes]) -> None:
    stream = b"".join(tokens)
    whole = [(event.name, event.data) for event in decode([stream])[0]]
    single = [(e.name, e.data) for e in decode(stream[i : i + 1] for i in range(len(stream)))[0]]

    assert whole == single == read_events(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_what_is_passed_on_ends_with_an_event_whatever_was_fed(end: bytes) -> None:
    stream = end.join([b"event: e", b"data: one", b"", b": c", b"", b"data: two", b"", b"data: 3"])
    ends = {
        0,
        *(stream.index(mark) + len(mark) + 2 * len(end) for mark in (b"one", b": c", b"two")),
    }
    # The LF of a last CRLF may come later: a CR alone ends a line too.
    ends |= {one - 1 for one in ends if end == b"\r\n" and one}

    for place in range(len(stream)):
        decoder = SSEDecoder(LIMIT)
        decoder.feed(stream[:place])
        assert len(decoder.passed) in ends
        assert stream.startswith(decoder.passed)


def test_chunk_that_ends_with_its_event_is_passed_on_as_the_same_object() -> None:
    decoder = SSEDecoder(LIMIT)
    chunk = b"data: one\n\ndata: two\n\n"

    decoder.feed(chunk)

    assert decoder.passed is chunk


def test_unterminated_last_event_is_found_at_the_end() -> None:
    decoder = SSEDecoder(LIMIT)
    decoder.feed(b"data: one\n\ndata: two\r\n")

    assert decoder.finish() == [SSEEvent(b"", b"two")]
    assert decoder.passed == b"data: two\r\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_event_above_the_limit_is_an_error_of_the_upstream(end: bytes) -> None:
    decoder = SSEDecoder(100)
    decoder.feed(b"data: " + b"x" * 80 + end * 2)

    with pytest.raises(BadResponse, match="larger than 100 bytes"):
        decoder.feed(b"data: " + b"x" * 96)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_event_above_the_limit_is_an_error_though_it_comes_in_one_piece(end: bytes) -> None:
    small, large = b"data: 1" + end * 2, b"data: " + b"x" * 95 + end * 2

    with pytest.raises(BadResponse, match="larger than 100 bytes"):
        SSEDecoder(100).feed(small * 20 + large)

    assert len(SSEDecoder(100).feed(small * 20)) == 20


def test_events_of_any_number_may_pass_that_are_each_below_the_limit() -> None:
    decoder = SSEDecoder(20)

    assert (
        sum(
            len(decoder.feed(b"data: 12345\n\nda")) + len(decoder.feed(b"ta: 6\n\n"))
            for _ in "x" * 50
        )
        == 100
    )


class CountingBuffer(bytearray):
    """Counts the bytes that are searched for the end of an event."""

    searched = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]  # as it is called
        CountingBuffer.searched += len(self) - start
        return super().find(sub, start)


def test_one_large_event_in_small_pieces_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountingBuffer, "searched", 0)
    monkeypatch.setattr(sse, "bytearray", CountingBuffer, raising=False)
    stream = b"data: " + b"x" * 200_000 + b"\n\n"
    decoder = SSEDecoder(LIMIT)

    for place in range(0, len(stream), 57):
        decoder.feed(stream[place : place + 57])

    pieces = len(stream) / 57
    assert 0 < CountingBuffer.searched <= len(stream) + 2 * pieces


def test_one_large_event_with_other_line_ends_in_small_pieces_is_searched_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = 0

    class CountingPattern:
        def finditer(self, text: bytearray, start: int) -> Iterable[object]:
            nonlocal searched
            searched += len(text) - start
            return pattern.finditer(text, start)

    pattern = sse._BLANK_LINE
    monkeypatch.setattr(sse, "_BLANK_LINE", CountingPattern())
    stream = b": c\r\ndata: " + b"x" * 200_000 + b"\r\n\r\n"
    decoder = SSEDecoder(LIMIT)

    for place in range(0, len(stream), 57):
        decoder.feed(stream[place : place + 57])

    assert 0 < searched <= len(stream) + 3 * len(stream) / 57


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: {}\n\n",
        b"event: one\ndata: {}\n\n",
        b"event: \ndata:  two spaces\n\n",
        b"data: \n\n",
        b"event: no data\ndata: \n\n",
        b"event: one\ndata: a\ndata: b\n\n",
        b"event: one\ndata: a\n\ndata: b\n\n",
        b"data: a\nevent: one\n\n",
        b"event: one\nid: 7\ndata: a\n\n",
        b"event: one\n\n",
        b"\n\n",
    ],
)
def test_chunk_that_is_an_event_is_read_as_its_bytes_one_by_one_and_passed_as_it_is(
    chunk: bytes,
) -> None:
    bytewise = [chunk[place : place + 1] for place in range(len(chunk))]
    decoder = SSEDecoder(LIMIT)

    assert decoder.feed(chunk) == decode(bytewise)[0]
    assert decoder.passed is chunk
    assert decoder.feed(b"data: next\n\n") == [SSEEvent(b"", b"next")]


@pytest.mark.parametrize("event", [b"data: %b\n\n", b"event: x\ndata: %b\n\n"])
def test_event_may_be_as_large_as_the_limit_whole_as_in_pieces(event: bytes) -> None:
    decoder = SSEDecoder(1000)
    largest = event % (b"x" * (1000 - len(event % b"") + 2))

    assert len(decoder.feed(largest)) == 1
    with pytest.raises(BadResponse, match="larger"):
        decoder.feed(largest[:-2] + b"x\n\n")


@pytest.mark.parametrize("path", sorted(WIRE.glob("*/text.sse")), ids=lambda path: path.parent.name)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_transcript_decodes_to_the_same_events(path: object, end: bytes) -> None:
    assert hasattr(path, "read_bytes")
    stream = path.read_bytes().replace(b"\n", end)

    events = check_every_split(stream)

    assert [(event.name, event.data) for event in events] == read_events(stream)
