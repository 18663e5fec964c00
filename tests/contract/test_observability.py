"""Probes and metrics as machines read them."""

import asyncio
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from bitrouter.server.observability import wants_text
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router that has answered one request."""
    upstream.script = Reply((CHAT.answer,))
    router = await start_router(settings(CHAT, upstream.url))
    async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
        assert response.status == 200
    return router


async def test_a_running_router_is_alive_and_ready(router: RunningRouter) -> None:
    for path, said in (("/health", "ok"), ("/ready", "ready")):
        async with router.http.get(path) as response:
            assert (response.status, await response.json()) == (200, {"status": said})
        async with router.http.head(path) as response:
            assert (response.status, await response.read()) == (200, b"")


async def test_a_router_that_drains_is_alive_and_not_ready(router: RunningRouter) -> None:
    router.router.services.draining = True
    async with router.http.get("/health") as response:
        assert response.status == 200
    async with router.http.get("/ready") as response:
        assert (response.status, await response.json()) == (503, {"status": "draining"})


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/metrics"])
async def test_there_is_nothing_to_post(router: RunningRouter, path: str) -> None:
    async with router.http.post(path) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/v1/metrics", PROMETHEUS),
        ("/metrics", "*/*"),
        ("/metrics", "application/json"),
        ("/metrics", "application/json, text/plain, */*"),
        ("/metrics", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ],
)
async def test_the_snapshot_is_json(router: RunningRouter, path: str, accept: str) -> None:
    async with router.http.get(path, headers={"Accept": accept}) as response:
        assert response.content_type == "application/json"
        snapshot = await response.json()
    assert snapshot["routes"]["m"]["total_requests"] == 1
    assert snapshot["routes"]["m"]["by_endpoint"]["p1:up-1"]["total_requests"] == 1


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("text/plain", True),
        ("TEXT/PLAIN;version=0.0.4", True),
        ("application/openmetrics-text", True),
        ("text/*", False),
        ("text/plain;q=0", False),
        ("text/plain;q=0.5,application/json", False),
        ("text/plain,application/json;q=0.5", True),
        ("text/plain,application/json", True),
        ("text/plain;q=x", True),
        (PROMETHEUS, True),
    ],
)
def test_text_is_for_those_who_would_rather_have_it(accept: str, wanted: bool) -> None:
    assert wants_text(accept) is wanted


async def test_prometheus_reads_the_metrics(router: RunningRouter) -> None:
    async with router.http.get("/metrics", headers={"Accept": PROMETHEUS}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version")
        assert response.headers["x-request-id"]
        text = await response.text()
    found = read_openmetrics(text)  # type: ignore[no-untyped-call]  # so it is there
    families = {family.name: family for family in found}
    samples = {
        tuple(sorted(sample.labels.items())): sample.value
        for sample in families["bitrouter_requests"].samples
    }
    key = (("outcome", "ok"), ("protocol", "chat"), ("route", "m"))
    assert samples == {key: 1}
    assert "process_cpu_seconds" in families


async def test_older_scrapers_get_the_text_format(router: RunningRouter) -> None:
    async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        found = read_text(await response.text())
    families = {family.name: family for family in found}
    up = {
        sample.labels["endpoint"]: sample.value
        for sample in families["bitrouter_endpoint_up"].samples
    }
    assert up["p1:up-1"] == 1
    assert "openai:gpt-4o" not in up  # of a provider that nobody set up


async def test_simultaneous_scrapes_do_not_meet(router: RunningRouter) -> None:
    async def scrape() -> str:
        async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
            assert response.status == 200
            return await response.text()

    texts = await asyncio.gather(*(scrape() for _ in range(8)))
    assert all("bitrouter_inflight_requests 0" in text for text in texts)


async def test_each_router_shows_its_own_metrics(
    start_router: StartRouter, router: RunningRouter
) -> None:
    other = await start_router({})
    for one, expected in ((router, True), (other, False), (router, True)):
        async with one.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
            assert ('route="m"' in await response.text()) is expected


async def test_a_scrape_leaves_nothing_on_the_registry_of_the_process(
    router: RunningRouter,
) -> None:
    async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
        assert "bitrouter_inflight_requests 0" in await response.text()
    assert REGISTRY.get_sample_value("bitrouter_inflight_requests") is None
    assert REGISTRY.get_sample_value("process_start_time_seconds")


def test_the_pages_can_be_imported_without_prometheus() -> None:
    code = "import sys, bitrouter.server.pages; print('prometheus_client' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"
