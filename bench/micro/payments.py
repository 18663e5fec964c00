"""The parts of a paid call, each by itself, in a process of its own.

Run from the top of the repository: `python -m bench.micro.payments`. CPU time of the process, all
threads; the best of several repeats counts. `--json` writes the figures for programs.
"""

import argparse
import asyncio
import contextlib
import functools
import hashlib
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from time import process_time_ns
from typing import Final

import msgspec
import orjson
import uvloop

from bench import chat
from bench.content import question
from bench.facilitator import NETWORK, SIGNER
from bench.micro.translate import best_us
from bench.process import free_port, python, running
from bench.wallet import Wallet, wall
from bitrouter.config.schema import Facilitator as FacilitatorSettings
from bitrouter.config.schema import PaymentLimits, Pricing, RoutePrice
from bitrouter.exchange.estimate import measure
from bitrouter.exchange.tally import Tally
from bitrouter.payments.counters import Counters
from bitrouter.payments.curve import recover_address
from bitrouter.payments.encoding import decode_header, encode_header
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.journal import Entry, Journal
from bitrouter.payments.ledger import Ledger
from bitrouter.payments.match import find_match
from bitrouter.payments.price import quote, tariff
from bitrouter.payments.terms import Authorization, Receipt, Terms
from bitrouter.payments.verify import check_payment
from bitrouter.protocols import CODECS
from bitrouter.protocols.base import Framing
from bitrouter.protocols.codec import Codec

_USDC: Final = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
_SELLER: Final = "0x" + "5e" * 20
_CALLS: Final = 50
_REPEATS: Final = 40
_HASH: Final = "0x" + "ab" * 32
_RECEIPT: Final = Receipt(
    success=True, transaction=_HASH, network=NETWORK, payer="0x" + "aa" * 20, amount="5000"
)


class Part(msgspec.Struct, frozen=True):
    """One step, in microseconds of CPU time."""

    name: str
    us: float


def _terms(scheme: str) -> Terms:
    extra = {"name": "USDC", "version": "2"}
    if scheme == "upto":
        extra |= {"assetTransferMethod": "permit2", "facilitatorAddress": SIGNER}
    return Terms(scheme, NETWORK, "5000", _USDC, _SELLER, 600, extra)


def _body(size: int) -> bytes:
    frame = len(chat.request_body("", stream=False))
    return chat.request_body(question(size - frame), stream=False)


def _best(name: str, work: Callable[[], object], calls: int = _CALLS) -> Part:
    return Part(name, best_us(work, calls, _REPEATS))


def local_parts(scheme: str) -> Iterator[Part]:
    """What is done with a payment before anybody is asked."""
    terms = _terms(scheme)
    wallet = Wallet()
    header = wallet.header(orjson.loads(msgspec.json.encode(terms)))
    payload = decode_header(header)
    offers = [_terms("upto"), _terms("exact")]
    now = wall()

    def check() -> Authorization:
        return check_payment(terms, payload, now=now, min_remaining_s=120)

    yield _best(f"{scheme}: header decode", lambda: decode_header(header))
    yield _best(f"{scheme}: match", lambda: find_match(payload["accepted"], offers))
    yield _best(f"{scheme}: check, recovery included", check)
    signature = bytes.fromhex(payload["payload"]["signature"][2:])
    digest = hashlib.sha256(b"any").digest()
    yield _best(f"{scheme}: recovery alone", lambda: recover_address(digest, signature))
    authorization = check()
    ledger = Ledger(PaymentLimits())

    def reserve() -> None:
        ledger.reserve(authorization, now, permit2=terms.uses_permit2)
        ledger.release(authorization)

    yield _best(f"{scheme}: ledger, reserve and release", reserve)


def _pricing_parts() -> Iterator[Part]:
    price = tariff(RoutePrice(input=0.3, output=1.2))
    pricing = Pricing()
    for size in (300, 1000, 100_000):
        name = f"quote: {size / 1000:g} kB body measured"
        yield _best(name, functools.partial(measure, _body(size)))
    many = orjson.dumps(
        {
            "model": "bench",
            "messages": [{"role": "user", "content": question(400)}] * 230,
        }
    )
    yield _best("quote: 100 kB in 230 messages measured", lambda: measure(many))
    yield _best("quote: price", lambda: quote(price, 1000, 256, pricing).ceiling(6))
    yield _best("receipt encoding", lambda: encode_header(_RECEIPT))


