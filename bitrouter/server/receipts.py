"""GET /v1/payments/{request id}: what became of a payment (x402.md, 10.3)."""

import msgspec
from aiohttp import web

from bitrouter.errors import NotFound, ServiceUnavailable
from bitrouter.server.answers import json_answer
from bitrouter.server.discovery import decode_name
from bitrouter.server.services import Services


class PaymentView(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="object",
    tag="payment",
):
    """A payment. `amount` is what is charged and `ceiling` what was authorised, both decimal
    strings of the asset's smallest unit. Times are Unix seconds.

    `state`: `open` while the call runs, `settling` and `unknown` until the chain's word is there,
    then `settled`, `failed`, or `released`, when nothing was charged.
    """

    id: str
    state: str
    scheme: str
    network: str
    asset: str
    payer: str
    ceiling: str
    amount: str | None = None
    transaction: str | None = None
    error_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    created_at: float
    updated_at: float
    expires_at: int


class Receipts:
    """The page. Whoever has a request's id may ask: the router's own cannot be guessed."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def get_payment(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """One payment by the id of its request."""
        seller = self._services.seller
        if seller is None:
            raise NotFound("payments are off (payments.x402.enabled)")
        name = decode_name(rest)
        try:
            found = await seller.find(name)
        except OSError as error:
            raise ServiceUnavailable("the journal of payments cannot be read now") from error
        if found is None:
            raise NotFound(f"there is no payment of a request {name!r:.140}")
        return json_answer(request_id, found, headers={"Cache-Control": "no-store"})
