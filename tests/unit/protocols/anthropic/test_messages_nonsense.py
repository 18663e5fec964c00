"""Whatever a client or a provider sends: an error of ours, never a fault."""

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter.errors import BadResponse, InvalidRequest
from tests.support.neutral import check_well_formed
from tests.unit.protocols.anthropic.wire import (
    ADAPTIVE,
    BUDGET,
    START,
    STOP,
    TRANSLATOR,
    Body,
    answered,
    block_delta,
    block_start,
    block_stop,
    encoded,
    message_delta,
    raw_request,
    read_stream,
    sse,
    wire_events,
    written,
)

MANY: Final = settings(max_examples=300, deadline=None)

Path = tuple[str | int, ...]

# Written into JSON as it stands: a number that no float can hold.
TOO_LARGE: Final = "1e999"
JUNK: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 10**30, 1.5, "", "x", "text", [], [None], ["x"], [[]], {}),
        *({"type": None}, {"type": "text"}, {"type": ["a"]}, {"a": {"b": []}}, TOO_LARGE),
        *("Br1~a.AAAA", "Br1~g.eyJzaWciOiJ4In0", "data:image/png;base64,AA", "\u2028\x00"),
    ]
)

RICH: Final[Body] = {
    "model": "m",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                {
                    "type": "document",
                    "title": "t",
                    "source": {"type": "content", "content": [{"type": "text", "text": "d"}]},
                },
                {
                    "type": "search_result",
                    "source": "s",
                    "title": "t",
                    "content": [{"type": "text", "text": "p"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "h", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "r"}],
                    "is_error": True,
                }
            ],
        },
    ],
    "tools": [
        {
            "name": "f",
            "description": "d",
            "strict": True,
            "input_schema": {
                "type": ["object", "null"],
                "anyOf": [{"$ref": "#/$defs/x"}, {"properties": {"b": {}}, "required": ["b"]}],
                "$defs": {"x": {"type": "object", "properties": {"a": {"type": "string"}}}},
            },
        },
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
    "output_config": {
        "effort": "high",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 1, "enum": [1, 2]}},
                "required": ["n"],
                "items": {"type": "string", "format": "uri", "minItems": 2},
            },
        },
    },
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u"},
    "cache_control": {"type": "ephemeral"},
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "service_tier": "auto",
}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every value inside a value."""
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in members:
            yield (*path, key)
            yield from paths(inner, (*path, key))


def replaced(value: Any, path: Path, by: Any) -> Any:
    """A copy with another value at a place."""
    result = copy.deepcopy(value)
    at = result
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = by
    return result


def as_bytes(value: Any) -> bytes:
    """JSON in which `TOO_LARGE` is a number."""
    return json.dumps(value, ensure_ascii=False).replace(f'"{TOO_LARGE}"', TOO_LARGE).encode()


@MANY
@given(st.sampled_from([*paths(RICH)]), JUNK, st.sampled_from([ADAPTIVE, BUDGET]))
def test_nonsense_in_a_request_is_understood_or_refused(path: Path, junk: Any, traits: Any) -> None:
    body = as_bytes(replaced(RICH, path, junk))

    with contextlib.suppress(InvalidRequest):
        asked = TRANSLATOR.decode_request(raw_request(body))
        assert json.loads(encoded(asked, traits).body)["messages"]


ANSWER: Final[Body] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "h", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {
            "type": "text",
            "text": "t",
            "citations": [{"type": "web_search_result_location", "url": "https://a.org/"}],
        },
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
    ],
    "stop_reason": "refusal",
    "stop_sequence": None,
    "stop_details": {"type": "refusal", "explanation": "no", "category": None},
    "usage": {
        "input_tokens": 5,
        "output_tokens": 7,
        "cache_read_input_tokens": 1,
        "output_tokens_details": {"thinking_tokens": 2},
    },
}


@MANY
@given(st.sampled_from([*paths(ANSWER)]), JUNK)
def test_nonsense_in_an_answer_is_understood_or_a_bad_response(path: Path, junk: Any) -> None:
    try:
        answer = TRANSLATOR.decode_answer(as_bytes(replaced(ANSWER, path, junk)))
    except BadResponse:
        return
    [candidate] = answer.candidates
    assert answered(*candidate.blocks, finish=candidate.finish, usage=answer.usage)


STREAM: Final = [
    START,
    block_start(0, type="thinking", thinking="", signature=""),
    block_delta(0, type="thinking_delta", thinking="h"),
    block_delta(0, type="signature_delta", signature="EqQB"),
    block_stop(0),
    block_start(1, type="text", text=""),
    block_delta(1, type="text_delta", text="t"),
    block_delta(1, type="citations_delta", citation={"type": "x", "url": "https://a.org/"}),
    block_stop(1),
    block_start(2, type="redacted_thinking", data="EmwK"),
    block_stop(2),
    block_start(3, type="tool_use", id="t1", name="f", input={}),
    block_delta(3, type="input_json_delta", partial_json='{"a":1}'),
    block_stop(3),
    message_delta("tool_use", output_tokens=9),
    STOP,
]


@MANY
@given(st.sampled_from([*paths(STREAM)]), JUNK)
def test_nonsense_in_a_stream_leaves_it_well_formed(path: Path, junk: Any) -> None:
    events = replaced(STREAM, path, junk)
    names = [str(event["type"]) for event in STREAM]
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), as_bytes(event))
        for name, event in zip(names, events, strict=True)
    )

    read = read_stream([stream])

    check_well_formed(read)
    assert wire_events(written(read))[-1] == STOP


@MANY
@given(st.permutations(STREAM), st.data())
def test_events_in_any_order_leave_a_stream_well_formed(
    events: list[Body], data: st.DataObject
) -> None:
    some = data.draw(st.lists(st.sampled_from(events), max_size=len(events)))

    check_well_formed(read_stream([sse(*events)]))
    check_well_formed(read_stream([sse(*some)]))
