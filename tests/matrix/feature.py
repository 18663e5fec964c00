"""A feature: what is tried, and what is declared to become of it in each cell."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tests.matrix.cell import Cell
from tests.matrix.outcome import CLIENTS, FULL, Outcome, spelled

Modes = Literal["both", "either", "streamed"]
Try = Callable[[Cell], Awaitable[None]]


@dataclass(frozen=True)
class Feature:
    """`clients` are those whose protocol can ask for it at all; `to` what becomes of it at an
    upstream when translated, `between` in one cell, native ones included; full where neither says.
    `modes` is `both`, `streamed` where there is nothing to see otherwise, or, where it is the
    request alone that matters, `either`: whole in half of the cells and streamed in the others.
    """

    group: str
    title: str
    attempt: Try
    clients: Sequence[str]
    to: Mapping[str, Outcome]
    between: Mapping[tuple[str, str], Outcome]
    models: str
    modes: Modes

    def streamed(self, client: str, upstream: str) -> tuple[bool, ...]:
        """How it is tried in a cell: whole, streamed, or both one after the other."""
        if self.modes == "both":
            return (False, True)
        if self.modes == "streamed":
            return (True,)
        turn = CLIENTS.index(client) + CLIENTS.index(upstream) + len(self.title)
        return (bool(turn % 2),)

    def declared(self, client: str, upstream: str) -> Outcome:
        """What becomes of it, in neutral names."""
        if (client, upstream) in self.between:
            return self.between[client, upstream]
        return FULL if client == upstream else self.to.get(upstream, FULL)

    def outcome(self, client: str, upstream: str) -> Outcome:
        """The same in the client's names."""
        return spelled(self.declared(client, upstream), client)


FEATURES: Final[list[Feature]] = []


def feature(
    group: str,
    title: str,
    *,
    clients: Sequence[str] = CLIENTS,
    to: Mapping[str, Outcome] | None = None,
    between: Mapping[tuple[str, str], Outcome] | None = None,
    models: str = "plain",
    modes: Modes = "both",
) -> Callable[[Try], Try]:
    """Declare a feature. The decorated function tries it, and asserts what is left of it."""

    def declare(attempt: Try) -> Try:
        assert all(one.title != title for one in FEATURES), title
        FEATURES.append(
            Feature(group, title, attempt, clients, to or {}, between or {}, models, modes)
        )
        return attempt

    return declare


def every_pair(
    outcome: Outcome,
    *,
    clients: Sequence[str] = CLIENTS,
    upstreams: Sequence[str] = CLIENTS,
    native: bool = False,
) -> dict[tuple[str, str], Outcome]:
    """The same outcome for many cells; for native ones only if `native`."""
    return {
        (client, upstream): outcome
        for client in clients
        for upstream in upstreams
        if native or client != upstream
    }
