"""The same load through other gateways. `make bench-peers`.

A peer runs from an environment of its own, since its dependencies are no business of ours:
`.venv-peers`, which the verb makes; LITELLM in the environment names another `litellm`. Peers that
are not there are left out, and said to be. A peer writes its answers anew, so that they are checked
by what they say.
"""

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import report
from bench.chart import Bar, bars
from bench.content import EVENTS, MODEL, UPSTREAM_MODEL
from bench.driver import Measured, drive
from bench.process import ROOT, Child, free_port, router_environ, split_cores
from bench.run import start_targets
from bench.runs import BARE, DIRECT, ROUTER
from bench.scenarios import Scenario

_ROUNDS: Final = 3
_SECONDS: Final = 2.0
_WARM_UP_S: Final = 1.0

SCENARIOS: Final = (
    Scenario(0.3, stream=False, connections=1, exact=False),
    Scenario(0.3, stream=False, connections=16, exact=False),
    Scenario(0.3, stream=True, connections=10, exact=False),
)


class Peer(msgspec.Struct, frozen=True):
    """A gateway: its program, the file that configures it to ask a provider at a port, its command
    for that file and its own port, and what it needs in the environment.
    """

    name: str
    program: str
    config: Callable[[int], str]
    command: Callable[[str, Path, int], Sequence[str]]
    environ: dict[str, str]


LITELLM: Final = Peer(
    "litellm",
    os.environ.get("LITELLM", ".venv-peers/bin/litellm"),
    lambda upstream_port: (
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n"
        f"      model: openai/{UPSTREAM_MODEL}\n"
        f"      api_base: http://127.0.0.1:{upstream_port}/v1\n      api_key: bench\n"
        "litellm_settings:\n  telemetry: false\n"
    ),
    lambda program, file, port: [
        *(program, "--config", str(file), "--host", "127.0.0.1", "--port", str(port)),
        *("--num_workers", "1"),
    ],
    {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches one from the internet
        # It knows no key, on the loopback interface, before a provider that is none: the router and
        # the bare proxy check none either.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    },
)
PEERS: Final = (LITELLM,)


def _start(stack: contextlib.ExitStack, peer: Peer, program: str, upstream_port: int) -> Child:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    file, port = directory / "peer.yaml", free_port()
    file.write_text(peer.config(upstream_port))
    environ = router_environ(directory) | peer.environ
    environ.pop("PYTHONPATH")
    command = peer.command(program, file, port)
    child = Child(command, port, environ, cores=split_cores()[0])
    stack.callback(child.stop)
    child.wait_until_ready(within_s=120.0)
    return child


def measure() -> tuple[Mapping[str, Child], Mapping[str, dict[str, list[Measured]]]]:
    """All rounds, by target and scenario."""
    seen: dict[str, dict[str, list[Measured]]] = {}
    with contextlib.ExitStack() as stack:
        targets = dict(start_targets(stack))
        for peer in PEERS:
            program = shutil.which(peer.program)
            if program is None:
                print(f"{peer.name} is not there ({peer.program})", file=sys.stderr)
                continue
            targets[peer.name] = _start(stack, peer, program, targets[DIRECT].port)
        del targets[DIRECT]
        for scenario in SCENARIOS:
            for child in targets.values():
                drive(child, [msgspec.structs.replace(scenario, stream=False)], _WARM_UP_S)
            for _ in range(_ROUNDS):
                for name, child in targets.items():
                    (measured,) = drive(child, [scenario], _SECONDS)
                    seen.setdefault(name, {}).setdefault(scenario.name, []).append(measured)
        memory = {name: child.memory_mb("VmHWM") for name, child in targets.items()}
    for name, size in memory.items():
        print(f"{name}: peak memory {size:.0f} MB")
    return targets, seen


def main() -> int:
    """Measure and show. 1 if something answered wrongly."""
    host = report.describe_host()
    try:
        _, seen = measure()
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"{'CPU us':26}" + "".join(f"{one.name:>26}" for one in SCENARIOS))
    shown = []
    for name, by_scenario in seen.items():
        line = f"{name:26}"
        for scenario in SCENARIOS:
            parts = EVENTS if scenario.stream else 1
            costs = [one.cpu_us / parts for one in by_scenario[scenario.name]]
            least = min(one.seen.latency_p50_us for one in by_scenario[scenario.name])
            line += f"{f'{statistics.median(costs):,.0f} (p50 {least:,.0f})':>26}"
            if name != BARE:
                base = statistics.median(one.cpu_us / parts for one in seen[BARE][scenario.name])
                shown.append(Bar(f"{name} {scenario.name}", [cost / base for cost in costs]))
        print(line)
    file = report.result_file(host, "peers.svg")
    title = "CPU time as a multiple of the bare proxy's"
    file.write_text(bars(title, f"{host.processor}, {host.python}", shown))
    report.result_file(host, "peers.json").write_bytes(
        msgspec.json.format(msgspec.json.encode({"host": host, "seen": seen}), indent=2)
    )
    print(f"The chart: {file.relative_to(ROOT)}; of streams it is the time for an event")
    return 0 if ROUTER in seen else 1


if __name__ == "__main__":
    sys.exit(main())
