"""Everything that is tried. Importing the modules declares their features."""

from typing import Final

from tests.matrix.feature import FEATURES, Feature
from tests.matrix.features import (
    citations,
    conversation,
    ends,
    envelope,
    errors,
    media,
    odd_histories,
    odd_requests,
    output,
    reasoning,
    settings,
    state,
    tool_choice,
    tool_schemas,
    tools,
    vendors,
)

# In the order in which they are told.
_MODULES: Final = (
    conversation,
    media,
    tools,
    tool_choice,
    tool_schemas,
    odd_histories,
    reasoning,
    vendors,
    output,
    citations,
    settings,
    state,
    ends,
    odd_requests,
    errors,
    envelope,
)


def all_features() -> list[Feature]:
    """Every feature, group by group."""
    order = [module.__name__ for module in _MODULES]
    return sorted(FEATURES, key=lambda one: order.index(one.attempt.__module__))
