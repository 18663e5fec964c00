"""The log of a running router follows a reload, and a failing provider does not fill it."""

import pytest

from bitrouter import log
from bitrouter.log.repeats import SAME
from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream


def lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    """What was written to standard error since the last look."""
    assert log.flush()
    return captured.readouterr().err.splitlines()


async def ask(router: RunningRouter) -> int:
    """One request, read to its end: its status."""
    async with router.http.post(CHAT.path(), json=CHAT.body()) as response:
        await response.read()
        return response.status


async def test_a_reload_changes_level_and_form(
    start_router: StartRouter, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.script = Reply((CHAT.answer,))
    given = settings(CHAT, upstream.url)
    router = await start_router(given)
    for level, log_format, begins in (
        ("info", "text", "2"),
        ("warning", "text", None),
        ("info", "json", "{"),
        ("error", "json", None),
    ):
        router.configure({**given, "server": {"log": {"level": level, "format": log_format}}})
        async with router.http.post("/admin/reload") as response:
            assert response.status == 200
        lines(capsys)
        assert await ask(router) == 200
        assert [line[0] for line in lines(capsys)] == ([] if begins is None else [begins])


async def test_a_provider_that_fails_fast_does_not_fill_the_log(
    start_router: StartRouter, upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.script = Reply((b"{}",), status=504)
    router = await start_router(settings(CHAT, upstream.url, circuit_breaker={"failures": 10_000}))
    log.set_up("warning", "text")
    for _ in range(18):  # of 20 the circuit breaker would have opened
        assert await ask(router) == 504
    assert len(upstream.received) == 18
    warnings = [line for line in lines(capsys) if "attempt at p1:up-1 failed" in line]
    assert len(warnings) == SAME
