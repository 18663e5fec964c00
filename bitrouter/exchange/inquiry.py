"""What a client asks, as every attempt at answering it needs it."""

import msgspec

from bitrouter import ir
from bitrouter.envelope import check_depth, refuse_duplicates
from bitrouter.protocols.base import HeaderReader, Request
from bitrouter.protocols.codec import Codec
from bitrouter.slices import LARGE


class Metering(msgspec.Struct, frozen=True):
    """That what a request uses has to be known. `limit` is how many tokens each answer may have
    where the client does not say; None where it does.
    """

    limit: int | None


class Inquiry(msgspec.Struct):
    """One client's request. Read into the neutral form once, and only if an endpoint needs that.

    `header` reads the client's headers; `owner` says whose conversation it is: the id of the
    caller's key, empty where there are no keys. `max_depth` is limits.max_json_depth. `metering` is
    None where nobody pays by use. `known` is what the request means, once somebody has asked.
    """

    codec: Codec
    request: Request
    header: HeaderReader
    request_id: str
    owner: str
    max_depth: int
    metering: Metering | None = None
    known: ir.Request | None = None

    __repr__ = object.__repr__  # what a client says is not for a log

    def with_request(self, request: Request) -> "Inquiry":
        """The same with the request in another form; what it means stays."""
        return msgspec.structs.replace(self, request=request)

    def with_asked(self, asked: ir.Request) -> "Inquiry":
        """The same, meaning something else."""
        return msgspec.structs.replace(self, known=asked)

    def asked(self) -> ir.Request:
        """What the request means. Raises InvalidRequest."""
        if self.known is None:
            request = self.request
            check_depth(request.body, self.max_depth)
            refuse_duplicates(request.body, request.fields)
            asked = self.codec.translator.decode_request(request)
            if self.metering is not None and asked.max_tokens is None:
                asked = msgspec.structs.replace(asked, max_tokens=self.metering.limit)
            if len(self.request.body) > LARGE:
                asked.is_large = True
            self.known = asked
        return self.known


class Whole(msgspec.Struct, frozen=True):
    """A whole answer for the client. `content_type` None: as the upstream says it."""

    body: bytes
    usage: ir.Usage | None
    content_type: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """An endpoint's error answer. `body` is its own, where the client knows the shape; empty where
    `failure` says it all.
    """

    failure: ir.Failure
    body: bytes = b""
