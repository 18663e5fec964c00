"""What a wire protocol is to the rest of the program.

A codec knows its protocol's paths, where a body holds the model and the stream flag, how a provider
is addressed, and what usage, errors and the end of an answer look like. It is stateless; what
follows one answer is a `Transform`. What requests and answers mean is its `translator`'s part.
"""

import re
from typing import Protocol

from bitrouter.config.schema import Traits
from bitrouter.errors import RouterError
from bitrouter.ir import Usage
from bitrouter.protocols.base import (
    Bound,
    ErrorAnswer,
    HeaderReader,
    Operation,
    Request,
    Transform,
)
from bitrouter.protocols.translator import Translator


class Codec(Protocol):
    """One wire protocol. Implementations are stateless; see `bitrouter.protocols.CODECS`."""

    @property
    def name(self) -> str:
        """The protocol's folder and metric label: chat, responses, anthropic, google."""

    @property
    def api_protocol(self) -> str:
        """Its word in bitrouter.yaml: openai, responses, anthropic, google."""

    @property
    def family(self) -> str:
        """`RouteEntry.protocol` of the API document: openai, anthropic, google."""

    @property
    def response_headers(self) -> frozenset[str]:
        """Names (lower case) of a provider's headers that its clients may see."""

    @property
    def keepalive(self) -> bytes:
        """What may be sent in a silent event stream without being an event; empty if nothing."""

    @property
    def last_event(self) -> re.Pattern[bytes] | None:
        """Finds where the last event of a stream begins, before which a comment may stand; None
        where its clients take no comments.
        """

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What the protocol can be asked to do."""

    @property
    def own_prefixes(self) -> tuple[str, ...]:
        """Beginnings of paths that only its clients ask for, whatever may be there."""

    @property
    def translator(self) -> Translator:
        """The protocol to and from the neutral form."""

    def match(self, path: str) -> tuple[Operation, str | None] | None:
        """The operation at a URL path, with the model if the path names it; None if not ours."""

    def read(
        self, operation: Operation, path_model: str | None, query: str, body: bytes
    ) -> Request:
        """Read a request. Raises InvalidRequest when it is malformed."""

    def read_bound(self, request: Request) -> Bound:
        """How much the request lets be generated. Raises InvalidRequest where that is no number
        that makes sense, or where the work could not be measured.
        """

    def metered(self, request: Request, traits: Traits, limit: int | None) -> Request:
        """The request such that what it uses is known in the end, and that no more than `limit`
        tokens are generated where it is given. The client's own limit stands.
        """

    def passthrough_body(self, request: Request, model_id: str) -> bytes:
        """The body for a provider of this protocol: the model replaced, the rest untouched."""

    def upstream_url(self, api_base: str, request: Request, model_id: str) -> str:
        """Where a provider of this protocol serves the request, without the client's query."""

    def credential_headers(self, key: str) -> dict[str, str]:
        """The protocol's own way to present a provider's key."""

    def request_headers(self, header: HeaderReader) -> dict[str, str]:
        """The protocol headers that go to the provider, taken from those of the client."""

    def passthrough(self, request: Request, max_event_bytes: int, request_id: str) -> Transform:
        """The transform for a stream of this protocol to a client of this protocol."""

    def read_usage(self, request: Request, body: bytes) -> Usage | None:
        """The usage in a whole answer. Raises BadResponse when the body is not a JSON object."""

    def read_error(self, body: bytes) -> str | None:
        """The message in a provider's error body, None if it is not of this protocol."""

    def blames_key(self, body: bytes) -> bool:
        """Whether an error body says that the key is wrong, where the status does not."""

    def encode_error(self, error: RouterError, request_id: str) -> ErrorAnswer:
        """An error as this protocol's clients expect it."""

    def encode_count(self, tokens: int) -> bytes:
        """The answer of the protocol's token counter; empty where it has none."""

    def example(self, model: str, prompt: str) -> tuple[str, bytes]:
        """A smallest request to generate: its path and its body."""
