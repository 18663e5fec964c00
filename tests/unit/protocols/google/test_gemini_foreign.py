"""Other vendors' signatures never reach Google on requests that are passed through."""

import base64
import json
from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols.continuity import may_hold_envelope, seal_in_base64
from bitrouter.protocols.google.codec import COUNT, GENERATE
from tests.unit.protocols.google.geminiwire import CODEC, TRANSLATOR, Body, called, responded, turn

OWN = seal_in_base64(ir.Signature("g", "AAAA"))
FOREIGN = seal_in_base64(ir.Signature("a", "secret"))
SKIP = "skip_thought_signature_validator"


def cleaned_bytes(body: str) -> bytes:
    """The body that a provider gets."""
    request = CODEC.read(GENERATE, "m", "", body.encode())
    found = TRANSLATOR.without_foreign(request)
    assert bytes(found.fields["contents"]) in found.body
    assert not may_hold_envelope(bytes(found.fields["contents"]))
    return found.body


def cleaned(*contents: Body, **members: Any) -> list[Body]:
    """Its contents."""
    body = json.loads(cleaned_bytes(json.dumps({"contents": [*contents], **members})))
    assert {name: body[name] for name in members} == members
    found: list[Body] = body["contents"]
    return found


def thought(text: str, signature: str | None = None) -> Body:
    return {"text": text, "thought": True} | ({"thoughtSignature": signature} if signature else {})


def test_a_body_without_an_envelope_is_the_very_same() -> None:
    body = '{ "contents" : [{"parts":[{"text":"a","thoughtSignature":"AAAA"}]}] , "x": 1.50 }'
    request = CODEC.read(GENERATE, "m", "", body.encode())
    assert TRANSLATOR.without_foreign(request) is request


def test_only_the_turns_that_hold_one_change() -> None:
    body = (
        '{ "contents" : [ { "parts":[ {"text":"a"} ],"x":1.50 },'
        f'{{"role":"model","y":2.50,"parts":[{{"text":"hm","thought":true,"thoughtSignature":"{FOREIGN}"}},'
        '{"text":"b","z":3.50}]} ] , "generationConfig": {"temperature":1.0} }'
    )
    assert cleaned_bytes(body).decode() == (
        '{ "contents" : [{ "parts":[ {"text":"a"} ],"x":1.50 },'
        '{"role":"model","y":2.50,"parts":[{"text":"b","z":3.50}]}]'
        ' , "generationConfig": {"temperature":1.0} }'
    )


@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
@pytest.mark.parametrize("spelled", [str, lambda text: text.replace("+", "-").replace("/", "_")])
def test_a_foreign_thought_goes_with_its_signature(name: str, spelled: Any) -> None:
    signed = {"text": "hm", "thought": True, name: spelled(FOREIGN)}
    assert cleaned(turn("user", "hi"), turn("model", signed, "yes")) == [
        turn("user", "hi"),
        turn("model", "yes"),
    ]


def test_a_thought_that_was_streamed_goes_whole() -> None:
    assert cleaned(
        turn("user", "hi"),
        turn("model", thought("a", "AAAA")),
        turn("model", thought("h")),
        turn("model", thought("m"), thought(" so")),
        turn("model", thought("", FOREIGN)),
        turn("model", "yes", thought("b")),
    ) == [
        turn("user", "hi"),
        turn("model", thought("a", "AAAA")),
        turn("model", "yes", thought("b")),
    ]


def test_a_thought_that_was_streamed_goes_no_further_than_to_what_is_none() -> None:
    assert cleaned(
        turn("model", thought("a"), "yes"), turn("model", thought("b"), thought("", FOREIGN))
    ) == [turn("model", thought("a"), "yes")]


def test_what_else_is_signed_stays_without_the_signature() -> None:
    assert cleaned(
        turn(
            "model",
            {"text": "yes", "thoughtSignature": FOREIGN},
            {"text": "", "thoughtSignature": FOREIGN},
            {"thoughtSignature": FOREIGN},
        )
    ) == [turn("model", "yes")]


