"""Tools, thinking and the form of the answer, as an Anthropic model is told them
(protocols.md, 2.4 to 2.6).
"""

import json
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import UnsupportedFeature
from tests.unit.protocols.anthropic.sdk import check_request
from tests.unit.protocols.anthropic.wire import (
    ADAPTIVE,
    BUDGET,
    Body,
    asked,
    assistant,
    body_of,
    encoded,
    user,
)

SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}
F = ir.Tool("f")
G = ir.Tool("g")
BY_TOOL = Traits(reasoning="adaptive", structured_output="tool")


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def checked(request: ir.Request, traits: Traits = ADAPTIVE, **known: Any) -> Body:
    """The body, which the SDK's types fit."""
    body = body_of(request, traits, **known)
    check_request(body)
    return body


# -- tools ------------------------------------------------------------------------------------


def test_tool_is_written_with_its_schema_as_it_came() -> None:
    schema = msgspec.Raw(b'{ "type" : "object","properties":{"z":{"minimum":1.50},"a":{}} }')
    tool = ir.Tool("f", "does f", schema, strict=True)

    request = asked(tools=[tool])

    assert b'"input_schema":{ "type" : "object","properties":{"z":{"minimum":1.50},"a":{}} }' in (
        encoded(request).body
    )
    [written] = checked(request)["tools"]
    assert {**written, "input_schema": None} == {
        "name": "f",
        "description": "does f",
        "input_schema": None,
        "strict": True,
    }


@pytest.mark.parametrize(
    ("strict", "traits", "written"),
    [
        (None, ADAPTIVE, None),
        (False, ADAPTIVE, None),
        (True, ADAPTIVE, True),
        (True, Traits(strict_tools=False), None),
    ],
)
def test_strict_is_said_only_if_it_was_and_the_model_knows_it(
    strict: bool | None, traits: Traits, written: bool | None
) -> None:
    [tool] = body_of(asked(tools=[ir.Tool("f", strict=strict)]), traits)["tools"]

    assert tool.get("strict") is written


def test_tool_without_parameters_has_a_schema() -> None:
    assert checked(asked(tools=[F]))["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]


def test_free_text_tool_is_a_function_of_one_text() -> None:
    grammar = raw({"type": "grammar", "syntax": "lark", "definition": "start: /a+/"})
    tool = ir.Tool("run", "runs it", custom=True, format=grammar, strict=True)
    request = asked(user("go"), assistant(ir.ToolCall("t1", "run", "aaa", True)), tools=[tool])

    [written] = checked(request)["tools"]

    assert written["input_schema"] == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    }
    assert written["description"].startswith("runs it\n\n")
    assert "start: /a+/" in written["description"]
    assert "strict" not in written
    assert encoded(request).wrapped == {"run"}


def test_names_are_in_the_alphabet_and_are_told_back() -> None:
    long = "n" * 200
    request = asked(
        user("go"),
        assistant(ir.ToolCall("t1", "ns.f", "{}"), ir.ToolCall("t2", "gone:1", "{}")),
        tools=[ir.Tool("ns.f"), ir.Tool(long), ir.Tool("plain")],
        tool_choice=ir.ToolChoice("required", (long,)),
    )

    result = encoded(request)
    body = json.loads(result.body)

    dotted, cut, plain = (tool["name"] for tool in body["tools"])
    assert (dotted, plain) == ("ns_f", "plain")
    assert len(cut) == 128
    assert body["tool_choice"]["name"] == cut
    assert [block["name"] for block in body["messages"][1]["content"]] == ["ns_f", "gone_1"]
    assert result.names == {"ns_f": "ns.f", cut: long, "gone_1": "gone:1"}


def test_names_in_the_alphabet_need_no_telling_back() -> None:
    assert encoded(asked(tools=[ir.Tool("a-B_9" + "x" * 123)])).names == {}


