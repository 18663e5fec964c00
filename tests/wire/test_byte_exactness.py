"""A client and a provider of one protocol get each other's bytes, over real sockets.

Of a request nothing changes but the model; of an answer nothing at all.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrouter.protocols import BY_API_PROTOCOL
from tests.support.eventstream import read_events
from tests.support.jsontext import VALUES, Member, ObjectText, objects
from tests.support.splits import WIRE, cut
from tests.support.upstream import Reply
from tests.wire.conftest import KEY, MODEL_ID, PROTOCOLS, Wire

bounded = settings(max_examples=25, derandomize=True, deadline=None)
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)

MODEL_KEYS = ["model", "\\u006dodel", "mo\\u0064el", "\\u006D\\u006F\\u0064\\u0065\\u006C"]
MODEL_VALUES = ['"m/ä"', '"m/\\u00e4"', '"\\u006d\\/\\u00E4"']
ENCODED_MODEL = json.dumps(MODEL_ID, ensure_ascii=False)
NO_STREAM = [None, "false", "null"]
GOOGLE_PATH = "/v1beta/models/m%2F%C3%A4"

# Where each protocol is asked, and what it requires of a request.
REQUIRED = {
    "openai": ("/v1/chat/completions", {"messages": "[ ]"}),
    "responses": ("/v1/responses", {"input": '"\\u00e4"'}),
    "anthropic": ("/v1/messages", {"messages": "[{}]", "max_tokens": "1E2"}),
    "google": (f"{GOOGLE_PATH}:generateContent", {"contents": "[\n]"}),
}
# A stream of each protocol, and where it is asked for.
STREAMS = {
    "chat/text.sse": (
        "/v1/chat/completions",
        b'{"model":"m/\xc3\xa4","messages":[],"stream":true}',
    ),
    "responses/text.sse": ("/v1/responses", b'{"model":"m/\xc3\xa4","input":"","stream":true}'),
    "anthropic/text.sse": (
        "/v1/messages",
        b'{"model":"m/\xc3\xa4","messages":[],"max_tokens":1,"stream":true}',
    ),
    "google/text.sse": (f"{GOOGLE_PATH}:streamGenerateContent?alt=sse", b'{"contents":[]}'),
    "google/text.array.json": (f"{GOOGLE_PATH}:streamGenerateContent", b'{"contents":[]}'),
}
NDJSON = (f"{GOOGLE_PATH}:generateContent", b'{"contents":[],"stream":true}')


@st.composite
def requests(draw: st.DrawFn, protocol: str) -> tuple[ObjectText, str]:
    """A body without a stream, and the key of its model as it is written (google: maybe none)."""
    members = [Member(f'"{name}"', ":", value) for name, value in REQUIRED[protocol][1].items()]
    key = draw(st.sampled_from(MODEL_KEYS))
    if protocol != "google" or draw(st.booleans()):
        members.append(Member(f'"{key}"', " :\t", draw(st.sampled_from(MODEL_VALUES))))
    if (flag := draw(st.sampled_from(NO_STREAM))) is not None:
        members.append(Member('"stream"', ":", flag))
    return draw(objects(members)), key


def without(text: ObjectText, names: set[str]) -> bytes:
    """The object without some members: the others as they are, with bare commas between them."""
    kept = [member for member in text.members if json.loads(member.key) not in names]
    if len(kept) == len(text.members):
        return text.written()
    separators = (text.separators[0], *[","] * (len(kept) - 1), text.separators[-1])
    return ObjectText(tuple(kept), separators, text.outside).written()


# -- requests -------------------------------------------------------------------------------


@each_protocol
@given(data=st.data())
@bounded
def test_provider_gets_the_clients_bytes_with_only_the_model_replaced(
    wire: Wire, protocol: str, data: st.DataObject
) -> None:
    text, key = data.draw(requests(protocol))

    answer, received = wire.post(REQUIRED[protocol][0], text.written())

    assert (answer.status, answer.body) == (200, b"{}")
    (sent,) = received
    if protocol == "google":
        assert sent.body == without(text, {"model", "stream"})
        assert sent.target == "/v1beta/models/up%2F%22%C3%A4%22:generateContent"
    else:
        assert sent.body == text.written(**{key: ENCODED_MODEL})
    assert sent.headers["content-length"] == str(len(sent.body))


def test_large_body_arrives_as_it_was_sent(wire: Wire) -> None:
    filler = '"\\u00e4🥊 ' + "x" * 1000 + '"'
    before = '{"messages":[' + ",\r\n".join([filler] * 3000) + '],  "model" : '
    after = ', "n":1.0}\n'

    answer, (sent,) = wire.post("/v1/chat/completions", f'{before}"m/ä"{after}'.encode())

    assert answer.status == 200
    assert sent.body == f"{before}{ENCODED_MODEL}{after}".encode()


# -- whole answers --------------------------------------------------------------------------

HOSTILE = {
    "Set-Cookie": "session=1",
    "Server": "nginx/1.2",
    "Via": "1.1 cache",
    "Alt-Svc": 'h3=":443"',
    "Strict-Transport-Security": "max-age=1",
    "Keep-Alive": "timeout=5",
    "Connection": "x-hop",
    "X-Hop": "1",
    "Proxy-Authenticate": "Basic",
    "Trailer": "x-trailer",
    "Upgrade": "h2c",
    "WWW-Authenticate": "Bearer",
    "X-Powered-By": "PHP",
    "Access-Control-Allow-Origin": "*",
    "X-BitRouter-Provider": "forged",
}
OWN = {
    *("date", "server", "content-type", "content-length", "x-request-id", "request-id"),
    *("x-bitrouter-provider", "x-bitrouter-model", "x-bitrouter-attempts", "server-timing"),
    *("x-bitrouter-error-source", "x-bitrouter-upstream-request-id"),
}


@st.composite
def replies(draw: st.DrawFn, body: bytes, status: int, headers: dict[str, str]) -> Reply:
    """A reply with this body, cut and framed in any way."""
    places = draw(st.lists(st.integers(0, len(body)), max_size=4))
    chunked = draw(st.booleans())
    return Reply(cut(body, places) or [b""], status, headers=headers, chunked=chunked)


@each_protocol
@given(data=st.data(), status=st.sampled_from([200, 201, 202, 206, 299]))
@bounded
def test_client_gets_the_providers_answer_byte_for_byte(
    wire: Wire, protocol: str, data: st.DataObject, status: int
) -> None:
    path, required = REQUIRED[protocol]
    request = ",".join(f'"{name}":{value}' for name, value in required.items())
    body = data.draw(objects([])).written()
    useful = {name: f"{name} 1" for name in BY_API_PROTOCOL[protocol].response_headers}
    reply = data.draw(replies(body, status, {**HOSTILE, **useful, "X-Request-Id": "up-1"}))

    answer, _ = wire.post(path, f'{{"model":"m/ä",{request}}}'.encode(), reply)

    assert (answer.status, answer.body) == (status, body)
    assert answer.headers.keys() <= OWN | useful.keys()
    assert useful.items() <= answer.headers.items()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server"] == "bitrouter"
    assert answer.headers["x-bitrouter-provider"] == "up"
    assert answer.headers["x-bitrouter-upstream-request-id"] == "up-1"


@st.composite
def refusals(draw: st.DrawFn) -> bytes:
    """An error body that has `error.message`, among anything else."""
    inner = draw(objects([Member('"message"', " : ", '"no \\u00e4 🥊"')])).written().decode()
    return draw(objects([Member('"error"', ":", inner)])).written()


@each_protocol
@given(data=st.data(), status=st.sampled_from([400, 404, 409, 413, 418, 422, 429, 500, 503, 529]))
@bounded
def test_client_gets_the_providers_refusal_byte_for_byte(
    wire: Wire, protocol: str, data: st.DataObject, status: int
) -> None:
    path, required = REQUIRED[protocol]
    request = ",".join(f'"{name}":{value}' for name, value in required.items())
    body = data.draw(refusals())
    reply = data.draw(replies(body, status, {**HOSTILE, "Retry-After": "7"}))

    answer, _ = wire.post(path, f'{{"model":"m/ä",{request}}}'.encode(), reply)

    assert (answer.status, answer.body) == (status, body)
    assert answer.headers.keys() <= OWN | {"retry-after"}
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-bitrouter-error-source"] == "upstream"


@each_protocol
def test_refusal_that_quotes_the_routers_key_is_masked(wire: Wire, protocol: str) -> None:
    path, required = REQUIRED[protocol]
    request = ",".join(f'"{name}":{value}' for name, value in required.items())
    reply = Reply((b'{"error": {"message":"bad key %b"}}' % KEY.encode(),), 400)

    answer, _ = wire.post(path, f'{{"model":"m/ä",{request}}}'.encode(), reply)

    assert (answer.status, answer.body) == (400, b'{"error": {"message":"bad key ***"}}')


# -- streams --------------------------------------------------------------------------------


@st.composite
def streams(draw: st.DrawFn, name: str) -> bytes:
    """A transcript with other events strewn in, and any line ends."""
    stream = (WIRE / name).read_bytes()
    if not name.endswith(".sse"):
        return stream
    events = stream.split(b"\n\n")[:-1]
    value = VALUES.map(lambda text: b"data: " + json.dumps(text, ensure_ascii=False).encode())
    strange = st.one_of(
        value, value.map(lambda data: b"event: new\n" + data), st.just(b": ping"), st.just(b"id: 1")
    )
    for extra in draw(st.lists(strange, max_size=3)):
        events.insert(draw(st.integers(1, len(events) - 1)), extra)
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    return b"".join(event + b"\n\n" for event in events).replace(b"\n", end)


def stream_reply(name: str, chunks: list[bytes], **settings: Any) -> Reply:
    kind = "text/event-stream; charset=utf-8" if name.endswith(".sse") else "application/json"
    headers = {**HOSTILE, "Retry-After": "7"}
    return Reply(chunks, content_type=kind, headers=headers, **settings)


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data(), chunked=st.booleans())
@bounded
def test_client_gets_the_providers_stream_byte_for_byte_however_it_is_cut(
    wire: Wire, name: str, data: st.DataObject, chunked: bool
) -> None:
    stream = data.draw(streams(name))
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    reply = stream_reply(name, cut(stream, places), chunked=chunked)

    answer, _ = wire.post(*STREAMS[name], reply)

    assert (answer.status, answer.body) == (200, stream)
    assert answer.headers["content-type"] == reply.content_type
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    framing = {"transfer-encoding", "cache-control", "x-accel-buffering", "retry-after"}
    assert answer.headers.keys() <= (OWN - {"content-length"}) | framing
    assert answer.headers["server"] == "bitrouter"


@pytest.mark.parametrize("name", STREAMS)
def test_stream_that_comes_byte_by_byte_is_passed_on_byte_for_byte(wire: Wire, name: str) -> None:
    stream = (WIRE / name).read_bytes()
    chunks = cut(stream, range(len(stream)))

    answer, _ = wire.post(*STREAMS[name], stream_reply(name, chunks, chunked=True))

    assert answer.body == stream


@given(data=st.data())
@bounded
def test_google_stream_in_the_body_becomes_one_line_for_each_event(
    wire: Wire, data: st.DataObject
) -> None:
    stream = data.draw(streams("google/text.sse"))
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    reply = stream_reply("google/text.sse", cut(stream, places), chunked=True)

    answer, (sent,) = wire.post(*NDJSON, reply)

    assert sent.target.endswith(":streamGenerateContent?alt=sse")
    assert sent.body == b'{"contents":[]}'
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.body.decode().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(d) for _, d in read_events(stream)]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("chunked", [True, False])
@given(share=st.floats(0.4, 0.7))
@settings(max_examples=8, derandomize=True, deadline=None)
def test_stream_that_breaks_ends_in_whole_events_and_an_error(
    wire: Wire, name: str, chunked: bool, share: float
) -> None:
    stream = (WIRE / name).read_bytes()
    part = stream[: int(len(stream) * share)]

    answer, _ = wire.post(*STREAMS[name], stream_reply(name, [part], chunked=chunked, cut=True))

    assert answer.status == 200
    if name.endswith(".sse"):
        whole, last = read_events(part), read_events(answer.body)[-1]
        sent = part[: part.rindex(b"\n\n") + 2]
        assert answer.body.startswith(sent)
        assert read_events(answer.body) == [*whole, last]
        error = json.loads(last[1])
        assert "error" in error or error["type"] == "response.failed"
    else:
        *before, error = json.loads(answer.body)
        assert before == json.loads(stream)[: len(before)]
        assert before
        assert "error" in error
