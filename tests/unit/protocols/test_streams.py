"""Streams to clients of the provider's own protocol: no byte changes, and what is told of them.

Every case runs at every split of its transcript.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bitrouter.errors import BadResponse, UpstreamTimeout
from bitrouter.ir import Usage
from bitrouter.protocols.base import Transform
from bitrouter.protocols.google.passthrough import one_line
from tests.support.eventstream import read_events
from tests.support.splits import WIRE, every_split, same_at_every_split
from tests.support.transforms import Followed, break_off, follow

MakeTransform = Callable[..., Transform]

CHAT_USAGE = Usage(19, 10, 4, None, 3)
RESPONSES_USAGE = Usage(37, 11, 5, None, 2)
GOOGLE_USAGE = Usage(8, 42, 2, None, 30)
BLOCKED_USAGE = Usage(8, 0, None, None, None)

# The protocol and framing, the transcript, whether it is complete, its error, its usage.
ENDED = [
    ("openai", "", "chat/text.sse", True, None, CHAT_USAGE),
    ("openai", "", "chat/tools.sse", True, None, None),
    ("openai", "", "chat/comments.sse", True, None, None),
    ("openai", "", "chat/without_done.sse", True, None, CHAT_USAGE),
    ("openai", "", "chat/error.sse", False, "The server had an error", None),
    ("openai", "", "chat/parallel_tools.sse", True, None, Usage(61, 48, 0, None, 0)),
    ("openai", "", "chat/interleaved_tools.sse", True, None, None),
    ("openai", "", "chat/same_index.sse", True, None, Usage(20, 9)),
    ("openai", "", "chat/legacy_function.sse", True, None, None),
    ("openai", "", "chat/reasoning.sse", True, None, Usage(12, 30, 8, None, 25)),
    ("openai", "", "chat/imitator.sse", True, None, Usage(5, 4)),
    ("openai", "", "chat/candidates.sse", True, None, None),
    ("openai", "", "chat/refused.sse", True, None, None),
    ("responses", "", "responses/text.sse", True, None, RESPONSES_USAGE),
    ("responses", "", "responses/without_names.sse", True, None, RESPONSES_USAGE),
    ("responses", "", "responses/incomplete.sse", True, None, RESPONSES_USAGE),
    ("responses", "", "responses/reasoning_and_tools.sse", True, None, Usage(37, 61, 5, 2, 40)),
    ("responses", "", "responses/unannounced.sse", True, None, Usage(37, 61, 5, 2, 40)),
    (
        "responses",
        "",
        "responses/failed.sse",
        False,
        "The model failed to generate a response.",
        None,
    ),
    ("responses", "", "responses/error.sse", False, "Something went wrong", None),
    ("anthropic", "", "anthropic/text.sse", True, None, Usage(35, 15, 7, 3, None)),
    ("anthropic", "", "anthropic/thinking_and_tools.sse", True, None, Usage(34, 89, 8, 0, 9)),
    ("anthropic", "", "anthropic/without_stop.sse", True, None, Usage(35, 15, 7, 3, None)),
    ("anthropic", "", "anthropic/error.sse", False, "Overloaded", Usage(35, 1, 7, 3, None)),
    ("anthropic", "", "anthropic/parallel_tools.sse", True, None, Usage(40, 61, 0, 0, None)),
    ("anthropic", "", "anthropic/web_search.sse", True, None, Usage(912, 40, None, None, None)),
    ("anthropic", "", "anthropic/refused.sse", True, None, Usage(9, 8, None, None, None)),
    ("google", "sse", "google/text.sse", True, None, GOOGLE_USAGE),
    ("google", "sse", "google/blocked.sse", True, None, BLOCKED_USAGE),
    ("google", "sse", "google/thinking_and_tools.sse", True, None, Usage(57, 76, None, None, 31)),
    ("google", "sse", "google/grounded.sse", True, None, Usage(11, 9)),
    ("google", "sse", "google/candidates.sse", True, None, Usage(6, 4)),
    ("google", "sse", "google/error.sse", False, "The model is overloaded.", Usage(8, 3)),
    ("google", "array", "google/text.array.json", True, None, GOOGLE_USAGE),
    ("google", "array", "google/blocked.array.json", True, None, BLOCKED_USAGE),
    ("google", "array", "google/error.array.json", False, "The model is overloaded.", Usage(8, 3)),
]
STREAMS = [pytest.param(one[0], one[1], one[2], id=one[2]) for one in ENDED]
LF_AND_CRLF = pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])


# What is added to an answer that had come to its end, and whose marker was forgotten.
END_MARKERS = {
    "openai": b"data: [DONE]\n\n",
    "anthropic": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}
WITHOUT_MARKER = {"chat/without_done.sse", "anthropic/without_stop.sse"}


def completed(protocol: str, name: str, stream: bytes) -> bytes:
    """The stream as its client gets it."""
    return stream + END_MARKERS[protocol] if name in WITHOUT_MARKER else stream


def read(name: str, end: bytes = b"\n") -> bytes:
    """A transcript; the line ends of event streams are those asked for."""
    transcript = (WIRE / name).read_bytes()
    return transcript.replace(b"\n", end) if name.endswith(".sse") else transcript


def test_every_transcript_has_its_case() -> None:
    streams = {*WIRE.glob("*/*.sse"), *WIRE.glob("*/*.array.json")}

    assert {str(path.relative_to(WIRE)) for path in streams} == {one[2] for one in ENDED}


@pytest.mark.parametrize(
    ("protocol", "framing", "name", "complete", "failed", "usage"),
    [pytest.param(*one, id=one[2]) for one in ENDED],
)
def test_stream_passes_byte_for_byte_and_its_end_and_usage_are_seen(
    make_transform: MakeTransform,
    protocol: str,
    framing: str,
    name: str,
    complete: bool,
    failed: str | None,
    usage: Usage | None,
) -> None:
    stream = read(name)

    seen = same_at_every_split(
        stream, lambda chunks: follow(make_transform(protocol, framing), chunks)
    )

    expected = completed(protocol, name, stream)
    assert seen == Followed(expected, True, complete, failed, usage)


@pytest.mark.parametrize(("protocol", "framing", "name"), STREAMS)
def test_stream_with_crlf_passes_byte_for_byte_too(
    make_transform: MakeTransform, protocol: str, framing: str, name: str
) -> None:
    stream = read(name, b"\r\n")
    expected = follow(make_transform(protocol, framing), [read(name)])

    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        seen = follow(make_transform(protocol, framing), chunks)
        sent = completed(protocol, name, stream)
        assert seen == Followed(sent, True, expected.complete, expected.failed, expected.usage)


def parts(framing: str, sent: bytes) -> list[Any]:
    """What a client makes of an answer. Half an event would not decode."""
    if framing == "array":
        return list(json.loads(sent)) if sent else []
    if framing == "ndjson":
        assert not sent or sent.endswith(b"\n")
        return [json.loads(line) for line in sent.split(b"\n")[:-1]]
    assert not sent or sent.endswith((b"\n\n", b"\r\n\r\n"))
    data = [data for _, data in read_events(sent)]
    return [one if one == b"[DONE]" else json.loads(one) for one in data]


def is_error(part: Any) -> bool:
    return isinstance(part, dict) and (
        "error" in part or part.get("type") in ("error", "response.failed")
    )


@LF_AND_CRLF
@pytest.mark.parametrize(("protocol", "framing", "name"), STREAMS)
def test_connection_that_breaks_anywhere_leaves_whole_events_and_one_error_event(
    make_transform: MakeTransform, protocol: str, framing: str, name: str, end: bytes
) -> None:
    stream = read(name, end)
    whole = parts(framing, stream)
    error = UpstreamTimeout("idle", 60.0)

    for place in range(len(stream)):
        seen = break_off(
            lambda: make_transform(protocol, framing), [stream[:place]] if place else [], error
        )
        got = parts(framing, seen.sent)
        if framing == "array" and seen.sent == stream[:place]:
            continue  # the array was closed: nothing can follow
        *before, last = got
        assert before == whole[: len(before)]
        assert is_error(last)
        assert error.detail in json.dumps(last)


@LF_AND_CRLF
@pytest.mark.parametrize(("protocol", "framing", "name"), STREAMS)
def test_cut_stream_is_told_from_a_complete_one(
    make_transform: MakeTransform, protocol: str, framing: str, name: str, end: bytes
) -> None:
    """Cut anywhere, the client has whole events; and either the end of the answer or an error."""
    stream = read(name, end)
    whole = parts(framing, stream)

    for place in range(1, len(stream)):
        transform = make_transform(protocol, framing)
        seen = follow(transform, [stream[:place]])
        over = seen.complete or seen.failed is not None
        if over:
            # A last event without its blank line is passed on if it is whole in itself.
            sent = seen.sent.removesuffix(END_MARKERS.get(protocol) or b"none")
            ended = sent if framing == "array" else sent.rstrip(b"\r\n") + b"\n\n"
            got = parts(framing, ended)
            assert got == whole[: len(got)]
            assert not any(is_error(part) for part in got) or seen.failed is not None
        else:
            *before, last = parts(framing, seen.sent)
            assert before == whole[: len(before)]
            assert not any(is_error(part) for part in before)
            assert is_error(last)


@pytest.mark.parametrize(
    ("protocol", "framing", "name", "marker"),
    [
        ("openai", "", "chat/text.sse", b'"finish_reason":"stop"'),
        ("responses", "", "responses/text.sse", b"event: response.completed"),
        ("anthropic", "", "anthropic/text.sse", b'"stop_reason":"end_turn"'),
        ("google", "sse", "google/text.sse", b'"finishReason":"STOP"'),
        ("google", "ndjson", "google/text.sse", b'"finishReason":"STOP"'),
        ("google", "array", "google/text.array.json", b'"finishReason": "STOP"'),
    ],
)
def test_stream_that_ends_before_its_last_part_is_never_complete(
    make_transform: MakeTransform, protocol: str, framing: str, name: str, marker: bytes
) -> None:
    stream = read(name)

    for place in range(stream.index(marker)):
        seen = follow(make_transform(protocol, framing), [stream[:place]] if place else [])
        assert not seen.complete
        assert seen.failed is None
        assert b"before the answer was complete" in seen.sent


def test_array_without_its_bracket_is_not_complete_though_a_finish_reason_came(
    make_transform: MakeTransform,
) -> None:
    stream = read("google/text.array.json").rstrip().removesuffix(b"]")

    seen = follow(make_transform("google", "array"), [stream])

    assert not seen.complete
    assert is_error(json.loads(seen.sent)[-1])


@pytest.mark.parametrize(
    ("protocol", "name"),
    [("openai", "chat/text.sse"), ("anthropic", "anthropic/text.sse")],
)
def test_half_an_event_after_the_end_of_the_answer_is_not_sent(
    make_transform: MakeTransform, protocol: str, name: str
) -> None:
    stream = read(name)
    last = stream.rstrip().rindex(b"\n\n") + 2  # [DONE], or message_stop

    seen = follow(make_transform(protocol), [stream[: last + 5]])

    assert seen.complete
    assert seen.sent == stream[:last] + END_MARKERS[protocol]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("protocol", "framing", "name"),
    [
        ("openai", "", "chat/text.sse"),
        ("responses", "", "responses/text.sse"),
        ("anthropic", "", "anthropic/text.sse"),
        ("google", "sse", "google/text.sse"),
    ],
)
def test_last_event_without_its_blank_line_is_passed_on(
    make_transform: MakeTransform, protocol: str, framing: str, name: str, end: bytes
) -> None:
    stream = read(name).rstrip() + end

    seen = same_at_every_split(
        stream, lambda chunks: follow(make_transform(protocol, framing), chunks)
    )

    assert seen.complete
    assert seen.sent == stream


@pytest.mark.parametrize(
    ("protocol", "framing", "stream"),
    [
        ("openai", "", b": ping\n\n"),
        ("openai", "", b"\n\n\n"),
        ("anthropic", "", b"event: ping\n\n"),
        ("google", "sse", b'data: {"candidates":[{"con'),
        ("google", "array", b'[{"candidates":[{"con'),
        ("google", "array", b"["),
    ],
)
def test_stream_has_not_started_before_its_first_whole_event(
    make_transform: MakeTransform, protocol: str, framing: str, stream: bytes
) -> None:
    transform = make_transform(protocol, framing)
    transform.feed(stream)
    assert not transform.started

    transform.finish()
    assert not transform.started


@pytest.mark.parametrize(
    ("protocol", "framing", "opening"),
    [
        ("openai", "", b"data: "),
        ("openai", "", b"\r\ndata: "),
        ("responses", "", b"data: "),
        ("anthropic", "", b"data: "),
        ("google", "sse", b"data: "),
        ("google", "ndjson", b"data: "),
        ("google", "array", b'[{"text":"'),
    ],
)
def test_event_that_never_ends_is_given_up(
    make_transform: MakeTransform, protocol: str, framing: str, opening: bytes
) -> None:
    transform = make_transform(protocol, framing, 1000)
    transform.feed(opening)

    with pytest.raises(BadResponse, match=r"limits\.max_event_bytes"):
        transform.feed(b"x" * 1001)


# -- what is particular to a protocol -------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b'data: {"error":null,"choices":[]}\n\n', id="null"),
        pytest.param(b'data: {"error":"","choices":[]}\n\n', id="empty"),
        pytest.param(
            b'data: {"choices":[{"delta":{"x":{"error":{"message":"m"}}}}]}\n\n', id="deep"
        ),
        pytest.param(
            rb'data: {"choices":[{"delta":{"content":"\"error\""}}]}' + b"\n\n", id="text"
        ),
    ],
)
def test_chat_chunk_is_no_error_unless_it_says_so(
    make_transform: MakeTransform, event: bytes
) -> None:
    transform = make_transform("openai")

    assert transform.feed(event) == event
    assert transform.failed is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (b'data: {"error":{"message":"m"}}\n\n', "m"),
        (b'data: {"choices":[],"error":"plain"}\n\n', "plain"),
        (b'data: {"error":{"code":500}}\n\n', ""),
    ],
)
def test_chat_error_is_seen_in_every_shape(
    make_transform: MakeTransform, event: bytes, message: str
) -> None:
    transform = make_transform("openai")
    transform.feed(event)

    assert transform.failed is not None
    assert transform.failed.message == message


def test_chat_finish_reason_that_is_empty_says_nothing(make_transform: MakeTransform) -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}\n\n'

    assert not follow(make_transform("openai"), [chunk]).complete


def test_chat_newest_usage_counts_where_every_chunk_has_one(make_transform: MakeTransform) -> None:
    chunk = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":%d}}\n\n'

    seen = follow(make_transform("openai"), [chunk % 1, chunk % 2, b"data: [DONE]\n\n"])

    assert seen.usage == Usage(3, 2)


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: [1]\n\n",
        b'data: {"choices":5,"usage":"x"}\n\n',
        b'data: {"usage":{"prompt_tokens":"many"},"error":{"message":[]}}\n\n',
        b'data: {"error":{"message":"\xff"}}\n\n',
        b'data: {"type":"response.completed","response":7}\n\n',
        b'event: response.completed\ndata: {"type":"\xff"}\n\n',
        b'event: message_start\ndata: {"message":[],"delta":{"stop_reason":1}}\n\n',
        b'event: message_start\ndata: {"message":{"usage":{"input_tokens":"\xff"}}}\n\n',
        b'data: {"usageMetadata":{"promptTokenCount":1.5},"error":{"message":"\xff"}}\n\n',
        b'data: {"usageMetadata":{"promptTokenCount":"\xff"},"candidates":{}}\n\n',
    ],
)
@pytest.mark.parametrize(
    ("protocol", "framing"),
    [("openai", ""), ("responses", ""), ("anthropic", ""), ("google", "sse")],
)
def test_what_cannot_be_understood_passes_all_the_same(
    make_transform: MakeTransform, protocol: str, framing: str, chunk: bytes
) -> None:
    transform = make_transform(protocol, framing)

    assert transform.feed(chunk) == chunk
    assert transform.usage is None
    transform.finish()


@pytest.mark.parametrize(
    "broken",
    [
        b"data: not json\n\n",
        b'data: {"choices":[{"del\n\n',
        b'data: {"error":' + b"[" * 5000 + b"\n\n",
        b"event: error\ndata: [\n\n",
    ],
)
@pytest.mark.parametrize(
    ("protocol", "framing"),
    [("openai", ""), ("responses", ""), ("anthropic", ""), ("google", "sse")],
)
def test_an_event_that_is_no_json_is_left_out_and_nothing_else(
    make_transform: MakeTransform, protocol: str, framing: str, broken: bytes
) -> None:
    before, after = b': hi\r\n\r\ndata: {"a": 1}\n\n', b'data:{"b":"\\u00e4"}\n\n: x\n\n'
    transform = make_transform(protocol, framing)

    assert transform.feed(broken) == b""
    assert not transform.started
    assert transform.feed(before + broken + after) == before + after
    assert transform.feed(after) == after


def test_responses_event_that_only_quotes_a_last_event_does_not_end_the_answer(
    make_transform: MakeTransform,
) -> None:
    event = (
        b'data: {"type":"response.output_text.delta","delta":"x","item":["response.completed"]}\n\n'
    )
    transform = make_transform("responses")
    transform.feed(event)

    assert not transform.complete


def test_responses_failure_repeats_the_response_and_goes_on_counting(
    make_transform: MakeTransform,
) -> None:
    created = {"id": "resp_9", "model": "m", "status": "in_progress", "output": []}
    transform = make_transform("responses")
    for number, event in enumerate(("response.created", "response.in_progress")):
        data = {"type": event, "sequence_number": number, "response": created}
        transform.feed(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    ((name, data_sent),) = read_events(transform.fail(BadResponse("broken")))

    assert name == b"response.failed"
    assert json.loads(data_sent) == {
        "type": "response.failed",
        "sequence_number": 2,
        "response": created
        | {"status": "failed", "error": {"code": "upstream_error", "message": "broken"}},
    }


def test_responses_failure_before_a_response_is_the_flat_error_event(
    make_transform: MakeTransform,
) -> None:
    ((name, data),) = read_events(make_transform("responses").fail(BadResponse("broken")))

    assert name == b"error"
    assert json.loads(data) == {
        "type": "error",
        "message": "broken",
        "code": "upstream_error",
        "param": None,
        "sequence_number": 0,
    }


def test_anthropic_failure_is_an_error_event_with_the_request_id(
    make_transform: MakeTransform,
) -> None:
    ((name, data),) = read_events(make_transform("anthropic").fail(BadResponse("broken")))

    assert name == b"error"
    assert json.loads(data) == {
        "type": "error",
        "error": {"type": "api_error", "message": "broken"},
        "request_id": "req_1",
    }


def test_anthropic_usage_of_the_delta_replaces_only_what_it_says(
    make_transform: MakeTransform,
) -> None:
    transform = make_transform("anthropic")
    transform.feed(
        b"event: message_start\n"
        b'data: {"message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
        b"event: message_delta\n"
        b'data: {"usage":{"cache_read_input_tokens":4,"output_tokens":0}}\n\n'
    )

    assert transform.usage == Usage(9, 0, 4)


@pytest.mark.parametrize("framing", ["sse", "array", "ndjson"])
def test_google_failure_has_error_as_its_first_key_and_a_number_as_code(
    make_transform: MakeTransform, framing: str
) -> None:
    sent = make_transform("google", framing).fail(BadResponse("broken"))

    assert sent.removeprefix(b"data: ").removeprefix(b"[").startswith(b'{"error":{"code":502,')


def test_google_usage_is_that_of_an_earlier_element_if_the_last_has_only_the_word(
    make_transform: MakeTransform,
) -> None:
    transform = make_transform("google", "sse")
    transform.feed(
        b'data: {"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}\n\n'
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"usageMetadata":1}}]}}]}\n\n'
    )

    assert transform.usage == Usage(3, 1)


def test_google_error_after_the_array_ended_is_not_appended(make_transform: MakeTransform) -> None:
    transform = make_transform("google", "array")
    transform.feed(read("google/text.array.json"))

    assert transform.fail(BadResponse("broken")) == b""


# -- newline-delimited JSON made of a provider's SSE ----------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("name", ["google/text.sse", "google/blocked.sse", "google/error.sse"])
def test_ndjson_has_one_line_for_each_event(
    make_transform: MakeTransform, name: str, end: bytes
) -> None:
    stream = read(name, end)
    expected = [json.loads(data) for _, data in read_events(stream)]

    seen = same_at_every_split(
        stream, lambda chunks: follow(make_transform("google", "ndjson"), chunks)
    )

    assert parts("ndjson", seen.sent) == expected
    assert len(seen.sent.decode().splitlines()) == len(expected)  # nothing Unicode cuts a line


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_ndjson_of_a_last_event_without_blank_line_is_a_line_like_any_other(
    make_transform: MakeTransform, end: bytes
) -> None:
    stream = read("google/text.sse")
    expected = follow(make_transform("google", "ndjson"), [stream])

    seen = same_at_every_split(
        stream.rstrip() + end, lambda chunks: follow(make_transform("google", "ndjson"), chunks)
    )

    assert seen == expected


def test_ndjson_cut_anywhere_has_whole_lines_and_an_error_at_its_end(
    make_transform: MakeTransform,
) -> None:
    stream = read("google/text.sse")
    whole = [json.loads(data) for _, data in read_events(stream)]

    for chunks in every_split(stream[:-20]):
        seen = follow(make_transform("google", "ndjson"), chunks)
        *before, last = parts("ndjson", seen.sent)
        assert before == whole[:-1]
        assert is_error(last)


@pytest.mark.parametrize(
    ("element", "line"),
    [
        (b'{"a":1}', b'{"a":1}\n'),
        (b'{\n"a":\n1}', b'{ "a": 1}\n'),
        ('{"a":"\u2028\u2029\u0085"}'.encode(), rb'{"a":"\u2028\u2029\u0085"}' + b"\n"),
        ('{"ä":"\\n🥊"}'.encode(), '{"ä":"\\n🥊"}\n'.encode()),
    ],
)
def test_line_of_an_element_means_the_same_json(element: bytes, line: bytes) -> None:
    assert one_line(element) == line
    assert json.loads(line) == json.loads(element)
