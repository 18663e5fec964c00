"""Exchanges whose streams another endpoint can finish (docs/rescue.md).

Such a stream goes through the neutral form also where client and endpoint speak the same protocol:
the joined answer has to be written by one encoder, whoever it comes from. The request of such a
client goes out as it came all the same.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.errors import InvalidRequest, RouterError
from bitrouter.exchange.choose import is_generating, spoken
from bitrouter.exchange.exchange import Exchange, Means, PassedThrough, Translated
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.plan import Target
from bitrouter.exchange.splice import Joint, SoFar
from bitrouter.exchange.stream import TranslatedStream
from bitrouter.ir import Usage
from bitrouter.protocols.base import Framing, Transform
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.translator import Encoded, Reply, StreamDecoder, StreamEncoder
from bitrouter.routing.table import Endpoint

_BYTES_A_TOKEN: Final = 4  # as in `estimate`: what has been said of the client's max_tokens
# Members of requests, unknown to the neutral form, whose answers hold what it cannot tell.
_TELLS_MORE: Final = frozenset({"mcp_servers", "container", "citations", "audio", "background"})
_replace: Final = msgspec.structs.replace


class RescuedStream(TranslatedStream):
    """One endpoint's part of an answer. It never tells the client of a failure: that is `lost`, and
    somebody else may go on.
    """

    def __init__(
        self,
        decoder: StreamDecoder,
        encoder: SoFar | Joint,
        encoded: Encoded,
        *,
        keep: Callable[[Sequence[ir.Block]], None],
        max_event_bytes: int,
    ) -> None:
        super().__init__(decoder, encoder, encoded, keep=keep, max_event_bytes=max_event_bytes)
        self._told_by = encoder
        self._unsent = b""
        self.lost: RouterError | None = None

    @property
    def told_by(self) -> SoFar | Joint:
        """What tells the client of it."""
        return self._told_by

    @property
    def usage(self) -> Usage | None:
        """That of the answer as far as it has come, with the parts before if need be."""
        usage = self._decoder.usage
        return self._told_by.usage(usage) if isinstance(self._told_by, Joint) else usage

    def feed(self, chunk: bytes) -> bytes:
        """See Transform. A provider's own error in a stream that had begun is raised; what came
        before it in the same chunk is what `fail` then gives.
        """
        begun = self.started
        data = super().feed(chunk)
        if begun and self.lost is not None:
            self._unsent = data
            raise self.lost
        return data

    def fail(self, error: RouterError) -> bytes:
        """See Transform. Nothing is said of the error itself."""
        self.lost = error
        data, self._unsent = self._unsent, b""
        return data


_Weave = Callable[[StreamDecoder, Encoded, int], RescuedStream]


class _Native(PassedThrough):
    """The request passes through, the answer is read."""

    def __init__(self, inquiry: Inquiry, endpoint: Endpoint, target: Target, weave: _Weave) -> None:
        super().__init__(_by_events(inquiry), endpoint, target)
        self._weave = weave

    def transform(self, max_event_bytes: int) -> Transform:
        """See Exchange."""
        return self._weave(self.codec.translator.stream_decoder(), Encoded(b""), max_event_bytes)


class _Foreign(Translated):
    """The request is translated, and the answer back."""

    def __init__(
        self,
        inquiry: Inquiry,
        codec: Codec,
        endpoint: Endpoint,
        target: Target,
        means: Means,
        weave: _Weave,
    ) -> None:
        super().__init__(inquiry, codec, endpoint, target, means)
        self._weave = weave

    def transform(self, max_event_bytes: int) -> Transform:
        """See Exchange."""
        return self._weave(self.codec.translator.stream_decoder(), self._encoded, max_event_bytes)


def _by_events(inquiry: Inquiry) -> Inquiry:
    """The same, its stream framed as the decoders read it: Gemini's can be asked for otherwise."""
    request = inquiry.request
    if request.framing is Framing.SSE:
        return inquiry
    return inquiry.with_request(_replace(request, framing=Framing.SSE))


def is_rescuable(inquiry: Inquiry) -> bool:
    """Whether the answer can be one that another endpoint could finish: one stream of text, asked
    for in a way that the neutral form understands. All others are relayed without a rescue.
    """
    request = inquiry.request
    if not (request.stream and is_generating(request.operation)):
        return False
    try:
        asked = inquiry.asked()
    except InvalidRequest:  # for the provider to judge, who may know more
        return False
    special = asked.hosted_tools or asked.web_search or asked.logprobs
    return asked.n in (None, 1) and not special and _TELLS_MORE.isdisjoint(asked.dropped)


