"""The line in `systemctl status`, and the manager's view of a router in trouble."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from bench.manager import NotifySocket
from bitrouter.cli.manager import Manager
from bitrouter.cli.pulse import Pulse
from bitrouter.errors import ConfigError
from bitrouter.systemd.notify import Notifier
from tests.support.dialects import CHAT, settings
from tests.support.managed import abstract_notify
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream

StartRouter = Callable[[Mapping[str, Any]], Awaitable[RunningRouter]]

WATCHDOG_S = 0.1


@pytest.fixture
def heard() -> Iterator[NotifySocket]:
    """What the manager hears."""
    made = abstract_notify()
    yield made
    made.close()


async def ask(router: RunningRouter) -> int:
    async with router.http.post(CHAT.path(), json=CHAT.body("m")) as response:
        await response.read()
        return response.status


# -- the line ---------------------------------------------------------------------------------


async def test_it_tells_addresses_requests_and_what_failed_lately(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    router = await start_router(settings(CHAT, upstream.url, retry={"max_attempts": 1}))
    pulse = Pulse(router.router)
    assert pulse.text(0.0) == (
        f"serving on {router.url} · 0 requests running · last minute: 0 ended, 0 failed"
    )
    assert await ask(router) == 200
    upstream.script = Reply(status=500)
    assert await ask(router) == 500
    assert "last minute: 2 ended, 1 failed (upstream_error 1)" in pulse.text(10.0)
    assert "last minute: 2 ended, 1 failed" in pulse.text(59.0)
    assert "last minute: 0 ended, 0 failed" in pulse.text(70.1)


async def test_it_names_the_endpoints_that_are_left_alone(
    start_router: StartRouter, upstream: ScriptedUpstream
) -> None:
    given = settings(CHAT, upstream.url, circuit_breaker={"failures": 1})
    router = await start_router({**given, "retry": {"max_attempts": 1}})
    upstream.script = Reply(status=503)
    assert await ask(router) == 503
    key = router.router.services.routes.current.resolve("m").endpoints[0].key
    assert f"left alone: {key} open" in Pulse(router.router).text(0.0)


async def test_it_says_that_it_stops(start_router: StartRouter) -> None:
    router = await start_router({})
    router.router.services.draining = True
    assert Pulse(router.router).text(0.0).startswith("stopping on ")


# -- the manager ------------------------------------------------------------------------------


async def hear(heard: NotifySocket, name: str, within_s: float = 10.0) -> dict[str, str]:
    return (await asyncio.to_thread(heard.wait_for, name, None, within_s)).fields


async def test_a_router_whose_housekeeping_has_died_gives_no_sign_of_life(
    start_router: StartRouter, heard: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    router = await start_router({})
    manager = Manager(Notifier(heard.address), router.router, WATCHDOG_S)
    manager.ready()
    await hear(heard, "WATCHDOG")
    housekeeper = router.router._housekeeper
    assert housekeeper is not None
    housekeeper.cancel()
    with pytest.raises(TimeoutError):
        await hear(heard, "NOTHING", 0.3)  # all that was said before
    with pytest.raises(TimeoutError):
        await hear(heard, "WATCHDOG", 1.0)
    assert [one for one in caplog.records if "housekeeping has ended" in one.message]
    manager.close()


async def test_what_must_be_said_is_said_in_order_once_there_is_room(
    start_router: StartRouter, heard: NotifySocket
) -> None:
    router = await start_router({})
    notifier = Notifier(heard.address)
    while notifier.send("FILLER=1"):
        pass
    manager = Manager(notifier, router.router, None)
    manager.ready()
    manager.begins()
    manager.ends(ConfigError([]))
    manager.stopping()
    for name in ("READY", "RELOADING", "READY", "STOPPING"):
        fields = await hear(heard, name)
        assert name in fields
    assert "refused, by an error of the router's own" in heard.messages[-2].fields["STATUS"]
    manager.close()


async def test_a_reload_while_it_stops_does_not_make_it_ready_again(
    start_router: StartRouter, heard: NotifySocket
) -> None:
    router = await start_router({})
    manager = Manager(Notifier(heard.address), router.router, None)
    router.router.services.draining = True
    manager.begins()
    manager.ends(None)
    with pytest.raises(TimeoutError):
        await hear(heard, "READY", 0.2)
    manager.close()
