"""Answers that were paid for, kept for a while for who asks again (x402.md, 10.5 and 14.1).

A client that lost its answer repeats the request with the same payment. It gets the answer again,
and pays nothing, if it had named the payment by an identifier, or if the settlement's outcome was
not known when the answer was due.
"""

import asyncio
from collections import OrderedDict
from typing import Final, Generic, TypeVar

from bitrouter.errors import PaymentConflict

_KEPT_S: Final = 3600.0
_MAX_KEPT: Final = 1024
_MAX_BYTES: Final = 64 << 20

Answer = TypeVar("Answer")


class Repeat(Generic[Answer]):
    """One payment and what became of it. `digest` is of the request; `answer` is set in the end, to
    None where the call came to nothing and may be made anew.
    """

    __slots__ = ("answer", "digest", "is_kept", "payment", "size", "until")

    def __init__(self, payment: str, digest: bytes, until: float) -> None:
        self.payment = payment
        self.digest = digest
        self.until = until
        self.answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.is_kept = True
        self.size = 0


class Repeats(Generic[Answer]):
    """By payer and identifier. The oldest go first when there are too many, or too large ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Repeat[Answer]] = OrderedDict()
        self._size = 0

    @property
    def keeps_any(self) -> bool:
        """Whether any name stands for something."""
        return bool(self._kept)

    def knows(self, payer: str, *names: str | None) -> bool:
        """Whether one of the names stands for something."""
        return any((payer, name) in self._kept for name in names)

    def same(
        self, payer: str, name: str, payment: str, digest: bytes, now: float
    ) -> Repeat[Answer] | None:
        """What was paid for under this name by this payment for this request, and is kept."""
        self._forget(now)
        known = self._kept.get((payer, name))
        if known is None or known.payment != payment or known.digest != digest:
            return None
        return known if known.is_kept else None

    def find(
        self, payer: str, name: str, payment: str, digest: bytes, now: float
    ) -> Repeat[Answer] | None:
        """What was paid for under this name by this payment; None if it is new.

        Raises PaymentConflict when the name stands for another payment or another request, and when
        the answer was a stream, of which nothing is kept.
        """
        self._forget(now)
        known = self._kept.get((payer, name))
        if known is None:
            return None
        if known.payment != payment or known.digest != digest:
            raise PaymentConflict(
                "this payment identifier was used for another payment or another request"
            )
        if not known.is_kept:
            raise PaymentConflict("the answer to this payment was a stream, which is not kept")
        return known

    def begin(self, payer: str, name: str, payment: str, digest: bytes, now: float) -> None:
        """Note that a call under this name has begun."""
        self._kept[payer, name] = Repeat(payment, digest, now + _KEPT_S)
        while len(self._kept) > _MAX_KEPT:
            self._drop(next(iter(self._kept)))

    def end(self, payer: str, name: str, answer: Answer | None, size: int) -> None:
        """The call has ended with this answer of `size` bytes; None if it came to nothing."""
        known = self._kept.get((payer, name))
        if known is None or known.answer.done():
            return
        known.answer.set_result(answer)
        if answer is None:
            self._drop((payer, name))
            return
        known.size = size
        self._size += size
        while self._size > _MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def end_unkept(self, payer: str, name: str) -> None:
        """The call has ended with a stream."""
        if known := self._kept.get((payer, name)):
            known.is_kept = False

    def _forget(self, now: float) -> None:
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            if oldest.until > now:
                return
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        dropped = self._kept.pop(key)
        self._size -= dropped.size
        if not dropped.answer.done():
            dropped.answer.set_result(None)
