"""From a method and a path to a handler.

The raw path decides, once, and nothing else does: no header rewrites it and no spelling is made
into another (reliability.md, section 7). Inference comes first, being what nearly all requests are.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from bitrouter.errors import InternalError, MethodNotAllowed, NotFound, RouterError
from bitrouter.protocols import CODECS
from bitrouter.protocols.codec import Codec
from bitrouter.server.answers import error_answer, request_id_of
from bitrouter.server.body import is_left_unread
from bitrouter.server.connection import LastAnswer
from bitrouter.server.head import RefusedRequest
from bitrouter.server.inference import Inference

_log: Final = logging.getLogger("bitrouter")

# A handler gets the request, its id, and what follows the prefix in the raw path (else "").
PageHandler = Callable[[web.BaseRequest, str, str], Awaitable[web.StreamResponse]]
Methods = Mapping[str, PageHandler]

# Errors at paths that are no protocol's own have the shape of the API document's Error.
_DEFAULT_CODEC: Final = CODECS[0]


class Pages:
    """All that is not inference: exact paths, and prefixes whose rest is a name."""

    def __init__(
        self, exact: Mapping[str, Methods], prefixes: Sequence[tuple[str, Methods]] = ()
    ) -> None:
        self._exact = exact
        self._prefixes = prefixes

    def at(self, path: str) -> Methods | None:
        """The methods of exactly this path."""
        return self._exact.get(path)

    def under(self, path: str) -> tuple[Methods, str] | None:
        """The methods of the prefix that the path begins with, and the rest of it."""
        for prefix, methods in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods, path[len(prefix) :]
        return None


class Dispatcher:
    """The handler of a listener. `inference` is None on one that serves the pages alone."""

    def __init__(self, pages: Pages, inference: Inference | None) -> None:
        self._pages = pages
        self._inference = inference

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        if type(request) is RefusedRequest:  # isinstance asks the abstract class, for 2 us
            return error_answer(
                _dialect(request), request.problem, request_id_of(request), LastAnswer
            )
        path = request.rel_url.raw_path
        methods = self._pages.at(path)
        if methods is not None:
            return await self._page(request, methods, "")
        if self._inference is not None:
            for codec in CODECS:
                match = codec.match(path)
                if match is not None:
                    return await self._inference.handle(request, codec, *match)
        return await self._page(request, *(self._pages.under(path) or (None, "")))

    def _lost(self, request: web.BaseRequest) -> NotFound:
        """A path that leads nowhere. Where a client went astray it counts as a request: its base
        URL is wrong, and whoever watches wants to know.
        """
        error = NotFound(f"there is nothing at {request.rel_url.raw_path[:200]}")
        if self._inference is not None:
            self._inference.count_stray(error)
        return error

    async def _page(
        self, request: web.BaseRequest, methods: Methods | None, rest: str
    ) -> web.StreamResponse:
        request_id = request_id_of(request)
        try:
            if methods is None:
                raise self._lost(request)
            return await _handler(request.method, methods)(request, request_id, rest)
        except RouterError as error:
            kind = LastAnswer if is_left_unread(request) else web.Response
            return error_answer(_dialect(request), error, request_id, kind)
        except Exception:
            _log.exception("request %s failed", request_id)
            fault = InternalError("an error of the router's own")
            return error_answer(_dialect(request), fault, request_id)


def _dialect(request: web.BaseRequest) -> Codec:
    """In whose words an error is told: the protocol's whose clients alone ask for such a path."""
    path = request.rel_url.raw_path
    for codec in CODECS:
        if path.startswith(codec.own_prefixes) or codec.match(path) is not None:
            return codec
    return _DEFAULT_CODEC


def _handler(method: str, methods: Methods) -> PageHandler:
    handler = methods.get("GET" if method == "HEAD" else method)
    if handler is None:
        allow = sorted(methods)
        detail = f"{method} is not allowed here, {' and '.join(allow)} is"
        raise MethodNotAllowed(detail, allow=allow)
    return handler
