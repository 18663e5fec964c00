"""Marks for prompt caches as a Responses provider takes them. Source: protocols.md, 1.1 and 2.8."""

from typing import Any, Final, Literal

from bitrouter.ir import CacheMark

_MAX_MARKS: Final = 4
# How long a mark without a time lives: cache_control as OpenRouter takes it, and a breakpoint.
_CONTROL_S: Final = 300
_BREAKPOINT_S: Final = 1800


class CacheMarks:
    """The marks of one request, in the order of its prompt. `hints` is Traits.cache_hints.

    `left_out` says that there was one for which there is no way.
    """

    def __init__(self, hints: Literal["none", "cache_control", "breakpoints"]) -> None:
        self._hints = hints
        self._marked: list[dict[str, Any]] = []
        self.left_out = False

    @property
    def are_taken(self) -> bool:
        """Whether the provider takes marks at all."""
        return self._hints != "none"

    def put(self, part: dict[str, Any], mark: CacheMark) -> None:
        """Mark a part of a message, or an output of a call."""
        if self._hints == "none" or part.get("type") == "input_audio":
            self.left_out = True
            return
        lives_s = mark.ttl_s or 0
        if self._hints == "cache_control":
            lasting = {"ttl": "1h"} if lives_s > _CONTROL_S else {}
            part["cache_control"] = {"type": "ephemeral"} | lasting
        else:
            lasting = {"ttl": "12h"} if lives_s > _BREAKPOINT_S else {}
            part["prompt_cache_breakpoint"] = {"mode": "explicit"} | lasting
        if not (self._marked and self._marked[-1] is part):
            self._marked.append(part)

    def settle(self) -> None:
        """Take off all but the last four, which is as many as there may be."""
        for part in self._marked[:-_MAX_MARKS]:
            part.pop("cache_control", None)
            part.pop("prompt_cache_breakpoint", None)
