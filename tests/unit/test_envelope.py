"""A body is split into its members, and edited in one place without touching another byte."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter.envelope import (
    MAX_MODEL_CHARS,
    check_depth,
    locate,
    read_flag,
    read_model,
    refuse_duplicates,
    remove_members,
    replace_value,
    split_fields,
)
from bitrouter.errors import InvalidRequest
from tests.support.jsontext import Member, ObjectText, objects

MODELS = ["model", "\\u006dodel", "mo\\u0064el", "\\u006D\\u006F\\u0064\\u0065\\u006C"]
WITH_MODEL = st.sampled_from(MODELS).flatmap(
    lambda key: objects([Member(f'"{key}"', " : ", '"m/\\u00e4"')])
)
bounded = settings(max_examples=60, derandomize=True, deadline=None)


# -- splitting ------------------------------------------------------------------------------


@given(objects([]))
@bounded
def test_every_member_is_its_raw_bytes_in_order(text: ObjectText) -> None:
    fields = split_fields(text.written())

    assert [(name, bytes(raw)) for name, raw in fields.items()] == [
        (json.loads(member.key), member.value.encode()) for member in text.members
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not valid JSON"),
        (b" ", "not valid JSON"),
        (b"nonsense", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":1', "not valid JSON"),
        (b'{"a":1}}', "not valid JSON"),
        (b'{"a":1}\x00', "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":Infinity}', "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (rb'{"a":"\q"}', "not valid JSON"),
        (rb'{"a":"\ud83e"}', "not valid JSON"),
        (rb'{"a":"\udd4a\ud83e"}', "not valid JSON"),
        (rb'{"\ud83e":1}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        (b'{"a":1} // comment', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid UTF-8 (byte 6)"),
        (b'{"\xff":1}', "not valid UTF-8 (byte 2)"),
        (b'{"a":"\xed\xa0\x80"}', "not valid UTF-8 (byte 6)"),
        (b'{"a":"\xc0\xaf"}', "not valid UTF-8 (byte 6)"),
        ('{"a":1}'.encode("utf-16"), "not valid UTF-8 (byte 0)"),
        (b"null", "must be a JSON object"),
        (b"[]", "must be a JSON object"),
        (b'"model"', "must be a JSON object"),
        (b"1", "must be a JSON object"),
        (b"[" * 100_000, "must be a JSON object"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        (b'{"a":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, "nested too deeply"),
    ],
)
def test_what_is_not_one_json_object_in_utf8_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        split_fields(body)

    assert problem in caught.value.detail
    assert len(caught.value.detail) < 200


@given(st.binary(max_size=60) | st.lists(st.sampled_from(list('{}[]",:\\u0a1 \n'))).map("".join))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_no_bytes_at_all_raise_anything_else(garbage: bytes | str) -> None:
    body = garbage if isinstance(garbage, bytes) else garbage.encode()
    try:
        locate(body, split_fields(body))
    except InvalidRequest:
        return
    assert isinstance(json.loads(body), dict)


character = st.sampled_from([b"a", "\xe9".encode(), "\u6771".encode(), "\U0001f94a".encode()])
damage = st.sampled_from([b"\x80", b"\xc3", b"\xe6\x9d", b"\xf0\x9f\xa5", b"\xed\xa0\x80", b"\xf5"])


@given(
    st.integers(8 * 1024 - 12, 8 * 1024 + 2) | st.integers(0, 40_000),
    st.lists(character, min_size=1, max_size=8).map(b"".join),
    st.lists(character | damage, max_size=4).map(b"".join),
)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_large_text_is_utf8_or_refused_by_its_first_byte_that_is_not(
    start: int, repeated: bytes, after: bytes
) -> None:
    text = b"x" * start + repeated * 3000 + after
    body = b'{"a":"%b"}' % text
    try:
        body.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(InvalidRequest, match=rf"not valid UTF-8 \(byte {error.start}\)$"):
            split_fields(body)
    else:
        assert bytes(split_fields(body)["a"]) == b'"%b"' % text


def test_looking_at_the_encoding_takes_no_memory_to_speak_of() -> None:
    body = b'{"a":"%b"}' % ("\U0001f94a" * 500_000).encode()

    tracemalloc.start()
    split_fields(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < len(body) // 10


# -- the model ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "model"),
    [
        ('"gpt-4o"', "gpt-4o"),
        (r'"\u0067pt"', "gpt"),
        ('"acme/ä:🥊"', "acme/ä:🥊"),
        (r'"\ud83e\udd4a"', "🥊"),
        (f'"{"m" * MAX_MODEL_CHARS}"', "m" * MAX_MODEL_CHARS),
    ],
)
def test_model_is_read_as_text(value: str, model: str) -> None:
    assert read_model(split_fields(f'{{"model": {value}}}'.encode())) == model


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "model is required"),
        (b'{"Model":"a"}', "model is required"),
        (b'{"a":{"model":"a"}}', "model is required"),
        (b'{"model":null}', "must be a string"),
        (b'{"model":5}', "must be a string"),
        (b'{"model":["a"]}', "must be a string"),
        (b'{"model":{"a":1}}', "must be a string"),
        (b'{"model":true}', "must be a string"),
        (b'{"model":""}', "must not be empty"),
        (b'{"model":"%b"}' % (b"m" * (MAX_MODEL_CHARS + 1)), "at most 256 characters"),
        (b'{"model":"%b"}' % (b"m" * 1_000_000), "at most 256 characters"),
        (rb'{"model":"a\nb"}', "control characters"),
        (rb'{"model":"a\u0000"}', "control characters"),
        (rb'{"model":"a\r\nX-Header: b"}', "control characters"),
        (b'{"model":"a\x7f"}', "control characters"),
        (rb'{"model":"a\u0085"}', "control characters"),
    ],
)
def test_model_that_cannot_be_a_name_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        read_model(split_fields(body))

    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(("value", "flag"), [("true", True), ("false", False), ("null", False)])
def test_flag_is_true_or_false_and_null_is_false(value: str, flag: bool) -> None:
    assert read_flag(split_fields(f'{{"stream":{value}}}'.encode()), "stream") is flag


def test_flag_that_is_absent_is_false() -> None:
    assert read_flag({}, "stream") is False


@pytest.mark.parametrize("value", ["1", "0", '"true"', "[]", "{}", '""'])
def test_flag_of_another_type_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="stream must be true or false"):
        read_flag(split_fields(f'{{"stream":{value}}}'.encode()), "stream")


# -- edits ----------------------------------------------------------------------------------


@given(WITH_MODEL)
@bounded
def test_replacing_a_value_changes_no_other_byte(text: ObjectText) -> None:
    body = text.written()

    edited = replace_value(body, split_fields(body), "model", b'"other"')

    assert edited == text.written(**dict.fromkeys(MODELS, '"other"'))


@given(objects([Member('"stream"', ":", "true"), Member('"\\u006dodel"', ": ", '"x"')]))
@bounded
def test_removing_members_keeps_the_bytes_and_the_order_of_the_others(text: ObjectText) -> None:
    body = text.written()
    gone = ('"stream"', '"\\u006dodel"')

    edited = remove_members(body, split_fields(body), frozenset({"model", "stream"}))

    kept = [f"{m.key}{m.colon}{m.value}" for m in text.members if m.key not in gone]
    inside = ",".join(kept).encode()
    if kept:
        start = (text.outside[0] + "{" + text.separators[0]).encode()
        end = (text.separators[-1] + "}" + text.outside[1]).encode()
        assert edited == start + inside + end
    else:
        assert edited == b"{}"
    assert list(split_fields(edited)) == [
        json.loads(m.key) for m in text.members if m.key not in gone
    ]


def test_removing_what_is_not_there_gives_back_the_same_object() -> None:
    body = b' { "a" : 1 , "b":[ ] }\n'

    assert remove_members(body, split_fields(body), frozenset({"stream"})) is body


@pytest.mark.parametrize("body", [b"{}", b" { }\n", b"{\t\r\n}"])
def test_empty_object_has_no_members(body: bytes) -> None:
    assert locate(body, split_fields(body)) == {}


@given(objects([]), st.booleans())
@bounded
def test_every_member_is_found_where_it_stands(text: ObjectText, compact: bool) -> None:
    """Without white space the places follow from the sizes, unless a key is written longer than it
    is read: both ways of finding them have to agree.
    """
    if compact:
        members = tuple(Member(one.key, ":", one.value) for one in text.members)
        text = ObjectText(members, ("", *[","] * (len(members) - 1), ""), ("", ""))
    body = text.written()
    fields = split_fields(body)

    refuse_duplicates(body, fields)
    found = locate(body, fields)

    assert [(body[one.key : one.value], body[one.value : one.end]) for one in found.values()] == [
        ((one.key + one.colon).encode(), one.value.encode()) for one in text.members
    ]


# -- duplicate keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","model":"a"}', "model"),
        (b'{"model":"a","x":1,"model":"b"}', "model"),
        (b'{"x":1,"model":"a","x":1}', "model"),
        (rb'{"model":"a","\u006dodel":"b"}', "model"),
        (rb'{"\u006dodel":"a","x":1,"model":"a"}', "x"),
        (b'{"a":{"b":1},"a":{"b":1}}', "a"),
        (b'{"a":1,"a":11}', "a"),
        (b'{"a":11,"a":1}', "a"),
        (b'{"a":"","a":"","a":""}', "a"),
        (b'{"":1,"":1}', ""),
    ],
)
def test_duplicate_key_is_refused_and_its_neighbourhood_named(body: bytes, named: str) -> None:
    fields = split_fields(body)

    for edit in (
        lambda: locate(body, fields),
        lambda: refuse_duplicates(body, fields),
        lambda: remove_members(body, fields, frozenset()),
        lambda: replace_value(body, fields, next(iter(fields)), b"0"),
    ):
        with pytest.raises(InvalidRequest, match=f"duplicate key at or after '{named}'"):
            edit()


@given(objects([Member('"model"', ":", '"m"')]), st.data())
@bounded
def test_any_second_key_of_the_same_meaning_is_refused(
    text: ObjectText, data: st.DataObject
) -> None:
    twin = data.draw(st.sampled_from(text.members))
    place = data.draw(st.integers(0, len(text.members)))
    value = data.draw(st.sampled_from([twin.value, "1"]))
    written = "".join(f"\\u{ord(c):04x}" for c in json.loads(twin.key) if ord(c) < 0x10000)
    same = json.loads(f'"{written}"') == json.loads(twin.key)
    again = Member(f'"{written}"' if same else twin.key, ":", value)
    members = (*text.members[:place], again, *text.members[place:])
    body = ObjectText(members, ("", *[","] * (len(members) - 1), ""), ("", "")).written()

    with pytest.raises(InvalidRequest, match="duplicate key"):
        locate(body, split_fields(body))
    with pytest.raises(InvalidRequest, match="duplicate key"):
        refuse_duplicates(body, split_fields(body))


def test_duplicates_below_the_top_are_for_the_provider_to_judge() -> None:
    body = b'{"model":"a","x":{"model":1,"model":2}}'

    assert replace_value(body, split_fields(body), "model", b'"b"') == body.replace(b'"a"', b'"b"')


@pytest.mark.parametrize("key", [b"k" * 2_000_000, rb"\n" * 1_000_000], ids=["plain", "escaped"])
def test_very_long_key_costs_no_more_memory_than_a_few_copies_of_it(key: bytes) -> None:
    body = b'{"%b":1,"model":"a"}' % key
    fields = split_fields(body)

    tracemalloc.start()
    replace_value(body, fields, "model", b'"b"')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 6 * len(body)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


awkward_text = st.text(alphabet='[]{}",\\\n:aé', max_size=12)
nested = st.recursive(
    awkward_text | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward_text, inner, max_size=3),
    max_leaves=30,
)


@given(st.dictionaries(awkward_text, nested, max_size=4), st.booleans())
def test_depth_is_that_of_the_json_whatever_its_strings_hold(
    value: dict[str, object], ascii_only: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    depth = depth_of(value)

    check_depth(body, depth)
    with pytest.raises(InvalidRequest, match=f"deeper than {depth - 1} levels"):
        check_depth(body, depth - 1)


def test_wide_is_not_deep() -> None:
    check_depth(b'{"a":[' + b"[],{}," * 10_000 + b"[]]}", 3)
