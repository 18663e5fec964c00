"""What the router put into a chat client's history is taken out before it goes to a chat server."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from bitrouter import ir
from bitrouter.envelope import split_fields
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.base import Framing, Request
from bitrouter.protocols.chat.codec import GENERATE
from tests.matrix.clients.chat import without_sdks_own
from tests.support.strict.chat.read import read
from tests.unit.protocols.chat.chatwire import (
    CHAT,
    HI,
    accumulated,
    answered,
    reply,
    request,
    written,
)

SIGNATURE = ir.Signature("g", "c2ln")
MARK = b'"extra_content":{"bitrouter":"Br1~"}'
SIGNED = b'"extra_content":{"google":{"thought_signature":"c2ln"},"bitrouter":"Br1~"}'
RESULT = {"role": "tool", "tool_call_id": "1", "content": "ok"}


# -- our own answers, replayed ----------------------------------------------------------------


def arrives(*messages: dict[str, Any]) -> dict[str, Any]:
    """The second message of a conversation, at a server that refuses what OpenAI refuses."""
    asks = request({"model": "gpt-5.1", "messages": [*HI, *messages]})
    body: dict[str, Any] = json.loads(CHAT.without_foreign(asks).body)
    read(json.loads(json.dumps(body)))
    found: dict[str, Any] = body["messages"][1]
    return found


CALLED = {
    "role": "assistant",
    "content": "Let me look.",
    "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ],
}


def test_whole_answer_that_comes_back_is_what_openai_could_have_said() -> None:
    blocks: list[ir.Block] = [
        ir.Reasoning("hm", ir.Signature("g", "sig")),
        ir.Text("Let me look."),
        ir.ToolCall("1", "f", "{}", signature=SIGNATURE),
    ]
    answer = ir.Answer([ir.Candidate(blocks, ir.Finish("tool_calls"))])

    completion = ChatCompletion.model_validate(answered(answer))

    message = without_sdks_own(completion.choices[0].message.to_dict())
    assert message.keys() > {"reasoning_content", "extra_content"}
    assert arrives(message, RESULT) == CALLED


@pytest.mark.parametrize("at_once", [True, False])
def test_streamed_answer_that_comes_back_is_what_openai_could_have_said(at_once: bool) -> None:
    events: list[ir.Event] = [
        *(ir.Start(), ir.BlockStart(0, "reasoning"), ir.Delta(0, "h"), ir.Delta(0, "m")),
        *(ir.BlockEnd(0), ir.BlockStart(1, "text"), ir.Delta(1, "Let me look."), ir.BlockEnd(1)),
        *(ir.BlockStart(2, "tool_call", id="1", name="f"), ir.Signed(2, SIGNATURE)),
        *(ir.Delta(2, "{}"), ir.BlockEnd(2), ir.Finished(ir.Finish("tool_calls")), ir.End()),
    ]
    stream = CHAT.stream_encoder(reply()).encode(events) if at_once else written(events)

    message = without_sdks_own(accumulated(stream).choices[0].message.to_dict())

    assert message["reasoning_content"] == "hm"
    assert arrives(message, RESULT) == CALLED


@pytest.mark.parametrize("text", ["", "a"])
def test_answer_of_thoughts_that_comes_back_is_still_a_message(text: str) -> None:
    blocks: list[ir.Block] = [ir.Reasoning("hm"), ir.Text(text)]
    answer = ir.Answer([ir.Candidate(blocks, ir.Finish("length"))])

    message = answered(answer)["choices"][0]["message"]

    assert arrives(message, *HI) == {"role": "assistant", "content": text}


# -- byte for byte ----------------------------------------------------------------------------


def cleaned(messages: bytes) -> bytes:
    """What stands in the array of messages when it goes on. All around it stays."""
    head, tail = b'{ "model" :"m","messages": [', b'] ,"n":1.0, "seed":1e2 }'
    found = CHAT.without_foreign(request(head + messages + tail))
    assert found.body.startswith(head)
    assert found.body.endswith(tail)
    assert found.fields == split_fields(found.body)
    return found.body[len(head) : -len(tail)]


def said(members: bytes) -> bytes:
    """A message of an assistant's."""
    return b'{"role":"assistant",%b}' % members