def test_the_first_call_of_a_turn_that_lost_a_signature_gets_the_value_for_none() -> None:
    assert cleaned(
        turn("user", "hi"),
        turn("model", called("f") | {"thoughtSignature": FOREIGN}, called("g")),
        turn("user", responded("f"), responded("g")),
        turn("model", thought("hm", FOREIGN), called("f"), called("g")),
        turn("model", called("f")),
    ) == [
        turn("user", "hi"),
        turn("model", called("f") | {"thoughtSignature": SKIP}, called("g")),
        turn("user", responded("f"), responded("g")),
        turn("model", called("f") | {"thoughtSignature": SKIP}, called("g")),
        turn("model", called("f")),
    ]


def test_a_call_that_is_signed_by_google_stays_so() -> None:
    call = called("f") | {"thoughtSignature": "AAAA"}
    assert cleaned(turn("model", thought("hm", FOREIGN), call)) == [turn("model", call)]


def test_google_s_own_come_out_of_their_envelope() -> None:
    assert cleaned(turn("model", thought("hm", OWN), called("f") | {"thoughtSignature": OWN})) == [
        turn("model", thought("hm", "AAAA"), called("f") | {"thoughtSignature": "AAAA"})
    ]


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_a_request_that_is_to_be_counted_is_cleaned_where_it_is_wrapped(name: str) -> None:
    contents = [turn("user", "hi"), turn("model", thought("hm", FOREIGN), "yes")]
    inner = {"model": "models/m", "contents": contents}
    request = CODEC.read(COUNT, "m", "", json.dumps({name: inner, "x": 1}).encode())
    found = TRANSLATOR.without_foreign(request)
    expected = inner | {"contents": [turn("user", "hi"), turn("model", "yes")]}
    assert json.loads(found.body) == {name: expected, "x": 1}
    assert TRANSLATOR.without_foreign(found).body == found.body


def test_a_damaged_envelope_goes_too() -> None:
    damaged = base64.b64encode(b"Br1~g.nonsense").decode()
    assert cleaned(turn("model", thought("hm", damaged), "yes")) == [turn("model", "yes")]


@pytest.mark.parametrize(
    "contents",
    [
        f'[3, "{FOREIGN}"]',
        f'["not", "an", {{"array": "{FOREIGN}"}}]',
        f'[{{"parts":3,"x":"{FOREIGN}"}}]',
        f'[{{"parts":[3,"{FOREIGN}"]}}]',
        f'[{{"parts":[{{"text":"{FOREIGN}"}}]}}]',
        f'[{{"parts":[{{"thoughtSignature":["{FOREIGN}"]}}]}}]',
        f'[{{"parts":[{{"text":3,"thoughtSignature":"x{FOREIGN}"}}]}}]',
    ],
)
def test_what_is_no_signature_is_left_to_google(contents: str) -> None:
    request = CODEC.read(GENERATE, "m", "", f'{{"contents":{contents}}}'.encode())
    found = TRANSLATOR.without_foreign(request)
    assert json.loads(found.body) == json.loads(request.body)


def test_contents_that_are_no_array_are_left_to_google() -> None:
    body = {"contents": turn("model", thought("hm", FOREIGN)), "generateContentRequest": 3}
    request = CODEC.read(COUNT, "m", "", json.dumps(body).encode())
    assert TRANSLATOR.without_foreign(request) is request


def test_a_duplicate_key_is_refused() -> None:
    turns = json.dumps([turn("model", thought("hm", FOREIGN))])
    request = CODEC.read(GENERATE, "m", "", f'{{"contents":[],"contents":{turns}}}'.encode())
    with pytest.raises(InvalidRequest, match="duplicate"):
        TRANSLATOR.without_foreign(request)