def test_history_with_calls_has_its_tools_declared_though_none_may_be_called() -> None:
    request = asked(
        user("go"),
        assistant(ir.ToolCall("t1", "a.b", "{}"), ir.ToolCall("t2", "f", "{}")),
        user(ir.ToolResult("t1", []), ir.ToolResult("t2", [])),
        user("now without"),
    )

    body = checked(request)

    assert body["tools"] == [
        {"name": name, "input_schema": {"type": "object", "properties": {}}}
        for name in ("a_b", "f")
    ]
    assert body["tool_choice"] == {"type": "none"}


# -- hosted tools -----------------------------------------------------------------------------

SEARCHING = Traits(reasoning="adaptive", web_search="web_search_20250305")


def test_web_search_is_anthropics_own() -> None:
    search = ir.WebSearch("medium", ("a.org",))

    assert checked(asked(web_search=search), SEARCHING)["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.org"]}
    ]
    assert encoded(asked(web_search=search), SEARCHING).dropped == ()


def test_size_of_a_searchs_context_is_announced() -> None:
    request = asked(web_search=ir.WebSearch("high"))

    assert encoded(request, SEARCHING).dropped == ("search_context_size",)


def test_hosted_tool_is_refused_or_dropped() -> None:
    dropping = Traits(reasoning="adaptive", hosted_tools="drop")

    for request in (asked(hosted_tools=("file_search",)), asked(web_search=ir.WebSearch())):
        with pytest.raises(UnsupportedFeature, match="tools"):
            encoded(request)
        assert encoded(request, dropping).dropped == ("tools",)
        assert "tools" not in body_of(request, dropping)


# -- the choice among tools -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "parallel", "written", "names"),
    [
        (None, None, None, "fg"),
        (None, True, None, "fg"),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, "fg"),
        (ir.ToolChoice("auto"), None, {"type": "auto"}, "fg"),
        (ir.ToolChoice("required"), True, {"type": "any"}, "fg"),
        (
            ir.ToolChoice("required"),
            False,
            {"type": "any", "disable_parallel_tool_use": True},
            "fg",
        ),
        (ir.ToolChoice("none"), False, {"type": "none"}, "fg"),
        (ir.ToolChoice("required", ("g",)), None, {"type": "tool", "name": "g"}, "fg"),
        (
            ir.ToolChoice("required", ("g",)),
            False,
            {"type": "tool", "name": "g", "disable_parallel_tool_use": True},
            "fg",
        ),
        (ir.ToolChoice("required", ("f", "g")), None, {"type": "any"}, "fg"),
        (ir.ToolChoice("auto", ("g",)), None, {"type": "auto"}, "g"),
    ],
)
def test_tool_choice(
    choice: ir.ToolChoice | None, parallel: bool | None, written: Body | None, names: str
) -> None:
    request = asked(tools=[F, G], tool_choice=choice, parallel_tools=parallel)

    body = checked(request)

    assert body.get("tool_choice") == written
    assert [tool["name"] for tool in body["tools"]] == [*names]


def test_several_chosen_tools_are_the_only_ones_sent() -> None:
    tools = [F, G, ir.Tool("h")]
    body = body_of(asked(tools=tools, tool_choice=ir.ToolChoice("auto", ("f", "h"))))

    assert [tool["name"] for tool in body["tools"]] == ["f", "h"]
    assert body["tool_choice"] == {"type": "auto"}


def test_choice_without_tools_is_left_out() -> None:
    body = body_of(asked(tool_choice=ir.ToolChoice("auto"), parallel_tools=False))

    assert "tool_choice" not in body
    with pytest.raises(UnsupportedFeature, match="tool_choice"):
        encoded(asked(tool_choice=ir.ToolChoice("required")))


