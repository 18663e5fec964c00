"""What a paid call costs in CPU time: `make bench-payments`, some minutes.

The same call is made with a key and with payments, on one router; with a key on a router that sells
nothing; and with payments on a router that trusts every payment (`bench.trusting`), whose
facilitator costs nothing. In each round all take turns, and what is compared is of one round.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import report
from bench.content import MODEL, UPSTREAM_MODEL
from bench.customer import Load, Means
from bench.facilitator import NETWORK
from bench.micro.payments import Part, parts_table
from bench.process import (
    ROOT,
    Child,
    free_port,
    python,
    router_environ,
    run_module,
    running,
    split_cores,
)
from bench.runs import differences, ratios, spread
from bench.wallet import wall
from bitrouter.access.keys import KEYS_FILE, encode_keys, make_key

_SELLER: Final = "0x" + "5e" * 20
# After the last answer the journal writes how the payments ended.
_SETTLED_AFTER_S: Final = 0.5

BARE: Final = "bare proxy"
OFF: Final = "payments off"
SHOP: Final = "payments on"
TRUSTING: Final = "facilitator free"


class Kind(msgspec.Struct, frozen=True):
    """What is asked. `requests` are those of a round in full; a quick one makes a quarter."""

    body_kb: float
    stream: bool
    connections: int
    requests: int

    def load(self, means: Means, share: float) -> Load:
        """The same as one run's load."""
        count = max(int(self.requests * share), self.connections)
        return Load(means, self.body_kb, self.stream, self.connections, count)


KINDS: Final = (
    Kind(0.3, stream=False, connections=1, requests=240),
    Kind(0.3, stream=False, connections=32, requests=1920),
    Kind(100, stream=False, connections=32, requests=960),
    Kind(0.3, stream=True, connections=64, requests=256),
    Kind(100, stream=True, connections=64, requests=256),
)

# Where a load is sent, and how it is paid for.
SIDES: Final[Sequence[tuple[str, Means]]] = (
    (BARE, "key"),
    (OFF, "key"),
    (SHOP, "key"),
    (SHOP, "exact"),
    (SHOP, "upto"),
    (TRUSTING, "key"),
    (TRUSTING, "exact"),
    (TRUSTING, "upto"),
)


class Result(msgspec.Struct, frozen=True):
    """All of one bench. `runs` are microseconds of CPU time for a request, one for each round."""

    host: report.Host
    runs: dict[str, dict[str, list[float]]]
    parts: list[Part]


def _settings(port: int, upstream: int, facilitator: int | None, state_dir: Path) -> str:
    sale = ""
    if facilitator is not None:
        offer = f"network: '{NETWORK}', asset: usdc, pay_to: '{_SELLER}'"
        sale = (
            "payments: {x402: {enabled: true, public_base_url: 'https://router.example',"
            f" facilitator: {{url: 'http://127.0.0.1:{facilitator}'}},"
            f" accepts: [{{scheme: upto, {offer}}}, {{scheme: exact, {offer}}}]}}}}\n"
        )
    return (
        f"server: {{listen: '127.0.0.1:{port}', state_dir: '{state_dir}'}}\n"
        f"providers: {{up: {{api_protocol: openai, api_base: 'http://127.0.0.1:{upstream}',"
        " api_key: bench}}\n"
        f"models: {{{MODEL}: {{price: {{input: 0.3, output: 1.2}},"
        f" endpoints: [{{provider: up, model_id: {UPSTREAM_MODEL}}}]}}}}\n{sale}"
    )


