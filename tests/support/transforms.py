"""Following a transform as the relay does, without a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bitrouter.errors import RouterError
from bitrouter.ir import Usage
from bitrouter.protocols.base import Transform


@dataclass(frozen=True)
class Followed:
    """What went to the client, and what is known of the answer at its end."""

    sent: bytes
    started: bool
    complete: bool
    failed: str | None
    usage: Usage | None


def follow(transform: Transform, chunks: Iterable[bytes]) -> Followed:
    """Feed everything and finish."""
    sent = b"".join([*(transform.feed(chunk) for chunk in chunks), transform.finish()])
    return _followed(transform, sent)


def break_off(
    make: Callable[[], Transform], chunks: Iterable[bytes], error: RouterError
) -> Followed:
    """Feed everything and fail, as when the connection breaks."""
    transform = make()
    sent = b"".join([*(transform.feed(chunk) for chunk in chunks), transform.fail(error)])
    return _followed(transform, sent)


def _followed(transform: Transform, sent: bytes) -> Followed:
    failed = transform.failed.message if transform.failed else None
    return Followed(sent, transform.started, transform.complete, failed, transform.usage)
