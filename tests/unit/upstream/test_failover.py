"""Which endpoint is asked after one that gave no answer."""

from collections.abc import Sequence

import pytest

from bitrouter.errors import ConnectFailed, InvalidRequest, UnsupportedFeature, UpstreamError
from bitrouter.routing.table import Endpoint
from bitrouter.upstream.failover import AttemptsFailed, first_answer
from tests.support.routes import provider

ENDPOINTS = [Endpoint(provider(name), "m") for name in "abcd"]

Told = list[tuple[str, UpstreamError | None]]


class Script:
    """Answers each attempt in turn, raising what is an exception."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.told: Told = []

    async def attempt(self, endpoint: Endpoint) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return f"{answer} from {endpoint.provider.name}"

    def report(self, endpoint: Endpoint, error: UpstreamError | None) -> None:
        self.told.append((endpoint.provider.name, error))

    async def run(
        self, max_attempts: int = 3, endpoints: Sequence[Endpoint] = ENDPOINTS
    ) -> tuple[str, str, int]:
        answer, endpoint, number = await first_answer(
            endpoints, self.attempt, self.report, max_attempts
        )
        return answer, endpoint.provider.name, number


async def test_first_endpoint_that_answers_is_the_last_one_asked() -> None:
    script = Script("yes")

    assert await script.run() == ("yes from a", "a", 1)
    assert script.told == [("a", None)]


async def test_next_endpoint_is_asked_after_a_failure() -> None:
    refused, reset = ConnectFailed("refused"), UpstreamError("reset")
    script = Script(refused, reset, "yes")

    assert await script.run() == ("yes from c", "c", 3)
    assert script.told == [("a", refused), ("b", reset), ("c", None)]


async def test_error_that_must_not_be_repeated_ends_the_search() -> None:
    fatal = UpstreamError("bad request", retryable=False)
    script = Script(fatal, "never asked")

    with pytest.raises(AttemptsFailed) as caught:
        await script.run()

    assert (caught.value.last, caught.value.endpoint, caught.value.attempts) == (
        fatal,
        ENDPOINTS[0],
        1,
    )
    assert script.told == [("a", fatal)]


@pytest.mark.parametrize(("max_attempts", "asked"), [(1, "a"), (2, "ab"), (4, "abcd"), (9, "abcd")])
async def test_attempts_are_bounded_and_the_last_error_counts(
    max_attempts: int, asked: str
) -> None:
    errors = [UpstreamError(f"number {n}") for n in range(4)]
    script = Script(*errors)

    with pytest.raises(AttemptsFailed) as caught:
        await script.run(max_attempts)

    assert "".join(name for name, _ in script.told) == asked
    assert caught.value.last is errors[len(asked) - 1]
    assert caught.value.attempts == len(asked)


async def test_fault_that_is_nobodys_goes_straight_up() -> None:
    script = Script(ZeroDivisionError(), "never asked")

    with pytest.raises(ZeroDivisionError):
        await script.run()

    assert script.told == []


async def test_endpoint_that_cannot_be_told_the_request_is_passed_over() -> None:
    script = Script(UnsupportedFeature("no audio"), "answer")

    assert await script.run(max_attempts=1) == ("answer from b", "b", 1)
    assert script.told == [("b", None)]


async def test_request_that_nobody_can_be_told_is_refused_with_the_first_reason() -> None:
    script = Script(*(UnsupportedFeature(f"not {name}") for name in "abcd"))

    with pytest.raises(UnsupportedFeature, match="not a"):
        await script.run()

    assert script.told == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_endpoints_failure_says_more_than_that_another_could_not_be_asked(
    order: tuple[int, int],
) -> None:
    failure = UpstreamError("down")
    answers = [failure, InvalidRequest("not for this protocol")]
    script = Script(*(answers[place] for place in order))

    with pytest.raises(AttemptsFailed) as caught:
        await script.run(endpoints=ENDPOINTS[:2])

    assert (caught.value.last, caught.value.attempts) == (failure, 1)
