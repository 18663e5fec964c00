"""Everything that is tried. Importing the modules declares their features."""

from tests.matrix.feature import FEATURES
from tests.matrix.features import (
    conversation,
    ends,
    envelope,
    errors,
    media,
    output,
    reasoning,
    settings,
    state,
    tools,
)

__all__ = [
    "FEATURES",
    "conversation",
    "ends",
    "envelope",
    "errors",
    "media",
    "output",
    "reasoning",
    "settings",
    "state",
    "tools",
]