def calls(*extras: bytes) -> bytes:
    """The member with one call for each of these members of a call."""
    made = (b'{"id":"1","function":{"name":"f","arguments":"{ }"}%b}' % one for one in extras)
    return b'"tool_calls":[%b]' % b" ,\n".join(made)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"reasoning_content":"hm",%b,"content":"\\u0061"' % MARK, b'"content":"\\u0061"'),
        (b'"content": [] ,%b' % MARK, b'"content": []'),
        (b'"x":1.50,%b,"y":12345678901234567890' % MARK, b'"x":1.50,"y":12345678901234567890'),
        (calls(b"," + SIGNED, b""), calls(b"", b"")),
        (calls(b', "a":1 ', b"," + SIGNED, b', "b":2 '), calls(b', "a":1 ', b"", b', "b":2 ')),
        (
            b'"reasoning_content":"hm",%b,%b' % (calls(b"," + SIGNED), MARK),
            calls(b""),
        ),
        # The thoughts of a message are marked beside them, not in its calls.
        (
            b'"reasoning_content":"own",' + calls(b"," + SIGNED),
            b'"reasoning_content":"own",' + calls(b""),
        ),
        (
            b'"content":"a","extra_content": { "bitrouter" : "Br1~" }',
            b'"content":"a"',
        ),
        # Some collectors of streams say a string as often as they heard of it.
        (b'"content":"a","extra_content":{"bitrouter":"Br1~Br1~"}', b'"content":"a"'),
    ],
)
def test_what_is_marked_goes_and_all_else_stays(before: bytes, after: bytes) -> None:
    assert cleaned(said(before)) == said(after)


def test_other_messages_keep_every_byte() -> None:
    question = b'{ "role":"user" , "content":"Br1~ \\u00fc" }'
    marked, left = said(b'"content":"a",' + MARK), said(b'"content":"a"')
    answer = b'{"content":"[1,2]" ,"role":"assistant","big":1.0e400}'
    result = b'{"role":"tool","content":"\xc3\xbc","tool_call_id":"1"}'

    before = b" \n%b ,%b,\t%b, %b,%b ,%b\n" % (question, marked, answer, marked, left, result)

    assert cleaned(before) == before.replace(marked, left)


@pytest.mark.parametrize(
    "messages",
    [
        # Without a mark it is the client's, or its provider's.
        said(b'"content":"Br1~","reasoning_content":"own"'),
        said(b'"content":"a","reasoning_content":"Br1~","extra_content":{"google":{}}'),
        said(calls(b',"extra_content":{"google":{"thought_signature":"Br1~"}}')),
        # Only an assistant can have said what the router wrote.
        b'{"role":"user","content":"a",%b}' % MARK,
        b'{"role":"tool","tool_call_id":"1","content":"Br1~a.e30"}',
        b'{"content":"a",%b}' % MARK,
        # For the provider to refuse.
        *(b'{"role":%b,"content":"a",%b}' % (role, MARK) for role in (b"null", b"[]", b"5")),
        *(
            said(b'"extra_content":%b' % extra)
            for extra in (
                b'"Br1~"',
                b'["Br1~"]',
                b'{"bitrouter":["Br1~"]}',
                b'{"bitrouter":"x Br1~"}',
            )
        ),
        *(said(b'"tool_calls":%b' % odd) for odd in (b'"Br1~"', b'[5,"Br1~"]', b"{%b}" % MARK)),
        b'"Br1~"',
        b"",
    ],
)
def test_request_without_a_mark_of_ours_is_the_same(messages: bytes) -> None:
    asks = request(b'{"model":"m","user":"Br1~","messages":[%b]}' % messages)

    assert CHAT.without_foreign(asks) is asks


@pytest.mark.parametrize("messages", [b'"Br1~"', b"null", b'{"a":"Br1~"}'])
def test_messages_that_are_no_array_are_left_to_the_provider(messages: bytes) -> None:
    body = b'{"model":"m","messages":%b}' % messages
    fields = split_fields(body)
    asks = Request(GENERATE, "m", False, Framing.WHOLE, body, fields)

    assert CHAT.without_foreign(asks) is asks


def test_request_that_is_clean_stays_the_same() -> None:
    once = CHAT.without_foreign(request(b'{"model":"m","messages":[%b]}' % said(MARK)))

    assert CHAT.without_foreign(once) is once


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[],"model":"m","messages":[%b]}' % said(MARK),
        b'{"model":"m","messages":[%b]}' % said(b'"extra_content":1,' + MARK),
        b'{"model":"m","messages":[%b]}' % said(calls(b',"extra_content":1,' + SIGNED)),
    ],
)
def test_duplicate_key_where_something_goes_is_refused(body: bytes) -> None:
    """The provider could read the one that stays."""
    with pytest.raises(InvalidRequest, match="duplicate key"):
        CHAT.without_foreign(request(body))
