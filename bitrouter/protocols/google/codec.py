"""generateContent, its streaming twin, the token counter and the embedders: the codec."""

import re
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.envelope import (
    Fields,
    check_model,
    read_flag,
    remove_members,
    replace_value,
    split_fields,
)
from bitrouter.errors import InvalidRequest, RouterError
from bitrouter.ir import Usage
from bitrouter.protocols.base import (
    Bound,
    ErrorAnswer,
    Framing,
    HeaderReader,
    Operation,
    Request,
    Transform,
    require,
    versioned_base,
    watch_answer,
)
from bitrouter.protocols.google.error import encode_error, read_error
from bitrouter.protocols.google.members import INNER_REQUEST
from bitrouter.protocols.google.metering import metered, read_bound
from bitrouter.protocols.google.passthrough import (
    ArrayPassthrough,
    GoogleSSEPassthrough,
    NDJSONFromSSE,
)
from bitrouter.protocols.google.translator import GoogleTranslator
from bitrouter.protocols.google.usage import usage_holder

GENERATE: Final = Operation("generate", ":generateContent")
STREAM: Final = Operation("generate", ":streamGenerateContent")
COUNT: Final = Operation("count_tokens", ":countTokens")
EMBED: Final = Operation("embeddings", ":embedContent")
EMBED_MANY: Final = Operation("embeddings", ":batchEmbedContents")
_OPERATIONS: Final = (GENERATE, STREAM, COUNT, EMBED, EMBED_MANY)
_BY_METHOD: Final = {operation.suffix[1:]: operation for operation in _OPERATIONS}

# protocols.md, 1.4: google-genai 3.x says v1, older ones v1beta, both mean the same methods.
_PATH: Final = re.compile(r"/(?:v1|v1beta|v1alpha)/((?:models|tunedModels)/.+)", re.DOTALL)
_COLLECTION: Final = "models/"

# Ours, or meaningless beside the path: Google refuses a field that it does not know.
_NOT_FORWARDED: Final = frozenset({"model", "stream"})


