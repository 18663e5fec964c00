"""Which endpoint is asked after one that gave no answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bitrouter.errors import InvalidRequest, UpstreamError
from bitrouter.routing.table import Endpoint

T = TypeVar("T")


class AttemptsFailed(Exception):
    """No endpoint gave an answer; `last` is the error of the last one asked."""

    def __init__(self, last: UpstreamError, endpoint: Endpoint, attempts: int) -> None:
        super().__init__()
        self.last = last
        self.endpoint = endpoint
        self.attempts = attempts


async def first_answer(
    endpoints: Sequence[Endpoint],
    attempt: Callable[[Endpoint], Awaitable[T]],
    report: Callable[[Endpoint, UpstreamError | None], None],
    max_attempts: int,
) -> tuple[T, Endpoint, int]:
    """Ask the endpoints in order until one answers: the answer, who gave it, the attempts made.

    An `attempt` returns once the answer is certain and nothing has been sent to the client, or
    raises UpstreamError. An error that is not retryable ends the search; every other goes on to
    the next endpoint, `max_attempts` in all. Each attempt is told to `report`, with its error.

    An endpoint to which the request cannot be written (InvalidRequest; for some only because of
    the protocol that they speak) was not asked: the next one is, and if it is the same with all of
    them the first's reason is raised. Raises AttemptsFailed.
    """
    unsaid: InvalidRequest | None = None
    failed: AttemptsFailed | None = None
    made = 0
    for endpoint in endpoints:
        if made == max_attempts:
            break
        try:
            answer = await attempt(endpoint)
        except InvalidRequest as error:
            unsaid = unsaid or error
        except UpstreamError as error:
            made += 1
            report(endpoint, error)
            failed = AttemptsFailed(error, endpoint, made)
            failed.__cause__ = error
            if not error.retryable:
                break
        else:
            report(endpoint, None)
            return answer, endpoint, made + 1
    if failed is not None:
        raise failed
    if unsaid is not None:
        raise unsaid
    raise ValueError("a route has at least one endpoint")
