"""Pages of other origins as clients: what a browser has to be told so that a wallet in it can pay
(x402.md, section 15). Only where calls are sold, and never for the admin's paths.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from bitrouter.protocols import CODECS
from bitrouter.protocols.base import path_spellings
from bitrouter.server.answers import base_headers, request_id_of
from bitrouter.server.discovery import GOOGLE_PATHS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# No credential of a browser's own is ever looked at, so any origin may ask.
SHARED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After, Server-Timing,"
        " x-request-id, request-id, x-bitrouter-provider, x-bitrouter-model, x-bitrouter-attempts,"
        " x-bitrouter-dropped, x-bitrouter-error-source, x-bitrouter-upstream-request-id,"
        " x-bitrouter-estimated"
    ),
}
_PREFLIGHT: Final = {
    **SHARED,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    # The last one is an answer's header, and stock x402 clients send it all the same.
    "Access-Control-Allow-Headers": (
        "PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X, Content-Type, Authorization, x-api-key,"
        " x-goog-api-key, api-key, anthropic-version, anthropic-beta,"
        " anthropic-dangerous-direct-browser-access, OpenAI-Organization, OpenAI-Project,"
        " OpenAI-Beta, x-goog-api-client, X-Request-Id, traceparent, tracestate, User-Agent,"
        " X-Stainless-Arch, X-Stainless-Lang, X-Stainless-OS, X-Stainless-Package-Version,"
        " X-Stainless-Retry-Count, X-Stainless-Runtime, X-Stainless-Runtime-Version,"
        " X-Stainless-Timeout, X-Stainless-Helper-Method, Idempotency-Key,"
        " Access-Control-Expose-Headers"
    ),
    "Access-Control-Max-Age": "86400",
}
_PAGES: Final = frozenset(
    {*path_spellings("/models"), *path_spellings("/routes"), *GOOGLE_PATHS}
    | {"/openapi.json", "/health", "/ready"}
)
_FOLDERS: Final = (
    *(f"{path}/" for path in (*path_spellings("/models"), *GOOGLE_PATHS)),
    "/v1/payments/",
)


class CrossOrigin:
    """Stands before a handler. Answers that are under way have SHARED from who made them."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        if not _is_shared(request.rel_url.raw_path):
            return await self._handler(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            headers = base_headers(request_id_of(request))
            headers.update(_PREFLIGHT)
            return web.Response(status=204, headers=headers)
        answer = await self._handler(request)
        if isinstance(answer, web.Response) and not answer.prepared:
            answer.headers.update(SHARED)
        return answer


def _is_shared(path: str) -> bool:
    """Whether it is for clients."""
    if path in _PAGES or path.startswith(_FOLDERS):
        return True
    return any(codec.match(path) is not None for codec in CODECS)
