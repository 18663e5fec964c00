"""How a request is written for a Gemini provider, field by field."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from tests.unit.protocols.google.geminiwire import (
    BUDGET,
    LEVEL,
    Body,
    asked,
    assistant,
    body_of,
    config_of,
    contents_of,
    encoded,
    raw,
    user,
)

PLAIN = Traits(reasoning="none")
SUBSET = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}},
    "additionalProperties": False,
}


# -- the frame and the settings -----------------------------------------------------------------


def test_a_smallest_request() -> None:
    assert encoded(asked()).body == b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
    assert encoded(asked()).dropped == ()
    assert encoded(asked()).headers == {}


def test_the_model_and_the_framing_stand_in_the_url() -> None:
    assert body_of(asked(stream=True)) == body_of(asked())


def test_all_system_texts_are_one_in_order() -> None:
    body = body_of(
        asked(
            user("hi"),
            ir.Message("system", [ir.Text("c")]),
            user("you"),
            system=[ir.Text("a"), ir.Text(""), ir.Text("b", ir.CacheMark())],
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a\n\nb\n\nc"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}, {"text": "you"}]}]


def test_an_empty_system_text_is_none() -> None:
    assert "systemInstruction" not in body_of(asked(system=[ir.Text("")]))


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        ({"temperature": 1.5}, {"temperature": 1.5}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"top_p": 0.5}, {"topP": 0.5}),
        ({"top_k": 7}, {"topK": 7}),
        ({"max_tokens": 9}, {"maxOutputTokens": 9}),
        ({"presence_penalty": 1.0}, {"presencePenalty": 1.0}),
        ({"frequency_penalty": -1.0}, {"frequencyPenalty": -1.0}),
        ({"n": 1}, {}),
        ({"n": 3}, {"candidateCount": 3}),
        ({"seed": 5}, {"seed": 5}),
        ({"seed": 2**31}, {"seed": -(2**31)}),
        ({"seed": -1}, {"seed": -1}),
        ({"seed": 10**30}, {"seed": (10**30 + 2**31) % 2**32 - 2**31}),
        ({"stop": ("a", "", "b")}, {"stopSequences": ["a", "b"]}),
        ({"stop": ("",)}, {}),
        ({"logprobs": True}, {"responseLogprobs": True}),
        ({"logprobs": True, "top_logprobs": 4}, {"responseLogprobs": True, "logprobs": 4}),
        ({"logprobs": False}, {}),
        ({"logprobs": True, "top_logprobs": 0}, {"responseLogprobs": True}),
    ],
)
def test_settings(fields: Body, config: Body) -> None:
    assert config_of(**fields) == config
    assert encoded(asked(**fields)).dropped == ()


def test_more_than_five_stop_sequences_are_cut_and_announced() -> None:
    found = encoded(asked(stop=tuple("abcdefg")))
    assert json.loads(found.body)["generationConfig"]["stopSequences"] == [*"abcde"]
    assert found.dropped == ("stop",)


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"verbosity": "low"}, ("verbosity",)),
        ({"user": "u"}, ("user",)),
        ({"metadata": raw({"a": "b"})}, ("metadata",)),
        ({"cache": ir.CacheMark()}, ("cache",)),
        ({"family_fields": {"logit_bias": raw({})}}, ("logit_bias",)),
        ({"parallel_tools": False, "tools": [ir.Tool("f")]}, ("parallel_tools",)),
        ({"parallel_tools": True, "tools": [ir.Tool("f")]}, ()),
        ({"service_tier": "scale"}, ("service_tier",)),
        ({"service_tier": "ultrafast"}, ("service_tier",)),
    ],
)
def test_what_google_has_no_place_for_is_announced(fields: Body, dropped: tuple[str, ...]) -> None:
    assert encoded(asked(**fields)).dropped == dropped


def test_what_the_model_refuses_is_announced() -> None:
    traits = Traits(unsupported=("seed", "presence_penalty"))
    found = encoded(asked(seed=3, presence_penalty=1.0, temperature=1.0), traits)
    assert json.loads(found.body)["generationConfig"] == {"temperature": 1.0}
    assert found.dropped == ("seed", "presence_penalty")


@pytest.mark.parametrize(
    ("tier", "written"),
    [
        *(("auto", None), ("default", "standard"), ("flex", "flex"), ("priority", "priority")),
        *(("fast", "priority"), ("scale", None), (None, None)),
    ],
)
def test_service_tiers(tier: str | None, written: str | None) -> None:
    assert body_of(asked(service_tier=tier)).get("serviceTier") == written


# -- thinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "budget"),
    [
        (ir.Thinking("none"), 0),
        (ir.Thinking("minimal"), 1024),
        (ir.Thinking("low"), 2048),
        (ir.Thinking("medium"), 8192),
        (ir.Thinking("high"), 16384),
        (ir.Thinking("xhigh"), 24576),
        (ir.Thinking("max"), -1),
        (ir.Thinking(budget_tokens=5000), 5000),
        (ir.Thinking(budget_tokens=64000), 24576),
        (ir.Thinking(budget_tokens=0), 0),
        (ir.Thinking(budget_tokens=-1), -1),
        (ir.Thinking(adaptive=True), -1),
        (ir.Thinking("low", 5000), 5000),
    ],
)
def test_thinking_in_tokens(thinking: ir.Thinking, budget: int) -> None:
    assert config_of(BUDGET, thinking=thinking) == {"thinkingConfig": {"thinkingBudget": budget}}


@pytest.mark.parametrize("thinking", [ir.Thinking("none"), ir.Thinking(budget_tokens=0)])
def test_a_model_that_cannot_stop_thinking_is_told_to_think_little(thinking: ir.Thinking) -> None:
    traits = Traits(reasoning="budget", efforts=("minimal", "low", "medium", "high"))
    assert config_of(traits, thinking=thinking) == {"thinkingConfig": {"thinkingBudget": 128}}


@pytest.mark.parametrize(
    ("thinking", "efforts", "level"),
    [
        (ir.Thinking("none"), (), "MINIMAL"),
        (ir.Thinking("none"), ("low", "medium", "high"), "LOW"),
        (ir.Thinking("minimal"), (), "MINIMAL"),
        (ir.Thinking("minimal"), ("low", "high"), "LOW"),
        (ir.Thinking("low"), (), "LOW"),
        (ir.Thinking("medium"), (), "MEDIUM"),
        (ir.Thinking("medium"), ("low", "high"), "LOW"),
        (ir.Thinking("high"), (), "HIGH"),
        (ir.Thinking("xhigh"), (), "XHIGH"),
        (ir.Thinking("xhigh"), ("low", "high"), "HIGH"),
        (ir.Thinking("max"), (), "XHIGH"),
        (ir.Thinking("max"), ("low", "medium", "high"), "HIGH"),
        (ir.Thinking(budget_tokens=1024), (), "MINIMAL"),
        (ir.Thinking(budget_tokens=10000), (), "MEDIUM"),
        (ir.Thinking(budget_tokens=31999), ("low", "medium", "high"), "HIGH"),
    ],
)
def test_thinking_in_words(thinking: ir.Thinking, efforts: tuple[str, ...], level: str) -> None:
    traits = Traits(reasoning="level", efforts=efforts)
    assert config_of(traits, thinking=thinking) == {"thinkingConfig": {"thinkingLevel": level}}


@pytest.mark.parametrize("traits", [LEVEL, BUDGET])
def test_thoughts_are_asked_for_where_the_client_wants_to_see_them(traits: Traits) -> None:
    shown = ir.Thinking("low", visible=True)
    hidden = ir.Thinking("low", visible=False)
    assert config_of(traits, thinking=shown)["thinkingConfig"]["includeThoughts"] is True
    assert "includeThoughts" not in config_of(traits, thinking=hidden)["thinkingConfig"]
    assert config_of(traits, thinking=ir.Thinking(visible=True)) == {
        "thinkingConfig": {"includeThoughts": True}
    }


def test_what_leaves_it_to_the_model_says_nothing_in_words() -> None:
    assert config_of(LEVEL, thinking=ir.Thinking(adaptive=True)) == {}
    assert config_of(LEVEL, thinking=ir.Thinking(budget_tokens=-1)) == {}
    assert config_of(LEVEL, thinking=ir.Thinking(visible=False)) == {}


def test_a_model_that_does_not_think_is_told_nothing() -> None:
    wanted = encoded(asked(thinking=ir.Thinking("high")), PLAIN)
    assert "generationConfig" not in json.loads(wanted.body)
    assert wanted.dropped == ("thinking",)
    for nothing in (ir.Thinking("none"), ir.Thinking(visible=False)):
        assert encoded(asked(thinking=nothing), PLAIN).dropped == ()


# -- the form of the answer ---------------------------------------------------------------------


def test_any_json_object() -> None:
    assert config_of(output=ir.OutputFormat()) == {"responseMimeType": "application/json"}


def test_a_schema_as_the_subset_or_as_it_is() -> None:
    output = ir.OutputFormat(raw(SCHEMA), name="n", description="d", strict=True)
    assert config_of(output=output) == {
        "responseMimeType": "application/json",
        "responseSchema": SUBSET,
    }
    assert config_of(Traits(schema="json_schema"), output=output) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }


@pytest.mark.parametrize("traits", [LEVEL, Traits(schema="json_schema")])
@pytest.mark.parametrize("schema", [[], "a", 3, True])
def test_a_schema_that_is_none_is_refused(traits: Traits, schema: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^the schema of the answer "):
        encoded(asked(output=ir.OutputFormat(raw(schema))), traits)
    with pytest.raises(InvalidRequest, match=r"^the parameters of tool 'f' "):
        encoded(asked(tools=[ir.Tool("f", parameters=raw(schema))]), traits)


# -- tools --------------------------------------------------------------------------------------


def test_all_functions_are_in_one_tool_and_the_search_in_another() -> None:
    tools = [ir.Tool("f", "d", raw(SCHEMA)), ir.Tool("g"), ir.Tool("h", "", raw({}))]
    body = body_of(asked(tools=tools, web_search=ir.WebSearch("medium")))
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parameters": SUBSET},
                {"name": "g"},
                {"name": "h"},
            ]
        },
        {"googleSearch": {}},
    ]
    assert "toolConfig" not in body


def test_parameters_as_they_are_where_the_model_takes_json_schema() -> None:
    written = encoded(
        asked(tools=[ir.Tool("f", parameters=msgspec.Raw(b'{ "type":"object","x":1.50 }'))]),
        Traits(schema="json_schema"),
    )
    assert b'{"name":"f","parametersJsonSchema":{ "type":"object","x":1.50 }}' in written.body


def test_options_of_the_search_are_announced() -> None:
    search = ir.WebSearch("high", ("e.org",))
    assert encoded(asked(web_search=search)).dropped == ("search_context_size", "allowed_domains")


def test_a_search_alone_has_no_choice() -> None:
    body = body_of(asked(web_search=ir.WebSearch(), tool_choice=ir.ToolChoice("auto")))
    assert "toolConfig" not in body


def test_hosted_tools_are_refused_or_dropped_as_the_operator_wants() -> None:
    hosted = asked(hosted_tools=("codeExecution",))
    with pytest.raises(UnsupportedFeature, match="codeExecution"):
        encoded(hosted)
    found = encoded(hosted, Traits(hosted_tools="drop"))
    assert "tools" not in json.loads(found.body)
    assert found.dropped == ("tools",)


def test_a_free_text_tool_is_a_function_of_one_text() -> None:
    grammar = raw({"type": "grammar", "syntax": "lark", "definition": "start: X"})
    tools = [ir.Tool("patch", "apply", custom=True, format=grammar), ir.Tool("f")]
    call = ir.ToolCall("1", "patch", "*** Begin\n", custom=True)
    found = encoded(
        asked(
            user("hi"),
            assistant(call),
            user(ir.ToolResult("1", [ir.Text("done")])),
            tools=tools,
        )
    )
    body = json.loads(found.body)
    declared = body["tools"][0]["functionDeclarations"][0]
    assert declared["parameters"] == {
        "type": "OBJECT",
        "properties": {"input": {"type": "STRING"}},
        "required": ["input"],
    }
    assert declared["description"].startswith("apply\n\n")
    assert "start: X" in declared["description"]
    said = body["contents"][1]["parts"][0]["functionCall"]
    assert said == {"name": "patch", "args": {"input": "*** Begin\n"}}
    assert found.wrapped == {"patch"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("f", "f"),
        ("_f-1", "_f-1"),
        ("a.b:c", "a_b_c"),
        ("1st", "_1st"),
        ("-a", "_-a"),
        ("grüß", "gr__"),
        ("", "_"),
    ],
)
def test_names_that_google_does_not_take_are_written_otherwise(name: str, written: str) -> None:
    found = encoded(asked(tools=[ir.Tool(name)]))
    assert json.loads(found.body)["tools"][0]["functionDeclarations"][0]["name"] == written
    assert found.names == ({written: name} if written != name else {})


def test_names_stay_apart_and_are_the_same_wherever_they_stand() -> None:
    long = "x" * 100
    found = encoded(
        asked(
            user("hi"),
            assistant(ir.ToolCall("1", "a.b", "{}"), ir.ToolCall("2", "gone.now", "{}")),
            user(ir.ToolResult("1", []), ir.ToolResult("2", [])),
            tools=[ir.Tool("a.b"), ir.Tool("a:b"), ir.Tool(long)],
            tool_choice=ir.ToolChoice("required", ("a.b", long)),
        )
    )
    body = json.loads(found.body)
    names = [one["name"] for one in body["tools"][0]["functionDeclarations"]]
    assert len({*names}) == 3
    assert all(len(name) <= 64 for name in names)
    calling = body["toolConfig"]["functionCallingConfig"]
    assert calling == {"mode": "ANY", "allowedFunctionNames": [names[0], names[2]]}
    said = [part["functionCall"]["name"] for part in body["contents"][1]["parts"]]
    given = [part["functionResponse"]["name"] for part in body["contents"][2]["parts"]]
    assert said == given == [names[0], "gone_now"]
    assert {name: found.names[name] for name in names} == dict(
        zip(names, ["a.b", "a:b", long], strict=True)
    )


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (None, None),
        (ir.ToolChoice("auto"), {"mode": "AUTO"}),
        (ir.ToolChoice("required"), {"mode": "ANY"}),
        (ir.ToolChoice("none"), {"mode": "NONE"}),
        (ir.ToolChoice("required", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            ir.ToolChoice("required", ("f", "g")),
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        ),
    ],
)
def test_the_choice_among_tools(choice: ir.ToolChoice | None, calling: Body | None) -> None:
    body = body_of(asked(tools=[ir.Tool("f"), ir.Tool("g")], tool_choice=choice))
    expected = {"functionCallingConfig": calling} if calling else None
    assert body.get("toolConfig") == expected


def test_tools_that_may_be_called_are_the_only_ones_declared() -> None:
    """Google takes allowedFunctionNames only where a call is forced."""
    choice = ir.ToolChoice("auto", ("g",))
    body = body_of(asked(tools=[ir.Tool("f"), ir.Tool("g")], tool_choice=choice))
    assert body["tools"] == [{"functionDeclarations": [{"name": "g"}]}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


@pytest.mark.parametrize(
    ("choice", "strict_tools", "mode"),
    [
        (None, True, "VALIDATED"),
        (ir.ToolChoice("auto"), True, "VALIDATED"),
        (ir.ToolChoice("required"), True, "ANY"),
        (ir.ToolChoice("none"), True, "NONE"),
        (ir.ToolChoice("auto"), False, "AUTO"),
    ],
)
def test_strict_tools_are_validated(
    choice: ir.ToolChoice | None, strict_tools: bool, mode: str
) -> None:
    tools = [ir.Tool("f"), ir.Tool("g", strict=True)]
    body = body_of(asked(tools=tools, tool_choice=choice), Traits(strict_tools=strict_tools))
    assert body["toolConfig"]["functionCallingConfig"]["mode"] == mode


def test_a_call_of_a_tool_that_is_not_there_cannot_be_forced() -> None:
    with pytest.raises(UnsupportedFeature, match="tool_choice"):
        encoded(asked(tool_choice=ir.ToolChoice("required")))
    with pytest.raises(UnsupportedFeature, match="tool_choice"):
        encoded(asked(tools=[ir.Tool("f")], tool_choice=ir.ToolChoice("required", ("g",))))


def test_nothing_is_said_of_tools_where_there_are_none() -> None:
    body = body_of(asked(tool_choice=ir.ToolChoice("none"), parallel_tools=False))
    assert body == body_of(asked())


def test_a_request_without_anything_said_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        encoded(asked(user("")))


def test_cache_marks_are_announced() -> None:
    marked = ir.Text("hi", ir.CacheMark(3600))
    tool = ir.Tool("f", cache=ir.CacheMark())
    found = encoded(asked(user(marked), tools=[tool]))
    assert found.body == encoded(asked(tools=[ir.Tool("f")])).body
    assert found.dropped == ("cache",)
    assert contents_of(user(marked)) == [{"role": "user", "parts": [{"text": "hi"}]}]
