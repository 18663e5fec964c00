"""Messages requests whose use is paid for: how much may come out."""

from bitrouter.config.schema import Traits
from bitrouter.protocols.base import Bound, Request, read_count


def read_bound(request: Request) -> Bound:
    """See Codec.read_bound. The API insists on the limit."""
    return Bound(read_count(request.fields, "max_tokens"))


def metered(request: Request, traits: Traits, limit: int | None) -> Request:
    """See Codec.metered. The limit is the client's own, and every stream has its usage."""
    return request
