"""Dashboard, alert rules and docs/metrics.md speak of metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bitrouter.metrics.store import OUTCOMES
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.upstream import Reply, ScriptedUpstream, sse

ROOT = Path(__file__).parents[2]
RULES = ROOT / "conf" / "prometheus" / "bitrouter.rules.yml"
SCRAPE = ROOT / "conf" / "prometheus" / "scrape.yml"
DASHBOARD = ROOT / "conf" / "grafana" / "bitrouter.json"
PAGE = ROOT / "docs" / "metrics.md"
RULE_TESTS = ROOT / "tests" / "fixtures" / "prometheus" / "bitrouter.test.yml"

# There with payments alone.
PAYMENTS = re.compile(r"bitrouter_payments?_")
# Of Prometheus itself, of a target as a whole.
ADDED = {"job", "instance", "le"}

NAME = re.compile(r"\b(?:bitrouter_[a-z_]+|process_[a-z_]+|up)\b(?=[\s\[{})]|$)")
SELECTOR = re.compile(r"\b((?:bitrouter|process)_[a-z_]+)\{([^}]*)\}")
ROW = re.compile(r"^\| `((?:bitrouter|process)_\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$", re.MULTILINE)
DOCUMENTED = {
    name: (kind, set(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels, _ in ROW.findall(PAGE.read_text())
}


@pytest.fixture
async def live(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> dict[str, tuple[str, set[frozenset[str]]]]:
    """Every family of a router that has had some trouble: its kind, and its samples' labels."""
    breaker = {"failures": 2}
    given = settings(CHAT, upstream.url, circuit_breaker=breaker)
    given["providers"]["p1"]["models"] = {"up-1": {"price": {"input": 3, "output": 15}}}
    router = await start_router(given)
    for reply, stream in (
        (Reply((CHAT.answer,)), False),
        (sse(*CHAT.events), True),
        (Reply((b"{}",), status=504), False),
        (Reply((b"{}",), status=504), False),
    ):
        upstream.script = reply
        async with router.http.post(CHAT.path(), json=CHAT.body(stream=stream)) as response:
            await response.read()
    async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
        families = [*text_string_to_metric_families(await response.text())]
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            {frozenset(sample.labels) - {"le"} for sample in family.samples},
        )
        for family in families
    }


def sampled(families: Any) -> set[str]:
    """The names that a query may use: of a histogram those of its parts."""
    found = set()
    for name, (kind, _) in families.items():
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + part for part in parts}
    return found


def strings(value: Any, key: str = "") -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)
    elif key in ("expr", "query") and value != "prometheus":
        yield value


def queries(file: Path) -> list[str]:
    """Every query of a file."""
    if file is DASHBOARD:
        return [*strings(json.loads(file.read_text()))]
    return [rule["expr"] for rule in rules()]


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics_in(query: str) -> set[str]:
    """The names of metrics in a query, those of recorded series aside."""
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', query))) - {"up"}


# -- the page -----------------------------------------------------------------------------------


async def test_the_page_has_every_metric_of_the_router_and_no_other(
    live: dict[str, tuple[str, set[frozenset[str]]]],
) -> None:
    own = {name for name in live if name.startswith("bitrouter_")}
    documented = {name for name in DOCUMENTED if name.startswith("bitrouter_")}
    assert documented - own == {name for name in documented if PAYMENTS.match(name)}
    assert own <= documented
    assert DOCUMENTED.keys() - documented <= live.keys()


async def test_the_page_has_their_kinds_and_labels(
    live: dict[str, tuple[str, set[frozenset[str]]]],
) -> None:
    for name in DOCUMENTED.keys() & live.keys():
        kind, labels = DOCUMENTED[name]
        assert live[name][0] == kind, name
        assert live[name][1] <= {frozenset(labels)}, name


def test_the_page_has_every_outcome() -> None:
    text = PAGE.read_text()
    for outcome in OUTCOMES:
        word = outcome.removeprefix("timeout:")
        assert f"`{word}`" in text, outcome


# -- queries ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda one: one.name)
async def test_every_metric_that_a_query_names_is_in_a_live_scrape(
    live: dict[str, tuple[str, set[frozenset[str]]]], file: Path
) -> None:
    named = set().union(*map(metrics_in, queries(file)))
    assert len(named) > 15
    payments = {name for name in named if PAYMENTS.match(name)}
    assert named - payments <= sampled(live)
    assert payments <= sampled(DOCUMENTED)
    assert payments


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda one: one.name)
def test_every_label_that_a_query_asks_for_is_one_of_the_metric(file: Path) -> None:
    found = 0
    for query in queries(file):
        for name, matchers in SELECTOR.findall(query):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            asked = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', "", matchers)))
            assert asked <= DOCUMENTED[family][1] | ADDED, query
            found += 1
    assert found > 10


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda one: one.name)
def test_every_outcome_that_a_query_asks_for_is_one(file: Path) -> None:
    asked = {
        pattern
        for query in queries(file)
        for pattern in re.findall(r'outcome[=!]~?"([^"]*)"', query)
    }
    assert asked
    for pattern in asked:
        # What stands in it, with the words in brackets each behind what is before them.
        spelled = re.sub(r"timeout:\((.*)\)", lambda m: m[1].replace("|", "|timeout:"), pattern)
        spelled = spelled.replace("|connect", "|timeout:connect")
        assert set(spelled.split("|")) <= set(OUTCOMES), pattern


def test_every_panel_of_the_dashboard_has_its_place() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]


def test_every_alert_says_what_is_wrong_and_how_urgent_it_is() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 15
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


# -- by Prometheus's own word -------------------------------------------------------------------

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def promtool(*words: str, cwd: Path) -> None:
    run = subprocess.run(
        [str(PROMTOOL), *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@needs_promtool
def test_prometheus_takes_the_rules_and_the_scrape_configuration(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES), cwd=tmp_path)
    promtool("check", "config", "--syntax-only", str(SCRAPE), cwd=tmp_path)


@needs_promtool
def test_the_alerts_fire_when_they_should_and_not_else(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(RULE_TESTS, tmp_path)
    promtool("test", "rules", RULE_TESTS.name, cwd=tmp_path)
