"""Whatever a client sends, it gets a clear 4xx in its own protocol, and nobody is alarmed."""

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import ANTHROPIC, CHAT, DIALECTS, GOOGLE, RESPONSES, Dialect, settings
from tests.support.rawhttp import RawAnswer, connect, post
from tests.support.requestlog import RequestLog
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream

MAX_BODY_BYTES = 400_000
JSON = "Content-Type: application/json"


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router that knows a route for every protocol, `m-chat` and so on."""
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for dialect in DIALECTS:
        one = settings(dialect, upstream.url)
        providers[dialect.name] = one["providers"]["p1"]
        endpoint = {"provider": dialect.name, "model_id": "up-1"}
        models[f"m-{dialect.name}"] = {"endpoints": [endpoint]}
    limits = {"max_body_bytes": MAX_BODY_BYTES, "max_header_bytes": "16KiB"}
    return await start_router({"providers": providers, "models": models, "limits": limits})


@pytest.fixture(autouse=True)
async def _nobody_is_alarmed(
    router: RunningRouter, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    """After every test here: nothing above `info` was logged, and no request is left running."""
    caplog.set_level(logging.DEBUG)
    yield
    alarming = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert alarming == []
    assert router.router.services.metrics.inflight == 0


def model_of(dialect: Dialect) -> str:
    return f"m-{dialect.name}"


def good_body(dialect: Dialect, **more: Any) -> bytes:
    return json.dumps(dialect.body(model_of(dialect)) | more).encode()


async def ask(router: RunningRouter, dialect: Dialect, body: bytes, *headers: str) -> RawAnswer:
    """Send one request to the dialect's path, and nothing else on that connection."""
    async with connect(router.url) as connection:
        lines = headers or (JSON,)
        await connection.send(post(dialect.path(model_of(dialect)), body, *lines))
        return await connection.receive()


def assert_refused(dialect: Dialect, answer: RawAnswer, status: int) -> str:
    """The answer has this status, the protocol's error shape and a request id: its message."""
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"]
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    assert answer.headers["x-bitrouter-error-source"] == "router"
    assert answer.headers["server"] == "bitrouter"
    return dialect.error(answer.body, status)


NOT_A_JSON_OBJECT = {
    "empty": b"",
    "white space": b" \n\t",
    "one brace": b"{",
    "cut in a string": b'{"model": "m',
    "an array": b"[]",
    "a string": b'"model"',
    "a number": b"3",
    "null": b"null",
    "two objects": b"{}{}",
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "not a number": b'{"a": NaN}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a": "\xff"}',
    "an overlong UTF-8 sequence": b'{"a": "\xc0\xaf"}',
    "half a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "half a surrogate, escaped": rb'{"model": "\ud800"}',
    "a NUL": b'{"a": "\x00"}',
    "HTML": b"<html></html>",
}


@pytest.mark.parametrize("body", NOT_A_JSON_OBJECT.values(), ids=NOT_A_JSON_OBJECT)
async def test_a_body_that_is_not_a_json_object_is_a_400(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect, body: bytes
) -> None:
    assert_refused(dialect, await ask(router, dialect, body), 400)
    assert upstream.received == []


