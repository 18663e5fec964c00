"""Keeps the service manager informed: of starts, reloads and ends, and that the loop turns."""

import asyncio
import logging
from collections import deque
from typing import Final

from bitrouter.app import Router
from bitrouter.cli.pulse import Pulse
from bitrouter.errors import ConfigError
from bitrouter.server.reload import ReloadWatcher
from bitrouter.systemd.notify import (
    ALIVE,
    READY,
    STOPPING,
    Notifier,
    extend_timeout,
    reloading,
    status,
)

_log: Final = logging.getLogger("bitrouter")

_LOOK_S: Final = 5.0
_RETRY_S: Final = 0.1
_MOST_WAITING: Final = 16
_AFTER_DRAIN_S: Final = 30.0  # for what comes after the last request


class Manager(ReloadWatcher):
    """Tells a service manager how a router is. To be made within its loop, and closed.

    `watchdog_s` is the time without a sign of life after which the manager ends the process. The
    sign is given by a timer of the loop, and only while the router says that it is healthy: a loop
    that is stuck, or a router whose housekeeping has died, gives none.
    """

    def __init__(self, notifier: Notifier, router: Router, watchdog_s: float | None) -> None:
        self._notifier = notifier
        self._router = router
        self._pulse = Pulse(router)
        self._loop = asyncio.get_running_loop()
        self._has_watchdog = watchdog_s is not None
        self._period_s = min(_LOOK_S, (watchdog_s or _LOOK_S) / 2)
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[str, ...]] = deque(maxlen=_MOST_WAITING)
        self._retry: asyncio.TimerHandle | None = None
        self._shown = ""
        self._was_healthy = True

    def ready(self) -> None:
        """The router serves."""
        self._send(READY, *self._news())
        self._look()

    def begins(self) -> None:
        """See ReloadWatcher."""
        if not self._router.services.draining:
            self._send(*reloading(), status("reading the configuration anew"))
            self._shown = ""

    def ends(self, error: ConfigError | None) -> None:
        """See ReloadWatcher. A refused file is no failure of the service: the old one serves."""
        self._pulse.refused = None
        if error is not None:
            self._pulse.refuse(error)
        if not self._router.services.draining:
            self._send(READY, *self._news())

    def stopping(self) -> None:
        """The router ends: now, or when what runs has had its time.

        The time is that of the configuration, whatever the unit says of how long a stop may take.
        """
        drain_s = self._router.services.routes.config.timeouts.drain
        text = f"stopping: running requests have {drain_s:g} s to end"
        self._send(STOPPING, extend_timeout(drain_s + _AFTER_DRAIN_S), status(text))
        self._shown = ""

    def close(self) -> None:
        """Say nothing more."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self._notifier.close()

    def _look(self) -> None:
        """A sign of life, and what has changed."""
        alive = (ALIVE,) if self._has_watchdog and self._is_healthy() else ()
        if lines := (*alive, *self._news()):
            self._notifier.send(*lines)  # if there is no room for it, the next one says the same
        self._timer = self._loop.call_later(self._period_s, self._look)

    def _is_healthy(self) -> bool:
        healthy = self._router.is_healthy
        if self._was_healthy and not healthy:
            _log.error("the housekeeping has ended: the service manager is told nothing more")
        self._was_healthy = healthy
        return healthy

    def _news(self) -> tuple[str, ...]:
        text = self._pulse.text(self._loop.time())
        if text == self._shown:
            return ()
        self._shown = text
        return (status(text),)

    def _send(self, *lines: str) -> None:
        """Send what must arrive, in order: if the queue is full, when there is room again."""
        self._waiting.append(lines)
        if self._retry is None:
            self._send_waiting()

    def _send_waiting(self) -> None:
        self._retry = None
        while self._waiting:
            if not self._notifier.send(*self._waiting[0]):
                self._retry = self._loop.call_later(_RETRY_S, self._send_waiting)
                return
            self._waiting.popleft()
