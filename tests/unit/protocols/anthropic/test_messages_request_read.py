"""What a Messages client's request means (protocols.md, 1.3 and 2.2 to 2.8)."""

import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.continuity import seal
from tests.unit.protocols.anthropic.wire import (
    TRANSLATOR,
    Body,
    decoded,
    decoded_blocks,
    raw_request,
    request,
)

PNG = "iVBORw0KGgo="
EPHEMERAL = {"type": "ephemeral"}
AN_HOUR = {"type": "ephemeral", "ttl": "1h"}


def refusal(**body: Any) -> str:
    """What is said to a request that is refused."""
    with pytest.raises(InvalidRequest) as caught:
        decoded(**body)
    return caught.value.detail


def refusal_of_block(block: Any, role: str = "user") -> str:
    return refusal(messages=[{"role": role, "content": [block]}])


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


# -- blocks -----------------------------------------------------------------------------------


def test_text_keeps_its_mark_and_loses_its_citations() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0}

    blocks = decoded_blocks(
        {"type": "text", "text": "a", "cache_control": EPHEMERAL, "citations": [citation]}
    )

    assert blocks == [ir.Text("a", ir.CacheMark())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"type": "base64", "media_type": "image/PNG", "data": PNG},
            ir.Media("image", media_type="image/png", data=PNG),
        ),
        (
            {"type": "url", "url": "https://example.org/a.png"},
            ir.Media("image", url="https://example.org/a.png"),
        ),
        (
            {"type": "url", "url": f"data:image/png;base64,{PNG}"},
            ir.Media("image", media_type="image/png", data=PNG),
        ),
        ({"type": "file", "file_id": "file_1"}, ir.Media("image", file_id="file_1", origin="a")),
    ],
)
def test_image(source: Body, expected: ir.Media) -> None:
    expected.cache = ir.CacheMark()

    assert decoded_blocks({"type": "image", "source": source, "cache_control": EPHEMERAL}) == [
        expected
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            ir.Media("document", media_type="application/pdf", data="JVBERi0="),
        ),
        (
            {"type": "text", "media_type": "text/plain", "data": "plain"},
            ir.Media("document", media_type="text/plain", text="plain"),
        ),
        (
            {"type": "url", "url": "https://example.org/a.pdf"},
            ir.Media("document", url="https://example.org/a.pdf"),
        ),
        ({"type": "file", "file_id": "f1"}, ir.Media("document", file_id="f1", origin="a")),
        (
            {"type": "content", "content": "passage"},
            ir.Media("document", media_type="text/plain", text="passage"),
        ),
        (
            {
                "type": "content",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            ir.Media("document", media_type="text/plain", text="a\n\nb"),
        ),
    ],
)
def test_document(source: Body, expected: ir.Media) -> None:
    expected.name = "A title"

    assert decoded_blocks({"type": "document", "source": source, "title": "A title"}) == [expected]


def test_documents_context_stands_before_it_and_its_images_after_it() -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
    }
    source = {"type": "content", "content": [{"type": "text", "text": "a"}, picture]}

    blocks = decoded_blocks({"type": "document", "source": source, "context": "from the web"})

    assert blocks == [
        ir.Text("from the web"),
        ir.Media("document", media_type="text/plain", text="a"),
        ir.Media("image", media_type="image/png", data=PNG),
    ]


def test_search_result_is_a_text() -> None:
    blocks = decoded_blocks(
        {
            "type": "search_result",
            "source": "https://example.org/",
            "title": "Boxing",
            "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            "cache_control": EPHEMERAL,
        }
    )

    assert blocks == [ir.Text("Boxing\nhttps://example.org/\n\none\n\ntwo", ir.CacheMark())]


@pytest.mark.parametrize("kind", ["document", "search_result"])
def test_wish_for_citations_is_announced(kind: str) -> None:
    document = {"source": {"type": "text", "data": "x"}}
    passage = {"source": "s", "title": "t", "content": []}
    block = {"type": kind, "citations": {"enabled": True}}
    block |= document if kind == "document" else passage

    asked = decoded(messages=[{"role": "user", "content": [block]}])

    assert asked.dropped == ["citations"]


