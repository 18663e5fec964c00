"""What every protocol does with a request, a URL, a credential and a whole answer."""

import json
from typing import Any

import msgspec
import pytest

from bitrouter.errors import BadResponse, InvalidRequest
from bitrouter.ir import Usage
from bitrouter.protocols import BY_API_PROTOCOL, CODECS
from bitrouter.protocols.base import Framing, Request
from bitrouter.protocols.codec import Codec
from tests.support.splits import WIRE

each_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])


def find(path: str) -> tuple[Codec, Any, str | None]:
    """The one codec that knows the path."""
    found = [(codec, match) for codec in CODECS if (match := codec.match(path))]
    assert len(found) == 1, f"{path}: {found}"
    codec, (operation, model) = found[0]
    return codec, operation, model


def read(path: str, body: bytes, query: str = "") -> tuple[Codec, Request]:
    codec, operation, model = find(path)
    return codec, codec.read(operation, model, query, body)


# -- paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "protocol", "operation"),
    [
        ("/chat/completions", "openai", "generate"),
        ("/embeddings", "openai", "embeddings"),
        ("/responses", "responses", "generate"),
        ("/responses/input_tokens", "responses", "count_tokens"),
        ("/messages", "anthropic", "generate"),
        ("/messages/count_tokens", "anthropic", "count_tokens"),
    ],
)
@pytest.mark.parametrize("prefix", ["/v1", "", "/v1/v1"])
def test_operation_is_served_under_v1_and_at_the_usual_slips(
    prefix: str, path: str, protocol: str, operation: str
) -> None:
    codec, found, model = find(prefix + path)

    assert (codec.api_protocol, found.name, model) == (protocol, operation, None)


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("generateContent", "generate"),
        ("streamGenerateContent", "generate"),
        ("countTokens", "count_tokens"),
        ("embedContent", "embeddings"),
        ("batchEmbedContents", "embeddings"),
    ],
)
def test_google_names_the_model_in_the_path(version: str, method: str, operation: str) -> None:
    codec, found, model = find(f"/{version}/models/gemini:{method}")

    assert (codec.name, found.name, model) == ("google", operation, "gemini")


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("models/acme:gemini", "acme:gemini"),
        ("models/acme/gemini", "acme/gemini"),
        ("models/acme%2Fgemini%3A1", "acme/gemini:1"),
        ("models/models/gemini", "models/gemini"),
        ("models/%C3%A4", "ä"),
        ("models/a%2Bb%20c", "a+b c"),
        ("tunedModels/mine", "tunedModels/mine"),
    ],
)
def test_google_model_is_all_before_the_last_colon_decoded(written: str, model: str) -> None:
    assert find(f"/v1beta/{written}:generateContent")[2] == model


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/chat/completions",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/v1/v1/messages",
        "/v1/responses/resp_1",
        "/v1beta/models/gemini",
        "/v1beta/models/gemini:deleteEverything",
        "/v1beta/models/gemini:generatecontent",
        "/v1beta/models/:",
        "/v1beta/files/x:generateContent",
        "/v1beta/modelsx:generateContent",
        "/v3/models/gemini:generateContent",
    ],
)
def test_other_paths_are_nobodys(path: str) -> None:
    assert [codec.name for codec in CODECS if codec.match(path)] == []


# -- requests -------------------------------------------------------------------------------


@each_codec
def test_example_is_a_request_of_its_own_protocol(codec: Codec) -> None:
    path, body = codec.example("acme/m:1", 'say "hi"')

    found, request = read(path, body)

    assert found is codec
    assert (request.operation.name, request.model) == ("generate", "acme/m:1")
    assert (request.stream, request.framing) == (False, Framing.WHOLE)


STREAMING = [
    ("/v1/chat/completions", b'{"model":"m","messages":[],"stream":%b}', "", Framing.SSE),
    ("/v1/responses", b'{"model":"m","input":"x","stream":%b}', "", Framing.SSE),
    ("/v1/messages", b'{"model":"m","max_tokens":1,"messages":[],"stream":%b}', "", Framing.SSE),
    ("/v1beta/models/m:generateContent", b'{"contents":[],"stream":%b}', "", Framing.NDJSON),
]


