"""`bitrouter serve`: run in the foreground until a signal ends it."""

import asyncio
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from bitrouter import __version__, log
from bitrouter.app import Router
from bitrouter.cli.banner import banner, examples
from bitrouter.cli.manager import Manager
from bitrouter.config.load import find_config_file, load_config
from bitrouter.config.schema import Config
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.server.heap import keep_freed
from bitrouter.systemd.activation import inherited_sockets
from bitrouter.systemd.notify import Notifier, find_notifier, status, watchdog_s

_log: Final = logging.getLogger("bitrouter")

FAILURE: Final = 1
BAD_CONFIG: Final = 78  # EX_CONFIG of sysexits.h, which the systemd unit does not restart

# A request leaves hardly any cycle behind. Looking for some after every 700 objects, as CPython
# does, was 5 % of the router's CPU; this saves 8 to 27 us a request, at the same peak memory.
_GC_THRESHOLDS: Final = (10_000, 20, 20)


def run(
    config_path: str | None, listen: str | None, wait_for_certificates: Callable[[], None]
) -> int:
    """Serve. Returns 0 after a clean stop, 1 if the address is taken, 78 for a bad file, or for
    inherited sockets that do not fit it.

    `wait_for_certificates` returns when TLS connections can be made; see cli.certificates.
    """
    # A crash, or the abort with which a watchdog ends a process that is stuck, says where it was.
    faulthandler.enable()
    notifier = find_notifier(os.environ)
    if HttpRequestParser is HttpRequestParserPy:
        print("bitrouter: aiohttp's compiled HTTP parser is missing", file=sys.stderr)
        return FAILURE
    try:
        path = find_config_file(config_path, os.environ, Path.cwd())
        config = _load(path, listen)
        log.set_up(config.server.log.level, config.server.log.format)
        sockets = inherited_sockets(os.environ, os.getpid())
        router = Router(config, os.environ, lambda: _load(path, listen), sockets)
    except ConfigError as error:
        print(error, file=sys.stderr)
        if notifier is not None:
            notifier.send(status(f"cannot start: {error.problems[0]}"))
        return BAD_CONFIG
    _allow_descriptors()
    keep_freed(os.environ)
    # What was made so far lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    wait_for_certificates()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(router, notifier))
    except OSError as error:
        print(f"bitrouter: cannot listen: {error.strerror or error}", file=sys.stderr)
        return FAILURE
    return 0


def _allow_descriptors() -> None:
    """Raise the soft limit of open files to the hard one, as programs that do not use select may.

    It is 1024 by custom, for which `limits.max_concurrent_requests` streams are too many: each has
    a connection to its client and one to its provider.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _load(path: Path | None, listen: str | None) -> Config:
    config = load_config(path, os.environ, BY_API_PROTOCOL)
    if listen is not None:
        server = msgspec.structs.replace(config.server, listen=listen)
        config = msgspec.structs.replace(config, server=server)
    return config


async def _serve(router: Router, notifier: Notifier | None) -> None:
    """Run until SIGTERM or SIGINT; the second of them does not wait for running requests."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    at_once = asyncio.Event()

    def stop() -> None:
        (at_once if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, router.hang_up)
    await router.start()
    config = router.config
    manager = _manager(router, notifier)
    try:
        print(banner(router.addresses, config, router.auth_mode), file=sys.stderr, flush=True)
        if config.path is None or sys.stderr.isatty():
            needs_key = router.services.keys.required
            lines = examples(config, router.addresses[0], needs_key=needs_key)
            print(lines, file=sys.stderr, flush=True)
        if manager is not None:
            manager.ready()
        await asked.wait()
        _log.info("stopping: %s", __version__)
        if manager is not None:
            manager.stopping()
        await _first(router.drain(), at_once.wait())
    finally:
        await router.stop()
        if manager is not None:
            manager.close()


def _manager(router: Router, notifier: Notifier | None) -> Manager | None:
    """Who tells the service manager, if there is one."""
    if notifier is None:
        return None
    manager = Manager(notifier, router, watchdog_s(os.environ, os.getpid()))
    router.watcher = manager
    return manager


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has ended, and end the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
