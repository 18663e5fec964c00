"""A paid call does what it must, once, and nothing besides: by count, for time says little."""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitrouter.access.keys import KEYS_FILE, encode_keys, make_key
from bitrouter.exchange.tally import Tally
from bitrouter.payments import gate, verify
from bitrouter.server import till
from tests.support.dialects import ANTHROPIC, CHAT, DIALECTS, Dialect
from tests.support.stall import OpenStall, wallet
from tests.support.upstream import sse

PROTOCOLS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
SCHEMES = pytest.mark.parametrize("scheme", ["upto", "exact"])


class CountedTally(Tally):
    """One that notes who asks it."""

    work: Counter[str]

    @property
    def output_tokens(self) -> int:
        self.work["tallied"] += 1
        return super().output_tokens


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the costly steps was done."""
    done: Counter[str] = Counter()

    def count(module: Any, name: str, what: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        @functools.wraps(original)
        def counted(*given: Any, **named: Any) -> Any:
            done[what] += 1
            return original(*given, **named)

        monkeypatch.setattr(module, name, counted)

    count(gate, "decode_header", "decoded")
    count(verify, "recover_address", "recovered")
    count(gate, "required", "refused")
    count(till, "measure_if_quick", "measured")
    count(till, "measure", "measured aside")

    def sha256(data: bytes) -> Any:
        done["hashed"] += 1
        return hashlib.sha256(data)

    monkeypatch.setattr(till, "hashlib", SimpleNamespace(sha256=sha256))
    monkeypatch.setattr(CountedTally, "work", done, raising=False)
    monkeypatch.setattr(till, "Tally", CountedTally)
    return done


@SCHEMES
@PROTOCOLS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_signature_is_recovered_once_and_a_body_measured_once(
    sell: OpenStall, work: Counter[str], dialect: Dialect, scheme: str, stream: bool
) -> None:
    stall = await sell(dialect, scheme)
    payment = await stall.signed(wallet(scheme), dialect=dialect, stream=stream)
    stall.facilitator.calls.clear()
    work.clear()
    assert (await stall.ask(payment, dialect, stream=stream)).status == 200
    # The request was never seen before, so there was nothing to compare it with; and the provider
    # says itself what it has used.
    assert work == {"decoded": 1, "recovered": 1, "measured": 1}
    assert [path for path, _, _ in stall.facilitator.calls] == ["/verify", "/settle"]


async def test_a_flat_price_needs_no_measure(sell: OpenStall, work: Counter[str]) -> None:
    stall = await sell()
    payment = await stall.signed(wallet(), model="flat")
    work.clear()
    assert (await stall.ask(payment, model="flat")).status == 200
    assert work == {"decoded": 1, "recovered": 1}


async def test_what_was_paid_for_is_hashed_once_where_its_payment_has_a_name(
    sell: OpenStall, work: Counter[str]
) -> None:
    stall = await sell()
    payment = await stall.signed(wallet())
    name = {"payment-identifier": {"info": {"required": False, "id": "a-name-of-16-characters"}}}
    payment["extensions"] = {**payment.get("extensions", {}), **name}
    work.clear()
    assert (await stall.ask(payment)).status == 200
    assert work["hashed"] == 1
    work.clear()
    assert (await stall.ask(payment)).status == 200  # the same answer
    assert work == {"decoded": 1, "recovered": 1, "measured": 1, "hashed": 1}
    assert len(stall.upstream.received) == 1


async def test_a_stream_is_counted_where_the_provider_does_not_say(
    sell: OpenStall, work: Counter[str]
) -> None:
    stall = await sell()
    silent = [one for one in CHAT.events if b'"usage"' not in one]
    stall.upstream.script = lambda received: sse(*silent)
    payment = await stall.signed(wallet(), stream=True)
    work.clear()
    assert (await stall.ask(payment, stream=True)).status == 200
    assert work["tallied"] == 1


async def test_who_has_a_key_passes_by_all_of_it(
    sell: OpenStall, work: Counter[str], tmp_path: Path
) -> None:
    text, key = make_key("test", 0)
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / KEYS_FILE).write_bytes(encode_keys([key]))
    stall = await sell(ANTHROPIC)
    stall.facilitator.calls.clear()
    work.clear()
    for stream in (False, True):
        answer = await stall.ask(dialect=ANTHROPIC, stream=stream, headers={"x-api-key": text})
        assert answer.status == 200
    assert not work
    assert not stall.facilitator.calls
