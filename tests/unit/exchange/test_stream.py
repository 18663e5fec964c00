"""Decoder, neutral events, encoder: what the transform between them promises, with both made up."""

from collections.abc import Sequence

import pytest

from bitrouter.errors import BadResponse, RouterError, StreamFailed, UpstreamTimeout
from bitrouter.exchange.stream import TranslatedStream
from bitrouter.ir import (
    Block,
    BlockEnd,
    BlockStart,
    Delta,
    End,
    Event,
    Events,
    Failed,
    Failure,
    Finish,
    Finished,
    Reasoning,
    Signature,
    Signed,
    Start,
    ToolCall,
    Usage,
)
from bitrouter.protocols.translator import Encoded
from bitrouter.sse import SSEEvent

OVERLOADED = Failure(529, "overloaded")
CALL: list[Event] = [
    BlockStart(0, "reasoning"),
    Delta(0, "hm"),
    Signed(0, Signature("a", "sig")),
    BlockEnd(0),
    BlockStart(1, "tool_call", id="c1", name="f"),
    Delta(1, "{}"),
    BlockEnd(1),
]
WORDS: dict[bytes, list[Event]] = {
    b"start": [Start()],
    b"text": [BlockStart(0, "text"), Delta(0, "hi")],
    b"call": CALL,
    b"finish": [Finished(Finish("stop"))],
    b"end": [End(Usage(1, 2))],
    b"error": [Failed(OVERLOADED)],
}


class Decoder:
    """Knows the words above. Its answer is complete once `finish` has come."""

    usage = Usage(1, 2)

    def __init__(self) -> None:
        self.finished = False
        self.over = False

    def decode(self, event: SSEEvent) -> list[Event]:
        if self.over:
            return []
        self.finished |= event.data == b"finish"
        self.over |= event.data in (b"end", b"error")
        return WORDS.get(event.data, [])

    def finish(self) -> list[Event]:
        return [End()] if self.finished else [Failed(Failure(502, "cut"))]


class Encoder:
    """Writes the names of what it is told."""

    def encode(self, events: Events) -> bytes:
        return "".join(f"{type(event).__name__} " for event in events).encode()

    def fail(self, error: RouterError) -> bytes:
        return f"FAIL {type(error).__name__} {error.status} {error.detail}".encode()


class Kept(list[Sequence[Block]]):
    """What was kept."""


def stream(kept: Kept | None = None, max_event_bytes: int = 1000) -> TranslatedStream:
    keep = (Kept() if kept is None else kept).append
    return TranslatedStream(
        Decoder(), Encoder(), Encoded(b"{}"), keep=keep, max_event_bytes=max_event_bytes
    )


def said(*words: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % word for word in words)


def test_what_a_chunk_says_is_one_piece() -> None:
    assert stream().feed(said(b"start", b"text")) == b"Start BlockStart Delta "


def test_it_has_started_with_the_first_event_that_means_something() -> None:
    transform = stream()

    assert transform.feed(b": comment\n\n" + said(b"unknown")) == b""
    assert not transform.started
    transform.feed(said(b"start"))
    assert transform.started


def test_half_an_event_waits_for_its_end() -> None:
    transform = stream()

    assert transform.feed(b"data: sta") == b""
    assert transform.feed(b"rt\n\n") == b"Start "


def test_the_end_makes_it_complete() -> None:
    transform = stream()

    sent = transform.feed(said(b"start", b"text", b"finish", b"end"))

    assert sent.endswith(b"Finished End ")
    assert (transform.complete, transform.failed, transform.usage) == (True, None, Usage(1, 2))
    assert transform.finish() == b""


def test_an_end_that_has_to_be_inferred_comes_with_the_end_of_the_bytes() -> None:
    transform = stream()
    transform.feed(said(b"start", b"finish"))

    assert transform.finish() == b"End "
    assert transform.complete


def test_an_event_without_its_blank_line_counts_at_the_end() -> None:
    transform = stream()
    transform.feed(said(b"start", b"finish") + b"data: end")

    assert transform.finish() == b"End "


@pytest.mark.parametrize("complete", [True, False])
def test_a_connection_that_breaks_matters_only_before_the_end(complete: bool) -> None:
    transform = stream()
    transform.feed(said(b"start", b"finish") if complete else said(b"start"))

    sent = transform.finish(UpstreamTimeout("idle", 5))

    assert transform.complete is complete
    assert sent.startswith(b"End" if complete else b"FAIL UpstreamTimeout 504")


def test_a_cut_answer_is_an_error_and_not_the_providers_own() -> None:
    transform = stream()
    transform.feed(said(b"start", b"text"))

    assert transform.finish().startswith(b"FAIL BadResponse 502")
    assert (transform.complete, transform.failed) == (False, None)


def test_the_providers_error_is_told_in_its_words_and_nothing_follows() -> None:
    transform = stream()

    sent = transform.feed(said(b"start", b"error", b"text", b"end"))

    assert sent == b"Start FAIL StreamFailed 529 overloaded"
    assert (transform.complete, transform.failed) == (False, OVERLOADED)
    assert transform.finish() == b""


def test_an_event_too_large_is_a_bad_response() -> None:
    with pytest.raises(BadResponse, match=r"limits\.max_event_bytes"):
        stream(max_event_bytes=10).feed(b"data: " + b"x" * 20)


def test_what_calls_came_with_is_kept_when_the_answer_is_complete() -> None:
    kept = Kept()
    transform = stream(kept)
    transform.feed(said(b"start", b"call", b"finish"))
    assert kept == []

    transform.feed(said(b"end"))

    assert kept == [[Reasoning("hm", Signature("a", "sig")), ToolCall("c1", "f", "{}")]]


def test_what_a_log_says_of_the_error_is_not_the_providers_words() -> None:
    assert StreamFailed("prompt", status=500, code=None).logged == (
        "the upstream reported an error in its stream"
    )
