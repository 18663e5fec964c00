"""One paid call: from when its payment was verified until it is settled or given back."""

import asyncio
from collections.abc import Callable

import msgspec

from bitrouter.ir import Usage
from bitrouter.payments.journal import Entry, Journal, State
from bitrouter.payments.ledger import Ledger
from bitrouter.payments.price import Quote
from bitrouter.payments.settle import Settler, receipt_within
from bitrouter.payments.terms import Authorization, Payload, Receipt, Terms


class Payment(msgspec.Struct, frozen=True):
    """What a client has signed, and what we had asked for. `version` is of the protocol."""

    authorization: Authorization
    payload: Payload
    terms: Terms
    decimals: int
    quote: Quote
    version: int

    @property
    def is_metered(self) -> bool:
        """Whether what is charged depends on what is used."""
        return self.terms.scheme == "upto" and not self.quote.tariff.is_flat

    def amount(self, usage: Usage) -> int:
        """What a call that used so much is charged, in the asset's smallest units."""
        if self.terms.scheme == "upto":
            return self.quote.charge(usage, self.decimals)
        return int(self.terms.amount)


class Books(msgspec.Struct, frozen=True):
    """Where purchases are written down, and who settles them. `wall` gives Unix seconds."""

    ledger: Ledger
    journal: Journal
    settler: Settler
    wall: Callable[[], float]


class Purchase:
    """A verified payment that is reserved for one call. Ends with `release` or a settlement."""

    def __init__(self, payment: Payment, books: Books, *, request_id: str, model: str) -> None:
        self.payment = payment
        self._books = books
        now = books.wall()
        terms, authorization = payment.terms, payment.authorization
        self._entry = Entry(
            id=request_id,
            key=authorization.key,
            payer=authorization.payer,
            network=terms.network,
            asset=terms.asset,
            scheme=terms.scheme,
            version=payment.version,
            payload=msgspec.json.encode(payment.payload),
            terms=msgspec.json.encode(terms),
            ceiling=int(terms.amount),
            expires_at=authorization.expires_at,
            state="open",
            created_at=now,
            updated_at=now,
            model=model,
        )
        self._is_open = True
        self.is_settled = False
        self.when_settled: Callable[[Receipt], None] | None = None
        books.journal.note(self._entry)

    @property
    def payer(self) -> str:
        """The wallet, in lower case."""
        return self.payment.authorization.payer

    def release(self) -> None:
        """The call came to nothing: the authorisation is the payer's again."""
        if self._is_open:
            self._is_open = False
            self._books.ledger.release(self.payment.authorization)
            self._books.journal.note(self._changed("released"))

    def settle_later(self, usage: Usage) -> None:
        """Charge for what was used, while nobody waits; `when_settled` tells the end."""
        _ = self._begin(usage)  # the settler keeps its task

    def _begin(self, usage: Usage) -> asyncio.Task[Receipt | None]:
        self._is_open = False
        payment = self.payment
        entry, amount = self._entry, payment.amount(usage)
        return self._books.settler.start(entry, payment.payload, payment.terms, amount, usage)

    async def settle(self, usage: Usage, wait_s: float) -> Receipt | None:
        """Charge for what was used. None when the outcome is not known after `wait_s` seconds; it
        is found out all the same, and also when whoever waits here is cancelled.
        """
        return await receipt_within(self._begin(usage), wait_s)

    def settled(self, receipt: Receipt) -> None:
        """The settlement has come to its end."""
        self.is_settled = True
        self._books.ledger.close(self.payment.authorization)
        if self.when_settled is not None:
            self.when_settled(receipt)

    def _changed(self, state: State) -> Entry:
        return msgspec.structs.replace(self._entry, state=state, updated_at=self._books.wall())