DEEP = {
    "arrays": b"[" * 20_000 + b"]" * 20_000,
    "objects": b'{"a":' * 20_000 + b"0" + b"}" * 20_000,
}


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
async def test_a_body_nested_beyond_the_decoder_is_called_too_deep(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect, deep: bytes
) -> None:
    body = good_body(dialect)[:-1] + b', "x": ' + deep + b"}"
    message = assert_refused(dialect, await ask(router, dialect, body), 400)
    assert "nested too deeply" in message
    assert upstream.received == []


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
async def test_a_depth_bomb_that_is_never_closed_is_a_400(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect, bracket: bytes
) -> None:
    bomb = bracket * (MAX_BODY_BYTES // len(bracket))
    assert_refused(dialect, await ask(router, dialect, bomb), 400)
    assert upstream.received == []


async def test_a_duplicate_key_is_a_400(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    name = {"google": "contents", "responses": "model"}.get(dialect.name, "messages")
    value = json.dumps(dialect.body(model_of(dialect))[name]).encode()
    body = good_body(dialect, stream=False)[:-1] + b', "%b": %b}' % (name.encode(), value)
    message = assert_refused(dialect, await ask(router, dialect, body), 400)
    assert "duplicate key" in message
    assert upstream.received == []


WRONG_NAMES: tuple[Any, ...] = (3, None, [], {}, "", "m" * 257, "m\n")
NOT_A_LIST: tuple[Any, ...] = (3, None, "Hi", {}, True)
WRONG_MEMBERS: list[tuple[Dialect, dict[str, Any], str]] = [
    *((dialect, {"stream": "yes"}, "stream") for dialect in DIALECTS),
    *((dialect, {"stream": 1}, "stream") for dialect in DIALECTS),
    *(
        (dialect, {"model": wrong}, "model")
        for dialect in (CHAT, RESPONSES, ANTHROPIC)
        for wrong in WRONG_NAMES
    ),
    *((CHAT, {"messages": wrong}, "messages") for wrong in NOT_A_LIST),
    *((RESPONSES, {"input": wrong}, "input") for wrong in NOT_A_LIST if wrong != "Hi"),
    *((ANTHROPIC, {"messages": wrong}, "messages") for wrong in NOT_A_LIST),
    *((ANTHROPIC, {"max_tokens": wrong}, "max_tokens") for wrong in NOT_A_LIST if wrong != 3),
    *((GOOGLE, {"contents": wrong}, "contents") for wrong in NOT_A_LIST),
]


@pytest.mark.parametrize(
    ("dialect", "wrong", "name"),
    WRONG_MEMBERS,
    ids=[f"{dialect.name}-{json.dumps(wrong)[:40]}" for dialect, wrong, _ in WRONG_MEMBERS],
)
async def test_a_member_of_the_wrong_type_is_a_400_that_names_it(
    router: RunningRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    wrong: dict[str, Any],
    name: str,
) -> None:
    message = assert_refused(dialect, await ask(router, dialect, good_body(dialect, **wrong)), 400)
    assert message.startswith(name)
    assert upstream.received == []


REQUIRED = [
    (CHAT, "model"),
    (CHAT, "messages"),
    (RESPONSES, "model"),
    (RESPONSES, "input"),
    (ANTHROPIC, "model"),
    (ANTHROPIC, "messages"),
    (ANTHROPIC, "max_tokens"),
    (GOOGLE, "contents"),
]


@pytest.mark.parametrize(
    ("dialect", "name"), REQUIRED, ids=[f"{dialect.name}-{name}" for dialect, name in REQUIRED]
)
async def test_a_missing_member_is_a_400_that_names_it(
    router: RunningRouter, dialect: Dialect, name: str
) -> None:
    body = dialect.body(model_of(dialect))
    del body[name]
    answer = await ask(router, dialect, json.dumps(body).encode())
    assert assert_refused(dialect, answer, 400).startswith(f"{name} is required")


async def test_an_unknown_model_is_a_404_with_the_nearest_names(
    router: RunningRouter, dialect: Dialect
) -> None:
    body = json.dumps(dialect.body(f"m-{dialect.name}x")).encode()
    async with connect(router.url) as connection:
        await connection.send(post(dialect.path(f"m-{dialect.name}x"), body, JSON))
        message = assert_refused(dialect, await connection.receive(), 404)
    assert f"'m-{dialect.name}x'" in message
    assert f"m-{dialect.name}," in message or f"m-{dialect.name};" in message
    assert "GET /v1/models" in message


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_wrong_method_is_a_405_that_says_which_is_right(
    router: RunningRouter, dialect: Dialect, method: str
) -> None:
    async with router.http.request(method, dialect.path(model_of(dialect))) as response:
        answer = RawAnswer(
            response.status,
            {name.lower(): value for name, value in response.headers.items()},
            await response.read(),
        )
    assert_refused(dialect, answer, 405)
    assert "POST" in answer.headers["allow"].split(", ")


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, ANTHROPIC], ids=lambda one: one.name)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_where_only_asking_is_possible_is_a_405(
    router: RunningRouter, dialect: Dialect, method: str
) -> None:
    async with router.http.request(method, dialect.path()) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    "declared",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=latin-1",
        "",
    ],
)
async def test_another_content_type_is_a_415(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect, declared: str
) -> None:
    answer = await ask(router, dialect, good_body(dialect), f"Content-Type: {declared}")
    assert_refused(dialect, answer, 415)
    assert upstream.received == []


