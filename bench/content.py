"""What is asked and answered in every scenario, in whichever protocol it is said."""

import re
from typing import Final

MODEL: Final = "bench"  # what clients ask for
UPSTREAM_MODEL: Final = "bench-1"  # what the provider is asked for, and says
SYSTEM: Final = "Be brief."
MAX_TOKENS: Final = 256
TEMPERATURE: Final = 0.2

ANSWER: Final = (
    "It should pass on what it is given, quickly and whole, because everything else is built on"
    " that."
)
WORD: Final = " word"  # of a stream, each in an event of its own
EVENTS: Final = 200  # of a stream, as the provider sends it
WORDS: Final = EVENTS - 2  # without that of the finish reason, and the end marker
# A model writes some 30 to 200 tokens a second. At this pace 200 streams keep a proxy a quarter
# busy, so that it reads and writes nearly every event by itself, as it would in earnest.
EVENT_GAP_S: Final = 0.02

# What the provider says in place of the word: when it said so, in microseconds of the monotonic
# clock, which is the same in all processes. It passes a translation, being text of the answer.
STAMPED_WORD: Final = " t%016d"
STAMP: Final = re.compile(rb" t(\d{16})")

INPUT_TOKENS: Final = 34
ANSWER_TOKENS: Final = 18

_QUESTION: Final = "Name one thing that a router for language models should do well, and why. "


def question(length: int) -> str:
    """A question of so many characters, all of them ASCII and none that JSON escapes."""
    return (_QUESTION * (length // len(_QUESTION) + 1))[:length]


def unstamped(body: bytes) -> bytes:
    """A stream as it would be if the provider had said the words."""
    return STAMP.sub(WORD.encode(), body)