def test_input_of_a_call_keeps_the_order_of_its_keys_and_the_spelling_of_its_numbers() -> None:
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use"'
        b',"id":"t1","name":"f","input": { "z" : 1.50, "a":\n[12345678901234567890123, 1e2], "\xc3'
        b'\xbc":"\\u00fc  x"} }]}]}'
    )

    asked = TRANSLATOR.decode_request(raw_request(body))

    call = asked.messages[0].blocks[0]
    assert isinstance(call, ir.ToolCall)
    assert call.arguments == '{"z":1.50,"a":[12345678901234567890123,1e2],"ü":"\\u00fc  x"}'
    assert (call.id, call.name, call.custom) == ("t1", "f", False)


def test_result_is_a_string_or_blocks() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}

    blocks = decoded_blocks(
        {"type": "tool_result", "tool_use_id": "t1", "content": "42"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [image], "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3", "cache_control": EPHEMERAL},
        {"type": "text", "text": "now?"},
    )

    assert blocks == [
        ir.ToolResult("t1", [ir.Text("42")]),
        ir.ToolResult("t2", [ir.Media("image", media_type="image/png", data=PNG)], is_error=True),
        ir.ToolResult("t3", [], cache=ir.CacheMark()),
        ir.Text("now?"),
    ]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("EqQBCgIYAhIM", ir.Signature("a", "EqQBCgIYAhIM")),
        (seal(ir.Signature("o", "enc", "rs_1")), ir.Signature("o", "enc", "rs_1")),
        (seal(ir.Signature("a", "own")), ir.Signature("a", "own")),
        ("Br1~o.!damaged!", ir.Signature("")),
        ("", None),
        (None, None),
    ],
)
def test_thinking_is_whose_its_signature_is(signature: str, expected: ir.Signature) -> None:
    block = {"type": "thinking", "thinking": "Hmm", "signature": signature}

    assert decoded_blocks(block, role="assistant") == [ir.Reasoning("Hmm", expected)]


def test_thinking_may_lack_a_signature() -> None:
    block = {"type": "thinking", "thinking": "Hmm"}

    assert decoded_blocks(block, role="assistant") == [ir.Reasoning("Hmm")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("EmwKAhgB", ir.Signature("a", "EmwKAhgB")),
        (seal(ir.Signature("g", "sig")), ir.Signature("g", "sig")),
    ],
)
def test_redacted_thinking(data: str, expected: ir.Signature) -> None:
    block = {"type": "redacted_thinking", "data": data}

    assert decoded_blocks(block, role="assistant") == [ir.Reasoning("", expected, redacted=True)]


CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}


def carrier(origin: str, text: str = "") -> Body:
    signature = seal(ir.Signature(origin, "sig"))
    return {"type": "thinking", "thinking": text, "signature": signature}


def test_googles_signature_directly_before_a_call_is_the_calls() -> None:
    blocks = decoded_blocks(carrier("g"), CALL, {**CALL, "id": "t2"}, role="assistant")

    assert blocks == [
        ir.ToolCall("t1", "f", "{}", signature=ir.Signature("g", "sig")),
        ir.ToolCall("t2", "f", "{}"),
    ]


@pytest.mark.parametrize(
    "before", [carrier("o"), carrier("g", "a thought"), carrier("a")], ids=["other", "text", "own"]
)
def test_other_thinking_before_a_call_stays_thinking(before: Body) -> None:
    first, second = decoded_blocks(before, CALL, role="assistant")

    assert isinstance(first, ir.Reasoning)
    assert second == ir.ToolCall("t1", "f", "{}")


def test_googles_signature_that_is_not_directly_before_a_call_stays() -> None:
    text = {"type": "text", "text": "so"}

    blocks = decoded_blocks(carrier("g"), text, CALL, role="assistant")

    assert [type(block) for block in blocks] == [ir.Reasoning, ir.Text, ir.ToolCall]


