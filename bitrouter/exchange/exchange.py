"""One request asked of one endpoint, and its answer: passed through, or translated."""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from bitrouter import ir
from bitrouter.config.traits import traits_of
from bitrouter.errors import InvalidRequest
from bitrouter.exchange.choose import spoken
from bitrouter.exchange.inquiry import Inquiry, Refusal, Whole
from bitrouter.exchange.memory import Memory
from bitrouter.exchange.plan import Target, plan
from bitrouter.exchange.restore import restored
from bitrouter.exchange.stream import TranslatedStream
from bitrouter.protocols.base import (
    CONTENT_TYPES,
    Framing,
    Request,
    Transform,
    UpstreamCall,
    is_json_object,
)
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.continuity import may_hold
from bitrouter.protocols.translator import Encoded, Recipient, Reply
from bitrouter.routing.table import Endpoint
from bitrouter.slices import LARGE


class Exchange(Protocol):
    """What is sent to an endpoint, and how its answer becomes the client's.

    `codec` is the endpoint's protocol; `framing` how it frames the answer; `dropped` the client's
    names for what could not be carried. `is_translated`: a whole answer is written anew.
    """

    is_translated: bool
    call: UpstreamCall
    codec: Codec
    framing: Framing
    dropped: tuple[str, ...]

    @property
    def relayed_headers(self) -> frozenset[str]:
        """Names (lower case) of the provider's headers that the client may see."""

    def read_whole(self, body: bytes) -> Whole:
        """The answer for the client. Raises BadResponse when `body` is no complete answer. A large
        one is read in a thread.
        """

    def transform(self, max_event_bytes: int) -> Transform:
        """What the stream goes through on its way."""

    def read_refusal(self, status: int, body: bytes) -> Refusal:
        """What the endpoint says in an error answer."""


class Means(msgspec.Struct, frozen=True):
    """What translating needs from outside: the time in Unix seconds, a maker of ids that begin
    with what it is given, and the memory.
    """

    wall: Callable[[], float]
    mint: Callable[[str], str]
    memory: Memory


def begin(inquiry: Inquiry, endpoint: Endpoint, target: Target, means: Means) -> Exchange:
    """The exchange with one endpoint.

    Raises InvalidRequest, and UnsupportedFeature when this endpoint cannot be told all of it.
    """
    codec = spoken(endpoint, inquiry.codec)
    try:
        if codec is inquiry.codec:
            return PassedThrough(inquiry, endpoint, target)
        return Translated(inquiry, codec, endpoint, target, means)
    except (msgspec.MsgspecError, RecursionError) as error:
        # What is looked into late, a tool's schema, can hold what no decoder takes: 1e400.
        raise InvalidRequest("the body holds a value that cannot be translated") from error


def is_translated(inquiry: Inquiry, endpoint: Endpoint) -> bool:
    """Whether `begin` has to translate for this endpoint."""
    return spoken(endpoint, inquiry.codec) is not inquiry.codec


class PassedThrough:
    """The endpoint speaks the client's own protocol: nothing but the model changes."""

    is_translated = False
    dropped: tuple[str, ...] = ()

    def __init__(self, inquiry: Inquiry, endpoint: Endpoint, target: Target) -> None:
        self.codec = inquiry.codec
        self._request = request = self._presentable(inquiry, endpoint)
        self._request_id = inquiry.request_id
        self.framing: Framing = (
            Framing.SSE if request.framing is Framing.NDJSON else request.framing
        )
        self.call = plan(
            self.codec,
            request,
            endpoint,
            target,
            inquiry.header,
            request_id=inquiry.request_id,
            own_headers=self.codec.request_headers(inquiry.header),
            body=self.codec.passthrough_body(request, endpoint.model_id),
        )

    def _presentable(self, inquiry: Inquiry, endpoint: Endpoint) -> Request:
        """The one thing that may not pass is what we have put into the client's history for another
        vendor: what carries no such mark, which is nearly every body, is not looked into. And who
        pays by use is not given more than was priced.
        """
        request = inquiry.request
        if may_hold(request.body, self.codec.translator.mark):
            request = self.codec.translator.without_foreign(request)
        if inquiry.metering is None:
            return request
        traits = _callee(endpoint, self.codec).recipient.traits
        return self.codec.metered(request, traits, inquiry.metering.limit)

    @property
    def relayed_headers(self) -> frozenset[str]:
        """All that the protocol's clients look for."""
        return self.codec.response_headers

    def read_whole(self, body: bytes) -> Whole:
        """The bytes as they came, seen to be whole."""
        return Whole(body, self.codec.read_usage(self._request, body))

    def transform(self, max_event_bytes: int) -> Transform:
        """See Codec.passthrough."""
        return self.codec.passthrough(self._request, max_event_bytes, self._request_id)

    def read_refusal(self, status: int, body: bytes) -> Refusal:
        """The provider's own body, unless it is the page of some proxy on the way."""
        failure = self.codec.translator.decode_error(status, body)
        failure = msgspec.structs.replace(failure, status=status)
        is_page = self.codec.read_error(body) is None and not is_json_object(body)
        return Refusal(failure, b"" if is_page else body)


