"""What the tests of a Messages client's requests have in common."""

from typing import Any

import pytest

from bitrouter.errors import InvalidRequest
from tests.unit.protocols.anthropic.wire import decoded

EPHEMERAL = {"type": "ephemeral"}


def refusal(**body: Any) -> str:
    """What is said to a request that is refused."""
    with pytest.raises(InvalidRequest) as caught:
        decoded(**body)
    return caught.value.detail
