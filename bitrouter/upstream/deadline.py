"""The end of a client's patience, whatever is tried for it."""

import math
from typing import Final

import msgspec


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """Until when one request may take, all attempts and pauses together, until its answer is
    certain: `at` is a time of the loop's clock, `span_s` the seconds that there were, `timer` the
    name of their setting in section `timeouts`.
    """

    at: float
    span_s: float
    timer: str = "total"


NO_DEADLINE: Final = Deadline(math.inf, math.inf)
