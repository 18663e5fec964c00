"""What protocols are made of: requests, calls, transforms, and helpers that all of them use."""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from bitrouter.envelope import Fields, split_fields
from bitrouter.errors import BadResponse, InvalidRequest, RouterError
from bitrouter.ir import Failure, Usage
from bitrouter.outline import NEAR_TOP, outline
from bitrouter.slices import LARGE

# A request header by its name in any case, repeated lines joined by ", " (RFC 9110, 5.2).
HeaderReader = Callable[[str], str | None]

T = TypeVar("T")


class Framing(enum.Enum):
    """How the parts of an answer are set apart on the wire."""

    WHOLE = "one JSON body"
    SSE = "server-sent events"
    NDJSON = "newline-delimited JSON"
    ARRAY = "a JSON array written element by element"

    __hash__ = object.__hash__  # Enum's own is written in Python, and framings are looked up by


CONTENT_TYPES: Final = {
    Framing.WHOLE: "application/json",
    Framing.SSE: "text/event-stream",
    Framing.NDJSON: "application/x-ndjson",
    Framing.ARRAY: "application/json",
}


class Operation(msgspec.Struct, frozen=True):
    """One thing that a protocol can be asked to do.

    `name` is `generate` for the protocol's main operation, else the vendor's term; `suffix` is
    the end of its URL, without a version segment.
    """

    name: str
    suffix: str


class Request(msgspec.Struct, frozen=True):
    """A client's request as far as routing and passing on need it.

    `body` is as it came and `fields` its top-level members (envelope.split_fields); `framing` is
    how the client wants the answer; `query` the query string without credentials.
    `hides_usage` says that a stream's usage was asked for by us, and is not for the client.
    """

    operation: Operation
    model: str
    stream: bool
    framing: Framing
    body: bytes
    fields: Fields
    query: str = ""
    hides_usage: bool = False

    def with_body(self, body: bytes) -> "Request":
        """The same with another body."""
        return msgspec.structs.replace(self, body=body, fields=split_fields(body))


class Bound(msgspec.Struct, frozen=True):
    """How much work a request asks for, beyond what is in its body.

    `tokens` may be generated for each of so many `answers`, None where the request does not say.
    `recalls` says that what the provider keeps of earlier requests belongs to the input.
    """

    tokens: int | None
    answers: int = 1
    recalls: bool = False


class Destination:
    """Where calls go, and the headers that stand on all of them: the same object for every call to
    an endpoint. `idle_s` is how many seconds a connection that is not used is kept. Whoever sends
    the calls keeps in `prepared` what it works out of that.
    """

    __slots__ = ("headers", "idle_s", "prepared", "url")

    def __init__(self, url: str, headers: Mapping[str, str], idle_s: float = 15.0) -> None:
        self.url = url
        self.headers = headers
        self.idle_s = idle_s
        self.prepared: Any = None