@pytest.mark.parametrize(("path", "body", "query", "framing"), STREAMING)
@pytest.mark.parametrize(("flag", "stream"), [(b"true", True), (b"false", False), (b"null", False)])
def test_body_says_whether_to_stream(
    path: str, body: bytes, query: str, framing: Framing, flag: bytes, stream: bool
) -> None:
    _, request = read(path, body % flag, query)

    assert (request.stream, request.framing) == (stream, framing if stream else Framing.WHOLE)


@pytest.mark.parametrize(("path", "body", "query", "framing"), STREAMING)
def test_stream_flag_of_another_type_is_refused(
    path: str, body: bytes, query: str, framing: Framing
) -> None:
    with pytest.raises(InvalidRequest, match="stream must be true or false"):
        read(path, body % b'"yes"', query)


@pytest.mark.parametrize(
    ("query", "framing", "passed_on"),
    [
        ("alt=sse", Framing.SSE, ""),
        ("", Framing.ARRAY, ""),
        ("alt=json", Framing.ARRAY, ""),
        ("alt=sse&x=1", Framing.SSE, "x=1"),
        ("x=1", Framing.ARRAY, "x=1"),
    ],
)
@pytest.mark.parametrize("stream", [b"", b',"stream":true', b',"stream":false'])
def test_google_query_chooses_the_framing_of_its_streaming_method(
    query: str, framing: Framing, passed_on: str, stream: bytes
) -> None:
    path = "/v1beta/models/m:streamGenerateContent"

    _, request = read(path, b'{"contents":[]%b}' % stream, query)

    assert (request.stream, request.framing, request.query) == (True, framing, passed_on)


def test_google_framing_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="alt must be sse or json, not 'media'"):
        read("/v1beta/models/m:streamGenerateContent", b'{"contents":[]}', "alt=media")


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/v1/chat/completions", '{"model":"m"}', "messages is required: an array"),
        ("/v1/chat/completions", '{"model":"m","messages":{}}', "messages must be an array"),
        ("/v1/chat/completions", '{"model":"m","messages":null}', "messages must be an array"),
        ("/v1/embeddings", '{"model":"m"}', "input is required: a string or an array"),
        ("/v1/embeddings", '{"model":"m","input":1}', "input must be a string or an array"),
        ("/v1/responses", '{"model":"m"}', "input is required: a string or an array"),
        ("/v1/responses", '{"model":"m","input":{}}', "input must be a string or an array"),
        ("/v1/messages", '{"model":"m","messages":[]}', "max_tokens is required: a number"),
        (
            "/v1/messages",
            '{"model":"m","messages":[],"max_tokens":"9"}',
            "max_tokens must be a number",
        ),
        ("/v1/messages", '{"model":"m","max_tokens":1}', "messages is required: an array"),
        ("/v1/messages/count_tokens", '{"model":"m"}', "messages is required: an array"),
        ("/v1beta/models/m:generateContent", "{}", "contents is required: an array"),
        ("/v1beta/models/m:generateContent", '{"contents":"hi"}', "contents must be an array"),
        ("/v1beta/models/m:streamGenerateContent", "{}", "contents is required: an array"),
    ],
)
def test_member_that_the_protocol_requires_is_asked_for(path: str, body: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        read(path, body.encode())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", '{"model":"m","previous_response_id":"resp_1"}'),
        ("/v1/responses", '{"model":"m","prompt":{"id":"p"}}'),
        ("/v1/messages/count_tokens", '{"model":"m","messages":[]}'),
        ("/v1/messages", '{"model":"m","messages":[],"max_tokens":-0}'),
        ("/v1beta/models/m:countTokens", "{}"),
        ("/v1beta/models/m:embedContent", '{"content":{}}'),
        ("/v1beta/models/m:generateContent", '{"contents":[],"model":7}'),
    ],
)
def test_what_the_protocol_allows_is_accepted(path: str, body: str) -> None:
    assert read(path, body.encode())[1].model == "m"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "must not be empty"),
        ("m" * 257, "at most 256"),
        ("a%00b", "control characters"),
        ("a%0D%0Ab", "control characters"),
        ("..", r"must not contain '\.\.'"),
        ("a%2F..%2Fb", r"must not contain '\.\.'"),
        ("%2e%2e/b", r"must not contain '\.\.'"),
        ("a//b", "empty part between slashes"),
        ("a%2F%2Fb", "empty part between slashes"),
    ],
)
def test_google_model_that_cannot_be_a_name_is_refused(written: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        read(f"/v1beta/models/{written}:generateContent", b'{"contents":[]}')


# -- what the provider is sent --------------------------------------------------------------


@pytest.mark.parametrize("model_id", ["gpt-4o", 'a"b\\c', "ä🥊", "up/stream:1"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages/count_tokens",
    ],
)
def test_model_is_replaced_in_the_body(path: str, model_id: str) -> None:
    rest = '"messages":[{"model":"x"}], "max_tokens":1.0, "input":"model", "stream":false }\n'
    codec, request = read(path, (' {"model" : "m" , ' + rest).encode())

    sent = codec.passthrough_body(request, model_id)

    written = json.dumps(model_id, ensure_ascii=False)
    assert sent == (f' {{"model" : {written} , ' + rest).encode()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b' { "contents": [1 , 2] }', b' { "contents": [1 , 2] }'),
        (b'{"model":"m","contents":[]}', b'{"contents":[]}'),
        (b'{"contents":[],"stream":true}', b'{"contents":[]}'),
        (
            b'{ "contents" : [{"model":"x","stream":1}] , "stream":true , "x": 1.0 }',
            b'{ "contents" : [{"model":"x","stream":1}],"x": 1.0 }',
        ),
        (rb'{"\u006dodel":"m","str\u0065am":false,"contents":[]}', b'{"contents":[]}'),
    ],
)
def test_google_gets_the_body_without_model_and_stream(body: bytes, sent: bytes) -> None:
    codec, request = read("/v1beta/models/m:generateContent", body)

    assert codec.passthrough_body(request, "gemini") == sent


