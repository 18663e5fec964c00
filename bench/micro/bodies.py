"""What a large body costs that passes through: looked at, searched for a mark, its model replaced.

Run from the top of the repository: `python -m bench.micro.bodies`. Takes some seconds. Times are
CPU time of the process; the best of several repeats counts, since other work on the machine only
ever adds. `--kb` is the size of the bodies.
"""

import argparse
import base64
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bench.micro.translate import best_us
from bitrouter.protocols.base import Request
from bitrouter.protocols.chat.codec import GENERATE, ChatCodec
from bitrouter.protocols.continuity import MARKS, may_hold

REPEATS: Final = 20
KB: Final = 100
_CALLS: Final = 10
_SEED: Final = 20
_ENGLISH: Final = (
    "Take tram 4 from platform B to the Old Market; the museum is two minutes from there on foot."
)
_RUSSIAN: Final = (
    "Садитесь на трамвай 4 от платформы Б до Старого рынка; музей в двух минутах ходьбы."
)
_CODE: Final = '    if line["stop"] != wanted.get("stop", ""):\n        print(f"{line}\\n")\n'

_codec: Final = ChatCodec()


class BodyCost(msgspec.Struct, frozen=True):
    """Microseconds of CPU time for a body of so many bytes. `mark_us` and `mark_in_base64_us` are
    the search for each of the two marks, of which a body is searched for one.
    """

    content: str
    size: int
    read_us: float
    mark_us: float
    mark_in_base64_us: float
    replace_us: float


def contents(size: int) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The messages of bodies of about `size` bytes, by what they are made of."""
    image = base64.b64encode(random.Random(_SEED).randbytes(size * 3 // 4)).decode()
    url = f"data:image/png;base64,{image}"
    accented = f"{_times(_ENGLISH, size // 2)} Café, Zürich {_times(_ENGLISH, size // 2)}"
    turns = [
        {"role": "user", "content": [{"type": "text", "text": _ENGLISH}]}
        for _ in range(size // 145)
    ]
    return {
        "English, lines": _said(_times(_ENGLISH + "\n", size)),
        "English, two accents": _said(accented),
        "Russian": _said(_times(_RUSSIAN, size)),
        "code": _said(_times(_CODE, size)),
        "many messages": turns,
        "an image": _said([{"type": "image_url", "image_url": {"url": url}}]),
    }


def _times(text: str, size: int) -> str:
    return text * (size // len(msgspec.json.encode(text)) + 1)


def _said(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


def request_body(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """A request of Chat Completions, as its SDKs write it."""
    return msgspec.json.encode(
        {"messages": messages, "model": "bench", "stream": True, "temperature": 0.2}
    )


def _read(body: bytes) -> Request:
    return _codec.read(GENERATE, None, "", body)


def measure(content: str, body: bytes, repeats: int) -> BodyCost:
    """Measure one body."""
    request = _read(body)
    mark, mark_in_base64 = MARKS
    return BodyCost(
        content,
        len(body),
        best_us(lambda: _read(body), _CALLS, repeats),
        best_us(lambda: may_hold(body, mark), _CALLS, repeats),
        best_us(lambda: may_hold(body, mark_in_base64), _CALLS, repeats),
        best_us(lambda: _codec.passthrough_body(request, "bench-1"), _CALLS, repeats),
    )


def measure_all(kb: int, repeats: int) -> list[BodyCost]:
    """Measure all contents, in bodies of so many kB."""
    return [
        measure(content, request_body(messages), repeats)
        for content, messages in contents(kb * 1000).items()
    ]


def table(costs: Sequence[BodyCost]) -> Iterable[str]:
    """The figures as lines."""
    yield "A body that passes through: CPU time in microseconds, the best of several repeats"
    yield (f"{'':24}{'kB':>8}{'read':>10}{'mark':>10}{'in base64':>11}{'model replaced':>16}")
    for cost in costs:
        yield (
            f"{cost.content:24}{cost.size / 1000:8.0f}{cost.read_us:10.1f}{cost.mark_us:10.1f}"
            f"{cost.mark_in_base64_us:11.1f}{cost.replace_us:16.1f}"
        )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.bodies")
    parser.add_argument("--kb", type=int, default=KB)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    print("\n".join(table(measure_all(given.kb, given.repeats))))


if __name__ == "__main__":
    main()
