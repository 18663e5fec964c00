"""Calls of strangers: paid for before anything is done, charged when it is done (x402.md, 10)."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Final

import msgspec
from aiohttp import web

from bitrouter.config.schema import X402
from bitrouter.errors import PaymentOutlasted, SettlementUnknown
from bitrouter.exchange.estimate import Size, measure, measure_if_quick
from bitrouter.exchange.inquiry import Inquiry, Metering
from bitrouter.exchange.tally import Tally, completed, spoken_tokens
from bitrouter.ir import Usage
from bitrouter.metrics.families import Family
from bitrouter.payments.exposition import families
from bitrouter.payments.gate import SIGNATURE, SIGNATURE_V1, Claim, Gate, Order
from bitrouter.payments.journal import Entry, JournalUnavailable
from bitrouter.payments.purchase import Purchase
from bitrouter.payments.repeats import Repeat
from bitrouter.payments.shop import Work
from bitrouter.payments.terms import Receipt
from bitrouter.protocols.base import Bound
from bitrouter.server.alarm import Alarm
from bitrouter.server.aside import aside
from bitrouter.server.attempt import is_large
from bitrouter.server.receipts import PaymentView
from bitrouter.server.relay import Answer, StreamAnswer, WholeAnswer
from bitrouter.server.toll import Toll

_GENERATE: Final = "generate"
_SETTLE_BEFORE_S: Final = 60.0  # that a signature runs out (x402.md, 10.4)
_EXAMPLE: Final = ("MODEL", "Hello")

Produce = Callable[[], Awaitable[Answer]]


class Till:
    """Sells calls. `max_event_bytes` bounds an event of a stream that is counted."""

    def __init__(self, gate: Gate[WholeAnswer], max_event_bytes: Callable[[], int]) -> None:
        self.gate = gate
        self._max_event_bytes = max_event_bytes
        # Strangers pay nothing for being told a price: their large bodies are looked over one after
        # the other, so that all of them together take a thread, and the rest is served beside it.
        self._measuring = asyncio.Semaphore(1)

    async def sell(self, request: web.BaseRequest, inquiry: Inquiry, produce: Produce) -> Answer:
        """The answer that `produce` gives, paid for: a whole one is settled, a stream will be.

        Raises what Gate.claim and Gate.buy raise, PaymentConflict, and what `produce` raises, for
        which nothing is charged. When the settlement is refused, the answer is withheld and
        PaymentRequired raised; when its outcome is not known in time, SettlementUnknown.
        """
        goods = _Goods(request, inquiry, self._measuring)
        order = goods.order()
        claim = await self.gate.claim(order)
        if is_large(inquiry):  # or it would be taken when somebody asks for it
            await aside(order.digest)
        if self.gate.repeats.keeps_any and (kept := await self._kept(claim, order)) is not None:
            return _again(kept, order.request_id)
        if claim.name is not None:
            self._begin(claim, claim.name, order)
        try:
            purchase = await self.gate.buy(order, claim)
        except BaseException:
            self._end(claim, None)
            raise
        try:
            if not purchase.payment.quote.tariff.is_flat:
                inquiry.metering = Metering(claim.shop.limit(order.work))
            inquiry.owner = purchase.payer
            answer = await self._produced(produce, purchase)
            if isinstance(answer, WholeAnswer) and purchase.payment.is_metered:
                answer = await goods.completed(answer)
        except BaseException:
            self.gate.release(purchase)
            self._end(claim, None)
            raise
        if isinstance(answer, WholeAnswer):
            return await self._settled(answer, purchase, claim, order)
        return self._tolled(answer, purchase, claim, goods)

    async def _produced(self, produce: Produce, purchase: Purchase) -> Answer:
        """What `produce` gives, in time to be settled. Raises PaymentOutlasted."""
        alarm = Alarm(_lasts_s(self.gate.remaining_s(purchase.payment)))
        try:
            return await produce()
        except asyncio.CancelledError as error:
            if not alarm.is_the_cause():
                raise
            raise PaymentOutlasted(
                "the call took longer than the payment's signature is good for; nothing was charged"
            ) from error
        finally:
            alarm.stop()

    async def find(self, request_id: str) -> PaymentView | None:
        """What is known of the payment of a request. Raises OSError when it cannot be read."""
        try:
            entry = await self.gate.find(request_id)
        except JournalUnavailable as error:
            raise OSError(str(error)) from error
        return None if entry is None else _view(entry)

    def families(self) -> Iterable[Family]:
        """What is counted of payments, as metrics."""
        return families(self.gate.counters)

    def adopt(self, settings: X402) -> None:
        """New prices and offers, for the requests that come after."""
        self.gate.adopt(settings)

    async def drain(self, limit_s: float) -> None:
        """Wait for the settlements that run."""
        await self.gate.drain(limit_s)

    async def close(self) -> None:
        """End everything."""
        await self.gate.close()

    # -- whole answers --------------------------------------------------------------------------

    async def _settled(
        self, answer: WholeAnswer, purchase: Purchase, claim: Claim, order: Order
    ) -> WholeAnswer:
        gate, payment = self.gate, purchase.payment

        def keep(receipt: Receipt) -> None:
            """The answer is the client's from now on, whether it is still there or not."""
            if receipt.success:
                answer.headers.update(gate.receipt_headers(payment, receipt))
            self._end(claim, answer if receipt.success else None)

        purchase.when_settled = keep
        wait_s = float(gate.settings.facilitator.settle_timeout)
        receipt = None
        try:
            receipt = await purchase.settle(answer.usage or Usage(), wait_s)
        finally:
            if receipt is None and not purchase.is_settled:  # the client may ask for it again
                self._begin(claim, _unnamed(claim), order)
        if receipt is None:
            raise SettlementUnknown(
                "whether the payment was settled is not known yet; repeat the same request with the"
                " same payment to get its outcome, and do not sign another one"
            )
        if not receipt.success:
            raise await gate.not_settled(order, payment, receipt)
        return answer

    async def _kept(self, claim: Claim, order: Order) -> WholeAnswer | None:
        """The answer to the same request with the same payment, if it has been made already, or is
        being made. A payment without a name gets it only where its outcome was in doubt.
        """
        wait_s = float(self.gate.settings.facilitator.settle_timeout)
        while (found := self._repeated(claim, order)) is not None:
            await asyncio.wait({found.answer}, timeout=wait_s)
            if not found.answer.done():
                raise SettlementUnknown("the payment of the first request is not settled yet")
            if (answer := found.answer.result()) is not None:
                return answer
            # It came to nothing. Of several that waited, the first makes the call anew.
        return None

    def _repeated(self, claim: Claim, order: Order) -> Repeat[WholeAnswer] | None:
        payer, repeats = claim.payment.authorization.payer, self.gate.repeats
        if not repeats.knows(payer, claim.name, _unnamed(claim)):
            return None  # as of nearly all: what is asked need not be hashed
        given = (claim.header_digest, order.digest(), monotonic())
        found = None if claim.name is None else repeats.find(payer, claim.name, *given)
        return found or repeats.same(payer, _unnamed(claim), *given)

    def _begin(self, claim: Claim, name: str, order: Order) -> None:
        self.gate.repeats.begin(
            claim.payment.authorization.payer,
            name,
            claim.header_digest,
            order.digest(),
            monotonic(),
        )

    def _end(self, claim: Claim, answer: WholeAnswer | None) -> None:
        repeats = self.gate.repeats
        if not repeats.keeps_any:  # as nearly always
            return
        size = len(answer.body) if answer is not None else 0
        payer = claim.payment.authorization.payer
        if claim.name is not None:
            repeats.end(payer, claim.name, answer, size)
        repeats.end(payer, _unnamed(claim), answer, size)

    # -- streams --------------------------------------------------------------------------------

    def _tolled(
        self, answer: StreamAnswer, purchase: Purchase, claim: Claim, goods: "_Goods"
    ) -> StreamAnswer:
        """The stream with what it owes. It is nobody else's, and of it nothing is kept."""
        if claim.name is not None:
            self.gate.repeats.end_unkept(purchase.payer, claim.name)
        caching = answer.headers.get("Cache-Control")
        answer.headers["Cache-Control"] = f"{caching}, private" if caching else "private"
        inquiry, is_metered = goods.inquiry, purchase.payment.is_metered
        tally = None
        if is_metered:
            framing = inquiry.request.framing
            tally = Tally(inquiry.codec, framing, self._max_event_bytes())
        streams = claim.shop.settings.streams
        toll = Toll(
            _StreamSale(self.gate, purchase, float(streams.receipt_hold)),
            last_event=inquiry.codec.last_event,
            tally=tally,
            estimate=goods.size.tokens if goods.size else 0,
            charges_broken=streams.charge_partial and is_metered,
            lasts_s=_lasts_s(self.gate.remaining_s(purchase.payment)),
        )
        return msgspec.structs.replace(answer, toll=toll)


