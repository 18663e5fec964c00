"""Who has no key comes through here: the terms, the checks, the purchase (x402.md, section 10).

    quote -> match -> check -> reserve -> verify -> (the call) -> settle

The facilitator is asked before any work begins, and settles when it is done.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from bitrouter.config.schema import X402
from bitrouter.errors import (
    ApprovalMissing,
    InvalidPayment,
    PaymentRequired,
    PaymentsUnavailable,
)
from bitrouter.log import log_message
from bitrouter.payments.counters import Counters
from bitrouter.payments.encoding import Undecodable, decode_header, encode_header
from bitrouter.payments.extensions import SPONSORING, advertised, discovery, identifier_of
from bitrouter.payments.facilitator import Facilitator, FacilitatorDenied, FacilitatorDown
from bitrouter.payments.journal import Entry, Journal
from bitrouter.payments.ledger import Ledger
from bitrouter.payments.match import check_echo, find_match, find_v1
from bitrouter.payments.offers import Priced, Resource, required, v1_accepts
from bitrouter.payments.price import Quote
from bitrouter.payments.purchase import Books, Payment, Purchase
from bitrouter.payments.repeats import Repeats
from bitrouter.payments.rpc import Rpc
from bitrouter.payments.settle import Settler
from bitrouter.payments.shop import Shop, Shops, Work
from bitrouter.payments.supported import SupportedKinds
from bitrouter.payments.terms import Authorization, Payload, PaymentRefused, Receipt, Terms
from bitrouter.payments.verify import check_payment, check_v1
from bitrouter.payments.wanted import what_is_wanted, why_no_match, why_no_match_v1
from bitrouter.routing.table import RouteTable

_log: Final = logging.getLogger("bitrouter.payments")

SIGNATURE: Final = "PAYMENT-SIGNATURE"
SIGNATURE_V1: Final = "X-PAYMENT"
_REQUIRED: Final = "PAYMENT-REQUIRED"
_RESPONSE: Final = "PAYMENT-RESPONSE"
_RESPONSE_V1: Final = "X-PAYMENT-RESPONSE"
_NO_MATCH: Final = "no_matching_payment_requirements"
_NOT_PAID: Final = "payment_required"
_NO_ALLOWANCE: Final = "permit2_allowance_required"
_OTHER_FACILITATOR: Final = "upto_facilitator_mismatch"
_RETRY_S: Final = 5.0
_PAYMENT: Final = "payment %s by %s: %s, %s of %s units of %s"

Answer = TypeVar("Answer")


class Order(msgspec.Struct, frozen=True):
    """A stranger's request. `signatures` are the values of PAYMENT-SIGNATURE, `signatures_v1` those
    of X-PAYMENT; `path` is where it came; `digest` is of all that is asked; `example` is a body as
    the path takes it.
    """

    request_id: str
    path: str
    work: Work
    signatures: Sequence[str]
    signatures_v1: Sequence[str]
    digest: Callable[[], bytes]
    example: Callable[[], object]


class Claim(msgspec.Struct, frozen=True):
    """A payment whose local checks have passed, the header that it came in, and the name that the
    client gave it.
    """

    payment: Payment
    shop: Shop
    header: str
    name: str | None

    @property
    def header_digest(self) -> str:
        """Of the payment as it was sent. Made when it is asked for, which is seldom."""
        return _digest(self.header)


class Parts(msgspec.Struct, frozen=True):
    """What the gate works with, open. `rpc` is None where no node is configured."""

    journal: Journal
    facilitator: Facilitator
    counters: Counters
    rpc: Rpc | None


class Gate(Generic[Answer]):
    """Made when the event loop runs, by `opening.open_gate`; closes what it was given.

    `find_table` gives the route table of now; `wall` Unix time.
    """

    def __init__(
        self,
        settings: X402,
        find_table: Callable[[], RouteTable],
        parts: Parts,
        *,
        wall: Callable[[], float],
    ) -> None:
        self.counters = parts.counters
        self.repeats: Repeats[Answer] = Repeats()
        self._wall = wall
        self._facilitator = parts.facilitator
        self._kinds = SupportedKinds(self._facilitator.supported)
        self._shops = Shops(settings, find_table, self._kinds, time.monotonic)
        self._rpc = parts.rpc
        self._journal = parts.journal
        self._settler = Settler(
            self._facilitator,
            self._journal,
            self.counters,
            wall=wall,
            on_final=self._settled,
            rpc=self._rpc,
        )
        self._ledger = Ledger(settings.limits)
        self._books = Books(self._ledger, self._journal, self._settler, wall)
        self._purchases: dict[str, Purchase] = {}

    async def start(self) -> None:
        """Take up what a crash or a stop has left behind; begin to ask the facilitator."""
        self._kinds.start()
        for key, expires_at in (await self._journal.unexpired_keys()).items():
            self._ledger.remember(key, expires_at)
        for entry in await self._settler.resume():
            _log.info("payment %s is taken up again: %s units", entry.id, entry.amount)

    async def drain(self, limit_s: float) -> None:
        """Wait for the settlements that run; what is left is taken up by the next start."""
        if left := await self._settler.drain(limit_s):
            _log.warning("%d payments are left to the next start", left)

    async def close(self) -> None:
        """End everything."""
        await self._kinds.close()
        await self._settler.drain(0)
        await self._journal.close()
        await self._facilitator.close()
        if self._rpc is not None:
            await self._rpc.close()

    def adopt(self, settings: X402) -> None:
        """New prices, offers and limits, for the requests that come after."""
        self._shops.settings = settings
        self._ledger.limits = settings.limits

    @property
    def settings(self) -> X402:
        """The configuration of now."""
        return self._shops.settings

    async def find(self, request_id: str) -> Entry | None:
        """The payment of a request, as far as it has got."""
        return await self._journal.find(request_id)

    # -- before the call ------------------------------------------------------------------------

    async def claim(self, order: Order) -> Claim:
        """Read the payment of a request and check what can be checked here.

        Raises PaymentRequired with the terms when there is none or it does not do, InvalidPayment
        when it cannot be read, PaymentsUnavailable, and what pricing raises.
        """
        payload, version, text = _read(order)
        if not self._kinds.ready:
            raise PaymentsUnavailable(
                "payments cannot be checked yet: the facilitator has not answered",
                retry_after_s=_RETRY_S,
            )
        if payload is None:
            raise await self._refusal(order, _NOT_PAID)
        try:
            return await self._matched(order, payload, version, text)
        except PaymentRefused as refused:
            raise await self._refusal(order, refused.reason, refused.wanted) from None

    async def _matched(self, order: Order, payload: Payload, version: int, text: str) -> Claim:
        name = identifier_of(payload) if version > 1 else None
        accepted = payload.get("accepted") if version > 1 else None
        shops = await self._shops.open(order.work)
        for shop, price in shops:
            found = _find(payload, version, shop.offers.acceptable(price, accepted))
            if found is None:
                continue
            if version > 1 and (echo := payload.get("extensions")) is not None:
                check_echo(self._advertised(shop, order), echo)
            authorization = self._check(found.terms, payload, version, shop)
            payment = Payment(authorization, payload, found.terms, found.decimals, price, version)
            if name is not None and authorization.deferred:
                # Whose payment it is, the facilitator alone can say. Until then a name is worth
                # nothing without the signature: nobody else's is found, or taken away, by it.
                name = f"{name}={_digest(text)}"
            return Claim(payment, shop, text, name)
        offered = [one.terms for shop, price in shops for one in shop.offers.acceptable(price)]
        raise PaymentRefused(_NO_MATCH, _why_no_match(payload, version, offered))

    def _check(self, terms: Terms, payload: Payload, version: int, shop: Shop) -> Authorization:
        check = check_payment if version > 1 else check_v1
        least_s = int(shop.settings.min_remaining)
        try:
            return check(
                terms,
                payload,
                now=self._wall(),
                min_remaining_s=least_s,
                defer_mismatch=shop.settings.defer_contract_wallets,
            )
        except PaymentRefused as refused:
            wanted = what_is_wanted(refused.reason, terms, least_s)
            raise PaymentRefused(refused.reason, wanted) from None

    async def buy(self, order: Order, claim: Claim) -> Purchase:
        """Reserve the payment and have it verified. Nothing else may use it from here on.

        Raises PaymentRequired, PayerLimited and PaymentsUnavailable.
        """
        payment = claim.payment
        authorization = payment.authorization
        try:
            # Nothing is awaited between the look and the entry.
            self._ledger.reserve(authorization, self._wall(), permit2=payment.terms.uses_permit2)
        except PaymentRefused as refused:
            raise await self._refused(order, payment, refused.reason) from None
        try:
            await self._verify(order, payment)
        except BaseException:
            self._ledger.release(authorization)
            raise
        purchase = Purchase(
            payment, self._books, request_id=order.request_id, model=order.work.model
        )
        self._purchases[authorization.key] = purchase
        return purchase

    def release(self, purchase: Purchase) -> None:
        """The call came to nothing."""
        self._purchases.pop(purchase.payment.authorization.key, None)
        purchase.release()

    async def _verify(self, order: Order, payment: Payment) -> None:
        if not self._journal.healthy:
            raise PaymentsUnavailable("payments cannot be written down now", retry_after_s=_RETRY_S)
        try:
            verdict = await self._facilitator.verify(
                payment.payload, payment.terms, version=payment.version
            )
        except FacilitatorDown as down:
            wait_s = max(float(down.retry_after or 0), _RETRY_S)
            raise _unavailable(wait_s) from down
        except FacilitatorDenied as denied:
            raise _unavailable(_RETRY_S) from denied
        if verdict.reason is not None:
            if verdict.reason == _OTHER_FACILITATOR:
                self._kinds.refresh_soon()
            raise await self._refused(order, payment, verdict.reason)
        self.counters.units_quoted += int(payment.terms.amount)

    # -- after the call -------------------------------------------------------------------------

    def remaining_s(self, payment: Payment) -> float:
        """How long the payer's signature is good from now on, in seconds."""
        return payment.authorization.expires_at - self._wall()

    def receipt_text(self, receipt: Receipt) -> str:
        """The receipt as a header has it."""
        return encode_header(receipt)

    def receipt_headers(self, payment: Payment, receipt: Receipt) -> dict[str, str]:
        """What goes with a paid answer."""
        name = _RESPONSE if payment.version > 1 else _RESPONSE_V1
        return {name: encode_header(receipt), "Cache-Control": "private"}

    async def not_settled(
        self, order: Order, payment: Payment, receipt: Receipt
    ) -> PaymentRequired:
        """The error for a call whose settlement was refused: its answer is not given."""
        error = await self._refusal(order, receipt.error_reason or "transaction_failed")
        headers = self.receipt_headers(payment, receipt)
        error.headers = {**headers, **error.headers}
        return error

    def _settled(self, entry: Entry, receipt: Receipt) -> None:
        """A settlement has come to its end, maybe one that was taken up after a restart."""
        purchase = self._purchases.pop(entry.key, None)
        if purchase is not None:
            purchase.settled(receipt)
        if entry.state == "failed":
            self._ledger.rest(entry.payer, self._wall())
        told = (entry.id, entry.payer, entry.state, entry.amount, entry.ceiling, entry.asset)
        transaction = receipt.transaction or "none"
        if receipt.success:
            log_message(_log.name, f"{_PAYMENT % told}, transaction {transaction}")
        else:
            _log.error(_PAYMENT + ", transaction %s: %s", *told, transaction, entry.error_reason)

    # -- the 402 --------------------------------------------------------------------------------

    async def _refused(self, order: Order, payment: Payment, reason: str) -> PaymentRequired:
        least_s = int(self.settings.min_remaining)
        return await self._refusal(order, reason, what_is_wanted(reason, payment.terms, least_s))

    async def _refusal(self, order: Order, reason: str, wanted: str = "") -> PaymentRequired:
        """The error with the terms of now. `wanted` says what a payment should have been."""
        shop = self._shops.current()
        price = await shop.quote(order.work)
        terms = [one.terms for one in shop.offers.terms(price)]
        if not terms:
            raise PaymentsUnavailable(
                "the facilitator settles none of the ways to pay that are configured",
                retry_after_s=_RETRY_S,
            )
        self.counters.required += 1
        resource = Resource(_url(shop.settings, order.path), f"A call of {order.work.model}"[:200])
        answer = required(reason, resource, terms, self._advertised(shop, order))
        kind = ApprovalMissing if reason == _NO_ALLOWANCE else PaymentRequired
        return kind(
            _words(reason, wanted, price, terms),
            reason=reason,
            headers={_REQUIRED: encode_header(answer), "Cache-Control": "no-store"},
            members=_members(answer, v1_accepts(resource, terms)),
        )

    def _advertised(self, shop: Shop, order: Order) -> Mapping[str, Any]:
        extensions = advertised(sponsoring=SPONSORING in self._kinds.extensions)
        if shop.settings.discovery:
            extensions |= discovery(order.example())
        return extensions


