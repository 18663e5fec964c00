"""Routes and configuration change while requests run for that very route: none may be lost."""

import asyncio
import itertools
import os
import signal
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.content import MODEL, UPSTREAM_MODEL
from bench.crowd import Tally, agree, describe, keep_asking, read_account, settled_account
from bench.process import Child
from bench.scenarios import Scenario

CHANGES: Final = 200  # every second one is a reload
REQUESTS: Final = 10_000

_CONNECTIONS: Final = 32
_WITHIN_S: Final = 300.0
_CHANGE_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.002
_ROUTE: Final = {
    "model": MODEL,
    "endpoints": [{"provider": "other", "model_id": UPSTREAM_MODEL}],
}


def write_config(file: Path, listen_port: int, upstream_port: int, key: str = "bench") -> None:
    """A configuration with the route that clients ask for, and a second provider at the same
    upstream that a dynamic route can lead to. Another `key` is a change of both.

    The file appears whole: it may be read at any time.
    """
    provider = (
        f"{{api_protocol: openai, api_base: 'http://127.0.0.1:{upstream_port}', api_key: {key}}}"
    )
    fresh = file.with_suffix(".new")
    fresh.write_text(
        f"server: {{listen: '127.0.0.1:{listen_port}'}}\n"
        f"providers: {{up: {provider}, other: {provider}}}\n"
        f"models: {{{MODEL}: {{endpoints: [{{provider: up, model_id: {UPSTREAM_MODEL}}}]}}}}\n"
    )
    fresh.replace(file)


class Changer:
    """Makes changes, one after the other, each another kind than the last.

    Each raises RuntimeError when the router does not say, within some seconds, that it was made.
    """

    def __init__(
        self, session: aiohttp.ClientSession, router: Child, upstream_port: int, file: Path
    ) -> None:
        self._session = session
        self._router = router
        self._upstream_port = upstream_port
        self._file = file
        self._keys = itertools.count()
        self.made = 0
        self.reloads = 0
        self._kinds = itertools.cycle(
            (self._set_route, self._reload, self._remove_route, self._hang_up)
        )

    async def make(self) -> None:
        """The next change. Counted in `made`, and in `reloads` if it is one."""
        async with asyncio.timeout(_CHANGE_WITHIN_S):
            await next(self._kinds)()
        self.made += 1

    async def _set_route(self) -> None:
        await self._ask("POST", "/admin/routes", _ROUTE)

    async def _remove_route(self) -> None:
        await self._ask("DELETE", f"/admin/routes/{MODEL}")

    async def _reload(self) -> None:
        self._write()
        answer = await self._ask("POST", "/admin/reload")
        if sorted(answer["changes"]["providers"]["changed"]) != ["other", "up"]:
            raise RuntimeError(f"a reload that did not see the new file: {answer}")
        self.reloads += 1

    async def _hang_up(self) -> None:
        """SIGHUP, which has no answer but the count of reloads."""
        self._write()
        os.kill(self._router.pid, signal.SIGHUP)
        self.reloads += 1
        while True:
            account = await read_account(self._session)
            if account.reloads.get("ok", 0) >= self.reloads:
                return
            await asyncio.sleep(_POLL_S)

    def _write(self) -> None:
        key = f"bench-{next(self._keys)}"
        write_config(self._file, self._router.port, self._upstream_port, key)

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, path, json=body) as response:
            if response.status != 200:
                raise RuntimeError(f"{method} {path}: {response.status} {await response.text()}")
            return await response.json()


async def change_under_load(router: Child, upstream_port: int, file: Path) -> bool:
    """`CHANGES` changes, evenly among at least `REQUESTS` requests: whether no request was lost.

    Prints the figures. Half of the clients speak Messages, so that their answers are translated.
    """
    tally = Tally()
    url = f"http://127.0.0.1:{router.port}"
    async with aiohttp.ClientSession(url) as session, asyncio.timeout(_WITHIN_S):
        changer = Changer(session, router, upstream_port, file)

        def go_on() -> bool:
            return tally.asked < REQUESTS or changer.made < CHANGES

        clients = (
            keep_asking(router.port, Scenario(1, False, 1, bool(number % 2)), tally, go_on)
            for number in range(_CONNECTIONS)
        )
        await asyncio.gather(_make_changes(changer, tally), *clients)
        account = await settled_account(session, tally.asked)
    print(describe(tally, account))
    print(
        f"changes: {changer.made}, of them {changer.reloads} reloads;"
        f" reloads counted: {account.reloads}"
    )
    return agree(tally, account) and account.reloads == {"ok": changer.reloads}


async def _make_changes(changer: Changer, tally: Tally) -> None:
    """All of them, each when its share of the requests has been answered."""
    while changer.made < CHANGES:
        if tally.asked * CHANGES < changer.made * REQUESTS:
            await asyncio.sleep(_POLL_S)
        else:
            await changer.make()
