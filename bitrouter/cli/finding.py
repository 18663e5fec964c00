"""One thing that `bitrouter doctor` has looked at."""

from typing import Literal

import msgspec

State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was looked at, how it is, in one sentence, and what to do about it if it is not well.

    `warn` is for what works and may not be what was meant. No finding shows a credential.
    """

    check: str
    state: State
    said: str
    advice: str = ""
