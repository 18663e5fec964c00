"""What a Messages client's request means as a whole (protocols.md, 1.3 and 2.2 to 2.8)."""

import json
from typing import Any

import pytest

from bitrouter import ir
from tests.unit.protocols.anthropic.requests import EPHEMERAL, refusal
from tests.unit.protocols.anthropic.wire import (
    TRANSLATOR,
    Body,
    decoded,
    decoded_blocks,
    raw_request,
    request,
)

AN_HOUR = {"type": "ephemeral", "ttl": "1h"}


# -- the request as a whole -------------------------------------------------------------------


def test_least_request() -> None:
    asked = TRANSLATOR.decode_request(request({}))

    assert asked == ir.Request(
        "m",
        [ir.Message("user", [ir.Text("hi")])],
        "a",
        max_tokens=100,
        spellings=asked.spellings,
    )


def test_count_of_tokens_is_asked_without_max_tokens() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    asked = TRANSLATOR.decode_request(raw_request(json.dumps(body).encode(), count=True))

    assert asked.max_tokens is None
    assert asked.messages == [ir.Message("user", [ir.Text("hi")])]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"max_tokens": 0}, "max_tokens", 0),
        ({"stream": True}, "stream", True),
        ({"temperature": 1}, "temperature", 1.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"top_k": 40}, "top_k", 40),
        ({"stop_sequences": ["a", " "]}, "stop", ("a", " ")),
        ({"stop_sequences": []}, "stop", ()),
        ({"metadata": {"user_id": "u1"}}, "user", "u1"),
        ({"service_tier": "auto"}, "service_tier", "auto"),
        ({"service_tier": "standard_only"}, "service_tier", "default"),
        ({"cache_control": EPHEMERAL}, "cache", ir.CacheMark()),
        ({"cache_control": AN_HOUR}, "cache", ir.CacheMark(3600)),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, "cache", ir.CacheMark()),
    ],
)
def test_setting(body: Body, field: str, expected: Any) -> None:
    asked = decoded(**body)

    assert getattr(asked, field) == expected
    assert asked.dropped == []


def test_null_is_absent() -> None:
    names = (
        *("system", "stream", "tools", "tool_choice", "temperature", "top_p", "top_k"),
        *("stop_sequences", "thinking", "output_config", "metadata", "service_tier"),
        *("cache_control", "mcp_servers", "container", "speed"),
    )
    inside = {
        "metadata": {"user_id": None},
        "output_config": {"effort": None, "format": None},
        "tool_choice": {"type": "auto", "name": None, "disable_parallel_tool_use": None},
    }

    assert decoded(**dict.fromkeys(names)) == decoded()
    assert decoded(**inside) == decoded(tool_choice={"type": "auto"})


def test_null_is_absent_in_blocks_and_tools() -> None:
    tool: Body = {
        "name": "f",
        "description": None,
        "input_schema": {},
        "strict": None,
        "type": None,
    }
    image = {"type": "url", "url": "https://example.org/a.png"}

    assert (
        decoded(tools=[{**tool, "type": None, "cache_control": None}]).tools[0].description is None
    )
    assert decoded_blocks(
        {"type": "text", "text": "a", "cache_control": None, "citations": None},
        {"type": "image", "source": image, "cache_control": None},
        {"type": "tool_result", "tool_use_id": "t", "content": None, "is_error": None},
    ) == [
        ir.Text("a"),
        ir.Media("image", url="https://example.org/a.png"),
        ir.ToolResult("t", []),
    ]


@pytest.mark.parametrize(
    ("body", "announced"),
    [
        ({"inference_geo": "us", "container": "c1"}, ["container", "inference_geo"]),
        ({"speed": "fast"}, ["speed"]),
        ({"context_management": {"edits": []}, "diagnostics": {}}, ["context_management"]),
        ({"metadata": {"user_id": "u", "team": "t"}}, ["metadata.team"]),
        ({"output_config": {"task_budget": {"total": 1}}}, ["output_config.task_budget"]),
        ({"thinking": {"type": "between_tools"}}, ["thinking"]),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            ["output_config.effort"],
        ),
        (
            {"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]},
            ["tools.defer_loading"],
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
            ["tools.max_uses"],
        ),
    ],
)
def test_member_without_a_place_is_announced(body: Body, announced: list[str]) -> None:
    assert decoded(**body).dropped == announced


@pytest.mark.parametrize(
    "body",
    [
        {"speed": "standard"},
        {"mcp_servers": [], "fallbacks": [], "context_management": {}, "billing_policy": None},
        {"tools": [{"name": "f", "input_schema": {}, "defer_loading": False}]},
        {"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["direct"]}]},
    ],
)
def test_member_that_says_what_happens_anyway_is_not_announced(body: Body) -> None:
    compact = json.dumps(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}]} | body,
        separators=(",", ":"),
    )

    asked = TRANSLATOR.decode_request(raw_request(compact.encode()))

    assert asked.dropped == []