# -- thinking by effort -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "written"),
    [
        (ir.Thinking("none"), {"thinking": {"type": "disabled"}}),
        (ir.Thinking(budget_tokens=0), {"thinking": {"type": "disabled"}}),
        *(
            (
                thinking,
                {"thinking": {"type": "adaptive"}, "output_config": {"effort": word}},
            )
            for thinking, word in (
                (ir.Thinking("minimal"), "low"),
                (ir.Thinking("low"), "low"),
                (ir.Thinking("medium"), "medium"),
                (ir.Thinking("high"), "high"),
                (ir.Thinking("xhigh"), "xhigh"),
                (ir.Thinking("max"), "max"),
            )
        ),
        (
            ir.Thinking(budget_tokens=8192),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
        ),
        (ir.Thinking(budget_tokens=-1), {"thinking": {"type": "adaptive"}}),
        (ir.Thinking(adaptive=True), {"thinking": {"type": "adaptive"}}),
        (
            ir.Thinking(visible=True),
            {"thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        (ir.Thinking(visible=False), {}),
        (
            ir.Thinking("low", visible=False),
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "low"},
            },
        ),
        (None, {}),
    ],
)
def test_newer_models_are_told_a_word(thinking: ir.Thinking | None, written: Body) -> None:
    body = checked(asked(thinking=thinking))

    assert body == body_of(asked()) | written
    assert encoded(asked(thinking=thinking)).dropped == ()


@pytest.mark.parametrize(
    ("effort", "taken", "written"),
    [
        ("xhigh", ("none", "low", "medium", "high", "max"), "high"),
        ("none", ("low", "medium", "high"), "low"),
        ("minimal", ("none", "low", "high"), "low"),
    ],
)
def test_word_is_the_nearest_that_the_model_takes(
    effort: ir.Effort, taken: tuple[str, ...], written: str
) -> None:
    body = body_of(asked(thinking=ir.Thinking(effort)), Traits(reasoning="adaptive", efforts=taken))

    assert body["output_config"] == {"effort": written}
    assert body["thinking"] == {"type": "adaptive"}


# -- thinking by budget -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "max_tokens", "most", "budget", "limit"),
    [
        (ir.Thinking("minimal"), None, None, 1024, 8192),
        (ir.Thinking("low"), None, None, 2048, 8192),
        (ir.Thinking("medium"), None, None, 8192, 9216),
        (ir.Thinking("high"), None, None, 16384, 17408),
        (ir.Thinking("xhigh"), None, None, 24576, 25600),
        (ir.Thinking("high"), None, 64000, 16384, 64000),
        (ir.Thinking("high"), None, 10000, 8976, 10000),
        (ir.Thinking("max"), None, 64000, 62976, 64000),
        (ir.Thinking("max"), 5000, 64000, 3976, 5000),
        (ir.Thinking(adaptive=True), 5000, None, 3976, 5000),
        (ir.Thinking("high"), 20000, None, 16384, 20000),
        (ir.Thinking("high"), 4096, None, 3072, 4096),
        (ir.Thinking("high"), 16384, None, 15360, 16384),
        (ir.Thinking(budget_tokens=5000), 5001, None, 5000, 5001),
        (ir.Thinking(budget_tokens=500), None, None, 1024, 8192),
        (ir.Thinking("low"), 2048, None, 1024, 2048),
    ],
)
def test_older_models_are_told_a_budget_that_fits(
    thinking: ir.Thinking, max_tokens: int | None, most: int | None, budget: int, limit: int
) -> None:
    request = asked(thinking=thinking, max_tokens=max_tokens)

    body = checked(request, BUDGET, max_output_tokens=most)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == limit
    assert 1024 <= budget < limit


def test_budget_may_be_kept_from_view() -> None:
    body = checked(asked(thinking=ir.Thinking("low", visible=False)), BUDGET)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}


@pytest.mark.parametrize("max_tokens", [1, 1024, 2047])
def test_budget_that_cannot_fit_is_none(max_tokens: int) -> None:
    request = asked(thinking=ir.Thinking("low"), max_tokens=max_tokens)

    assert "thinking" not in body_of(request, BUDGET)
    assert encoded(request, BUDGET).dropped == ("thinking",)


