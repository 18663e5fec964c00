"""The alarm over a paid call: whose cancellation it was."""

import asyncio

import pytest

from bitrouter.server.alarm import Alarm

_NEVER_S = 3600.0


class Outlasted(Exception):
    """The alarm's own end."""


async def under(alarm: Alarm, *, ending: bool = False) -> str:
    """Waits for ever, as the till does under its alarm; with `ending` for a moment."""
    try:
        if ending:
            await asyncio.sleep(0)
            return "done"
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        if not alarm.is_the_cause():
            raise
        raise Outlasted from error
    finally:
        alarm.stop()
    return "never"


async def test_its_own_cancellation_is_taken_back() -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(Outlasted):
        await under(Alarm(0.0))
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing of it comes later


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    running = asyncio.create_task(start(_NEVER_S))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelling() == 1


async def start(after_s: float) -> str:
    return await under(Alarm(after_s))


async def test_of_both_at_once_the_others_wins() -> None:
    alarms: list[Alarm] = []

    async def work() -> str:
        alarms.append(Alarm(_NEVER_S))
        return await under(alarms[0])

    running = asyncio.create_task(work())
    await asyncio.sleep(0)
    alarms[0]._ring()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelling() == 1


async def test_an_alarm_that_was_stopped_does_not_ring() -> None:
    assert await under(Alarm(0.01), ending=True) == "done"
    await asyncio.sleep(0.03)