@pytest.mark.parametrize(
    "kind",
    [
        *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result"),
        *("bash_code_execution_tool_result", "some_future_tool_result", "mcp_tool_use"),
        *("mcp_tool_result", "container_upload", "compaction"),
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_only_the_vendors_tools_say_is_left_out_and_announced(kind: str, role: str) -> None:
    hosted = {"type": kind, "id": "x", "content": {"type": "whatever"}, "text": 5}

    asked = decoded(
        messages=[{"role": role, "content": [hosted, {"type": "text", "text": "kept"}]}]
    )

    assert asked.messages[0].blocks == [ir.Text("kept")]
    assert asked.dropped == [kind]


@pytest.mark.parametrize("kind", ["tool_reference", "browser_state"])
def test_what_only_the_vendors_tools_read_in_a_result_is_left_out(kind: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": kind, "x": 1}]}

    asked = decoded(messages=[{"role": "user", "content": [result]}])

    assert asked.messages[0].blocks == [ir.ToolResult("t", [])]
    assert asked.dropped == [kind]


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        *(("user", "audio"), ("assistant", "image"), ("user", "tool_use"), ("user", "thinking")),
        *(
            ("assistant", "tool_result"),
            ("system", "image"),
            ("user", ""),
            ("assistant", "refusal"),
        ),
        ("user", "_tool_result\r\nx-evil: 1"),
    ],
)
def test_block_that_may_not_stand_there_is_refused_by_name_and_place(role: str, kind: str) -> None:
    words = refusal(
        messages=[
            {"role": "user", "content": "a"},
            {"role": role, "content": [{"type": "text", "text": "b"}, {"type": kind}]},
        ]
    )

    assert words.startswith("messages[1].content[1].type: ")
    assert "\n" not in words


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


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": [1]}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"system": [{"type": "text"}]}, "system[0]"),
        ({"system": ["text"]}, "system[0]"),
        ({"metadata": "u"}, "metadata"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"cache_control": {"type": "forever"}}, "cache_control.type"),
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"name": ""}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "strict": "yes"}]}, "tools[0].strict"),
        ({"tools": [{"type": ["x"]}]}, "tools[0].type"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {}}, "tool_choice"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": "1k"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "a"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": 5, "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    ],
)
def test_wrong_type_is_refused_naming_its_place(body: Body, place: str) -> None:
    words = refusal(**body)

    assert words.startswith((f"{place}:", f"{place} "))


@pytest.mark.parametrize(
    ("block", "role", "place"),
    [
        ({"type": "text", "text": ["a"]}, "user", ".text"),
        ({"type": "text"}, "user", ""),
        ({"type": 5}, "user", ".type"),
        ({"type": "text", "text": "a", "cache_control": "yes"}, "user", ".cache_control"),
        ({"type": "image"}, "user", ""),
        ({"type": "image", "source": "https://x"}, "user", ".source"),
        ({"type": "image", "source": {"type": "base64", "data": "x"}}, "user", ".source"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "!"}},
            "user",
            ".source.data",
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "audio/wav", "data": "AAAA"},
            },
            "user",
            ".source.media_type",
        ),
        ({"type": "image", "source": {"type": "url", "url": "ftp://x"}}, "user", ".source.url"),
        ({"type": "image", "source": {"type": "magic"}}, "user", ".source.type"),
        ({"type": "image", "source": {"type": "text", "data": "x"}}, "user", ".source"),
        ({"type": "document", "source": {"type": "content"}}, "user", ".source.content"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "audio"}]}},
            "user",
            ".source.content[0].type",
        ),
        ({"type": "search_result", "source": "s", "title": "t"}, "user", ""),
        ({"type": "tool_result"}, "user", ""),
        ({"type": "tool_result", "tool_use_id": "t", "content": 5}, "user", ".content"),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "video"}]},
            "user",
            ".content[0].type",
        ),
        ({"type": "tool_use", "id": "t", "name": "f", "input": "{}"}, "assistant", ".input"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": None}, "assistant", ".input"),
        ({"type": "tool_use", "id": "t", "name": "f"}, "assistant", ""),
        ({"type": "tool_use", "id": "t", "name": "", "input": {}}, "assistant", ".name"),
        ({"type": "tool_use", "id": "", "name": "f", "input": {}}, "assistant", ".id"),
        ({"type": "thinking", "thinking": 5}, "assistant", ".thinking"),
        ({"type": "redacted_thinking"}, "assistant", ""),
    ],
)
def test_malformed_block_is_refused_naming_its_place(block: Body, role: str, place: str) -> None:
    words = refusal_of_block(block, role)

    assert words.startswith((f"messages[0].content[0]{place}:", f"messages[0].content[0]{place} "))


@pytest.mark.parametrize("levels", [200, 980, 5000])
def test_depth_is_followed_or_refused(levels: int) -> None:
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use"'
        b',"id":"t","name":"f","input":%b}]}],"tools":[{"name":"f","input_schema":%b}]}'
    ) % (deep, deep)

    try:
        asked = TRANSLATOR.decode_request(raw_request(body))
    except InvalidRequest:
        assert levels > 200
    else:
        call = asked.messages[0].blocks[0]
        assert isinstance(call, ir.ToolCall)
        assert call.arguments == deep.decode()
