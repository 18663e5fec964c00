"""The composition root: a configuration becomes a running service, and stops again.

The only place that knows all the parts.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from bitrouter import log
from bitrouter.access.keys import KEYS_FILE, KeyRing, decode_keys
from bitrouter.config.address import Address, parse_listen
from bitrouter.config.load import require_authentication, state_dir
from bitrouter.config.schema import Config, Embedded, Provider, Secret
from bitrouter.errors import ConfigError, Problem
from bitrouter.exchange.exchange import Means
from bitrouter.exchange.memory import Memory
from bitrouter.exchange.plan import Target
from bitrouter.local.supervisor import EmbeddedModel, availability
from bitrouter.metrics.store import MetricsStore
from bitrouter.routing.breaker import Breakers
from bitrouter.routing.state import DynamicRoute, RouteState, decode_dynamic, encode_dynamic
from bitrouter.routing.strategy import Balancer
from bitrouter.server.buffers import Buffers, buffer_limit
from bitrouter.server.connection import Server
from bitrouter.server.dispatch import Dispatcher
from bitrouter.server.inference import Inference
from bitrouter.server.pages import admin_pages, all_pages, public_pages
from bitrouter.server.services import Services
from bitrouter.state.files import read_if_there, write_atomically
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.session import Upstream
from bitrouter.upstream.slots import Slots

_log: Final = logging.getLogger("bitrouter")

_ROUTES_FILE: Final = "routes.json"
_HOUSEKEEPING_S: Final = 1.0
_BACKLOG: Final = 1024
_CLOSE_S: Final = 0.5
_LAST_WORDS_S: Final = 1.0  # for the error events of what did not end within `drain`


class Targets:
    """Where each provider is reached. An embedded model is started by the first who asks."""

    def __init__(self) -> None:
        # By the identity of what the target is made of, which is kept alive for as long.
        self._known: dict[int, tuple[object, Target]] = {}
        self._models: dict[str, tuple[Embedded, EmbeddedModel]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def find(self, provider: Provider) -> Target:
        """Raises UpstreamUnavailable when an embedded model cannot be had."""
        if provider.embedded is not None:
            return await self._embedded(provider, provider.embedded)
        return self._target(provider, provider.api_base, provider.api_key)

    def _target(self, owner: object, api_base: str, api_key: Secret | None) -> Target:
        known = self._known.get(id(owner))
        if known is None:
            known = (owner, Target(api_base, api_key))
            self._known[id(owner)] = known
        return known[1]

    async def _embedded(self, provider: Provider, settings: Embedded) -> Target:
        entry = self._models.get(provider.name)
        if entry is None or entry[0] != settings:
            if entry is not None:
                self._retire(entry[1])
            entry = (settings, EmbeddedModel(settings))
            self._models[provider.name] = entry
        endpoint = await entry[1].endpoint()
        return self._target(endpoint, endpoint.base_url, endpoint.api_key)

    def forget(self, providers: Mapping[str, Provider]) -> None:
        """Forget all targets, after a reload; stop the models that no provider has any more."""
        self._known.clear()
        for name in [name for name in self._models if name not in providers]:
            self._retire(self._models.pop(name)[1])

    def _retire(self, model: EmbeddedModel) -> None:
        task = asyncio.get_running_loop().create_task(model.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stop every embedded model."""
        closing = [model.close() for _, model in self._models.values()]
        await asyncio.gather(*closing, *self._closing)


