"""Repeats stay a small share of the requests."""

from bitrouter.upstream.budget import RetryBudget


def allowed(budget: RetryBudget, now: float) -> int:
    count = 0
    while budget.repeat(now):
        count += 1
    return count


def test_three_are_always_allowed() -> None:
    assert allowed(RetryBudget(0.2), 5.0) == 3


def test_a_share_of_the_requests_is() -> None:
    budget = RetryBudget(0.2)
    for _ in range(100):
        budget.request(5.0)

    assert allowed(budget, 5.0) == 20


def test_both_are_forgotten_after_ten_seconds() -> None:
    budget = RetryBudget(0.2)
    for _ in range(100):
        budget.request(5.0)
    assert allowed(budget, 5.0) == 20

    assert allowed(budget, 14.9) == 0
    assert allowed(budget, 15.0) == 3


def test_the_window_slides_by_the_second() -> None:
    budget = RetryBudget(0.5)
    for second in range(10):
        for _ in range(10):
            budget.request(second)

    assert allowed(budget, 9.0) == 50
    budget.request(12.0)
    assert allowed(budget, 1000.0) == 3


def test_a_ratio_of_nothing_still_allows_a_few() -> None:
    budget = RetryBudget(0.0)
    for _ in range(1000):
        budget.request(1.0)

    assert allowed(budget, 1.0) == 3
