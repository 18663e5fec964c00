"""What is asked of the endpoint that shall finish an answer, and whose answers can be."""

from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config.schema import Capabilities, Model, Provider
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.rescue import can_prefill, is_rescuable, parts_of, prefilled
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.routing.table import Endpoint

CHAT = BY_API_PROTOCOL["openai"]
HI = [{"role": "user", "content": "Hi"}]


def inquiry(**fields: Any) -> Inquiry:
    body = msgspec.json.encode({"model": "m", "messages": HI, "stream": True} | fields)
    request = CHAT.read(CHAT.operations[0], None, "", body)
    return Inquiry(CHAT, request, lambda name: None, request_id="r", owner="", max_depth=128)


def asked(*messages: ir.Message, **fields: Any) -> ir.Request:
    return ir.Request("m", [ir.Message("user", [ir.Text("Hi")]), *messages], "o", **fields)


def said(request: ir.Request) -> list[tuple[str, list[str]]]:
    return [
        (one.role, [block.text for block in one.blocks if isinstance(block, ir.Text)])
        for one in request.messages
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a", ("a", "")), ("a b \n", ("a b", " \n")), (" \n", ("", " \n")), ("", ("", ""))],
)
def test_white_space_at_the_end_is_for_the_model_to_say(text: str, parts: tuple[str, str]) -> None:
    assert parts_of(text) == parts


def test_the_text_so_far_is_the_last_turn() -> None:
    request = asked()
    assert said(prefilled(request, "It is")) == [("user", ["Hi"]), ("assistant", ["It is"])]
    assert said(request) == [("user", ["Hi"])]


def test_it_follows_what_the_client_began_the_answer_with() -> None:
    begun = ir.Message("assistant", [ir.Text("a"), ir.Text("b")])
    request = asked(begun)
    assert said(prefilled(request, "c"))[1:] == [("assistant", ["a", "bc"])]
    assert said(request)[1:] == [("assistant", ["a", "b"])]


def test_it_follows_a_turn_that_does_not_end_in_text() -> None:
    request = asked(ir.Message("assistant", [ir.Reasoning("hm")]))
    assert said(prefilled(request, "c"))[1:] == [("assistant", ["c"])]
    assert len(prefilled(request, "c").messages[1].blocks) == 2


@pytest.mark.parametrize(
    ("limit", "text", "left"), [(None, "abcd", None), (10, "abcdefgh", 8), (1, "abcdefgh", 1)]
)
def test_what_was_said_is_no_longer_to_be_had(
    limit: int | None, text: str, left: int | None
) -> None:
    assert prefilled(asked(max_tokens=limit), text).max_tokens == left


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"n": 1}, True),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
        ({"unknown": 1}, True),
        ({"stream": False}, False),
        ({"n": 2}, False),
        ({"logprobs": True}, False),
        ({"web_search_options": {}}, False),
        ({"modalities": ["audio"]}, False),
        ({"mcp_servers": [{"url": "https://x.example"}]}, False),
        ({"messages": [{"role": "nobody"}]}, False),
    ],
    ids=str,
)
def test_whose_answers_can_be_finished_by_somebody_else(
    fields: dict[str, Any], expected: bool
) -> None:
    assert is_rescuable(inquiry(**fields)) is expected


def test_other_operations_are_not_looked_into() -> None:
    embeddings = next(one for one in CHAT.operations if one.name != "generate")
    body = msgspec.json.encode({"model": "m", "input": "x", "stream": True})
    request = CHAT.read(embeddings, None, "", body)
    one = Inquiry(CHAT, request, lambda name: None, request_id="r", owner="", max_depth=128)
    assert not is_rescuable(one)


@pytest.mark.parametrize(
    ("prefill", "fields", "expected"),
    [
        (True, {}, True),
        (None, {}, False),
        (False, {}, False),
        (True, {"response_format": {"type": "json_object"}}, False),
    ],
)
def test_who_can_go_on_with_a_text(
    prefill: bool | None, fields: dict[str, Any], expected: bool
) -> None:
    models = {"x": Model(capabilities=Capabilities(prefill=prefill))}
    provider = Provider("p", ("openai",), "https://p.example", models=models)
    assert can_prefill(inquiry(**fields), Endpoint(provider, "x")) is expected
    assert not can_prefill(inquiry(**fields), Endpoint(provider, "not in the catalogue"))