@pytest.mark.parametrize(
    ("method", "body", "sent"),
    [
        (
            "countTokens",
            b'{"generateContentRequest": {"model":"models/m", "contents":[ ]}}',
            b'{"generateContentRequest": {"model":"models/gemini", "contents":[ ]}}',
        ),
        (
            "countTokens",
            b'{"generateContentRequest":{"contents":[]}}',
            b'{"generateContentRequest":{"contents":[]}}',
        ),
        (
            "batchEmbedContents",
            b'{"requests":[{"model":"models/m","content":{}},{"content":{} ,"model":"m"},{}]}',
            b'{"requests":[{"model":"models/gemini","content":{}},'
            b'{"content":{} ,"model":"models/gemini"},{}]}',
        ),
    ],
)
def test_google_model_is_replaced_where_a_method_repeats_it(
    method: str, body: bytes, sent: bytes
) -> None:
    codec, request = read(f"/v1beta/models/m:{method}", body)

    assert codec.passthrough_body(request, "gemini") == sent


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("countTokens", b'{"generateContentRequest":[]}'),
        ("countTokens", b'{"generateContentRequest":{"model":"a","model":"b"}}'),
        ("batchEmbedContents", b'{"requests":{}}'),
        ("batchEmbedContents", b'{"requests":[5]}'),
        ("batchEmbedContents", b'{"requests":[{"model":"a","model":"b"}]}'),
        ("generateContent", b'{"contents":[],"contents":[]}'),
        ("embedContent", b'{"a":1,"a":2}'),
    ],
)
def test_google_body_that_cannot_be_edited_is_the_clients_fault(method: str, body: bytes) -> None:
    codec, request = read(f"/v1beta/models/m:{method}", body)

    with pytest.raises(InvalidRequest):
        codec.passthrough_body(request, "gemini")


