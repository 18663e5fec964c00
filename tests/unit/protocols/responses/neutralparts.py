"""Parts of a request in the neutral form."""

from typing import Any

from bitrouter import ir
from tests.unit.protocols.responses.responseswire import neutral


def with_tools(*tools: ir.Tool, **fields: Any) -> ir.Request:
    """A request with these tools, or with a function `f`."""
    return neutral(tools=[*tools] or [ir.Tool("f")], **fields)