def test_lost_fields_have_the_clients_names() -> None:
    assert decoded().spellings["stop"] == "stop_sequences"
    assert decoded().spellings["output"] == "output_config"
    assert decoded().spellings["user"] == "metadata"
    assert decoded().spellings["cache"] == "cache_control"


# -- system and turns -------------------------------------------------------------------------


def test_system_is_a_text_or_texts_with_marks() -> None:
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": AN_HOUR},
    ]

    assert decoded(system="be brief").system == [ir.Text("be brief")]
    assert decoded(system=blocks).system == [ir.Text("a"), ir.Text("b", ir.CacheMark(3600))]


def test_turns_of_the_system_lead_or_stand_between() -> None:
    asked = decoded(
        system="first",
        messages=[
            {"role": "system", "content": "second"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": [{"type": "text", "text": "later"}]},
            {"role": "user", "content": "go"},
        ],
    )

    assert asked.system == [ir.Text("first"), ir.Text("second")]
    assert [message.role for message in asked.messages] == ["user", "system", "user"]
    assert asked.messages[1].blocks == [ir.Text("later")]


@pytest.mark.parametrize("role", ["tool", "developer", "model", "", "User"])
def test_unknown_role_is_refused_by_name(role: str) -> None:
    words = refusal(messages=[{"role": "user", "content": "a"}, {"role": role, "content": "b"}])

    assert words.startswith("messages[1].role: ")
    assert repr(role) in words


# -- tools ------------------------------------------------------------------------------------


def test_tool_of_the_clients() -> None:
    schema = {"type": "object", "properties": {"z": {}, "a": {}}}
    tools = [
        {
            "name": "f",
            "description": "does f",
            "input_schema": schema,
            "strict": True,
            "cache_control": EPHEMERAL,
        },
        {"type": "custom", "name": "g", "input_schema": {"type": "object"}},
        {"name": "h"},
    ]

    first, second, third = decoded(tools=tools).tools

    assert (first.name, first.description, first.strict) == ("f", "does f", True)
    assert first.cache == ir.CacheMark()
    assert first.parameters is not None
    assert bytes(first.parameters) == json.dumps(schema).encode()
    assert (second.name, second.custom, second.strict) == ("g", False, None)
    assert third.parameters is None


@pytest.mark.parametrize("date", ["20250305", "20260209", "20991231"])
def test_web_search_is_what_all_vendors_have(date: str) -> None:
    tool = {"type": f"web_search_{date}", "name": "web_search", "allowed_domains": ["a.org"]}

    asked = decoded(tools=[tool])

    assert asked.web_search == ir.WebSearch(allowed_domains=("a.org",))
    assert asked.tools == []
    assert asked.hosted_tools == ()


def test_other_tools_of_the_vendors_are_named() -> None:
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "computer_toolset_20260801"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    ]
    servers = [{"type": "url", "name": "files", "url": "https://example.org/mcp"}]

    asked = decoded(tools=tools, mcp_servers=servers)

    assert set(asked.hosted_tools) == {
        *("bash", "computer_toolset_20260801", "str_replace_based_edit_tool", "files")
    }
    assert asked.dropped == []


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ir.ToolChoice("auto"), None),
        ({"type": "any"}, ir.ToolChoice("required"), None),
        ({"type": "none"}, ir.ToolChoice("none"), None),
        ({"type": "tool", "name": "f"}, ir.ToolChoice("required", ("f",)), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ir.ToolChoice("auto"), False),
        ({"type": "any", "disable_parallel_tool_use": False}, ir.ToolChoice("required"), None),
    ],
)
def test_tool_choice(choice: Body, expected: ir.ToolChoice, parallel: bool | None) -> None:
    asked = decoded(tool_choice=choice)

    assert asked.tool_choice == expected
    assert asked.parallel_tools is parallel


# -- thinking and the form of the answer ------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        (None, None, None),
        (None, "xhigh", ir.Thinking("xhigh")),
        ({"type": "disabled"}, None, ir.Thinking("none")),
        ({"type": "adaptive"}, None, ir.Thinking(adaptive=True)),
        ({"type": "adaptive"}, "max", ir.Thinking("max", adaptive=True)),
        (
            {"type": "adaptive", "display": "summarized"},
            None,
            ir.Thinking(adaptive=True, visible=True),
        ),
        (
            {"type": "adaptive", "display": "omitted"},
            None,
            ir.Thinking(adaptive=True, visible=False),
        ),
        (
            {"type": "enabled", "budget_tokens": 2048},
            None,
            ir.Thinking(budget_tokens=2048, visible=True),
        ),
        (
            {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            None,
            ir.Thinking(budget_tokens=2048, visible=False),
        ),
    ],
)
def test_thinking_that_is_asked_for(
    thinking: Body | None, effort: str | None, expected: ir.Thinking | None
) -> None:
    assert decoded(thinking=thinking, output_config={"effort": effort}).thinking == expected


def test_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}}}

    output = decoded(output_config={"format": {"type": "json_schema", "schema": schema}}).output

    assert output is not None
    assert output.schema is not None
    assert bytes(output.schema) == json.dumps(schema).encode()
