"""The kinds of load: what is asked, in which protocol, how often at once."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from bench import chat, messages
from bench.content import ANSWER, EVENTS, STAMP, WORDS, question, unstamped
from bench.http1 import http_request


class Dialect(Protocol):
    """What a client speaks: `bench.chat` or `bench.messages`."""

    PATH: str
    HEADER_LINES: bytes

    def request_body(self, question: str, *, stream: bool) -> bytes:
        """A request with the system prompt and `question`."""

    def is_answer(self, body: bytes, *, stream: bool) -> bool:
        """Whether a body is the right and complete answer."""


class Scenario(msgspec.Struct, frozen=True):
    """One kind of load on a provider that speaks chat.

    `body_kb` is the size of a chat client's body, in thousands of bytes. If the load is
    `translated`, its clients speak Anthropic Messages and ask the same. An `exact` answer is what
    the provider said to the byte; from a gateway that writes its answers anew, the text must do.
    """

    body_kb: float
    stream: bool
    connections: int
    translated: bool = False
    exact: bool = True

    @property
    def name(self) -> str:
        """As the table shows it and the command line takes it."""
        kind = f"stream{EVENTS}" if self.stream else "whole"
        end = "-translated" if self.translated else ""
        return f"{self.body_kb:g}kB-{kind}-c{self.connections}{end}"

    @property
    def twin(self) -> "Scenario":
        """The same asked by a chat client: itself, unless it is translated."""
        return msgspec.structs.replace(self, translated=False)


SCENARIOS: Final = (
    Scenario(0.3, stream=False, connections=1),
    Scenario(0.3, stream=False, connections=64),
    Scenario(0.3, stream=False, connections=64, translated=True),
    Scenario(100, stream=False, connections=32),
    Scenario(1000, stream=False, connections=8),
    Scenario(0.3, stream=True, connections=200),
    Scenario(0.3, stream=True, connections=200, translated=True),
)

MAX_RATIOS: Final = {
    "0.3kB-whole-c64": 0.60,
    "100kB-whole-c32": 0.80,
    "1000kB-whole-c8": 0.85,
    "0.3kB-whole-c64-translated": 1.00,
    "0.3kB-stream200-c200": 0.90,
    "0.3kB-stream200-c200-translated": 1.40,
}
"""What a scenario may cost, as a multiple of the bare proxy's CPU time."""


def choose(text: str) -> Sequence[Scenario]:
    """Those with `text` in their name, and the twins of those that are translated."""
    named = [scenario for scenario in SCENARIOS if text in scenario.name]
    wanted = {*named, *(scenario.twin for scenario in named)}
    return [scenario for scenario in SCENARIOS if scenario in wanted]


def groups(scenarios: Sequence[Scenario]) -> Sequence[Sequence[Scenario]]:
    """Each load once: how it is passed through, and after that, if so wanted, translated."""
    twins = [scenario for scenario in scenarios if not scenario.translated]
    return [[one for one in scenarios if one.twin == twin] for twin in twins]


def _dialect(scenario: Scenario) -> Dialect:
    return messages if scenario.translated else chat


def request_body(scenario: Scenario) -> bytes:
    """A body whose question is as long as the chat client's body wants it."""
    stream = scenario.stream
    frame = len(chat.request_body("", stream=stream))
    asked = question(int(scenario.body_kb * 1000) - frame)
    return _dialect(scenario).request_body(asked, stream=stream)


def request(scenario: Scenario) -> bytes:
    """The whole HTTP request."""
    dialect = _dialect(scenario)
    return http_request(dialect.PATH, dialect.HEADER_LINES, request_body(scenario))


def _is_told(scenario: Scenario, body: bytes) -> bool:
    if scenario.stream:
        return len(STAMP.findall(body)) == WORDS and b"[DONE]" in body
    return ANSWER.encode() in body


def is_answer(scenario: Scenario, body: bytes) -> bool:
    """Whether a body is the right and complete answer."""
    if not scenario.exact:
        return _is_told(scenario, body)
    whole = unstamped(body) if scenario.stream else body
    return _dialect(scenario).is_answer(whole, stream=scenario.stream)