class UpstreamCall(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request to a provider: a POST of JSON. `own_headers` are those of this call, which
    win over the destination's; `query` is appended to its URL. Header names are as they go on the
    wire.
    """

    to: Destination
    own_headers: Mapping[str, str]
    body: bytes
    query: str = ""

    @property
    def url(self) -> str:
        """All of the URL."""
        if not self.query:
            return self.to.url
        return f"{self.to.url}{'&' if '?' in self.to.url else '?'}{self.query}"

    @property
    def headers(self) -> dict[str, str]:
        """All headers but those of HTTP itself."""
        return {**self.to.headers, **self.own_headers}


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An error in a protocol's own shape: its HTTP status and its JSON body."""

    status: int
    body: bytes


class Transform(Protocol):
    """What one streamed answer goes through on its way to the client.

    `started` turns true with the first event: until then nothing has to be sent, and the attempt
    can be given up. `progressed` says of the last `feed` that it saw an event: comments and half
    events show nothing but that the connection is there. `complete` is that the protocol's own end
    was seen.
    """

    started: bool
    progressed: bool
    complete: bool

    @property
    def held(self) -> int:
        """How much of an event waits for its end."""

    @property
    def failed(self) -> Failure | None:
        """The provider's own error event, once it has come."""

    @property
    def usage(self) -> Usage | None:
        """The usage as far as it is known."""

    def feed(self, chunk: bytes) -> bytes:
        """What to send to the client for one chunk from the upstream."""

    def finish(self, error: RouterError | None = None) -> bytes:
        """What to send when the upstream's bytes have ended, by `error` if it broke off: the rest
        of the answer if that makes it complete, else the protocol's own error event.
        """

    def fail(self, error: RouterError) -> bytes:
        """What to send when the answer cannot be completed: the protocol's own error event."""


_VERSION: Final = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")


def versioned_base(api_base: str, default_version: str, *, only_hosts: bool) -> str:
    """`api_base` with exactly one version segment at its end.

    A doubled one (`/v1/v1`) is folded. A missing one is added; with `only_hosts` only where the
    URL is a bare host, because many OpenAI-style servers live under a path of their own.
    """
    base = api_base.rstrip("/")
    segments = urlsplit(base).path.split("/")[1:]
    if len(segments) > 1 and segments[-1] == segments[-2] and _VERSION.fullmatch(segments[-1]):
        return base.removesuffix("/" + segments[-1])
    if segments and (only_hosts or _VERSION.fullmatch(segments[-1])):
        return base
    return f"{base}/{default_version}"


def path_spellings(suffix: str) -> tuple[str, ...]:
    """The paths at which an operation is served: as it should be, and the usual base-URL slips."""
    return (f"/v1{suffix}", suffix, f"/v1/v1{suffix}")


_KINDS: Final = {ord("["): "an array", ord("{"): "an object", ord('"'): "a string"} | dict.fromkeys(
    b"-0123456789", "a number"
)


def require(fields: Fields, name: str, *kinds: str) -> None:
    """Check that a member is there and of one of `kinds`: an array, an object, a string, a number.

    Looks at the first byte alone. Raises InvalidRequest naming the member and what it may be.
    """
    raw = fields.get(name)
    if raw is None:
        raise InvalidRequest(f"{name} is required: {' or '.join(kinds)}")
    if _KINDS.get(memoryview(raw)[0]) not in kinds:
        raise InvalidRequest(f"{name} must be {' or '.join(kinds)}")


_integer: Final = msgspec.json.Decoder(int | None)


def read_count(fields: Mapping[str, msgspec.Raw], name: str, where: str = "") -> int | None:
    """A member that is a number of things: an integer of at least 1, None where it is absent or
    null. Raises InvalidRequest for anything else.
    """
    raw = fields.get(name)
    value = None if raw is None else decode_body(_integer, raw, where or name)
    if value is not None and value < 1:
        raise InvalidRequest(f"{where or name} must be at least 1")
    return value


def decode_body(
    decoder: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw, where: str = ""
) -> T:
    """Decode a request's body, which is JSON, or a part of it that stands at `where`.

    Raises InvalidRequest that names the place (`messages[3].content[1].type`) where it is not what
    the decoder expects.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        place = (where + path.removesuffix("`")).removeprefix(".")
        raise InvalidRequest(f"{place or 'the body'}: {words[:1].lower()}{words[1:]}") from error
    except NOT_DECODED as error:
        raise InvalidRequest(f"{where or 'the body'} cannot be read: {error}") from error


def decode_part(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T | None:
    """Decode what is only being watched; None when it is not what was expected."""
    try:
        return decoder.decode(data)
    except NOT_DECODED:
        return None


# UnicodeDecodeError: msgspec looks at the encoding only of the strings that it hands out.
NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_any_json: Final = msgspec.json.Decoder(msgspec.Raw)
_object: Final = msgspec.json.Decoder(Fields)

check_json: Final = _any_json.decode
"""Raises one of NOT_DECODED for what is not one JSON value, complete. For whoever looks at every
event of a stream; all else has `is_json`.
"""


def is_json(data: bytes) -> bool:
    """Whether `data` is one JSON value, complete."""
    try:
        check_json(data)
    except NOT_DECODED:
        return False
    return True


def is_json_object(data: bytes) -> bool:
    """Whether `data` is one JSON object, complete."""
    return decode_part(_object, data) is not None


def brief(data: bytes) -> bytes:
    """JSON that is only being watched, without its bulk where it is large, so that no decoder takes
    long over it; empty if it is none.
    """
    if len(data) <= LARGE:
        return data
    try:
        return outline(data, NEAR_TOP).text
    except NOT_DECODED:
        return b""


def watch_answer(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T | None:
    """The same as decode_answer for what stands at the top of an answer and is not long."""
    if len(body) > LARGE:
        try:
            body = outline(body, 1).text
        except NOT_DECODED as error:
            raise BadResponse("the upstream's answer is not complete JSON") from error
    return decode_answer(decoder, body)


def decode_answer(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T | None:
    """Decode what is of interest in a whole answer; None when it is JSON of another shape.

    Raises BadResponse when it is not JSON, which is how a cut answer shows itself.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        pass
    except NOT_DECODED as error:
        raise BadResponse("the upstream's answer is not complete JSON") from error
    try:
        _any_json.decode(body)  # the typed decode stopped at the surprise, this one goes on
    except NOT_DECODED as error:
        raise BadResponse("the upstream's answer is not complete JSON") from error
    return None
