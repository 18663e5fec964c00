"""The kinds of load: what is asked, in which protocol, how often at once."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from bench import chat, messages
from bench.content import EVENTS, question
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
    `translated`, its clients speak Anthropic Messages and ask the same.
    """

    body_kb: float
    stream: bool
    connections: int
    translated: bool = False

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


# Body and connections of those that pass through, and of those that are translated too.
_PASSED: Final = ((0.3, 1), (0.3, 32), (1, 32), (100, 1), (100, 32))
_TRANSLATED: Final = ((0.3, 32), (1, 32))

SCENARIOS: Final = tuple(
    Scenario(body_kb, stream, connections, translated)
    for stream in (False, True)
    for body_kb, connections in _PASSED
    for translated in (False, True)
    if not translated or (body_kb, connections) in _TRANSLATED
)


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


def is_answer(scenario: Scenario, body: bytes) -> bool:
    """Whether a body is the right and complete answer."""
    return _dialect(scenario).is_answer(body, stream=scenario.stream)