class Router:
    """A service: made from a configuration, started once, stopped once.

    `read_config` reads the configuration anew for a reload, raising ConfigError. `environ` decides
    where state is kept. Raises ConfigError when the state on disk cannot be used, or when the
    configuration would let strangers in by accident.
    """

    def __init__(
        self, config: Config, environ: Mapping[str, str], read_config: Callable[[], Config]
    ) -> None:
        self._state_dir = state_dir(config, environ)
        self._keys_stamp: tuple[int, int] | None = None
        self._dynamic_file = self._state_dir / _ROUTES_FILE
        self._keys_file = self._state_dir / KEYS_FILE
        keys = self._read_keys()
        require_authentication(config, has_keys=keys.required)
        self.config = with_availability(config)
        self._read_config: Callable[[], Config] = lambda: with_availability(read_config())
        self._dynamic = self._read_dynamic()
        self._keys = keys
        self._targets = Targets()
        self._runners: list[web.ServerRunner] = []
        self._housekeeper: asyncio.Task[None] | None = None
        self.addresses: list[str] = []

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
            means=Means(wall=_wall_clock, mint=_new_id, memory=Memory(time.monotonic)),
            save_dynamic=self._save_dynamic,
            load_config=self._read_config,
            adopt_config=self._adopt,
        )
        services.upstream.resolver.allowed = _link_local_hosts(config)
        inference = Inference(services)
        if config.server.admin_listen is None:
            await self._listen(config.server.listen, Dispatcher(all_pages(services), inference))
        else:
            await self._listen(config.server.listen, Dispatcher(public_pages(services), inference))
            await self._listen(config.server.admin_listen, Dispatcher(admin_pages(services), None))
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house())

    async def _listen(self, listen: str, dispatcher: Dispatcher) -> None:
        # By the time that it is cleaned up, running requests have had the time of `drain`.
        runner = web.ServerRunner(
            Server(dispatcher, self.services), handle_signals=False, shutdown_timeout=_CLOSE_S
        )
        await runner.setup()
        self._runners.append(runner)
        address = parse_listen(listen)
        site = _site(runner, address)
        await site.start()
        self.addresses.append(_shown(listen, address, runner))

    @property
    def auth_mode(self) -> str:
        """Who may call, in a few words."""
        return "keys" if self.services.keys.required else "none, anybody who can connect"

    def reload_and_log(self) -> None:
        """Read the configuration anew and adopt it; keep the old one on any error (SIGHUP)."""
        try:
            self._adopt(self._read_config())
        except ConfigError as error:
            self.services.metrics.record_reload("error")
            for problem in error.problems:
                _log.error("the configuration stays as it was: %s", problem)
        else:
            self.services.metrics.record_reload("ok")
            _log.info("the configuration was reloaded")

    async def drain(self) -> None:
        """Take no more requests, and wait for those that run, at most `timeouts.drain` seconds."""
        self.services.draining = True
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()
        if self.services.metrics.inflight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.services.routes.config.timeouts.drain):
                    await self.services.idle.wait()
        if self.services.metrics.inflight:
            self.services.end_running()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self.services.idle.wait()

    async def stop(self) -> None:
        """End everything: connections, running requests, embedded models, tasks."""
        self.services.draining = True
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()
        await self.services.upstream.close()
        await self._targets.close()

    def _adopt(self, config: Config) -> None:
        """Make `config` the current one, for the requests that come after."""
        services = self.services
        require_authentication(config, has_keys=services.keys.required)
        before = services.routes.current
        services.routes.apply_config(config)
        services.budget.ratio = config.retry.budget_ratio
        services.buffers.limit = buffer_limit(config.limits)
        self._targets.forget(config.providers)
        services.upstream.resolver.allowed = _link_local_hosts(config)
        services.forget_unrouted(before)
        log.set_up(config.server.log.level, config.server.log.format)

    async def _keep_house(self) -> None:
        """Once a second: how late the loop is, and whether the key file has changed."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _HOUSEKEEPING_S
            await asyncio.sleep(_HOUSEKEEPING_S)
            self.services.metrics.record_loop_lag(max(loop.time() - due, 0.0))
            self.renew_keys()

    def renew_keys(self) -> None:
        """Read the key file if it has changed; keep the keys if it is not usable now."""
        if _stamp(self._keys_file) == self._keys_stamp:
            return
        try:
            keys = self._read_keys()
            require_authentication(self.services.routes.config, has_keys=keys.required)
        except ConfigError as error:
            _log.error("the keys stay as they were: %s", error)
        else:
            self.services.keys = keys

    def _read_keys(self) -> KeyRing:
        self._keys_stamp = _stamp(self._keys_file)
        content = _read_state(self._keys_file)
        if content is None:
            return KeyRing()
        try:
            return KeyRing(decode_keys(content))
        except ValueError as error:
            raise _unusable(self._keys_file, str(error)) from error

    def _read_dynamic(self) -> dict[str, DynamicRoute]:
        content = _read_state(self._dynamic_file)
        if content is None:
            return {}
        try:
            return decode_dynamic(content)
        except ValueError as error:
            raise _unusable(self._dynamic_file, str(error)) from error

    async def _save_dynamic(self, routes: Mapping[str, DynamicRoute]) -> None:
        """Write the file in a thread: it waits for the disk."""
        content = encode_dynamic(routes)
        await asyncio.to_thread(write_atomically, self._dynamic_file, content)


def with_availability(config: Config) -> Config:
    """The configuration with every embedded provider that cannot run here marked as not usable."""
    providers = {
        name: msgspec.structs.replace(provider, unusable=availability(provider.embedded))
        if provider.embedded is not None
        else provider
        for name, provider in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def _link_local_hosts(config: Config) -> frozenset[str]:
    """The hosts that may have link-local addresses, because the configuration says so."""
    allowed = (one.api_base for one in config.providers.values() if one.allow_link_local)
    return frozenset((urlsplit(url).hostname or "").lower() for url in allowed)


def _new_id(prefix: str) -> str:
    return f"{prefix}{random.getrandbits(120):030x}"


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - a timestamp to show, not a duration


def _site(runner: web.ServerRunner, address: Address) -> web.BaseSite:
    if address.path is not None:
        return web.UnixSite(runner, address.path, backlog=_BACKLOG)
    return web.TCPSite(runner, address.host, address.port, backlog=_BACKLOG)


def _shown(listen: str, address: Address, runner: web.ServerRunner) -> str:
    """The address as a client would write it, with the port that the kernel gave for 0."""
    if address.path is not None:
        return listen
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{runner.addresses[-1][1]}"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is replaced, twice within a tick of its clock too; None if gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _read_state(path: Path) -> bytes | None:
    try:
        return read_if_there(path)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error


def _unusable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, 0, "(state file)", message)])