class _StreamSale:
    """See toll.Sale."""

    def __init__(self, gate: Gate[WholeAnswer], purchase: Purchase, hold_s: float) -> None:
        self._gate = gate
        self._purchase = purchase
        self._hold_s = hold_s

    async def settle(self, usage: Usage) -> bytes | None:
        receipt = await self._purchase.settle(usage, self._hold_s)
        return None if receipt is None else self._gate.receipt_text(receipt).encode()

    def settle_later(self, usage: Usage) -> None:
        self._purchase.settle_later(usage)

    def release(self) -> None:
        self._gate.release(self._purchase)


class _Goods:
    """What a request asks for, measured when it has to be."""

    def __init__(
        self, request: web.BaseRequest, inquiry: Inquiry, measuring: asyncio.Semaphore
    ) -> None:
        self.inquiry = inquiry
        self.size: Size | None = None
        self._request = request
        self._measuring = measuring
        self._digest = b""

    def order(self) -> Order:
        """See gate.Order. Raises InvalidRequest for a limit that makes no sense."""
        wanted, codec = self.inquiry.request, self.inquiry.codec
        generates = self._generates
        headers = self._request.headers
        return Order(
            request_id=self.inquiry.request_id,
            path=self._request.rel_url.raw_path,
            work=Work(
                wanted.model,
                codec.read_bound(wanted) if generates else Bound(None),
                generates,
                self._count,
            ),
            signatures=headers.getall(SIGNATURE, ()),
            signatures_v1=headers.getall(SIGNATURE_V1, ()),
            digest=self._digested,
            example=lambda: msgspec.json.decode(codec.example(wanted.model, _EXAMPLE[1])[1]),
        )

    async def _count(self) -> int:
        """A bound on the tokens of the body."""
        if self.size is None:
            body = self.inquiry.request.body
            size = measure_if_quick(body)
            if size is None:
                async with self._measuring:
                    size = await aside(measure, body)
            self.size = size
        return self.size.most_tokens

    def _digested(self) -> bytes:
        """Of the path, the query and the body; taken once."""
        if not self._digest:
            digest = hashlib.sha256(self._request.rel_url.raw_path_qs.encode())
            digest.update(b"\n")
            digest.update(self.inquiry.request.body)
            self._digest = digest.digest()
        return self._digest

    async def completed(self, answer: WholeAnswer) -> WholeAnswer:
        """The answer with all of its usage: what the provider does not count, the router does."""
        known = answer.usage or Usage()
        spoken = 0
        if known.output_tokens is None and self._generates:
            spoken = await aside(spoken_tokens, self.inquiry.codec, answer.body)
        asked = self.size.tokens if self.size is not None else 0
        return msgspec.structs.replace(answer, usage=completed(known, asked, spoken))

    @property
    def _generates(self) -> bool:
        return self.inquiry.request.operation.name == _GENERATE


def _lasts_s(remaining_s: float) -> float:
    """How long a call may go on whose payment is good for so long. A short life is halved."""
    return max(remaining_s - _SETTLE_BEFORE_S, remaining_s / 2)


def _unnamed(claim: Claim) -> str:
    """A name that no client can give, for a payment that has none."""
    return f"={claim.payment.authorization.key}"


def _again(answer: WholeAnswer, request_id: str) -> WholeAnswer:
    """A kept answer for another request."""
    headers = answer.headers.copy()
    headers.update({"x-request-id": request_id, "request-id": request_id})
    return msgspec.structs.replace(answer, headers=headers)


def _view(entry: Entry) -> PaymentView:
    return PaymentView(
        id=entry.id,
        state=entry.state,
        scheme=entry.scheme,
        network=entry.network,
        asset=entry.asset,
        payer=entry.payer,
        ceiling=str(entry.ceiling),
        amount=None if entry.amount is None else str(entry.amount),
        transaction=entry.transaction or None,
        error_reason=entry.error_reason,
        input_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        expires_at=entry.expires_at,
    )
