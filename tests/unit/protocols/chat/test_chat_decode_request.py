"""What a chat client's request means, member by member."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter import ir
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.chat.decode_request import is_legacy, wants_usage
from tests.unit.protocols.chat.chatwire import CHAT, HI, asked, request, turns

PIXEL = "iVBORw0KGgo="
FUNCTION = {"type": "function", "function": {"name": "look_up"}}
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def call(call_id: str = "call_1", name: str = "look_up", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "field", "value"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_completion_tokens": 6, "max_tokens": 5}, "max_tokens", 6),
        ({"max_completion_tokens": None, "max_tokens": 5}, "max_tokens", 5),
        ({"temperature": 0}, "temperature", 0.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"top_k": 40}, "top_k", 40),
        ({"stop": "x"}, "stop", ("x",)),
        ({"stop": ["x", "y"]}, "stop", ("x", "y")),
        ({"stop": ""}, "stop", ()),
        ({"presence_penalty": -2}, "presence_penalty", -2.0),
        ({"frequency_penalty": 1.5}, "frequency_penalty", 1.5),
        ({"seed": -7}, "seed", -7),
        ({"n": 3}, "n", 3),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs", 2),
        ({"verbosity": "low"}, "verbosity", "low"),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"user": "u"}, "user", "u"),
        ({"safety_identifier": "s"}, "user", "s"),
        ({"safety_identifier": "s", "user": "u"}, "user", "s"),
        ({"parallel_tool_calls": False}, "parallel_tools", False),
        ({"reasoning_effort": "xhigh"}, "thinking", ir.Thinking("xhigh", visible=True)),
        ({"reasoning_effort": "none"}, "thinking", ir.Thinking("none")),
        ({"web_search_options": {}}, "web_search", ir.WebSearch()),
        (
            {"web_search_options": {"search_context_size": "low"}},
            "web_search",
            ir.WebSearch("low"),
        ),
        ({"stream": True}, "stream", True),
    ],
)
def test_setting_is_understood(members: dict[str, Any], field: str, value: object) -> None:
    found = asked(**members)

    assert getattr(found, field) == value


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "temperature", "top_p", "stop", "seed", "n", "logprobs", "tools", "user"),
        *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "metadata"),
        *("stream_options", "functions", "function_call", "service_tier", "web_search_options"),
        *("logit_bias", "prediction", "audio", "modalities", "verbosity", "prompt_cache_key"),
        *("store", "stream", "safety_identifier", "anything_else"),
    ],
)
def test_null_is_the_same_as_absent(name: str) -> None:
    assert asked(**{name: None}) == asked()


def test_nothing_said_is_nothing_meant() -> None:
    assert asked() == ir.Request(
        model="m",
        messages=[ir.Message("user", [ir.Text("Hi")])],
        origin="o",
        spellings=asked().spellings,
    )


def test_metadata_stays_as_it_was_written() -> None:
    found = asked(metadata={"b": "1", "a": "2"}).metadata

    assert found is not None
    assert json.loads(bytes(found)) == {"b": "1", "a": "2"}
    assert list(json.loads(bytes(found))) == ["b", "a"]
    assert asked(metadata={}).metadata is None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, ir.OutputFormat()),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, ir.OutputFormat(name="n")),
    ],
)
def test_response_format_without_schema(given: object, meant: ir.OutputFormat | None) -> None:
    assert asked(response_format=given).output == meant


def test_response_format_with_schema_keeps_every_byte_of_it() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"response_format":{"type":'
        b'"json_schema","json_schema":{"name":"n","description":"d","strict":true,"schema":'
        b'{"type": "object",  "minimum":1.0}}}}'
    )

    output = CHAT.decode_request(request(body)).output

    assert output is not None
    assert (output.name, output.description, output.strict) == ("n", "d", True)
    assert output.schema is not None
    assert bytes(output.schema) == b'{"type": "object",  "minimum":1.0}'


# -- what has no place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"logit_bias": {"5": -100}}, ["logit_bias"]),
        ({"prediction": {"type": "content", "content": "x"}}, ["prediction"]),
        ({"audio": {"voice": "v", "format": "wav"}}, ["audio"]),
        ({"min_p": 0.1, "repetition_penalty": 1.1}, ["min_p", "repetition_penalty"]),
        ({"user": "u", "safety_identifier": "s"}, ["user"]),
        (
            {"web_search_options": {"user_location": {"type": "approximate"}}},
            ["web_search_options.user_location"],
        ),
        (
            {"stream_options": {"include_obfuscation": True}},
            ["stream_options.include_obfuscation"],
        ),
        ({"messages": [{"role": "user", "content": "Hi", "name": "bob"}]}, ["messages.name"]),
        ({"messages": [{"role": "user", "content": "Hi", "weight": 1}]}, ["messages.weight"]),
    ],
)
def test_what_has_no_place_is_announced(members: dict[str, Any], dropped: list[str]) -> None:
    assert asked(**members).dropped == dropped


@pytest.mark.parametrize(
    "members",
    [
        {"store": False},
        {"n": 1},
        {"logit_bias": {}},
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"modalities": ["text"]},
        {"made_up": ""},
        {"messages": [{"role": "user", "content": "Hi", "name": None, "weight": None}]},
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": "x", "annotations": [], "audio": None},
            ]
        },
    ],
)
def test_what_happens_anyway_is_not_announced(members: dict[str, Any]) -> None:
    assert asked(**members).dropped == []


def test_what_belongs_to_the_vendor_goes_on_to_its_other_protocol() -> None:
    found = asked(
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit"},
        prompt_cache_retention="24h",
        moderation={"model": "x"},
        store=True,
    )

    assert found.origin == "o"
    assert {name: json.loads(bytes(one)) for name, one in found.family_fields.items()} == {
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h",
        "moderation": {"model": "x"},
        "store": True,
    }
    assert found.dropped == []


def test_fields_are_announced_under_the_clients_names() -> None:
    new, old = asked(max_completion_tokens=1).spellings, asked(max_tokens=1, functions=[]).spellings

    assert (new["max_tokens"], old.get("max_tokens")) == ("max_completion_tokens", None)
    assert new["thinking"] == "reasoning_effort"
    assert new["output"] == "response_format"
    assert asked(safety_identifier="s").spellings["user"] == "safety_identifier"
    assert asked(functions=[{"name": "f"}]).spellings["tools"] == "functions"


def test_sound_can_be_asked_only_of_its_vendor() -> None:
    with pytest.raises(UnsupportedFeature, match="modalities"):
        asked(modalities=["text", "audio"], audio={"voice": "v", "format": "wav"})


# -- tools ------------------------------------------------------------------------------------


def test_tools_are_understood() -> None:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}}
    function = {"name": "f", "description": "d", "parameters": parameters, "strict": True}

    tools = asked(
        tools=[
            {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
            FUNCTION,
            {"type": "custom", "custom": {"name": "c", "description": "d"}},
        ]
    ).tools

    first, second, third = tools
    assert (first.name, first.description, first.strict) == ("f", "d", True)
    assert first.cache == ir.CacheMark()
    assert first.parameters is not None
    assert json.loads(bytes(first.parameters)) == parameters
    assert second == ir.Tool("look_up")
    assert third == ir.Tool("c", "d", custom=True)


@pytest.mark.parametrize(
    ("given", "flat"),
    [
        ({"type": "text"}, {"type": "text"}),
        (
            {"type": "grammar", "grammar": {"definition": "x", "syntax": "regex"}},
            {"type": "grammar", "definition": "x", "syntax": "regex"},
        ),
    ],
)
def test_grammar_of_a_free_text_tool_is_as_responses_has_it(given: object, flat: object) -> None:
    tools = asked(tools=[{"type": "custom", "custom": {"name": "c", "format": given}}]).tools

    assert tools[0].format is not None
    assert json.loads(bytes(tools[0].format)) == flat


def test_other_types_of_tools_are_the_vendors_own() -> None:
    found = asked(tools=[{"type": "browser_search"}, FUNCTION])

    assert found.hosted_tools == ("browser_search",)
    assert [tool.name for tool in found.tools] == ["look_up"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("none", ir.ToolChoice("none")),
        ("auto", ir.ToolChoice("auto")),
        ("required", ir.ToolChoice("required")),
        (FUNCTION, ir.ToolChoice("required", ("look_up",))),
        (CUSTOM, ir.ToolChoice("required", ("shell",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [FUNCTION, CUSTOM]},
            },
            ir.ToolChoice("auto", ("look_up", "shell")),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION]}},
            ir.ToolChoice("required", ("look_up",)),
        ),
    ],
)
def test_tool_choice_is_understood(given: object, meant: ir.ToolChoice) -> None:
    assert asked(tools=[FUNCTION, CUSTOM], tool_choice=given).tool_choice == meant


@pytest.mark.parametrize(
    ("function_call", "meant"),
    [
        (None, None),
        ("auto", ir.ToolChoice("auto")),
        ("none", ir.ToolChoice("none")),
        ({"name": "f"}, ir.ToolChoice("required", ("f",))),
    ],
)
def test_functions_are_tools_of_which_one_is_called(
    function_call: object, meant: ir.ToolChoice | None
) -> None:
    members = {"functions": [{"name": "f"}], "function_call": function_call}

    found = asked(**members)

    assert found.tools == [ir.Tool("f")]
    assert found.tool_choice == meant
    assert found.parallel_tools is False
    assert is_legacy(request({"model": "m", "messages": HI, **members}).fields)
    assert not is_legacy(request({"model": "m", "messages": HI, "tools": [FUNCTION]}).fields)


# -- messages ---------------------------------------------------------------------------------


def test_leading_instructions_are_the_systems() -> None:
    found = asked(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
            {"role": "system", "content": ""},
            *HI,
        ]
    )

    assert found.system == [ir.Text("one"), ir.Text("two")]
    assert found.messages == [ir.Message("user", [ir.Text("Hi")])]


def test_later_instructions_stay_where_they_are() -> None:
    assert turns(*HI, {"role": "developer", "content": "later"}) == [
        ir.Message("user", [ir.Text("Hi")]),
        ir.Message("system", [ir.Text("later")]),
    ]


@pytest.mark.parametrize(
    ("part", "meant"),
    [
        ({"type": "text", "text": "x"}, ir.Text("x")),
        (
            {"type": "image_url", "image_url": {"url": "https://e.org/x.png", "detail": "high"}},
            ir.Media("image", url="https://e.org/x.png", detail="high"),
        ),
        (
            {"type": "image_url", "image_url": "https://e.org/x.png"},
            ir.Media("image", url="https://e.org/x.png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/PNG;x=y;BASE64,{PIXEL}"}},
            ir.Media("image", "image/png", PIXEL),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg%2F%3E"}},
            ir.Media("image", "image/svg+xml", "PHN2Zy8+"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            ir.Media("audio", "audio/mp3", "AAAA"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
            ir.Media("document", "application/pdf", "AAAA"),
        ),
        (
            {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
            ir.Media("document", "application/pdf", "AAAA", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": "AA-_", "filename": "a.png"}},
            ir.Media("image", "image/png", "AA+/", name="a.png"),
        ),
        (
            {"type": "file", "file": {"file_id": "file-1"}},
            ir.Media("document", file_id="file-1", origin="o"),
        ),
        (
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
            ir.Media("video", "video/mp4", "AAAA"),
        ),
    ],
)
def test_part_is_understood(part: dict[str, Any], meant: ir.Block) -> None:
    assert turns(user(part)) == [ir.Message("user", [meant])]


@pytest.mark.parametrize(
    ("mark", "meant"),
    [
        ({"cache_control": {"type": "ephemeral"}}, ir.CacheMark()),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, ir.CacheMark(3600)),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, ir.CacheMark(300)),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, ir.CacheMark()),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, ir.CacheMark(1800)),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, ir.CacheMark(43200)),
        ({"cache_control": None, "prompt_cache_breakpoint": None}, None),
    ],
)
def test_cache_mark_stays_with_its_part(mark: dict[str, Any], meant: ir.CacheMark | None) -> None:
    text = {"type": "text", "text": "x", **mark}
    image = {"type": "image_url", "image_url": "https://e.org/x", **mark}

    found = asked(messages=[{"role": "system", "content": [text]}, user(text, image)])

    assert [one.cache for one in found.system] == [meant]
    assert [getattr(one, "cache", ...) for one in found.messages[0].blocks] == [meant, meant]


def test_mark_on_a_message_is_one_on_its_last_part() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}

    found = asked(
        messages=[
            {"role": "system", "content": "s", **mark},
            {"role": "user", "content": "u", **mark},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}], **mark},
        ]
    )

    marked = [*found.system, *(message.blocks[-1] for message in found.messages)]
    assert [getattr(one, "cache", ...) for one in marked] == [ir.CacheMark()] * 3


def test_assistant_says_its_thoughts_its_text_and_its_calls_in_this_order() -> None:
    said = {
        "role": "assistant",
        "content": "text",
        "refusal": "no",
        "reasoning_content": "thought",
        "tool_calls": [
            call(arguments='{"b": 1,\n"a":2}'),
            {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
            {"id": "c3", "function": {"name": "look_up", "arguments": ""}},
            call("c4", arguments={"x": 1.50}),
        ],
    }

    assert turns(*HI, said)[1].blocks == [
        ir.Reasoning("thought"),
        ir.Text("text"),
        ir.Refusal("no"),
        ir.ToolCall("call_1", "look_up", '{"b": 1,\n"a":2}'),
        ir.ToolCall("c2", "shell", "ls", custom=True),
        ir.ToolCall("c3", "look_up", "{}"),
        ir.ToolCall("c4", "look_up", '{"x":1.5}'),
    ]


def test_assistants_parts_are_texts_and_refusals() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]

    said = turns(*HI, {"role": "assistant", "content": parts})[1]

    assert said.blocks == [ir.Text("a"), ir.Refusal("no")]


@pytest.mark.parametrize("content", [None, "", []])
def test_empty_text_beside_calls_is_no_text(content: object) -> None:
    said = {"role": "assistant", "content": content, "tool_calls": [call()]}

    assert turns(*HI, said)[1].blocks == [ir.ToolCall("call_1", "look_up", "{}")]


def test_assistant_that_said_nothing_is_left_out() -> None:
    assert [one.role for one in turns(*HI, {"role": "assistant", "content": ""}, *HI)] == [
        "user",
        "user",
    ]


def test_reasoning_goes_by_two_names() -> None:
    said = turns(*HI, {"role": "assistant", "content": "x", "reasoning": "thought"})[1]

    assert said.blocks[0] == ir.Reasoning("thought")


def test_googles_signature_comes_back_with_its_call() -> None:
    signed = call() | {"extra_content": {"google": {"thought_signature": "c2ln"}}}

    said = turns(*HI, {"role": "assistant", "tool_calls": [signed]})[1]

    assert said.blocks == [
        ir.ToolCall("call_1", "look_up", "{}", signature=ir.Signature("g", "c2ln"))
    ]


def test_mark_of_our_own_answer_says_nothing() -> None:
    extra = {"google": {"thought_signature": "c2ln"}, "bitrouter": "Br1~"}
    said = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "thought",
        "extra_content": {"bitrouter": "Br1~"},
        "tool_calls": [call() | {"extra_content": extra}],
    }

    found = asked(messages=[*HI, said])

    assert found.dropped == []
    assert found.messages[1].blocks == [
        ir.Reasoning("thought"),
        ir.ToolCall("call_1", "look_up", "{}", signature=ir.Signature("g", "c2ln")),
    ]


@pytest.mark.parametrize(
    "extra",
    [5, "Br1~", ["Br1~"], {"bitrouter": 5}, {"bitrouter": "x"}, {"bitrouter": "Br1~", "own": 1}],
)
def test_extra_content_of_the_clients_own_is_announced(extra: object) -> None:
    said = {"role": "assistant", "content": "a", "extra_content": extra}

    assert asked(messages=[*HI, said]).dropped == ["messages.extra_content"]


@pytest.mark.parametrize(
    "extra", [None, 5, [], {}, {"google": None}, {"google": {"thought_signature": 5}}]
)
def test_extra_content_of_another_kind_is_no_signature(extra: object) -> None:
    said = turns(*HI, {"role": "assistant", "tool_calls": [call() | {"extra_content": extra}]})[1]

    assert said.blocks == [ir.ToolCall("call_1", "look_up", "{}")]


def test_results_in_a_row_are_one_turn() -> None:
    found = turns(
        *HI,
        {"role": "assistant", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "two", "name": "look_up"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "one"}]},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    )

    assert found[2] == ir.Message(
        "user",
        [
            ir.ToolResult("b", [ir.Text("two")], name="look_up"),
            ir.ToolResult("a", [ir.Text("one")]),
        ],
    )
    assert found[3] == ir.Message("user", [ir.Text("go on")])
    assert found[5] == ir.Message("user", [ir.ToolResult("c", [])])


def test_name_of_a_tool_is_not_one_of_a_participant() -> None:
    result = {"role": "tool", "tool_call_id": "a", "name": "look_up", "content": "x"}

    found = asked(messages=[*HI, {"role": "assistant", "tool_calls": [call("a")]}, result])

    assert found.dropped == []


def test_result_may_hold_a_picture() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": [image]}

    found = turns(*HI, {"role": "assistant", "tool_calls": [call("a")]}, result)

    assert found[2].blocks == [ir.ToolResult("a", [ir.Media("image", "image/png", PIXEL)])]


def test_legacy_call_and_its_result_belong_together() -> None:
    history: list[dict[str, Any]] = [
        *HI,
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":2}'}},
        {"role": "function", "name": "f", "content": "two"},
    ]

    found, again = turns(*history), turns(*history)

    calls = [block for turn in found for block in turn.blocks if isinstance(block, ir.ToolCall)]
    results = [block for turn in found for block in turn.blocks if isinstance(block, ir.ToolResult)]
    assert [one.id for one in calls] == [one.call_id for one in results]
    assert calls[0].id != calls[1].id
    assert [one.name for one in results] == ["f", "f"]
    assert found == again


# -- what is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "owner", "content": "x"}, "messages[0].role"),
        ({"role": 5, "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0]"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [5]}, "messages[0].content[0]"),
        ({"role": "user", "content": [None]}, "messages[0].content[0]"),
        (user({"type": "text", "text": "x"}, {"type": "tape"}), "messages[0].content[1].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "text", "text": ["x"]}), "messages[0].content[0].text"),
        (user({"type": "image_url"}), "messages[0].content[0].image_url"),
        (
            user({"type": "image_url", "image_url": {"url": "ftp://x"}}),
            "messages[0].content[0].image_url.url",
        ),
        (
            user({"type": "image_url", "image_url": "data:image/png;base64,%%%"}),
            "messages[0].content[0].image_url",
        ),
        (
            user({"type": "image_url", "image_url": "data:image/png;base64"}),
            "messages[0].content[0].image_url",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}),
            "messages[0].content[0].input_audio.data",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "a/b"}}),
            "messages[0].content[0].input_audio.format",
        ),
        (user({"type": "input_audio"}), "messages[0].content[0].input_audio"),
        (user({"type": "file", "file": {}}), "messages[0].content[0].file"),
        (user({"type": "file"}), "messages[0].content[0].file"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": "https://x"}]},
            "messages[0].content[0]",
        ),
        (
            {"role": "assistant", "content": [{"type": "image_url", "image_url": "https://x"}]},
            "messages[0].content[0]",
        ),
        ({"role": "assistant", "tool_calls": "x"}, "messages[0].tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a"}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[0].tool_calls[0].id",
        ),
        (
            {"role": "assistant", "tool_calls": [call(), call("x", "")]},
            "messages[0].tool_calls[1].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [call() | {"type": "robot"}]},
            "messages[0].tool_calls[0].type",
        ),
        (
            {"role": "assistant", "tool_calls": [call(arguments=["x"])]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "function_call": {}}, "messages[0].function_call.name"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
    ],
)
def test_mistake_in_a_message_is_named_by_its_place(message: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(messages=[message])

    assert caught.value.status == 400
    assert caught.value.detail.startswith((f"{place}:", f"{place} "))


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"seed": 10**30}, "seed"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 5}, "stop"),
        ({"stop": ["x", 5]}, "stop[1]"),
        ({"n": 1.5}, "n"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"metadata": "x"}, "metadata"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        (
            {"tools": [FUNCTION, {"type": "function", "function": {"name": ""}}]},
            "tools[1].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom.name"),
        (
            {
                "tools": [
                    {"type": "custom", "custom": {"name": "c", "format": {"grammar": "x"}}},
                ]
            },
            "tools[0].custom.format.grammar",
        ),
        ({"functions": [{"name": "f", "parameters": 5}]}, "functions[0].parameters"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": []},
                }
            },
            "tool_choice.allowed_tools.tools",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "never", "tools": [FUNCTION]},
                }
            },
            "tool_choice.allowed_tools.mode",
        ),
        ({"function_call": "required_"}, "function_call"),
        ({"stream_options": 5}, "stream_options"),
        ({"modalities": "text"}, "modalities"),
    ],
)
def test_mistake_in_a_setting_is_named_by_its_place(members: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(**members)

    assert caught.value.status == 400
    assert caught.value.detail.startswith((f"{place}:", f"{place} "))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
RICH: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        user(
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "https://e.org/x"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
        ),
        {"role": "assistant", "content": "x", "reasoning": "y", "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "x"},
    ],
    "tools": [FUNCTION, {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
    "functions": [{"name": "f", "parameters": {"type": "object"}}],
    "tool_choice": FUNCTION,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "web_search_options": {"user_location": {}},
    "stream_options": {"include_usage": True},
    "metadata": {"a": "b"},
    "stop": ["x"],
    "max_tokens": 5,
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, one in inner:
        found.append((*at, key))
        if isinstance(one, dict | list):
            found += places(one, (*at, key))
    return found


@given(st.sampled_from([one for one in places(RICH) if one != ("model",)]), ANYTHING)
def test_whatever_stands_anywhere_is_understood_or_a_mistake_of_the_client(
    place: tuple[Any, ...], value: object
) -> None:
    body = json.loads(json.dumps(RICH))
    target = body
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value

    try:
        asks = CHAT.decode_request(request(body))
    except InvalidRequest:
        return
    assert asks.messages or asks.system


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": True}, True),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({"include_usage": "yes"}, False),
        (5, False),
    ],
)
def test_usage_in_the_stream_is_for_clients_that_ask(options: object, wanted: bool) -> None:
    body = {"model": "m", "messages": HI, "stream": True, "stream_options": options}

    assert wants_usage(request(body).fields) is wanted
    assert wants_usage(request({"model": "m", "messages": HI}).fields) is False
