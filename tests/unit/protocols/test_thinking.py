"""How much to think: words of effort, budgets of tokens, and one for the other."""

import pytest

from bitrouter.ir import Effort, Thinking
from bitrouter.protocols.thinking import EFFORTS, MIN_BUDGET, budget_of, effort_of, nearest_effort

LOW_TO_HIGH = ("low", "medium", "high")


@pytest.mark.parametrize(
    ("effort", "budget"),
    [
        ("none", 0),
        ("minimal", 1024),
        ("low", 2048),
        ("medium", 8192),
        ("high", 16384),
        ("xhigh", 24576),
        ("max", -1),
    ],
)
def test_every_effort_has_a_budget(effort: Effort, budget: int) -> None:
    assert budget_of(Thinking(effort=effort)) == budget


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (0, "none"),
        (1, "minimal"),
        (1024, "minimal"),
        (1025, "low"),
        (4096, "low"),
        (4097, "medium"),
        (12288, "medium"),
        (12289, "high"),
        (20480, "high"),
        (20481, "xhigh"),
        (10**9, "xhigh"),
    ],
)
def test_every_budget_has_an_effort(budget: int, effort: Effort) -> None:
    assert effort_of(Thinking(budget_tokens=budget)) == effort


@pytest.mark.parametrize("effort", [one for one in EFFORTS if one != "max"])
def test_an_effort_survives_its_budget(effort: Effort) -> None:
    budget = budget_of(Thinking(effort=effort))
    assert effort_of(Thinking(budget_tokens=budget)) == effort


def test_the_smallest_budget_that_thinks_is_one_that_anthropic_takes() -> None:
    assert budget_of(Thinking(effort="minimal")) == MIN_BUDGET


def test_what_is_left_to_the_model_has_no_effort() -> None:
    assert effort_of(Thinking()) is None
    assert effort_of(Thinking(adaptive=True)) is None
    assert effort_of(Thinking(budget_tokens=-1)) is None


def test_what_is_left_to_the_model_is_a_budget_of_minus_one_and_nothing_said_is_none() -> None:
    assert budget_of(Thinking(adaptive=True)) == -1
    assert budget_of(Thinking(budget_tokens=-1)) == -1
    assert budget_of(Thinking()) is None
    assert budget_of(Thinking(visible=True)) is None


def test_what_was_said_outright_counts() -> None:
    both = Thinking(effort="low", budget_tokens=20000, adaptive=True)
    assert (effort_of(both), budget_of(both)) == ("low", 20000)


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_model_that_names_no_words_takes_all(effort: Effort) -> None:
    assert nearest_effort(effort, ()) == effort


@pytest.mark.parametrize(
    ("effort", "taken", "expected"),
    [
        ("medium", LOW_TO_HIGH, "medium"),
        ("none", LOW_TO_HIGH, "low"),
        ("minimal", LOW_TO_HIGH, "low"),
        ("max", LOW_TO_HIGH, "high"),
        ("medium", ("low", "high"), "low"),
        ("medium", ("high", "low"), "low"),
        ("xhigh", ("none", "low", "medium", "high", "max"), "high"),
        ("low", ("high",), "high"),
    ],
)
def test_another_word_becomes_the_nearest_the_lower_of_two(
    effort: Effort, taken: tuple[str, ...], expected: str
) -> None:
    assert nearest_effort(effort, taken) == expected


def test_little_thinking_does_not_become_none() -> None:
    assert nearest_effort("minimal", ("none", *LOW_TO_HIGH)) == "low"
    assert nearest_effort("none", ("none", *LOW_TO_HIGH)) == "none"


def test_a_model_that_cannot_think_is_told_so() -> None:
    assert nearest_effort("high", ("none",)) == "none"