def _tally_part() -> Part:
    codec = next(one for one in CODECS if one.name == "chat")
    best = min(_tally_ns(codec) for _ in range(_REPEATS))
    return Part("tally of a stream without usage: an event", best / len(chat.EVENTS) / 1000)


def _tally_ns(codec: Codec) -> int:
    tally = Tally(codec, Framing.SSE, 1 << 20)
    began_ns = process_time_ns()
    for event in chat.EVENTS:
        tally.count(event)
    if not tally.output_tokens:
        raise ValueError("the stream was not understood")
    return process_time_ns() - began_ns


async def _cpu_us(work: Callable[[], Awaitable[object]], calls: int, repeats: int) -> float:
    """Microseconds of one call, all threads, in the best of `repeats`."""
    best = None
    for _ in range(repeats):
        began_ns = process_time_ns()
        for _ in range(calls):
            await work()
        took_ns = process_time_ns() - began_ns
        best = took_ns if best is None else min(best, took_ns)
    return (best or 0) / calls / 1000


async def _facilitator_parts(url: str) -> list[Part]:
    facilitator = Facilitator(
        FacilitatorSettings(url=url), wall=wall, counters=Counters(), resource_url=""
    )
    terms = _terms("exact")
    payload = decode_header(Wallet().header(orjson.loads(msgspec.json.encode(terms))))
    try:
        verify = await _cpu_us(lambda: facilitator.verify(payload, terms), 100, 10)
        settle = await _cpu_us(lambda: facilitator.settle(payload, terms), 100, 10)
    finally:
        await facilitator.close()
    return [Part("facilitator: verify", verify), Part("facilitator: settle", settle)]


def _entry(number: int) -> Entry:
    terms = _terms("exact")
    return Entry(
        id=f"req-{number}",
        key=f"{NETWORK}/{_USDC}/0x{'aa' * 20}/{number:064x}",
        payer="0x" + "aa" * 20,
        network=NETWORK,
        asset=_USDC,
        scheme="exact",
        version=2,
        payload=msgspec.json.encode({"signature": "0x" + "51" * 65, "more": "x" * 600}),
        terms=msgspec.json.encode(terms),
        ceiling=5000,
        expires_at=4_000_000_000,
        state="open",
        created_at=0.0,
        updated_at=0.0,
        model="bench",
    )


async def _journal_part(directory: Path, together: int) -> Part:
    journal = Journal(directory, wall=wall)
    numbers = itertools.count()
    change = msgspec.structs.replace

    async def one() -> None:
        entry = _entry(next(numbers))
        journal.note(entry)
        await journal.keep(change(entry, state="settling", amount=5000))
        journal.note(change(entry, state="settled", amount=5000))

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(together)))

    try:
        cost = await _cpu_us(many, 20, 5) / together
    finally:
        await journal.close()
    return Part(f"journal, both threads, {together} payments at a time", cost)


def measure_all() -> list[Part]:
    """Everything."""
    parts = [*local_parts("exact"), *local_parts("upto"), *_pricing_parts(), _tally_part()]
    with contextlib.ExitStack() as stack:
        port = free_port()
        stack.enter_context(running(python("bench.facilitator", port), port))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            parts += runner.run(_facilitator_parts(f"http://127.0.0.1:{port}"))
            for together in (1, 32):
                with tempfile.TemporaryDirectory() as directory:
                    parts.append(runner.run(_journal_part(Path(directory), together)))
    return parts


def parts_table(parts: Iterable[Part]) -> Iterator[str]:
    """The figures as lines."""
    yield "The parts of a paid call alone: CPU time in microseconds, the best of several repeats"
    for part in parts:
        yield f"  {part.name:46}{part.us:9.1f}"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.payments")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args()
    parts = measure_all()
    print(msgspec.json.encode(parts).decode() if given.json else "\n".join(parts_table(parts)))


if __name__ == "__main__":
    main()
