"""What Anthropic's models take, which differs from one generation to the next.

Source: protocols.md, 1.3 and 2.5 ("Which style a model takes").
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Abilities:
    """What a model takes."""

    manual_thinking: bool = True
    adaptive_thinking: bool = True
    effort: bool = True
    structured_output: bool = True
    sampling: bool = True
    temperature_with_top_p: bool = False
    prefill: bool = False


_BY_NAME: Final = (
    (
        "claude-3-5",
        Abilities(
            manual_thinking=False,
            adaptive_thinking=False,
            effort=False,
            structured_output=False,
            temperature_with_top_p=True,
            prefill=True,
        ),
    ),
    ("claude-sonnet-4-5", Abilities(adaptive_thinking=False, effort=False, prefill=True)),
    ("claude-opus-4-6", Abilities()),
    ("claude-opus-5", Abilities(manual_thinking=False, sampling=False)),
)


def abilities(model: str) -> Abilities | None:
    """What a model takes; None if there is no such model."""
    return next((found for name, found in _BY_NAME if model.startswith(name)), None)