@pytest.mark.parametrize(
    ("protocol", "api_base", "url"),
    [
        ("openai", "https://h", "https://h/v1/chat/completions"),
        ("openai", "https://h/v1", "https://h/v1/chat/completions"),
        ("openai", "https://h/v1/", "https://h/v1/chat/completions"),
        ("openai", "https://h/v1/v1", "https://h/v1/chat/completions"),
        ("openai", "https://h/api/v3", "https://h/api/v3/chat/completions"),
        ("openai", "https://h/openai", "https://h/openai/chat/completions"),
        ("openai", "http://h:8080", "http://h:8080/v1/chat/completions"),
        ("responses", "https://h", "https://h/v1/responses"),
        ("anthropic", "https://h", "https://h/v1/messages"),
        ("anthropic", "https://h/v1", "https://h/v1/messages"),
        ("anthropic", "https://h/v1/v1", "https://h/v1/messages"),
        ("anthropic", "https://h/anthropic", "https://h/anthropic/v1/messages"),
        ("google", "https://h", "https://h/v1beta/models/x:generateContent"),
        ("google", "https://h/v1beta", "https://h/v1beta/models/x:generateContent"),
        ("google", "https://h/v1alpha/", "https://h/v1alpha/models/x:generateContent"),
        ("google", "https://h/gemini", "https://h/gemini/v1beta/models/x:generateContent"),
    ],
)
def test_url_has_one_version_segment(protocol: str, api_base: str, url: str) -> None:
    codec = BY_API_PROTOCOL[protocol]
    _, request = read(*codec.example("m", "hi"))

    assert codec.upstream_url(api_base, request, "x") == url


@pytest.mark.parametrize(
    ("model_id", "segment"),
    [
        ("gemini", "models/gemini"),
        ("models/gemini", "models/gemini"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("a/b:c d?e#f%", "models/a%2Fb%3Ac%20d%3Fe%23f%25"),
        ("../../x", "models/..%2F..%2Fx"),
        ("ä", "models/%C3%A4"),
    ],
)
def test_google_model_is_one_segment_of_the_url(model_id: str, segment: str) -> None:
    codec, request = read("/v1beta/models/m:generateContent", b'{"contents":[]}')

    url = codec.upstream_url("https://h", request, model_id)

    assert url == f"https://h/v1beta/{segment}:generateContent"


@pytest.mark.parametrize(
    ("method", "body", "query", "end"),
    [
        ("generateContent", b'{"contents":[]}', "", ":generateContent"),
        ("generateContent", b'{"contents":[],"stream":true}', "", ":streamGenerateContent?alt=sse"),
        ("streamGenerateContent", b'{"contents":[]}', "alt=sse", ":streamGenerateContent?alt=sse"),
        ("streamGenerateContent", b'{"contents":[]}', "", ":streamGenerateContent"),
        ("countTokens", b"{}", "", ":countTokens"),
    ],
)
def test_google_is_asked_in_the_framing_that_can_be_passed_on(
    method: str, body: bytes, query: str, end: str
) -> None:
    codec, request = read(f"/v1beta/models/m:{method}", body, query)

    assert codec.upstream_url("https://h", request, "x") == f"https://h/v1beta/models/x{end}"


@pytest.mark.parametrize(
    ("protocol", "headers"),
    [
        ("openai", {"Authorization": "Bearer k"}),
        ("responses", {"Authorization": "Bearer k"}),
        ("anthropic", {"x-api-key": "k"}),
        ("google", {"x-goog-api-key": "k"}),
    ],
)
def test_key_is_presented_as_the_vendor_wants_it(protocol: str, headers: dict[str, str]) -> None:
    assert BY_API_PROTOCOL[protocol].credential_headers("k") == headers


@pytest.mark.parametrize(
    ("protocol", "sent", "passed_on"),
    [
        ("openai", {"openai-beta": "a=1", "openai-organization": "org"}, {"OpenAI-Beta": "a=1"}),
        ("openai", {}, {}),
        ("responses", {"openai-beta": "a=1"}, {"OpenAI-Beta": "a=1"}),
        ("anthropic", {}, {"anthropic-version": "2023-06-01"}),
        (
            "anthropic",
            {"anthropic-version": "2026-10-21", "anthropic-beta": "a, b", "x-other": "c"},
            {"anthropic-version": "2026-10-21", "anthropic-beta": "a, b"},
        ),
        ("google", {"x-goog-api-client": "genai"}, {}),
    ],
)
def test_only_the_protocols_own_headers_go_to_the_provider(
    protocol: str, sent: dict[str, str], passed_on: dict[str, str]
) -> None:
    assert BY_API_PROTOCOL[protocol].request_headers(sent.get) == passed_on


@each_codec
def test_headers_for_clients_are_lower_case_and_none_of_the_connections(codec: Codec) -> None:
    assert {"retry-after"} <= codec.response_headers
    assert all(name == name.lower() for name in codec.response_headers)
    assert not codec.response_headers & {
        *("set-cookie", "server", "connection", "transfer-encoding", "content-length", "date"),
        *("content-encoding", "x-request-id", "alt-svc", "strict-transport-security"),
    }


# -- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "name", "usage"),
    [
        ("openai", "chat/completion.json", Usage(19, 10, 4, None, 3)),
        ("openai", "chat/embeddings.json", Usage(8)),
        ("responses", "responses/response.json", Usage(37, 11, 5, None, 2)),
        ("anthropic", "anthropic/message.json", Usage(35, 12, 7, 3)),
        ("anthropic", "anthropic/count_tokens.json", None),
        ("google", "google/generated.json", Usage(8, 42, 2, None, 30)),
        ("google", "google/count_tokens.json", None),
    ],
)
def test_usage_of_a_whole_answer_is_read(protocol: str, name: str, usage: Usage | None) -> None:
    codec = BY_API_PROTOCOL[protocol]
    _, request = read(*codec.example("m", "hi"))

    assert codec.read_usage(request, (WIRE / name).read_bytes()) == usage


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        ({"promptTokenCount": 5, "totalTokenCount": 9}, Usage(5, 4)),
        ({"promptTokenCount": 5}, Usage(5)),
        (
            {"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "candidatesTokenCount": 1},
            Usage(7, 1),
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3},
            Usage(5, 5, reasoning_tokens=3),
        ),
        ({"promptTokenCount": 9, "totalTokenCount": 5}, Usage(9, 0)),
        ({}, Usage()),
    ],
)
def test_google_output_includes_thoughts_and_follows_from_the_total(
    metadata: dict[str, int], usage: Usage
) -> None:
    codec = BY_API_PROTOCOL["google"]
    _, request = read(*codec.example("m", "hi"))

    assert codec.read_usage(request, msgspec.json.encode({"usageMetadata": metadata})) == usage


