"""What `bitrouter doctor` finds out by asking: whether each endpoint answers a few words.

They are asked by way of a router of the doctor's own, which lives as long as that takes: so the
configuration is tried as it stands, whether a router runs or not, and no client's key is needed.
"""

import asyncio
import contextlib
import http.client
import logging
import tempfile
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bitrouter.app import Router
from bitrouter.cli.finding import Finding
from bitrouter.config.schema import Config, Payments, Retry, ServerSettings
from bitrouter.errors import ConfigError
from bitrouter.protocols import CODECS

_PROMPT: Final = "Say hello."
_WITHIN_S: Final = 60.0
_AT_ONCE: Final = 4
_LISTEN: Final = "127.0.0.1:0"


async def answers(config: Config) -> list[Finding]:
    """Ask every endpoint of the routes; where there are none, one model of each provider that can
    be used.
    """
    endpoints = _endpoints(config)
    if not endpoints:
        said = "there is no endpoint that could be asked"
        return [Finding("live call", "warn", said, "give a provider its key")]
    # The findings say what the log would; and the answers must be the endpoint's own.
    logging.getLogger("bitrouter").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="bitrouter-doctor-") as state_dir:
        server = ServerSettings(listen=_LISTEN, state_dir=state_dir)
        own = msgspec.structs.replace(
            config, server=server, payments=Payments(), retry=Retry(max_attempts=1)
        )
        router = Router(own, {}, lambda: own)
        try:
            await router.start()
            return await _ask_all(router.addresses[0], endpoints)
        except (ConfigError, OSError) as error:
            return [Finding("live call", "fail", f"no router can be started here: {error}")]
        finally:
            await router.stop()


def _endpoints(config: Config) -> list[str]:
    """As clients would ask for them: provider:model_id."""
    usable = {name: one for name, one in config.providers.items() if one.unusable is None}
    if not config.models:
        return [f"{name}:{next(iter(one.models))}" for name, one in usable.items() if one.models]
    named = (
        f"{one.provider}:{one.model_id}"
        for entry in config.models.values()
        for one in entry.endpoints
        if "*" not in one.model_id and one.provider in usable
    )
    return list(dict.fromkeys(named))


async def _ask_all(url: str, endpoints: list[str]) -> list[Finding]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def ask(endpoint: str) -> Finding:
        async with room:
            return await asyncio.to_thread(_ask, url, endpoint)

    return list(await asyncio.gather(*map(ask, endpoints)))


class _Detail(msgspec.Struct, frozen=True):
    message: str = ""


class _Error(msgspec.Struct, frozen=True):
    error: _Detail = _Detail()


def _ask(url: str, endpoint: str) -> Finding:
    check = f"live call {endpoint}"
    path, body = CODECS[0].example(endpoint, _PROMPT)
    began = time.monotonic()
    try:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_WITHIN_S)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Finding(check, "fail", f"no answer: {str(error) or type(error).__name__}")
    took_ms = (time.monotonic() - began) * 1000
    if answer.status == 200:
        return Finding(check, "ok", f"it answered in {took_ms:.0f} ms")
    source = answer.headers.get("x-bitrouter-error-source", "")
    said = f"status {answer.status}: {_message(content)}"
    return Finding(check, "fail", said, _ADVICE.get((answer.status, source), ""))


def _message(content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=_Error).error.message[:300]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "an answer that is not understood"


_ADVICE: Final = {
    (401, "upstream"): "the provider does not take the key: see its api_key",
    (403, "upstream"): "the provider does not let this key use the model",
    (404, "upstream"): "the provider has no such model: see model_id",
    (429, "upstream"): "the provider's rate limit, or no credit is left there",
    (502, "upstream"): "the provider cannot be reached, or does not speak its api_protocol",
    (503, "upstream"): "the provider has no room now, or its embedded model did not start",
    (504, "upstream"): "the provider is slow: see `timeouts`",
}