def _read(order: Order) -> tuple[Payload | None, int, str]:
    """The payment of a request as it was sent, and the version of the protocol.

    Raises InvalidPayment when there are several, or when it cannot be read.
    """
    for version, name, given in (
        (2, SIGNATURE, order.signatures),
        (1, SIGNATURE_V1, order.signatures_v1),
    ):
        if len(given) > 1:
            raise InvalidPayment(f"there must be one {name} header")
        if given:
            try:
                return decode_header(given[0]), version, given[0]
            except Undecodable as error:
                raise InvalidPayment(f"{name}: {error}") from None
    return None, 2, ""


def _digest(header: str) -> str:
    return hashlib.sha256(header.encode()).hexdigest()


def _find(payload: Payload, version: int, priced: Sequence[Priced]) -> Priced | None:
    terms = [one.terms for one in priced]
    found = find_v1(payload, terms) if version == 1 else find_match(payload.get("accepted"), terms)
    return next((one for one in priced if one.terms is found), None)


def _why_no_match(payload: Payload, version: int, offered: Sequence[Terms]) -> str:
    if version == 1:
        return why_no_match_v1(offered)
    return why_no_match(payload.get("accepted"), offered)


def _unavailable(wait_s: float) -> PaymentsUnavailable:
    return PaymentsUnavailable(
        "payments cannot be checked now: the facilitator does not answer; nothing was charged",
        retry_after_s=wait_s,
    )


def _url(settings: X402, path: str) -> str:
    return (settings.public_base_url or "").rstrip("/") + path


def _words(reason: str, wanted: str, price: Quote, terms: Sequence[Terms]) -> str:
    """The message for people."""
    ways = ", ".join(f"{one.scheme} on {one.network}" for one in terms)
    most = "" if price.tariff.is_flat else "at most "
    cost = f"{most}{price.ceiling(6) / 1e6:.6f}".rstrip("0").rstrip(".")
    if reason == _NOT_PAID:
        return f"this call costs {cost} USD, to be paid by x402 ({ways}); or send a valid key"
    why = f"{reason}: {wanted}" if wanted else reason
    return f"the payment was not accepted: {why}; this call costs {cost} USD ({ways})"


def _members(answer: Mapping[str, Any], first_version: Sequence[object]) -> bytes:
    """The terms for the body: as in the header, and as clients of version 1 look for them."""
    members = b',"payment_required":' + msgspec.json.encode(answer)
    if first_version:
        members += b',"x402Version":1,"accepts":' + msgspec.json.encode(first_version)
    return members