@each_codec
@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b"[]", b"null", b'"text"', b'{"usage":null,"usageMetadata":null}'),
        *(b'{"usage":"x","usageMetadata":"x"}', b'{"usage":{"prompt_tokens":1e400}}'),
        b'{"usage":{"input_tokens":%b},"usageMetadata":{"promptTokenCount":1.5}}' % (b"9" * 5000),
        b'{"x":"\xff"}',
    ],
)
def test_answer_without_usable_usage_is_an_answer(codec: Codec, body: bytes) -> None:
    _, request = read(*codec.example("m", "hi"))

    usage = codec.read_usage(request, body)

    assert usage is None or usage == Usage()


@each_codec
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b'{"a":', b"<html>", b"{}{}", b'{"usage":"x"', b'{"usage":"x"}}'),
        *(b"[" * 100_000, b'{"usage":' + b"[" * 100_000, b'{"a":1}\x00'),
    ],
)
def test_answer_that_is_not_complete_json_is_the_upstreams_failure(
    codec: Codec, body: bytes
) -> None:
    _, request = read(*codec.example("m", "hi"))

    with pytest.raises(BadResponse, match="not complete JSON"):
        codec.read_usage(request, body)


# -- together -------------------------------------------------------------------------------


def test_each_protocol_has_names_of_its_own() -> None:
    assert [(codec.name, codec.api_protocol, codec.family) for codec in CODECS] == [
        ("chat", "openai", "openai"),
        ("responses", "responses", "openai"),
        ("anthropic", "anthropic", "anthropic"),
        ("google", "google", "google"),
    ]
