"""Clients that go on asking, and count what they get instead of stopping at the first fault."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.load import Client
from bench.scenarios import Scenario, request

_ANSWER_WITHIN_S: Final = 60.0
_PAUSE_AFTER_FAILURE_S: Final = 0.5
_KEPT_FAILURES: Final = 20
_SETTLED_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.02


class Tally:
    """What a crowd got: `done` whole and right answers, and `failed` ones, of which the first few
    are told in `failures`.
    """

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.failures: list[str] = []

    @property
    def asked(self) -> int:
        """Requests that have ended, well or not."""
        return self.done + self.failed

    def fail(self, scenario: Scenario, error: Exception) -> None:
        """Count an answer that is missing, cut or wrong."""
        self.failed += 1
        if len(self.failures) < _KEPT_FAILURES:
            said = str(error)[:300]
            self.failures.append(f"{scenario.name}: {type(error).__name__}: {said}")


async def keep_asking(
    port: int, scenario: Scenario, tally: Tally, go_on: Callable[[], bool]
) -> None:
    """One client on one connection: it asks again when it is answered, as long as `go_on`.

    After a failure, or an answer that says so, it makes a new connection. What runs when `go_on`
    turns is read to its end.
    """
    loop = asyncio.get_running_loop()
    sent = request(scenario)
    while go_on():
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                transport, client = await loop.create_connection(Client, "127.0.0.1", port)
            while go_on() and not client.is_last:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    await client.exchange(scenario, sent)
                tally.done += 1
        except (OSError, ValueError, TimeoutError) as error:
            tally.fail(scenario, error)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)
        finally:
            if transport is not None:
                transport.abort()


class Account(msgspec.Struct, frozen=True):
    """What the router counted: requests by outcome, reloads by result, requests that run."""

    outcomes: dict[str, int]
    reloads: dict[str, int]
    inflight: int


async def read_account(session: aiohttp.ClientSession) -> Account:
    """Ask the router's metrics page."""
    async with session.get("/metrics", headers={"Accept": "text/plain"}) as response:
        response.raise_for_status()
        text = await response.text()
    outcomes: Counter[str] = Counter()
    reloads: Counter[str] = Counter()
    inflight = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "bitrouter_requests_total":
                outcomes[sample.labels["outcome"]] += int(sample.value)
            elif sample.name == "bitrouter_config_reloads_total":
                reloads[sample.labels["result"]] += int(sample.value)
            elif sample.name == "bitrouter_inflight_requests":
                inflight = int(sample.value)
    return Account(dict(outcomes), {k: n for k, n in reloads.items() if n}, inflight)


async def settled_account(session: aiohttp.ClientSession, asked: int) -> Account:
    """The account once it has so many requests: one is counted when its last byte has gone, which
    its client may have seen a moment before. What is there after some seconds, if it never has.
    """
    until = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        account = await read_account(session)
        enough = sum(account.outcomes.values()) >= asked and not account.inflight
        if enough or time.monotonic() > until:
            return account
        await asyncio.sleep(_POLL_S)


def agree(tally: Tally, account: Account) -> bool:
    """Whether nothing failed, and the router counted exactly the answers that came."""
    return not tally.failed and account.outcomes == {"ok": tally.done} and not account.inflight


def describe(tally: Tally, account: Account) -> str:
    """Both sides' figures, and the first failures."""
    counted = ", ".join(f"{name} {count:,}" for name, count in sorted(account.outcomes.items()))
    lines = [
        f"answers: {tally.done:,} whole and right, {tally.failed:,} failed;"
        f" the router counted {counted or 'nothing'}, {account.inflight} still run",
        *(f"FAILED {failure}" for failure in tally.failures),
    ]
    return "\n".join(lines)