class GoogleCodec:
    """protocols.md, 1.4."""

    name = "google"
    api_protocol = "google"
    family = "google"
    keepalive = b""  # its own clients take a comment for an error (protocols.md, 3.3)
    operations = _OPERATIONS
    own_prefixes = ("/v1beta/", "/v1alpha/")
    response_headers = frozenset({"retry-after"})
    last_event = None  # a comment is an error to them as well
    translator = GoogleTranslator()

    def match(self, path: str) -> tuple[Operation, str | None] | None:
        """See Codec.match. The last colon of the decoded path sets the method apart."""
        match = _PATH.fullmatch(unquote(path))
        if match is None:
            return None
        name, _, method = match[1].rpartition(":")
        operation = _BY_METHOD.get(method)
        if operation is None or not name:
            return None
        return operation, name.removeprefix(_COLLECTION)

    def read(
        self, operation: Operation, path_model: str | None, query: str, body: bytes
    ) -> Request:
        """See Codec.read. A `model` in the body means nothing here, the path has it."""
        model = check_model(path_model or "")
        if not {"", ".."}.isdisjoint(model.split("/")):
            raise InvalidRequest("model must not contain '..' or an empty part between slashes")
        fields = split_fields(body)
        if operation is STREAM:
            framing = _asked_framing(query)
        elif operation is GENERATE and read_flag(fields, "stream"):
            framing = Framing.NDJSON
        else:
            framing = Framing.WHOLE
        if operation in (GENERATE, STREAM):
            require(fields, "contents", "an array")
        stream = framing is not Framing.WHOLE
        return Request(operation, model, stream, framing, body, fields, _without_alt(query))

    def read_bound(self, request: Request) -> Bound:
        """See Codec.read_bound."""
        return read_bound(request)

    def metered(self, request: Request, traits: Traits, limit: int | None) -> Request:
        """See Codec.metered."""
        return metered(request, traits, limit)

    def passthrough_body(self, request: Request, model_id: str) -> bytes:
        """See Codec.passthrough_body. Two methods repeat the model deeper in the body."""
        body = remove_members(request.body, request.fields, _NOT_FORWARDED)
        if request.operation is COUNT:
            for name in INNER_REQUEST & request.fields.keys():
                inner = _with_model(bytes(request.fields[name]), model_id)
                body = replace_value(body, split_fields(body), name, inner)
        if request.operation is EMBED_MANY and "requests" in request.fields:
            inner = _each_with_model(request.fields, model_id)
            return replace_value(body, split_fields(body), "requests", inner)
        return body

    def upstream_url(self, api_base: str, request: Request, model_id: str) -> str:
        """See Codec.upstream_url. The model is percent-encoded as one segment."""
        base = versioned_base(api_base, "v1beta", only_hosts=False)
        collection, name = _split_collection(model_id)
        url = f"{base}/{collection}{quote(name, safe='')}"
        if request.framing in (Framing.SSE, Framing.NDJSON):
            return f"{url}{STREAM.suffix}?alt=sse"
        return url + (STREAM.suffix if request.stream else request.operation.suffix)

    def credential_headers(self, key: str) -> dict[str, str]:
        """See Codec.credential_headers."""
        return {"x-goog-api-key": key}

    def request_headers(self, header: HeaderReader) -> dict[str, str]:
        """See Codec.request_headers. There are none."""
        return {}

    def passthrough(self, request: Request, max_event_bytes: int, request_id: str) -> Transform:
        """See Codec.passthrough."""
        if request.framing is Framing.ARRAY:
            return ArrayPassthrough(max_event_bytes)
        if request.framing is Framing.NDJSON:
            return NDJSONFromSSE(max_event_bytes)
        return GoogleSSEPassthrough(max_event_bytes)

    def read_usage(self, request: Request, body: bytes) -> Usage | None:
        """See Codec.read_usage."""
        answer = watch_answer(usage_holder, body)
        return answer.usage_metadata.neutral() if answer and answer.usage_metadata else None

    def read_error(self, body: bytes) -> str | None:
        """See Codec.read_error."""
        return read_error(body)

    def blames_key(self, body: bytes) -> bool:
        """See Codec.blames_key. A wrong key is a 400 with this reason (protocols.md, 1.4)."""
        return b"API_KEY_INVALID" in body

    def encode_error(self, error: RouterError, request_id: str) -> ErrorAnswer:
        """See Codec.encode_error."""
        return encode_error(error)

    def encode_count(self, tokens: int) -> bytes:
        """See Codec.encode_count."""
        return b'{"totalTokens":%d}' % tokens

    def example(self, model: str, prompt: str) -> tuple[str, bytes]:
        """See Codec.example."""
        body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        path = f"/v1beta/{_COLLECTION}{quote(model, safe=':')}{GENERATE.suffix}"
        return path, msgspec.json.encode(body)


def _asked_framing(query: str) -> Framing:
    """How a stream is framed: `alt=sse`, or an array where the query says nothing or json."""
    alt = dict(parse_qsl(query)).get("alt", "json") if query else "json"
    if alt == "sse":
        return Framing.SSE
    if alt == "json":
        return Framing.ARRAY
    raise InvalidRequest(f"alt must be sse or json, not {alt!r:.40}")


def _without_alt(query: str) -> str:
    if "alt" not in query:
        return query
    return urlencode([(name, value) for name, value in parse_qsl(query) if name != "alt"])


def _split_collection(model_id: str) -> tuple[str, str]:
    if model_id.startswith("tunedModels/"):
        return "tunedModels/", model_id.removeprefix("tunedModels/")
    return _COLLECTION, model_id.removeprefix(_COLLECTION)


def _with_model(body: bytes, model_id: str) -> bytes:
    """An inner request with its `model`, where it has one, naming the provider's model."""
    fields = split_fields(body)
    if "model" not in fields:
        return body
    name = "".join(_split_collection(model_id))
    return replace_value(body, fields, "model", msgspec.json.encode(name))


_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def _each_with_model(fields: Fields, model_id: str) -> bytes:
    try:
        requests = _list.decode(fields["requests"])
    except msgspec.DecodeError as error:
        raise InvalidRequest("requests must be an array of objects") from error
    return b"[%b]" % b",".join(_with_model(bytes(one), model_id) for one in requests)