def begin_rescuable(inquiry: Inquiry, endpoint: Endpoint, target: Target, means: Means) -> Exchange:
    """The exchange with the endpoint that is asked first. Raises what `exchange.begin` raises.

    Its transform is a RescuedStream, told by a SoFar.
    """
    codec = spoken(endpoint, inquiry.codec)
    so_far = SoFar(functools.partial(_encoder, inquiry, means, native=codec is inquiry.codec))
    weave = _weave(inquiry, means, so_far)
    if codec is inquiry.codec:
        return _Native(inquiry, endpoint, target, weave)
    return _Foreign(inquiry, codec, endpoint, target, means, weave)


def begin_prefilled(
    joint: Joint, text: str, inquiry: Inquiry, endpoint: Endpoint, target: Target, means: Means
) -> Exchange:
    """The exchange with an endpoint that shall go on after `text`. Raises likewise."""
    going_on = inquiry.with_asked(prefilled(inquiry.asked(), text))
    codec = spoken(endpoint, inquiry.codec)
    weave = _weave(inquiry, means, joint)
    return _Foreign(going_on, codec, endpoint, target, means, weave)


def begin_fresh(
    joint: Joint, inquiry: Inquiry, endpoint: Endpoint, target: Target, means: Means
) -> Exchange:
    """The exchange with an endpoint that shall answer from the beginning. Raises likewise."""
    codec = spoken(endpoint, inquiry.codec)
    weave = _weave(inquiry, means, joint)
    if codec is inquiry.codec:
        return _Native(inquiry, endpoint, target, weave)
    return _Foreign(inquiry, codec, endpoint, target, means, weave)


def can_prefill(inquiry: Inquiry, endpoint: Endpoint) -> bool:
    """Whether the catalogue says that the model goes on with an assistant's turn. With an answer of
    a given form none does: the form is held from the first letter on.
    """
    model = endpoint.model
    if model is None or model.capabilities.prefill is not True:
        return False
    return inquiry.asked().output is None


def parts_of(text: str) -> tuple[str, str]:
    """What a model is given to go on with, and what it then has to begin with: no API takes a last
    turn that ends in white space.
    """
    given = text.rstrip()
    return given, text[len(given) :]


def prefilled(asked: ir.Request, text: str) -> ir.Request:
    """The request with `text` as the beginning of the answer, after what the client itself may have
    begun it with. Its tokens, by estimate, are no longer to be had.
    """
    *before, last = asked.messages
    if last.role == "assistant":
        messages = [*before, ir.Message("assistant", list(_extended(last.blocks, text)))]
    else:
        messages = [*asked.messages, ir.Message("assistant", [ir.Text(text)])]
    limit = asked.max_tokens
    if limit is not None:
        limit = max(1, limit - len(text.encode()) // _BYTES_A_TOKEN)
    return _replace(asked, messages=messages, max_tokens=limit)


def _extended(blocks: list[ir.Block], text: str) -> Iterator[ir.Block]:
    *before, last = blocks or [ir.Text("")]
    yield from before
    if isinstance(last, ir.Text):
        yield _replace(last, text=last.text + text)
    else:
        yield last
        yield ir.Text(text)


def _weave(inquiry: Inquiry, means: Means, encoder: SoFar | Joint) -> _Weave:
    def weave(decoder: StreamDecoder, encoded: Encoded, max_event_bytes: int) -> RescuedStream:
        return RescuedStream(
            decoder,
            encoder,
            encoded,
            keep=functools.partial(means.memory.keep, inquiry.owner),
            max_event_bytes=max_event_bytes,
        )

    return weave


def _encoder(
    inquiry: Inquiry, means: Means, answer_id: str | None, *, native: bool
) -> StreamEncoder:
    """The client's encoder. The id of an answer of its own protocol stays: a client may go on from
    it. It is the first that any encoder asks for.
    """
    ids = iter((answer_id,) if native and answer_id else ())
    reply = Reply(
        request=inquiry.request,
        asked=inquiry.asked(),
        created_s=int(means.wall()),
        mint=lambda prefix: next(ids, None) or means.mint(prefix),
        request_id=inquiry.request_id,
        native=native,
    )
    return inquiry.codec.translator.stream_encoder(reply)
