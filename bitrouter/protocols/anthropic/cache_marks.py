"""Prompt-cache marks as Anthropic takes them: at most four, the longer-lived first.

Source: protocols.md, 1.3 and 2.8; Anthropic, Prompt caching ("Mixing different TTLs").
"""

from typing import Any, Final

from bitrouter.ir import CacheMark

_MAX_MARKS: Final = 4
_USUAL_S: Final = 300
EPHEMERAL: Final = {"type": "ephemeral"}
_FOR_AN_HOUR: Final = {"type": "ephemeral", "ttl": "1h"}


def cache_control(mark: CacheMark) -> dict[str, str]:
    """The value of `cache_control`: whatever is to live longer than usual lives an hour."""
    return EPHEMERAL if mark.ttl_s is None or mark.ttl_s <= _USUAL_S else _FOR_AN_HOUR


class CacheMarks:
    """The marks of one request, in the order of its prompt: tools, system, messages."""

    def __init__(self) -> None:
        self._marked: list[dict[str, Any]] = []

    def put(self, block: dict[str, Any], mark: CacheMark | None) -> None:
        """Mark a block of the request."""
        if mark is not None:
            block["cache_control"] = cache_control(mark)
            self._marked.append(block)

    def settle(self, taken: int) -> None:
        """Keep the last ones, `taken` of four being used elsewhere. A mark that would live longer
        than one before it lives as long as that: the API refuses it otherwise.
        """
        kept = max(_MAX_MARKS - taken, 0)
        for block in self._marked[: max(len(self._marked) - kept, 0)]:
            del block["cache_control"]
        short = False
        for block in self._marked:
            if (control := block.get("cache_control")) is None:
                continue
            if short:
                block["cache_control"] = EPHEMERAL
            short = short or control is EPHEMERAL
