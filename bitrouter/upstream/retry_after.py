"""How long a provider asks to be left alone.

Retry-After: RFC 9110, section 10.2.3. retry-after-ms is what OpenAI's and Anthropic's servers add,
because it is finer, so it wins.
"""

import email.utils
import re
from collections.abc import Mapping
from typing import Final

RETRY_HEADERS: Final = ("retry-after", "retry-after-ms")

_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_LONGEST_S: Final = 86_400.0


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from `now`, which is Unix time. `headers` finds names in any case.

    None when nothing is said, and when what is said makes no sense: no number and no date, a time
    that is past, or more than a day.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _sane(milliseconds / 1000)
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    return _sane(seconds if seconds is not None else _until(text, now))


def _number(text: str | None) -> float | None:
    return float(text) if text and _NUMBER.fullmatch(text.strip()) else None


def _until(text: str, now: float) -> float | None:
    """Seconds until an HTTP date."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _sane(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST_S else None
