"""How the tests ask the admin API."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from tests.support.router import RunningRouter

ROUTE = {"model": "team/re:search", "endpoints": [{"provider": "p1", "model_id": "up-9"}]}


class Answer:
    """A whole answer of the admin API."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content: Any = json.loads(body)

    @property
    def error(self) -> str:
        message: str = self.content["error"]["message"]
        return message


async def ask(
    router: RunningRouter,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    url = URL(router.url + path, encoded=True)
    async with router.http.request(method, url, json=body, headers=headers) as response:
        return Answer(response, await response.read())


async def names(router: RunningRouter) -> list[tuple[str, str]]:
    answer = await ask(router, "GET", "/admin/routes")
    assert answer.status == 200
    return [(route["source"], route["model"]) for route in answer.content["routes"]]
