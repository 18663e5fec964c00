"""How much the model is told to think (protocols.md, 1.3 and 2.5).

Newer models take a word (`adaptive`), older ones a budget of tokens that has to fit into
`max_tokens`. Neither is possible with a call that is forced; and a budget asks for the thinking
that led to the calls whose results are now handed in.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bitrouter.config.schema import Traits
from bitrouter.ir import Message, Reasoning, Request, Thinking, ToolCall
from bitrouter.protocols.thinking import MIN_BUDGET, budget_of, effort_of, nearest_effort
from bitrouter.protocols.translator import Recipient

_USUAL_MAX_TOKENS: Final = 8192
_ROOM: Final = 1024  # tokens left to answer with
_WORDS: Final = ("none", "low", "medium", "high", "xhigh", "max")


class ThinkingPlan(msgspec.Struct):
    """`max_tokens`, in tokens, and what goes with it: `thinking`, and the word of effort.

    `lost` says that the model should have been told to think and cannot be.
    """

    max_tokens: int
    thinking: dict[str, Any] | None = None
    effort: str | None = None
    lost: bool = False

    @property
    def on(self) -> bool:
        """Whether the model is told to think."""
        return self.thinking is not None and self.thinking["type"] != "disabled"

    def off(self, traits: Traits) -> bool:
        """Whether the model does not think. Newer ones may when they are told nothing."""
        return traits.reasoning in ("budget", "none") if self.thinking is None else not self.on


def plan_thinking(
    request: Request, turns: Sequence[Message], recipient: Recipient, *, forced: bool
) -> ThinkingPlan:
    """What to tell about thinking and the length of the answer. `turns` are in order; `forced`
    says that a tool has to be called.
    """
    limit = request.max_tokens
    if limit is None:
        limit = recipient.max_output_tokens or _USUAL_MAX_TOKENS
    plan = ThinkingPlan(limit)
    wanted, style = request.thinking, recipient.traits.reasoning
    if wanted is None:
        return plan
    if style == "none":
        plan.lost = budget_of(wanted) not in (None, 0)
    elif style == "budget":
        _plan_budget(plan, request, recipient, possible=not forced and _may_go_on(turns))
    else:
        _plan_effort(plan, wanted, recipient.traits, forced=forced)
    return plan


def _plan_effort(plan: ThinkingPlan, wanted: Thinking, traits: Traits, *, forced: bool) -> None:
    taken = [word for word in traits.efforts if word in _WORDS] or _WORDS
    effort = effort_of(wanted)
    if effort is not None:
        effort = nearest_effort(effort, taken)
    if effort == "none":
        plan.thinking = {"type": "disabled"}
        return
    if forced and "none" in taken:
        plan.thinking = {"type": "disabled"}
        plan.lost = True
        return
    plan.effort = effort
    if effort is not None or wanted.adaptive or wanted.budget_tokens or wanted.visible:
        plan.thinking = {"type": "adaptive"}
        if wanted.visible is not None:
            plan.thinking["display"] = "summarized" if wanted.visible else "omitted"


def _plan_budget(
    plan: ThinkingPlan, request: Request, recipient: Recipient, *, possible: bool
) -> None:
    wanted = request.thinking
    budget = budget_of(wanted) if wanted else None
    if wanted is None or not budget:
        return
    if not possible:
        plan.lost = True
        return
    if budget < 0:
        budget = plan.max_tokens - _ROOM
    budget = max(budget, MIN_BUDGET)
    if request.max_tokens is None and budget + _ROOM > plan.max_tokens:
        most = recipient.max_output_tokens
        plan.max_tokens = budget + _ROOM if most is None else min(budget + _ROOM, most)
    if budget >= plan.max_tokens:
        budget = plan.max_tokens - _ROOM
    if budget < MIN_BUDGET:
        plan.lost = True
    else:
        plan.thinking = {"type": "enabled", "budget_tokens": budget}
        if wanted.visible is False:
            plan.thinking["display"] = "omitted"


def _may_go_on(turns: Sequence[Message]) -> bool:
    """Whether the model may be told to think here: not in the middle of what it is to go on with,
    nor after calls of which the thinking is lost.
    """
    if turns[-1].role == "assistant":
        return False
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if last is None or not any(isinstance(block, ToolCall) for block in last.blocks):
        return True
    return isinstance(last.blocks[0], Reasoning)
