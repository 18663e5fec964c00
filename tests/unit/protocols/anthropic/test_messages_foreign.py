"""A request that goes on as it came, without what another vendor has to be shown
(protocols.md, 2.5, "Envelope").
"""

import json
from typing import Any

import pytest

from bitrouter.errors import InvalidRequest
from bitrouter.ir import Signature
from bitrouter.protocols.continuity import seal
from tests.unit.protocols.anthropic.wire import CODEC, TRANSLATOR, Body, raw_request, request

FOREIGN = {
    "type": "thinking",
    "thinking": "Google's",
    "signature": seal(Signature("g", "c2ln")),
}
FOREIGN_REDACTED = {"type": "redacted_thinking", "data": seal(Signature("o", "enc", "rs_1"))}
UNSIGNED = {"type": "thinking", "thinking": "x", "signature": seal(Signature("a"))}
DAMAGED = {"type": "thinking", "thinking": "x", "signature": "Br1~a.!!"}
OWN = {"type": "thinking", "thinking": "own", "signature": "EqQB"}
TEXT = {"type": "text", "text": "so"}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {"signature": FOREIGN["signature"]}}


def cleaned(*messages: Body) -> list[Any]:
    """The messages that go on."""
    body = TRANSLATOR.without_foreign(request({"messages": [*messages]})).body
    found: list[Any] = json.loads(body)["messages"]
    return found


def said(*blocks: Body) -> Body:
    return {"role": "assistant", "content": [*blocks]}


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize("foreign", [FOREIGN, FOREIGN_REDACTED, UNSIGNED, DAMAGED])
def test_what_is_foreign_goes_with_its_block(foreign: Body) -> None:
    assert cleaned(USER, said(foreign, TEXT, CALL)) == [USER, said(TEXT, CALL)]


def test_own_envelope_is_opened() -> None:
    sealed = seal(Signature("a", "EqQB"))

    assert cleaned(USER, said({**OWN, "signature": sealed}, TEXT)) == [USER, said(OWN, TEXT)]
    assert cleaned(USER, said({"type": "redacted_thinking", "data": sealed})) == [
        USER,
        said({"type": "redacted_thinking", "data": "EqQB"}),
    ]


def test_turn_of_nothing_else_goes_with_it() -> None:
    assert cleaned(USER, said(FOREIGN), USER) == [USER, USER]


def test_all_other_bytes_stay() -> None:
    before = b'{ "max_tokens" : 1e1, "messages":[{"role":"user",  "content":"\\u00fc"},'
    kept = b'{"unknown":[1.50], "role":"assistant","content":[%b{"text" : "so","type":"text"}]}'
    after = b'] ,"model":"m","x":{"signature":"Br1~g.abc"}}'
    foreign = json.dumps(FOREIGN).encode() + b" ,"
    given = raw_request(before + kept % foreign + after)

    clean = TRANSLATOR.without_foreign(given)

    assert clean.body == before + kept.replace(b", ", b",") % b"" + after
    assert CODEC.passthrough_body(clean, "other").endswith(
        b'] ,"model":"other","x":{"signature":"Br1~g.abc"}}'
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","max_tokens":1,"messages":[ {"role":"user","content":"hi"} ]}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Br1~g.abc"}]}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[ {"type":"text",'
        b'"text":"Br1~g.abc"} ]}]}',
        b'{"model":"m","max_tokens":1,"messages":[5,{"content":[7,"Br1~"]},{"role":"Br1~"}]}',
        b'{"model":"m","max_tokens":1,"messages":[{"content":[{"type":"thinking","x":"Br1~"}]}]}',
        b'{"model":"m","max_tokens":1,"messages":[{"content":[{"type":"thinking","signature":'
        b'["Br1~"]}]}]}',
        b'{"model":"m","max_tokens":1,"messages":[],"system":"Br1~g.abc"}',
    ],
)
def test_request_without_envelopes_is_not_touched(body: bytes) -> None:
    given = raw_request(body)

    assert TRANSLATOR.without_foreign(given) is given


def test_duplicate_key_is_refused() -> None:
    turn = json.dumps([said(FOREIGN, TEXT)]).encode()
    body = b'{"model":"m","max_tokens":1,"messages":[],"messages":%b}' % turn

    with pytest.raises(InvalidRequest, match="duplicate"):
        TRANSLATOR.without_foreign(raw_request(body))
