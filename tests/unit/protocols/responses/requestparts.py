"""Parts of a Responses client's request."""

from typing import Any

import pytest

from bitrouter.errors import InvalidRequest
from tests.unit.protocols.responses.responseswire import asked

DATA = "data:image/png;base64,iVBORw0KGgo="


CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"b": 1,"a":2}'}


OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}


def refused(**members: Any) -> str:
    """What a client is told of a request with these members."""
    with pytest.raises(InvalidRequest) as caught:
        asked(**members)
    return caught.value.detail