@pytest.mark.parametrize(
    "thinking", [None, ir.Thinking("none"), ir.Thinking(budget_tokens=0), ir.Thinking(visible=True)]
)
def test_older_models_do_not_think_unless_told(thinking: ir.Thinking | None) -> None:
    assert body_of(asked(thinking=thinking), BUDGET) == body_of(asked())
    assert encoded(asked(thinking=thinking), BUDGET).dropped == ()


@pytest.mark.parametrize(
    ("thinking", "announced"),
    [(ir.Thinking("low"), ("thinking",)), (ir.Thinking("none"), ()), (None, ())],
)
def test_model_that_does_not_think_is_told_nothing(
    thinking: ir.Thinking | None, announced: tuple[str, ...]
) -> None:
    traits = Traits(reasoning="none")

    assert body_of(asked(thinking=thinking), traits) == body_of(asked())
    assert encoded(asked(thinking=thinking), traits).dropped == announced


# -- what thinking excludes -------------------------------------------------------------------

LOW = ir.Thinking("low")
SIGNED = ir.Reasoning("hm", ir.Signature("a", "EqQB"))
CALL = ir.ToolCall("t1", "f", "{}")
RESULT = ir.ToolResult("t1", [ir.Text("r")])


@pytest.mark.parametrize("traits", [ADAPTIVE, BUDGET])
def test_model_that_thinks_samples_in_its_own_way(traits: Traits) -> None:
    request = asked(thinking=LOW, temperature=0.5, top_p=0.5, top_k=5)

    assert encoded(request, traits).dropped == ("temperature", "top_p", "top_k")
    assert not {"temperature", "top_p", "top_k"} & body_of(request, traits).keys()
    usual = asked(thinking=LOW, temperature=1.0, top_p=0.97)
    assert encoded(usual, traits).dropped == ()
    assert body_of(usual, traits)["top_p"] == 0.97


@pytest.mark.parametrize(("traits", "written"), [(ADAPTIVE, {"type": "disabled"}), (BUDGET, None)])
@pytest.mark.parametrize("names", [(), ("f",)])
def test_forced_call_switches_thinking_off(
    traits: Traits, written: Body | None, names: tuple[str, ...]
) -> None:
    request = asked(tools=[F], tool_choice=ir.ToolChoice("required", names), thinking=LOW)

    assert body_of(request, traits).get("thinking") == written
    assert encoded(request, traits).dropped == ("thinking",)


def test_model_that_always_thinks_may_be_forced_to_call() -> None:
    always = Traits(reasoning="adaptive", efforts=("low", "high"))
    request = asked(tools=[F], tool_choice=ir.ToolChoice("required"), thinking=LOW)

    assert body_of(request, always)["thinking"] == {"type": "adaptive"}


def test_calls_that_lost_their_thinking_switch_a_budget_off() -> None:
    request = asked(user("go"), assistant(CALL), user(RESULT), tools=[F], thinking=LOW)

    assert "thinking" not in body_of(request, BUDGET)
    assert encoded(request, BUDGET).dropped == ("thinking",)
    assert body_of(request)["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    "messages",
    [
        [user("go"), assistant(SIGNED, CALL), user(RESULT)],
        [user("go"), assistant(SIGNED, "so", CALL), user(RESULT, "and?")],
        [user("go"), assistant(CALL), user(RESULT), assistant("done"), user("again")],
        [user("go"), assistant("no thought"), user("again")],
    ],
    ids=["signed", "signed, text", "answered since", "no call"],
)
def test_calls_with_their_thinking_leave_a_budget_on(messages: list[ir.Message]) -> None:
    body = checked(asked(*messages, tools=[F], thinking=LOW), BUDGET)

    assert body["thinking"]["type"] == "enabled"


def test_prefill_switches_a_budget_off() -> None:
    request = asked(user("go"), assistant("It is"), thinking=LOW)

    assert "thinking" not in body_of(request, BUDGET)
    assert encoded(request, BUDGET).dropped == ("thinking",)


