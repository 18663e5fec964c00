"""How much a model is told to think, in each vendor's terms.

Source: protocols.md, 2.5, "Effort".
"""

from collections.abc import Sequence
from typing import Final

from bitrouter.ir import Effort, Thinking

EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MIN_BUDGET: Final = 1024
_BUDGETS: Final[dict[Effort, int]] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
}
# The largest budget that still counts as the word.
_UP_TO: Final[tuple[tuple[int, Effort], ...]] = (
    (0, "none"),
    (1024, "minimal"),
    (4096, "low"),
    (12288, "medium"),
    (20480, "high"),
)


def effort_of(thinking: Thinking) -> Effort | None:
    """The word for it; None where the model is to decide, or nothing was said."""
    if thinking.effort is not None:
        return thinking.effort
    budget = thinking.budget_tokens
    if budget is None or budget < 0:
        return None
    return next((effort for most, effort in _UP_TO if budget <= most), "xhigh")


def budget_of(thinking: Thinking) -> int | None:
    """Tokens to think with: 0 switches it off, -1 leaves it to the model (and is what `max` is);
    None if nothing was said.
    """
    if thinking.budget_tokens is not None:
        return thinking.budget_tokens
    if thinking.effort is None:
        return -1 if thinking.adaptive else None
    if thinking.effort == "none":
        return 0
    return _BUDGETS.get(thinking.effort, -1)


def nearest_effort(effort: Effort, taken: Sequence[str]) -> Effort:
    """The word closest to `effort` of those that a model takes; the lower of two. All if empty.

    Thinking is not switched off for want of a word for a little of it.
    """
    if not taken or effort in taken:
        return effort
    place = EFFORTS.index(effort)
    known = [word for word in EFFORTS if word in taken and word != "none"]
    return min(known, key=lambda word: abs(EFFORTS.index(word) - place), default="none")
