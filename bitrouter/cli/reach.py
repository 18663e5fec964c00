"""What `bitrouter doctor` finds out over the network: whether the providers are there."""

import asyncio
import contextlib
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bitrouter.cli.finding import Finding
from bitrouter.config.schema import Config

_LARGE_SKEW_S: Final = 30.0
_HUGE_SKEW_S: Final = 300.0
_MAX_HEAD: Final = 16_384


class _Origin(msgspec.Struct, frozen=True, order=True):
    """Where providers are called: one for all that share it."""

    host: str
    port: int
    by_tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Reached(msgspec.Struct, frozen=True):
    """`skew_s` is how far this machine's clock is ahead of theirs, None if they do not tell."""

    finding: Finding
    skew_s: float | None = None


async def providers(config: Config, limit_s: float) -> list[Finding]:
    """Look up, connect to and greet the host of every usable provider, all at once.

    Each has `limit_s` seconds. Nothing that needs a key is asked for. Their answers tell the time.
    """
    origins: dict[_Origin, list[str]] = {}
    for name, provider in config.providers.items():
        if provider.unusable is None and provider.embedded is None:
            origins.setdefault(_origin(provider.api_base), []).append(name)
    reached = await asyncio.gather(
        *(_reach(origin, names, limit_s) for origin, names in origins.items())
    )
    skews = [one.skew_s for one in reached if one.skew_s is not None]
    return [one.finding for one in reached] + ([_clock(skews)] if skews else [])


def _origin(url: str) -> _Origin:
    parts = urlsplit(url)
    by_tls = parts.scheme == "https"
    return _Origin(parts.hostname or "", parts.port or (443 if by_tls else 80), by_tls)


async def _reach(origin: _Origin, names: list[str], limit_s: float) -> _Reached:
    check = "provider " + ", ".join(names)
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().getaddrinfo(
                origin.host, origin.port, type=socket.SOCK_STREAM
            )
            date = await _greet(origin)
    except TimeoutError:
        said = f"{origin} does not answer within {limit_s:g} s"
        advice = "is there a firewall, or a proxy that this machine must go through?"
        return _Reached(Finding(check, "fail", said, advice))
    except OSError as error:
        said, advice = _why(error)
        return _Reached(Finding(check, "fail", f"{origin}: {said}", advice))
    took_ms = (time.monotonic() - began) * 1000
    said = f"{origin} answers, by {'TLS' if origin.by_tls else 'plain HTTP'} in {took_ms:.0f} ms"
    return _Reached(Finding(check, "ok", said), _skew_s(date))


async def _greet(origin: _Origin) -> str:
    """Connect, and ask for the time: the Date header of whatever is answered, empty if there is
    none.
    """
    context = ssl.create_default_context() if origin.by_tls else None
    reader, writer = await asyncio.open_connection(origin.host, origin.port, ssl=context)
    try:
        host = origin.host if origin.port in (80, 443) else str(origin)
        writer.write(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
            if not (chunk := await reader.read(4096)):
                break
            head += chunk
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    lines = head.decode("latin-1").split("\r\n")
    return next((line[5:].strip() for line in lines if line.lower().startswith("date:")), "")


def _why(error: OSError) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    match error:
        case socket.gaierror():
            return "the name is not known", "check the spelling of api_base, and the machine's DNS"
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not valid: {error.verify_message}"
            return said, "install ca-certificates, look at the clock, or at who answers there"
        case ssl.SSLError():
            return f"no TLS: {error.reason}", "is api_base meant to be http://, or another port?"
        case ConnectionRefusedError():
            return "the connection was refused", "does the server run, and listen on that port?"
        case _:
            return error.strerror or "it cannot be reached", "is there a route to that network?"


def _skew_s(date: str) -> float | None:
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return time.time() - theirs  # noqa: TID251 - it is this clock that is looked at


def _clock(skews: list[float]) -> Finding:
    """Compare with most of the providers: one of them may be wrong itself."""
    skew_s = sorted(skews)[len(skews) // 2]
    if abs(skew_s) <= _LARGE_SKEW_S:
        return Finding("clock", "ok", "it agrees with the providers'")
    said = f"it is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the providers'"
    advice = "set it by NTP: `timedatectl set-ntp true`; certificates and payments depend on it"
    return Finding("clock", "fail" if abs(skew_s) > _HUGE_SKEW_S else "warn", said, advice)
