"""What translating costs, without a network: each client's protocol on each other provider's.

Run from the top of the repository: `python -m bench.micro.translate`. Takes some seconds. Times are
CPU time of the process; the best of several repeats counts, since other work on the machine only
ever adds. `--json` writes the figures for programs.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Sequence
from time import process_time_ns
from typing import Final

import msgspec

from bench.micro.wires import INPUT_TOKENS, WIRES, Wire
from bitrouter.config.schema import Traits
from bitrouter.exchange.stream import TranslatedStream
from bitrouter.protocols import CODECS
from bitrouter.protocols.base import Request, Transform
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.translator import Encoded, Recipient, Reply

REPEATS: Final = 100
QUICK_REPEATS: Final = 40
_CALLS: Final = 20  # in a repeat, which has to be short to go by undisturbed
_MAX_EVENT_BYTES: Final = 1 << 20
_RECIPIENT: Final = Recipient("model-2026", Traits())


class PairCost(msgspec.Struct, frozen=True):
    """Microseconds of CPU time for one client's protocol on one provider's.

    `request` is both halves of a request, `answer` both of a whole answer; `event` is one delta of
    a stream, in which `passed` is what it costs where the client speaks the provider's protocol.
    """

    client: str
    provider: str
    request_us: float
    answer_us: float
    event_us: float
    passed_us: float


class Party:
    """A protocol and what is said in it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.codec = _codec(wire.protocol)
        self.asked = _read(self.codec, wire.path, wire.request)
        self.asked_stream = _read(self.codec, wire.stream_path, wire.stream_request)


def _codec(name: str) -> Codec:
    return next(codec for codec in CODECS if codec.name == name)


def _read(codec: Codec, target: str, body: bytes) -> Request:
    path, _, query = target.partition("?")
    found = codec.match(path)
    if found is None:
        raise ValueError(f"{codec.name} does not serve {path}")
    operation, model = found
    return codec.read(operation, model, query, body)


def best_us(work: Callable[[], object], calls: int, repeats: int) -> float:
    """Microseconds of one call, in the best of `repeats` repeats of `calls` calls."""
    best = min(_repeat_ns(work, calls) for _ in range(repeats))
    return best / calls / 1000


def _repeat_ns(work: Callable[[], object], calls: int) -> int:
    began_ns = process_time_ns()
    for _ in range(calls):
        work()
    return process_time_ns() - began_ns


def mint(prefix: str) -> str:
    return prefix + "0123456789abcdef01234567"


def translate_request(client: Party, provider: Party) -> Encoded:
    """Both halves of a request."""
    asked = client.codec.translator.decode_request(client.asked)
    return provider.codec.translator.encode_request(asked, _RECIPIENT)


def translate_answer(client: Party, provider: Party, reply: Reply) -> bytes:
    """Both halves of a whole answer."""
    answer = provider.codec.translator.decode_answer(provider.wire.answer)
    return client.codec.translator.encode_answer(answer, reply)


def _reply(client: Party, request: Request) -> Reply:
    asked = client.codec.translator.decode_request(request)
    return Reply(request, asked, created_s=1_760_000_000, mint=mint, request_id="bench")


def translated_stream(client: Party, provider: Party) -> TranslatedStream:
    """What the provider's stream goes through on its way to the client."""
    reply = _reply(client, client.asked_stream)
    encoded = provider.codec.translator.encode_request(reply.asked, _RECIPIENT)
    return TranslatedStream(
        provider.codec.translator.stream_decoder(),
        client.codec.translator.stream_encoder(reply),
        encoded,
        keep=lambda blocks: None,
        max_event_bytes=_MAX_EVENT_BYTES,
    )


def passed_stream(provider: Party) -> Transform:
    """What it goes through to a client of the provider's own protocol."""
    return provider.codec.passthrough(provider.asked_stream, _MAX_EVENT_BYTES, "bench")


def event_us(make: Callable[[], Transform], wire: Wire, repeats: int) -> float:
    """Microseconds of one delta, each in a chunk of its own.

    Raises ValueError when a transform does not make a whole answer of the stream.
    """
    best = min(_stream_ns(make(), wire) for _ in range(repeats))
    return best / len(wire.deltas) / 1000


def _stream_ns(transform: Transform, wire: Wire) -> int:
    feed = transform.feed
    for chunk in wire.opening:
        feed(chunk)
    began_ns = process_time_ns()
    for chunk in wire.deltas:
        feed(chunk)
    took_ns = process_time_ns() - began_ns
    for chunk in wire.closing:
        feed(chunk)
    transform.finish()
    usage = transform.usage
    if not transform.complete or usage is None or usage.input_tokens != INPUT_TOKENS:
        raise ValueError(f"{wire.protocol}: the stream was not understood")
    return took_ns


def measure(client: Party, provider: Party, repeats: int) -> PairCost:
    """Measure one pair."""
    reply = _reply(client, client.asked)
    return PairCost(
        client.wire.protocol,
        provider.wire.protocol,
        best_us(lambda: translate_request(client, provider), _CALLS, repeats),
        best_us(lambda: translate_answer(client, provider, reply), _CALLS, repeats),
        event_us(lambda: translated_stream(client, provider), provider.wire, repeats),
        event_us(lambda: passed_stream(provider), provider.wire, repeats),
    )


def measure_all(repeats: int) -> list[PairCost]:
    """Measure all pairs."""
    parties = [Party(wire) for wire in WIRES]
    return [measure(*pair, repeats) for pair in itertools.permutations(parties, 2)]


def table(pairs: Sequence[PairCost]) -> Iterable[str]:
    """The figures as lines."""
    if not pairs:
        return
    yield "The translators alone: CPU time in microseconds, the best of several repeats"
    yield f"{'':24}{'decode and encode':27}{'a delta of a stream'}"
    yield (
        f"{'client':11}{'provider':11}{'a request':>11}{'an answer':>11}"
        f"{'translated':>14}{'passed':>9}{'added':>8}"
    )
    for pair in pairs:
        added_us = pair.event_us - pair.passed_us
        yield (
            f"{pair.client:11}{pair.provider:11}{pair.request_us:11.1f}{pair.answer_us:11.1f}"
            f"{pair.event_us:14.2f}{pair.passed_us:9.2f}{added_us:8.2f}"
        )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.translate")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args()
    pairs = measure_all(given.repeats)
    print(msgspec.json.encode(pairs).decode() if given.json else "\n".join(table(pairs)))


if __name__ == "__main__":
    main()
