"""JSON over HTTP to the services that payments need, with everything bounded.

aiohttp's errors end here: their text may hold the headers of a request, a credential included.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import aiohttp
import msgspec
from yarl import URL

from bitrouter import __version__

MAX_ANSWER_BYTES: Final = 256 * 1024
_MAX_REDIRECTS: Final = 5
# Those that leave the method as it is, and the two whose change of it was never wanted for an API.
# 303 says that the answer is elsewhere, which is none that we could use.
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
# Servers close idle connections after 5 s and more. A call on one that is just being closed fails
# without telling whether it was heard, which for a settlement begins a long inquiry.
_IDLE_POOL_S: Final = 4.0
_CONNECT_S: Final = 10.0


class Credential(Protocol):
    """What a service knows us by."""

    def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """The headers for one call of `url`."""
        ...


class NoCredential:
    """A service that takes calls from anybody."""

    def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """None at all."""
        return {}


class Unreachable(Exception):
    """No usable answer came. `cause` says why in a few words of our own; it quotes nothing.

    `timed_out` says that the whole time was used up.
    """

    def __init__(self, cause: str, *, timed_out: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.timed_out = timed_out


class Answer(msgspec.Struct, frozen=True):
    """An answer read to its end. `retry_after` is in seconds, where it says so."""

    status: int
    body: bytes
    retry_after: int | None


class Transport:
    """A connection pool of its own. Made when the event loop runs, closed with `close`."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._session = aiohttp.ClientSession(
            # No limit: a call that waits for a connection in silence uses up its time. How many
            # there are is bounded by the requests that the router takes at a time.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_POOL_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            headers={
                "Accept": "application/json",
                # And none is undone: a small body could become a large one.
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"bitrouter/{__version__}",
            },
            auto_decompress=False,
            trust_env=False,  # as towards providers: no proxy that the configuration does not name
        )

    async def call(self, method: str, url: URL, body: bytes | None, timeout_s: float) -> Answer:
        """Send it, following redirects, and read the answer, all within `timeout_s` seconds.

        Raises Unreachable.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        origin = url
        for _ in range(_MAX_REDIRECTS + 1):
            headers = self._credential.headers(method, url) if _same_host(origin, url) else {}
            timeout = aiohttp.ClientTimeout(
                total=max(deadline - loop.time(), 0.001), connect=_CONNECT_S
            )
            answer = await self._call_once(method, url, body, headers, timeout)
            if isinstance(answer, Answer):
                return answer
            if answer.scheme != "https" and url.scheme == "https":
                # The body holds a signature that has not been used yet.
                raise Unreachable("it redirects from https to plain http")
            url = answer
        raise Unreachable(f"it redirects more than {_MAX_REDIRECTS} times")

    async def _call_once(
        self,
        method: str,
        url: URL,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own, which it enforces
    ) -> Answer | URL:
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status in _REDIRECTS:
                    return _target(url, response.headers.get("Location"))
                return await _read(response)
        except TimeoutError:
            raise Unreachable("it did not answer in time", timed_out=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"the connection failed ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _same_host(origin: URL, url: URL) -> bool:
    """Whether what `origin` knows us by may go to `url`: the same place, or its TLS port."""
    if origin.host != url.host:
        return False
    upgraded = (origin.scheme, origin.port) == ("http", 80) and url.port == 443
    return origin.port == url.port or upgraded


def _target(url: URL, location: str | None) -> URL:
    if not location:
        raise Unreachable("it redirects to nowhere")
    target = url.join(URL(location))
    if target.scheme not in ("http", "https") or not target.host:
        raise Unreachable("it redirects to something that is not http")
    return target


async def _read(response: aiohttp.ClientResponse) -> Answer:
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Unreachable("its answer is compressed, which was not asked for")
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise Unreachable(f"its answer is larger than {MAX_ANSWER_BYTES} bytes")
    after = response.headers.get("Retry-After", "")
    seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 7 else None
    return Answer(response.status, bytes(body), seconds)
