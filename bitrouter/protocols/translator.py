"""What a protocol must be able to do so that its clients and its providers meet any other's.

Four of the eight halves are a client's side (decode a request, encode an answer, a stream), four a
provider's (encode a request, decode an answer, a stream, an error). Between them stands the neutral
form of `bitrouter.ir`; no translator knows of another.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from bitrouter import ir
from bitrouter.config.schema import Traits
from bitrouter.errors import RouterError
from bitrouter.protocols.base import Request
from bitrouter.sse import SSEEvent


class Recipient(msgspec.Struct, frozen=True):
    """The model that a request is written for. `max_output_tokens` is None if it is not known."""

    model_id: str
    traits: Traits
    max_output_tokens: int | None = None


class Encoded(msgspec.Struct, frozen=True):
    """A request as a provider gets it.

    `dropped` names the fields of ir.Request, and what else could not be carried and changes no
    meaning. `headers` are those that the protocol wants on a call of the router's own. The rest is
    needed to read the answer: `names` are tool names as they were written, with the client's names
    for them; `wrapped` those free-text tools (client's names) that were sent as functions with one
    string property `input`; `answer_tool` the tool (as written) whose arguments are the answer.
    """

    body: bytes
    dropped: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    names: Mapping[str, str] = {}
    wrapped: frozenset[str] = frozenset()
    answer_tool: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """To whom an answer is written.

    `request` is what the client sent, `asked` what it meant. `created_s` is the time in Unix
    seconds; `mint` makes a new id that begins with the prefix it is given (`msg_`). `native` says
    that the answer is a stream of the client's own protocol, written anew: what came with it may go
    back to where it came from.
    """

    request: Request
    asked: ir.Request
    created_s: int
    mint: Callable[[str], str]
    request_id: str
    native: bool = False


class StreamDecoder(Protocol):
    """Reads the events of a provider's stream. `usage` is what they have said of it so far.

    The neutral events are well formed (ir.py, "the events of a stream") whatever the wire was, and
    each is given out on the very event that tells it. What cannot be understood is passed over.
    """

    @property
    def usage(self) -> ir.Usage | None:
        """The usage as far as it is known."""

    def decode(self, event: SSEEvent) -> list[ir.Event]:
        """What one event means; nothing after End or Failed."""

    def finish(self) -> list[ir.Event]:
        """The upstream's bytes have ended: what is still to be said, up to End.

        Without End so far, and without a finish reason to infer it from, that is Failed: cut off.
        """


class StreamEncoder(Protocol):
    """Writes a stream for a client, in the framing that it asked for."""

    def encode(self, events: ir.Events) -> bytes:
        """The bytes for `events`, which never hold Failed; empty if there is nothing to send yet.

        What one delta says is sent at once, unless the protocol has no way to say it in pieces.
        """

    def fail(self, error: RouterError) -> bytes:
        """The protocol's own error event, after which nothing follows: no normal end."""


class Translator(Protocol):
    """The eight halves of one protocol, in the order in which an exchange uses them."""

    @property
    def origin(self) -> str:
        """The letter of the vendor in signatures and envelopes: one of its own for each vendor."""

    @property
    def mark(self) -> bytes:
        """What is in every body of this protocol that holds an envelope: one of MARKS."""

    def decode_request(self, request: Request) -> ir.Request:
        """What a client's request means.

        Raises InvalidRequest, naming the place (`messages[3].content[1]`): when it is malformed,
        has an unknown role, or needs state that only its own vendor keeps.
        """

    def encode_request(self, request: ir.Request, recipient: Recipient) -> Encoded:
        """The request for a provider of this protocol.

        Raises UnsupportedFeature when leaving something out would change what the request means.
        """

    def decode_answer(self, body: bytes) -> ir.Answer:
        """What a provider's whole answer means. Raises BadResponse when it is no answer."""

    def encode_answer(self, answer: ir.Answer, reply: Reply) -> bytes:
        """A whole answer for a client of this protocol."""

    def stream_decoder(self) -> StreamDecoder:
        """A reader for one stream of a provider."""

    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        """A writer for one stream to a client."""

    def decode_error(self, status: int, body: bytes) -> ir.Failure:
        """What a provider's error answer, of any shape, says. Its status is the class of it."""

    def without_foreign(self, request: Request) -> Request:
        """A request on its way to a provider of this protocol, unchanged but for the envelopes in
        it: opened if they are this vendor's own, else removed with what they vouch for.
        """
