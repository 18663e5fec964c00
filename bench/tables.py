"""The runs as tables, each an iterable of lines."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bench.beside import Beside, Delays
from bench.content import EVENTS
from bench.openloop import Latency
from bench.runs import (
    BARE,
    DIRECT,
    ROUTER,
    Run,
    cpu_us,
    differences,
    ratios,
    select,
    spread,
)
from bench.scenarios import MAX_RATIOS, Scenario

# What translating may cost over passing through, in microseconds of CPU time.
MAX_REQUEST_US: Final = 60.0
MAX_EVENT_US: Final = 12.0
# By how much a request of 1 MB that is translated may delay what comes beside it.
MAX_BESIDE_US: Final = 5000.0

_NAME: Final = 33  # columns


def cpu_table(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> Iterable[str]:
    """CPU time of each scenario. Of a translated one the bare proxy's is that of its twin."""
    yield "CPU time of the proxy's process in microseconds: median of the rounds (least to most)"
    yield f"{'':{_NAME}}{'per request':25}{'':25}{'per event':21}{'ratio':24}{'at':16}requests/s"
    yield (
        f"{'scenario':{_NAME}}{BARE:25}{ROUTER:25}{'bare':>8}{'bitrouter':>11}  {'to bare':24}"
        f"{'most':16}most"
    )
    for scenario in scenarios:
        bare, router = (cpu_us(runs, scenario, target) for target in (BARE, ROUTER))
        rate = max(r.seen.requests / r.seen.seconds for r in select(runs, scenario, ROUTER))
        events = f"{'':21}"
        if scenario.stream:
            each = [statistics.median(values) / EVENTS for values in (bare, router)]
            events = f"{each[0]:8.1f}{each[1]:11.1f}  "
        yield (
            f"{scenario.name:{_NAME}}{spread(bare, '.0f'):25}{spread(router, '.0f'):25}{events}"
            f"{spread(ratios(router, bare), '.2f'):24}"
            f"{_verdict(scenario, ratios(router, bare)):16}{rate:.0f}"
        )


def _verdict(scenario: Scenario, found: Sequence[float]) -> str:
    most = MAX_RATIOS.get(scenario.name)
    if most is None:
        return "-"
    return f"{most:.2f}: {_met(statistics.median(found) <= most)}"


def delay_table(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> Iterable[str]:
    """How late the events of streams come."""
    streams = [scenario for scenario in scenarios if scenario.stream]
    if not streams:
        return
    yield "Delay of an event from when the provider says it, in microseconds, with that of the wire"
    yield f"{'':{_NAME}}{BARE:40}{ROUTER:40}"
    yield f"{'scenario':{_NAME}}{'p50':25}{'p99':15}{'p50':25}p99"
    for scenario in streams:
        line = f"{scenario.name:{_NAME}}"
        for target in (BARE, ROUTER):
            seen = [run.seen for run in select(runs, scenario, target)]
            late = statistics.median(one.delay_p99_us for one in seen)
            line += f"{spread([one.delay_p50_us for one in seen], '.0f'):25}{late:<15.0f}"
        yield line.rstrip()


def open_loop_table(latencies: Mapping[str, Sequence[Latency]]) -> Iterable[str]:
    """Latencies at fixed rates, from when each request was due. By target, for the same rates."""
    if not latencies:
        return
    yield "Latency in microseconds at a fixed rate, 0.3 kB, from when each request was due"
    yield f"{'requests/s':{_NAME}}" + "".join(f"{name + ' p50, p99':28}" for name in latencies)
    for row in zip(*latencies.values(), strict=True):
        cells = (f"{f'{one.p50_us:.0f}, {one.p99_us:.0f}':28}" for one in row)
        yield f"{row[0].rate:<{_NAME}.0f}{''.join(cells)}".rstrip()


def beside_table(found: Mapping[str, Beside]) -> Iterable[str]:
    """By how much events are later that met a large request, by target."""
    if not found:
        return
    yield (
        "Delay of events in microseconds (p50, p99, median of the longest), before requests of 1 MB"
        " and beside them"
    )
    yield f"{'':{_NAME}}{'before one':25}{'beside one':25}{'added':25}{'large':10}at most"
    for target, one in found.items():
        verdict = "-"
        if target == ROUTER:
            verdict = f"{MAX_BESIDE_US:.0f}: {_met(one.added_us[-1] <= MAX_BESIDE_US)}"
        cells = (_three(one.alone), _three(one.met), ", ".join(f"{us:.0f}" for us in one.added_us))
        yield (
            f"{target:{_NAME}}{''.join(f'{cell:25}' for cell in cells)}"
            f"{one.large_p50_us:<10.0f}{verdict}"
        )


def _three(delays: Delays) -> str:
    return f"{delays.p50_us:.0f}, {delays.p99_us:.0f}, {delays.longest_p50_us:.0f}"


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def translation_table(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> Iterable[str]:
    """What translating adds to the router's own CPU time for the same load passed through."""
    translated = [scenario for scenario in scenarios if scenario.translated]
    if not translated:
        return
    yield "Translation, Messages to chat and back: CPU time over pass-through, in microseconds"
    yield f"{'scenario':{_NAME}}{'per request':25}{'per event':25}at most"
    for scenario in translated:
        passed = cpu_us(runs, scenario.twin, ROUTER)
        yield _translation_line(scenario, differences(cpu_us(runs, scenario, ROUTER), passed))


def _translation_line(scenario: Scenario, added_us: Sequence[float]) -> str:
    """A stream is held to the limit of an event, in which the request's own share is included."""
    limit, unit = MAX_REQUEST_US, "a request"
    events = ""
    judged = added_us
    if scenario.stream:
        limit, unit = MAX_EVENT_US, "an event"
        judged = [added / EVENTS for added in added_us]
        events = spread(judged, ".1f")
    verdict = _met(statistics.median(judged) <= limit)
    return (
        f"{scenario.name:{_NAME}}{spread(added_us, '.0f'):25}{events:25}"
        f"{limit:.0f} {unit}: {verdict}"
    )


def latency_table(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> Iterable[str]:
    """What each proxy adds where nothing waits for anything else."""
    alone = [scenario for scenario in scenarios if scenario.connections == 1]
    if not alone:
        return
    yield "Latency at one connection in microseconds (of a stream: to its first event)"
    yield f"{'':20}{'direct':27}{'added by bare proxy':27}{'added by bitrouter':27}"
    yield f"{'scenario':20}" + f"{'p50':20}{'p99':7}" * 3
    for scenario in alone:
        seen = [run.seen for run in select(runs, scenario, DIRECT)]
        direct = spread([one.latency_p50_us for one in seen], ".0f")
        late = "-" if scenario.stream else _median([one.latency_p99_us for one in seen])
        yield f"{scenario.name:20}{direct:20}{late:7}" + "".join(
            f"{spread(_added(runs, scenario, target, 'latency_p50_us'), '.0f'):20}"
            f"{_p99(runs, scenario, target):7}"
            for target in (BARE, ROUTER)
        )


def _p99(runs: Sequence[Run], scenario: Scenario, target: str) -> str:
    """Added at the 99th percentile; a round has too few streams to have one."""
    if scenario.stream:
        return "-"
    return _median(_added(runs, scenario, target, "latency_p99_us"))


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f}"


def _added(runs: Sequence[Run], scenario: Scenario, target: str, figure: str) -> list[float]:
    """What `target` adds to a figure of the direct run of the same round."""
    proxied, direct = (
        [getattr(run.seen, figure) for run in select(runs, scenario, one)]
        for one in (target, DIRECT)
    )
    return differences(proxied, direct)