@pytest.mark.parametrize(
    "headers",
    [
        ("X-No-Content-Type: 1",),
        ("Content-Type: application/json; charset=utf-8",),
        ("content-type: Application/JSON;charset=UTF-8",),
        ("Content-Type: application/vnd.acme+json",),
    ],
)
async def test_json_is_accepted_however_it_is_declared(
    router: RunningRouter, dialect: Dialect, headers: tuple[str, ...]
) -> None:
    assert (await ask(router, dialect, good_body(dialect), *headers)).status == 200


def padded(dialect: Dialect, size: int) -> bytes:
    body = good_body(dialect)
    return body + b" " * (size - len(body))


async def test_the_largest_body_allowed_passes(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    body = padded(dialect, MAX_BODY_BYTES)
    assert (await ask(router, dialect, body)).status == 200
    assert len(upstream.received) == 1


async def test_one_byte_more_is_a_413(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    answer = await ask(router, dialect, padded(dialect, MAX_BODY_BYTES + 1))
    assert f"{MAX_BODY_BYTES} bytes" in assert_refused(dialect, answer, 413)
    assert upstream.received == []


async def test_a_declared_length_beyond_the_limit_is_refused_before_a_byte_of_it_is_sent(
    router: RunningRouter, dialect: Dialect
) -> None:
    answer = await ask(router, dialect, b"", JSON, "Content-Length: 1000000000000")
    assert_refused(dialect, answer, 413)


async def test_a_client_that_waits_to_continue_is_refused_without_being_told_to(
    router: RunningRouter, dialect: Dialect
) -> None:
    answer = await ask(
        router, dialect, b"", JSON, "Expect: 100-continue", f"Content-Length: {MAX_BODY_BYTES + 1}"
    )
    assert_refused(dialect, answer, 413)


async def test_a_client_that_waits_to_continue_is_told_to(
    router: RunningRouter, dialect: Dialect
) -> None:
    body = good_body(dialect)
    length = f"Content-Length: {len(body)}"
    async with connect(router.url) as connection:
        path = dialect.path(model_of(dialect))
        await connection.send(post(path, b"", JSON, "Expect: 100-continue", length))
        assert await connection.receive_head() == (100, {})
        await connection.send(body)
        assert (await connection.receive()).status == 200


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


CHUNKED = (JSON, "Transfer-Encoding: chunked")


async def test_a_body_in_chunks_is_put_together(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    body = good_body(dialect)
    framed = chunked(*(body[i : i + 10] for i in range(0, len(body), 10))) + b"0\r\n\r\n"
    assert (await ask(router, dialect, framed, *CHUNKED)).status == 200
    assert json.loads(upstream.last.body).keys() == json.loads(body).keys()


async def test_an_undeclared_length_beyond_the_limit_is_a_413(
    router: RunningRouter, dialect: Dialect
) -> None:
    body = padded(dialect, MAX_BODY_BYTES + 1)
    answer = await ask(router, dialect, chunked(body) + b"0\r\n\r\n", *CHUNKED)
    assert_refused(dialect, answer, 413)


async def test_a_chunked_body_without_end_is_refused_as_soon_as_it_is_too_large(
    router: RunningRouter, dialect: Dialect
) -> None:
    answer = await ask(
        router, dialect, chunked(*[b" " * 500] * (MAX_BODY_BYTES // 500 + 1)), *CHUNKED
    )
    assert_refused(dialect, answer, 413)


@pytest.mark.parametrize("rest", [b"ZZ\r\n{}\r\n", b"-1\r\n", b"5\r\n{}\r\n\r\nxxx"])
async def test_a_broken_chunked_coding_is_a_400(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect, rest: bytes
) -> None:
    async with connect(router.url) as connection:
        head = post(dialect.path(model_of(dialect)), chunked(b"{"), *CHUNKED)
        await connection.send(head, rest)
        answer = await connection.receive()
        await connection.receive_rest()  # and closes: what follows cannot be trusted
    assert answer.status == 400
    assert answer.headers["x-request-id"]
    assert upstream.received == []


GZIP = (JSON, "Content-Encoding: gzip")


async def test_a_compressed_body_is_read(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    body = good_body(dialect)
    assert (await ask(router, dialect, gzip.compress(body), *GZIP)).status == 200
    assert json.loads(upstream.last.body).keys() == json.loads(body).keys()
    assert "content-encoding" not in upstream.last.headers


BROKEN_GZIP: dict[str, Callable[[bytes], bytes]] = {
    "not compressed at all": lambda body: body,
    "cut": lambda body: gzip.compress(body)[:-20],
    "wrong checksum": lambda body: gzip.compress(body)[:-8] + b"\x00" * 8,
    "garbage inside": lambda body: gzip.compress(body)[:12] + b"\xff" * 20,
}


@pytest.mark.parametrize("break_it", BROKEN_GZIP.values(), ids=BROKEN_GZIP)
async def test_a_broken_compressed_body_is_a_400(
    router: RunningRouter,
    upstream: ScriptedUpstream,
    dialect: Dialect,
    break_it: Callable[[bytes], bytes],
) -> None:
    answer = await ask(router, dialect, break_it(good_body(dialect)), *GZIP)
    assert_refused(dialect, answer, 400)
    assert upstream.received == []


async def test_a_decompression_bomb_is_a_413(router: RunningRouter, dialect: Dialect) -> None:
    bomb = zlib.compress(b" " * (1 << 20), 9)
    assert len(bomb) < MAX_BODY_BYTES  # so that it is not the declared length that counts
    answer = await ask(router, dialect, bomb, JSON, "Content-Encoding: deflate")
    assert_refused(dialect, answer, 413)


async def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(
    router: RunningRouter, upstream: ScriptedUpstream, request_log: RequestLog, dialect: Dialect
) -> None:
    async with connect(router.url) as connection:
        path = dialect.path(model_of(dialect))
        await connection.send(post(path, b'{"model"', JSON, "Content-Length: 100"))
        connection.close()
        line = await request_log.next_line()
    assert line["outcome"] == "client_gone"
    assert upstream.received == []


NOT_HTTP = {
    "noise": b"\x00\x01\x02\x03\r\n\r\n",
    "words": b"hello world\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n{}",
    "length and chunks": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an odd length": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    "a folded header": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n{}",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_valid_http_is_a_400_and_the_connection_closes(
    router: RunningRouter, sent: bytes
) -> None:
    async with connect(router.url) as connection, asyncio.timeout(10):
        await connection.send(sent)
        answer = await connection.receive()
        assert await connection.receive_rest() == b""
    assert_refused(CHAT, answer, 400)


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/nothing", "/v1/chat/completions/", "/v2/messages", "/v1//messages", "/%2e"],
)
async def test_an_unknown_path_is_a_404(router: RunningRouter, path: str) -> None:
    async with connect(router.url) as connection:
        await connection.send(post(path, b"{}", JSON))
        answer = await connection.receive()
    assert_refused(CHAT, answer, 404)


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        (CHAT, "/v1/chat/nothing"),
        (RESPONSES, "/v1/responses/resp_1/cancel"),
        (ANTHROPIC, "/v1/messages/batches"),
        (GOOGLE, "/v1beta/tunedModels"),
        (GOOGLE, "/v1alpha/files"),
    ],
)
async def test_an_unknown_path_that_only_one_protocol_has_is_a_404_in_its_shape(
    router: RunningRouter, dialect: Dialect, path: str
) -> None:
    async with connect(router.url) as connection:
        await connection.send(post(path, b"{}", JSON))
        answer = await connection.receive()
    assert_refused(dialect, answer, 404)


@pytest.mark.parametrize("model", ["..", "../../secret", "a/../b", "%2e%2e", "a%2f..%2fb", "a%00b"])
async def test_a_model_in_the_path_leads_nowhere_else(
    router: RunningRouter, upstream: ScriptedUpstream, model: str
) -> None:
    async with connect(router.url) as connection:
        await connection.send(post(GOOGLE.path(f"google:{model}"), b'{"contents": []}', JSON))
        answer = await connection.receive()
    if answer.status != 200:
        assert_refused(GOOGLE, answer, 400)
    for received in upstream.received:  # the name is one segment, whatever is in it
        assert received.target == "/v1beta/models/..:generateContent"


async def test_after_a_refused_request_the_connection_goes_on(
    router: RunningRouter, upstream: ScriptedUpstream, dialect: Dialect
) -> None:
    upstream.script = Reply((dialect.answer,))
    path = dialect.path(model_of(dialect))
    async with connect(router.url) as connection:
        await connection.send(post(path, b"{", JSON))
        assert (await connection.receive()).status == 400
        await connection.send(post(path, good_body(dialect), JSON))
        assert (await connection.receive()).body == dialect.answer
