"""The newest requests, for a person who wonders what has just happened: metadata, and no prompt."""

import difflib
import re
import time
from itertools import islice
from time import perf_counter
from typing import Final

import msgspec
from aiohttp import web
from multidict import MultiMapping

from bitrouter.errors import InvalidRequest
from bitrouter.log import RequestLine
from bitrouter.metrics.store import CLIENT_GONE, OK, OUTCOMES
from bitrouter.routing.table import OTHER
from bitrouter.server.answers import json_answer
from bitrouter.server.guard import refusal
from bitrouter.server.record import Record
from bitrouter.server.services import Services

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000  # which takes some 4 ms of the event loop to write down

# Words for more than one outcome.
_TIMEOUT: Final = "timeout"
_ERROR: Final = "error"
_WORDS: Final = (*OUTCOMES, _TIMEOUT, _ERROR)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_PARAMETERS: Final = ("route", "outcome", "limit")


class Filter(msgspec.Struct, frozen=True):
    """Which of the requests are asked for: of a route, by name or label; of an outcome, or of those
    that a word stands for; how many at most.
    """

    route: str | None = None
    outcome: str | None = None
    limit: int = DEFAULT_LIMIT

    def fits(self, record: Record) -> bool:
        """Whether a request is one of them."""
        if self.outcome is not None and not _is_meant(record.outcome, self.outcome):
            return False
        route = record.route
        return self.route in (None, *((route.name, route.label) if route else (OTHER,)))


def read_filter(query: MultiMapping[str]) -> Filter:
    """The filter in a query. Raises InvalidRequest, with what is allowed."""
    for name in query:
        if name not in _PARAMETERS:
            raise InvalidRequest(f"the query: {_unknown(name, _PARAMETERS)}")
        if len(query.getall(name)) > 1:
            raise InvalidRequest(f"{name} must be given once")
    outcome = query.get("outcome")
    if outcome is not None and outcome not in _WORDS:
        raise InvalidRequest(f"outcome: {_unknown(outcome, _WORDS)}")
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not _NUMBER.fullmatch(limit) or int(limit) > MAX_LIMIT:
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_LIMIT}, not {limit!r:.80}")
    return Filter(query.get("route"), outcome, int(limit))


class RecentPage:
    """Serves the list."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list_requests(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The newest requests first, as many as are asked for."""
        token = self._services.routes.config.server.admin_token
        if refused := refusal(request, request_id, token):
            return refused
        wanted = read_filter(request.rel_url.query)
        fitting = filter(wanted.fits, self._services.recent.newest_first())
        lines = [_line(record) for record in islice(fitting, wanted.limit)]
        return json_answer(request_id, {"requests": lines}, headers={"Cache-Control": "no-store"})


def _line(record: Record) -> RequestLine:
    """What the log said, or would have said."""
    line = record.line()
    ended_s = time.time() - (perf_counter() - record.ended_at)  # noqa: TID251 - to show
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ended_s))
    line.time = f"{whole}.{int(ended_s % 1 * 1000):03d}Z"
    return line


def _is_meant(outcome: str, word: str) -> bool:
    if word == _ERROR:
        return outcome not in (OK, CLIENT_GONE)
    return outcome == word or (word == _TIMEOUT and outcome.startswith("timeout:"))


def _unknown(word: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word[:64], allowed, n=1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"there is no {word!r:.80}{meant}; allowed: {', '.join(allowed)}"
