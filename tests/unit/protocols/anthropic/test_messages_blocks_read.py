"""What the blocks of a Messages client's request mean."""

import pytest

from bitrouter import ir
from bitrouter.protocols.continuity import seal
from tests.unit.protocols.anthropic.requests import EPHEMERAL, refusal
from tests.unit.protocols.anthropic.wire import (
    TRANSLATOR,
    Body,
    decoded,
    decoded_blocks,
    raw_request,
)

PNG = "iVBORw0KGgo="


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
