"""The composition root: a configuration becomes a running service, and stops again.

The only place that knows all the parts.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from bitrouter import log
from bitrouter.config.address import parse_listen
from bitrouter.config.load import require_authentication, state_dir
from bitrouter.config.schema import Config
from bitrouter.errors import ConfigError
from bitrouter.exchange.exchange import Means
from bitrouter.exchange.memory import Memory
from bitrouter.local.supervisor import with_availability
from bitrouter.metrics.store import MetricsStore
from bitrouter.routing.breaker import Breakers
from bitrouter.routing.dynamic import History, Routes
from bitrouter.routing.state import RouteState
from bitrouter.routing.strategy import Balancer
from bitrouter.routing.table import RouteTable
from bitrouter.server.buffers import Buffers, buffer_limit
from bitrouter.server.connection import Server
from bitrouter.server.crossorigin import CrossOrigin
from bitrouter.server.dispatch import Dispatcher
from bitrouter.server.inference import Inference
from bitrouter.server.keyfile import KeyFile
from bitrouter.server.listener import Listener
from bitrouter.server.pages import admin_pages, all_pages, public_pages
from bitrouter.server.record import Recent
from bitrouter.server.reload import Reloaded, Reloader, ReloadWatcher
from bitrouter.server.selling import open_till
from bitrouter.server.services import Services
from bitrouter.server.statedir import RouteStore
from bitrouter.server.targets import Targets
from bitrouter.server.tls import Certificates, is_served_by_tls
from bitrouter.server.watermark import Watermark, watermark
from bitrouter.state.audit import Actor, Entry
from bitrouter.systemd.activation import Inherited, Setting, check_fit
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.session import Upstream
from bitrouter.upstream.slots import Slots

_log: Final = logging.getLogger("bitrouter")

_HOUSEKEEPING_S: Final = 1.0
_CLOSE_S: Final = 0.5
_HAND_OVER_S: Final = 1.0
_HAND_OVER_POLL_S: Final = 0.02
_LAST_WORDS_S: Final = 1.0  # for the error events of what did not end within `drain`
_wall_clock: Final = time.time  # noqa: TID251 - timestamps to show, not durations


class Router:
    """A service: made from a configuration, started once, stopped once.

    `read_config` reads the configuration anew for a reload, raising ConfigError. `environ` decides
    where state is kept. `sockets` are listened on in place of making some. Raises ConfigError when
    the state on disk or a certificate cannot be used, when a socket is not where the configuration
    says, or when the configuration would let strangers in by accident.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        read_config: Callable[[], Config],
        sockets: Sequence[Inherited] = (),
    ) -> None:
        self._state_dir = state_dir(config, environ)
        self._store = RouteStore(self._state_dir)
        self._key_file = KeyFile(self._state_dir)
        keys = self._key_file.read()
        check_fit(config.server, sockets)
        require_authentication(config, has_keys=keys.required or _sells(config))
        self._sockets = sockets
        self._certificates = Certificates()
        self.config = self._completed(config)
        self._read_config: Callable[[], Config] = lambda: self._completed(read_config())
        self._dynamic, self._history = self._store.load()
        self._keys = keys
        self._targets = Targets()
        self._runners: list[web.ServerRunner] = []
        self._reloading: set[asyncio.Task[None]] = set()
        self._housekeeper: asyncio.Task[None] | None = None
        self.addresses: list[str] = []
        self.watcher = ReloadWatcher()

    async def start(self) -> None:
        """Listen. Raises OSError when an address cannot be had."""
        config = self.config
        self.services = services = Services(
            routes=RouteState(config, self._dynamic),
            balancer=Balancer(),
            upstream=Upstream(config.limits),
            metrics=MetricsStore(monotonic=time.monotonic, wall=_wall_clock),
            keys=self._keys,
            find_target=self._targets.find,
            breakers=Breakers(lambda: self.services.routes.config.circuit_breaker),
            budget=RetryBudget(config.retry.budget_ratio),
            slots=Slots(),
            buffers=Buffers(buffer_limit(config.limits)),
            watermark=Watermark(watermark(config.limits)),
            recent=Recent(config.server.recent_requests),
            means=Means(wall=_wall_clock, mint=_new_id, memory=Memory(time.monotonic)),
            history=self._history,
            save_dynamic=self._save_dynamic,
            audit=self._audit,
        )
        self._reloader = Reloader(
            services, self._read_config, self._check, self._adopt, lambda: self.watcher
        )
        services.upstream.resolver.allowed = _link_local_hosts(config)
        self._certificates.adopt()
        x402 = config.payments.x402
        if x402.enabled:
            services.seller = till = await open_till(x402, services, self._state_dir, _wall_clock)
            services.more_families.append(till.families)
        inference = Inference(services)
        admin_listen = config.server.admin_listen
        if admin_listen is None:
            dispatcher = Dispatcher(all_pages(services, self.reload), inference)
            await self._listen("listen", config.server.listen, dispatcher)
        else:
            dispatcher = Dispatcher(public_pages(services), inference)
            await self._listen("listen", config.server.listen, dispatcher)
            dispatcher = Dispatcher(admin_pages(services, self.reload), None)
            await self._listen("admin_listen", admin_listen, dispatcher)
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house())

    async def _listen(self, setting: Setting, listen: str, dispatcher: Dispatcher) -> None:
        """Listen on the sockets that are there for a setting, else where it says."""
        handler = dispatcher if self.services.seller is None else CrossOrigin(dispatcher)
        # By the time that it is cleaned up, running requests have had the time of `drain`.
        runner = web.ServerRunner(
            Server(handler, self.services), handle_signals=False, shutdown_timeout=_CLOSE_S
        )
        await runner.setup()
        self._runners.append(runner)
        by_tls = is_served_by_tls(self.config, listen, admin=setting == "admin_listen")
        tls = self._certificates.context if by_tls else None
        handshake_s = self.config.timeouts.header_read
        given = [one for one in self._sockets if one.setting == setting]
        for one in given:
            listener = Listener(runner, inherited=one.socket, tls=tls, handshake_s=handshake_s)
            await listener.start()
            self.addresses.append(_shown(one.listen, tls))
        if not given:
            address = parse_listen(listen)
            await Listener(runner, address, tls=tls, handshake_s=handshake_s).start()
            if address.path is None and address.port == 0:  # any free one: the kernel has chosen
                listen = f"{listen.rpartition(':')[0]}:{runner.addresses[-1][1]}"
            self.addresses.append(_shown(listen, tls))

    @property
    def is_healthy(self) -> bool:
        """Whether what goes on beside the requests still does."""
        return self._housekeeper is not None and not self._housekeeper.done()

    @property
    def auth_mode(self) -> str:
        """Who may call, in a few words."""
        ways = ["keys"] * self.services.keys.required + ["x402 payments"] * _sells(self.config)
        return " or ".join(ways) or "none, anybody who can connect"

    async def reload(
        self, actor: Actor, *, dry_run: bool = False, expect: Callable[[], None] | None = None
    ) -> Reloaded:
        """Read the configuration anew and use it: all of it or nothing. See server.reload."""
        return await self._reloader.reload(actor, dry_run=dry_run, expect=expect)

    def hang_up(self) -> None:
        """SIGHUP: begin a reload. Its outcome is in the log and in the metrics."""
        task = asyncio.get_running_loop().create_task(self.reload_and_log())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def reload_and_log(self) -> None:
        """Reload; a configuration that is refused is told in the log alone."""
        try:
            await self.reload(Actor("SIGHUP"))
        except ConfigError:
            pass  # the reload has told it
        except Exception:
            _log.exception("the configuration stays as it was, by an error of the router's own")

    async def drain(self) -> None:
        """Take no more connections, and wait for the requests that run, at most `timeouts.drain`
        seconds. Where the next process inherits the socket, connections that are there may ask once
        more and are closed with the answer; else they are refused.
        """
        self.services.handing_over = any(one.setting == "listen" for one in self._sockets)
        self.services.draining = True
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.services.routes.config.timeouts.drain):
                if self.services.handing_over:
                    await self._wait_until_left()
                await self._wait_until_idle()
        if self.services.metrics.inflight:
            self.services.end_running()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._wait_until_idle()
        if self.services.seller is not None:
            limit_s = self.services.routes.config.payments.x402.facilitator.settle_timeout
            await self.services.seller.drain(limit_s)

    async def _wait_until_idle(self) -> None:
        while self.services.metrics.inflight:
            self.services.idle.clear()
            await self.services.idle.wait()

    async def _wait_until_left(self) -> None:
        """Until no client has a connection, or none of them has asked for anything for a second.

        HTTP/1.1 can tell a client that its connection will be closed in an answer alone. If it is
        closed while the client is about to ask, the request is lost.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _HAND_OVER_S
        servers = [runner.server for runner in self._runners if runner.server is not None]
        while loop.time() < until:
            # Before looking: who was let in a moment ago is not counted yet.
            await asyncio.sleep(_HAND_OVER_POLL_S)
            if self.services.metrics.inflight:
                until = loop.time() + _HAND_OVER_S
            elif not any(server.connections for server in servers):
                return

    async def stop(self) -> None:
        """End everything: connections, running requests, embedded models, tasks."""
        self.services.draining = True
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()
        await asyncio.gather(*self._reloading, return_exceptions=True)
        if self.services.seller is not None:
            await self.services.seller.close()
        await self.services.turns.close()
        await self.services.probes.close()
        await self.services.upstream.close()
        await self._targets.close()

    def _check(self, config: Config) -> None:
        """Refuse what no file shows, as each part that has a line here does. Raises ConfigError."""
        has_keys = self.services.keys.required or self.services.seller is not None
        require_authentication(config, has_keys=has_keys)

    def _adopt(self, config: Config, table: RouteTable) -> None:
        """Make `config` and its table the current ones, for the requests that come after.

        Every part that keeps something of the configuration has a line here. None of them may
        raise: what can be refused is refused before, by `_check` or while the file is read.
        """
        services = self.services
        before = services.routes.current
        services.routes.apply_config(config, table)
        services.budget.ratio = config.retry.budget_ratio
        services.buffers.limit = buffer_limit(config.limits)
        services.watermark.limit = watermark(config.limits)
        if services.seller is not None:
            services.seller.adopt(config.payments.x402)
        self._targets.forget(config.providers)
        self._certificates.adopt()
        services.upstream.resolver.allowed = _link_local_hosts(config)
        services.forget_unrouted(before)
        services.recent.resize(config.server.recent_requests)
        log.set_up(config.server.log.level, config.server.log.format)

    async def _keep_house(self) -> None:
        """Once a second: how late the loop is, whether the key file has changed, and how much
        memory the process has.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _HOUSEKEEPING_S
            await asyncio.sleep(_HOUSEKEEPING_S)
            self.services.metrics.record_loop_lag(max(loop.time() - due, 0.0))
            log.tell_repeats()
            self.renew_keys()
            await self.services.watermark.look()

    def _completed(self, config: Config) -> Config:
        """The configuration, judged by what is on this machine too. Raises ConfigError."""
        self._certificates.read(config)
        return with_availability(config)

    def renew_keys(self) -> None:
        """Read the key file if it has changed; keep the keys if it is not usable now."""
        if not self._key_file.has_changed:
            return
        try:
            keys = self._key_file.read()
            has_keys = keys.required or self.services.seller is not None
            require_authentication(self.services.routes.config, has_keys=has_keys)
        except ConfigError as error:
            _log.error("the keys stay as they were: %s", error)
        else:
            self.services.keys = keys

    async def _save_dynamic(self, routes: Routes, history: History) -> None:
        """Write the file in a thread: it waits for the disk."""
        await asyncio.to_thread(self._store.save, routes, history)

    async def _audit(self, entry: Entry) -> None:
        """Write the line in a thread. If that fails, what it tells of was done all the same."""
        try:
            await asyncio.to_thread(self._store.audit.add, entry)
        except OSError as error:
            _log.error("the audit file cannot be written: %s", error.strerror or "I/O error")


def _sells(config: Config) -> bool:
    """Whether who has no key can pay."""
    return config.payments.x402.enabled


def _link_local_hosts(config: Config) -> frozenset[str]:
    """The hosts that may have link-local addresses, because the configuration says so."""
    allowed = (one.api_base for one in config.providers.values() if one.allow_link_local)
    return frozenset((urlsplit(url).hostname or "").lower() for url in allowed)


def _new_id(prefix: str) -> str:
    return f"{prefix}{random.getrandbits(120):030x}"


def _shown(listen: str, tls: ssl.SSLContext | None) -> str:
    """The address as a client would write it."""
    if listen.startswith("unix:"):
        return listen
    return f"{'http' if tls is None else 'https'}://{listen}"