_JSON: Final = CONTENT_TYPES[Framing.WHOLE]
_ENDPOINT_SLOT: Final = "callee"
_NOTHING: Final[tuple[str, ...]] = ()


class _Callee(msgspec.Struct, frozen=True):
    """What is the same in every translation for an endpoint: the model, and how it is asked for an
    answer or a stream, without the body, which is a call's own.
    """

    recipient: Recipient
    whole: Request
    stream: Request


class Translated:
    """The endpoint speaks another protocol: through the neutral form there and back."""

    is_translated = True

    def __init__(
        self, inquiry: Inquiry, codec: Codec, endpoint: Endpoint, target: Target, means: Means
    ) -> None:
        self.codec = codec
        self._inquiry = inquiry
        self._means = means
        self._asked = asked = means.memory.complete(inquiry.owner, inquiry.asked())
        callee = _callee(endpoint, codec)
        self._encoded = encoded = codec.translator.encode_request(asked, callee.recipient)
        upstream_request = callee.stream if asked.stream else callee.whole
        self.framing = upstream_request.framing
        self.dropped = (
            _client_names(asked, encoded) if asked.dropped or encoded.dropped else _NOTHING
        )
        self.call = plan(
            codec,
            upstream_request,
            endpoint,
            target,
            inquiry.header,
            request_id=inquiry.request_id,
            own_headers=encoded.headers,
            body=encoded.body,
        )

    @property
    def relayed_headers(self) -> frozenset[str]:
        """What both protocols have: when and whether to try again."""
        return self.codec.response_headers & self._inquiry.codec.response_headers

    def read_whole(self, body: bytes) -> Whole:
        """The answer in the client's protocol."""
        answer = restored(self.codec.translator.decode_answer(body), self._encoded)
        if len(body) > LARGE:
            answer.is_large = True
        self._means.memory.keep_answer(self._inquiry.owner, answer)
        written = self._inquiry.codec.translator.encode_answer(answer, self._reply())
        return Whole(written, answer.usage, _JSON)

    def transform(self, max_event_bytes: int) -> Transform:
        """See TranslatedStream."""
        owner, memory = self._inquiry.owner, self._means.memory
        return TranslatedStream(
            self.codec.translator.stream_decoder(),
            self._inquiry.codec.translator.stream_encoder(self._reply()),
            self._encoded,
            keep=lambda blocks: memory.keep(owner, blocks),
            max_event_bytes=max_event_bytes,
        )

    def read_refusal(self, status: int, body: bytes) -> Refusal:
        """What it says; the client would not know the shape in which it is said."""
        return Refusal(self.codec.translator.decode_error(status, body))

    def _reply(self) -> Reply:
        inquiry = self._inquiry
        means = self._means
        return Reply(
            inquiry.request, self._asked, int(means.wall()), means.mint, inquiry.request_id
        )


def _callee(endpoint: Endpoint, codec: Codec) -> _Callee:
    """Worked out once for each endpoint."""
    slot = (_ENDPOINT_SLOT, codec.name)
    callee: _Callee | None = endpoint.prepared.get(slot)
    if callee is None:
        callee = endpoint.prepared[slot] = _Callee(
            _recipient(endpoint, codec),
            _upstream_request(endpoint, codec, Framing.WHOLE),
            _upstream_request(endpoint, codec, Framing.SSE),
        )
    return callee


def _recipient(endpoint: Endpoint, codec: Codec) -> Recipient:
    model = endpoint.model
    return Recipient(
        endpoint.model_id,
        traits_of(endpoint.provider, codec.api_protocol, endpoint.model_id),
        model.max_output_tokens if model else None,
    )


def _upstream_request(endpoint: Endpoint, codec: Codec, framing: Framing) -> Request:
    return Request(
        operation=codec.operations[0],
        model=endpoint.model_id,
        stream=framing is Framing.SSE,
        framing=framing,
        body=b"",
        fields={},
    )


def _client_names(asked: ir.Request, encoded: Encoded) -> tuple[str, ...]:
    """What could not be carried, under the names that the client gave it, each once."""
    names = [*asked.dropped, *(asked.spellings.get(one, one) for one in encoded.dropped)]
    return tuple(dict.fromkeys(names))