def _router(
    stack: contextlib.ExitStack, module: str, upstream: int, facilitator: int | None, key: bytes
) -> Child:
    """A router in a directory of its own, whose key file is `key`."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-payments-")))
    (home / KEYS_FILE).write_bytes(key)
    port = free_port()
    config = home / "bitrouter.yaml"
    config.write_text(_settings(port, upstream, facilitator, home))
    command = python(module, "serve", "--config", config)
    return stack.enter_context(running(command, port, router_environ(home), cores=split_cores()[0]))


def _start(stack: contextlib.ExitStack, key_file: bytes) -> Mapping[str, Child]:
    measured, others = split_cores()
    up, facilitator, bare = free_port(), free_port(), free_port()
    for module, port in (("bench.brief", up), ("bench.facilitator", facilitator)):
        stack.enter_context(running(python(module, port), port, cores=others))
    return {
        BARE: stack.enter_context(
            running(python("bench.bare_proxy", bare, up), bare, cores=measured)
        ),
        OFF: _router(stack, "bitrouter", up, None, key_file),
        SHOP: _router(stack, "bitrouter", up, facilitator, key_file),
        TRUSTING: _router(stack, "bench.trusting", up, facilitator, key_file),
    }


def _cost_us(target: Child, load: Load, key: str) -> float:
    """CPU time of the target for one request. Raises RuntimeError when an answer is wrong."""
    given = msgspec.json.encode(load).decode()
    with subprocess.Popen(
        python("bench.customer", target.port, given, key),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        os.sched_setaffinity(process.pid, split_cores()[1])
        assert process.stdin is not None
        assert process.stdout is not None
        _expect(process.stdout.readline(), "ready", load)
        time.sleep(_SETTLED_AFTER_S)  # for what is left of the warm-up
        before_ns = target.cpu_ns()
        process.stdin.write("go\n")
        process.stdin.flush()
        _expect(process.stdout.readline(), "done", load)
        time.sleep(_SETTLED_AFTER_S)
        return (target.cpu_ns() - before_ns) / 1000 / load.made


def _expect(said: str, wanted: str, load: Load) -> None:
    if said.strip() != wanted:
        raise RuntimeError(f"{load.name} with {load.means} failed; see above")


def measure(kinds: Sequence[Kind], rounds: int, share: float) -> dict[str, dict[str, list[float]]]:
    """Every kind of call on every side, in turns: by kind, and by side, microseconds a request."""
    key, kept = make_key("bench", int(wall()))
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        targets = _start(stack, encode_keys([kept]))
        for number in range(rounds):
            for kind in kinds:
                name = kind.load("key", share).name
                if sys.stderr.isatty():
                    print(f"\rround {number + 1}: {name:40}\r", end="", file=sys.stderr, flush=True)
                for target, means in _in_turn(number):
                    cost = _cost_us(targets[target], kind.load(means, share), key)
                    sides = found.setdefault(name, {})
                    sides.setdefault(f"{target}/{means}", []).append(cost)
    return found


def _in_turn(number: int) -> Sequence[tuple[str, Means]]:
    """The sides, another one first in each round."""
    first = number % len(SIDES)
    return [*SIDES[first:], *SIDES[:first]]


def table(runs: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The figures for people."""
    lines = ["CPU time of the router's process for a request, microseconds: median (least to most)"]
    for name, sides in runs.items():
        lines += ["", name]
        bare, plain = sides[f"{BARE}/key"], sides[f"{SHOP}/key"]
        for side, costs in sides.items():
            ratio = statistics.median(ratios(costs, bare))
            lines.append(f"  {side:24}{spread(costs, '.0f'):>28}   {ratio:5.2f} of the bare proxy")
        added = {"payments on, with a key": differences(plain, sides[f"{OFF}/key"])}
        for means in ("exact", "upto"):
            # Each of one process: two differ by a tenth, whatever they run.
            gate = differences(sides[f"{TRUSTING}/{means}"], sides[f"{TRUSTING}/key"])
            added[f"{means}: the gate adds"] = gate
            paid = differences(sides[f"{SHOP}/{means}"], plain)
            added[f"{means}: the facilitator adds"] = differences(paid, gate)
        lines += [_line(what, costs, bare) for what, costs in added.items()]
    return "\n".join(lines)


def _line(what: str, added: Sequence[float], bare: Sequence[float]) -> str:
    ratio = statistics.median(ratios(added, bare))
    return f"  {what:28}{spread(added, '+.0f'):>24}   {ratio:+5.2f} of the bare proxy"


def main() -> int:
    """Measure and report. 1 if something answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.payments", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="how many")
    parser.add_argument("--only", metavar="TEXT", default="", help="calls with TEXT in their name")
    given = parser.parse_args()
    kinds = [kind for kind in KINDS if given.only in kind.load("key", 1).name]
    if not kinds:
        names = ", ".join(kind.load("key", 1).name for kind in KINDS)
        parser.error(f"no call has {given.only!r} in its name; there are {names}")
    host = report.describe_host()
    try:
        parts = run_module("bench.micro.payments", list[Part], "--json")
        runs = measure(kinds, given.rounds or (3 if given.quick else 7), 0.25 if given.quick else 1)
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(table(runs))
    print("\n".join(("", *parts_table(parts))))
    file = report.result_file(host, "payments.json")
    file.write_bytes(msgspec.json.format(msgspec.json.encode(Result(host, runs, parts)), indent=2))
    print(f"All of it: {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