@pytest.mark.parametrize(
    ("traits", "thinking", "shown"),
    [
        (ADAPTIVE, None, True),
        (ADAPTIVE, LOW, True),
        (ADAPTIVE, ir.Thinking("none"), False),
        (BUDGET, LOW, True),
        (BUDGET, None, False),
        (BUDGET, ir.Thinking("none"), False),
        (Traits(reasoning="none"), LOW, False),
    ],
)
def test_model_that_does_not_think_is_not_shown_thinking(
    traits: Traits, thinking: ir.Thinking | None, shown: bool
) -> None:
    request = asked(user("go"), assistant(SIGNED, "so"), user("on"), thinking=thinking)

    content = body_of(request, traits)["messages"][1]["content"]

    assert content == (
        [
            {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
            {"type": "text", "text": "so"},
        ]
        if shown
        else "so"
    )


# -- the form of the answer -------------------------------------------------------------------

FORM = ir.OutputFormat(raw(SCHEMA), "answer", "what is said", True)


def test_schema_of_the_answer() -> None:
    body = checked(asked(output=FORM, thinking=LOW))

    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"z": {"type": "string"}, "a": {}},
                "additionalProperties": False,
            },
        },
    }


@pytest.mark.parametrize("traits", [ADAPTIVE, BY_TOOL])
def test_any_object_is_asked_for_in_words(traits: Traits) -> None:
    body = checked(asked(output=ir.OutputFormat(), system=[ir.Text("Be brief.")]), traits)

    assert body["system"] == "Be brief.\n\nAnswer with one JSON object and nothing else."
    assert not {"output_config", "tools"} & body.keys()


def test_model_without_structured_output_gets_a_tool_that_it_has_to_call() -> None:
    request = asked(output=FORM)

    body = checked(request, BY_TOOL)

    assert body["tools"] == [
        {"name": "structured_output", "description": "what is said", "input_schema": SCHEMA}
    ]
    assert body["tool_choice"] == {
        "type": "tool",
        "name": "structured_output",
        "disable_parallel_tool_use": True,
    }
    assert "output_config" not in body
    assert encoded(request, BY_TOOL).answer_tool == "structured_output"


@pytest.mark.parametrize(
    ("choice", "parallel", "written"),
    [
        (None, None, {"type": "any"}),
        (ir.ToolChoice("auto"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (
            ir.ToolChoice("none"),
            None,
            {
                "type": "tool",
                "name": "structured_output",
                "disable_parallel_tool_use": True,
            },
        ),
    ],
)
def test_answer_by_tool_beside_the_clients_tools(
    choice: ir.ToolChoice | None, parallel: bool | None, written: Body
) -> None:
    request = asked(tools=[F], tool_choice=choice, parallel_tools=parallel, output=FORM)

    body = checked(request, BY_TOOL)

    assert [tool["name"] for tool in body["tools"]] == ["f", "structured_output"]
    assert body["tool_choice"] == written


def test_answer_by_tool_gives_way_where_the_clients_own_tool_must_be_called() -> None:
    request = asked(tools=[F], tool_choice=ir.ToolChoice("required"), output=FORM)

    assert encoded(request, BY_TOOL).answer_tool is None
    assert [tool["name"] for tool in body_of(request, BY_TOOL)["tools"]] == ["f"]


def test_answer_by_tool_has_a_name_of_its_own() -> None:
    request = asked(tools=[ir.Tool("structured_output")], output=FORM)

    assert encoded(request, BY_TOOL).answer_tool == "structured_output_"


def test_answer_by_tool_switches_thinking_off() -> None:
    traits = Traits(reasoning="budget", structured_output="tool")
    request = asked(output=FORM, thinking=LOW)

    assert "thinking" not in body_of(request, traits)
    assert encoded(request, traits).dropped == ("thinking",)
