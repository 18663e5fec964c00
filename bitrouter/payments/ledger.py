"""Which payments are in use, and who owes what: in memory, so that two uses of one payment cannot
pass each other (x402.md, sections 9 and 10.3).

Everything here happens between two awaits of the loop. What has to survive is the journal's.
"""

import heapq
from typing import Final

from bitrouter.config.schema import PaymentLimits
from bitrouter.errors import PayerLimited
from bitrouter.payments.terms import Authorization, PaymentRefused

# Beyond an authorisation's own end, from which on the checks refuse it anyway.
_MARGIN_S: Final = 120
_RETRY_S: Final = 1.0

_USED: Final = "invalid_exact_evm_nonce_already_used"
_USED_PERMIT: Final = "permit2_invalid_nonce"


class Ledger:
    """The payments that may not be used now, each until its authorisation has long expired."""

    def __init__(self, limits: PaymentLimits) -> None:
        self.limits = limits
        self._known: dict[str, int] = {}  # key -> Unix second until which it is remembered
        self._order: list[tuple[int, str]] = []
        self._unsettled: dict[str, int] = {}  # payer -> how many
        self._resting: dict[str, float] = {}  # payer -> until

    def __len__(self) -> int:
        return len(self._known)

    def reserve(self, payment: Authorization, now: float, *, permit2: bool) -> None:
        """Take a payment for one call. Ends with `release` or `close`.

        Raises PaymentRefused when it is in use or was, and PayerLimited.
        """
        self._forget(now)
        if payment.key in self._known:
            raise PaymentRefused(_USED_PERMIT if permit2 else _USED)
        wait_s = self._resting.get(payment.payer, 0.0) - now
        if wait_s > 0:
            raise PayerLimited(
                "a payment of this wallet could not be settled a short while ago",
                retry_after_s=wait_s,
            )
        running = self._unsettled.get(payment.payer, 0)
        if running >= self.limits.unsettled_per_payer:
            raise PayerLimited(
                f"{running} calls of this wallet are not settled yet"
                " (payments.x402.limits.unsettled_per_payer)",
                retry_after_s=_RETRY_S,
            )
        self._unsettled[payment.payer] = running + 1
        self.remember(payment.key, payment.expires_at)

    def release(self, payment: Authorization) -> None:
        """Nothing was taken: the same authorisation may be used again."""
        self._known.pop(payment.key, None)
        self._settle(payment.payer)

    def close(self, payment: Authorization) -> None:
        """The payment is used up, or its outcome was refused: it is not taken again."""
        self._settle(payment.payer)

    def rest(self, payer: str, now: float) -> None:
        """A settlement of this payer failed after the work was done."""
        self._resting[payer] = now + self.limits.cooldown_after_failed_settle

    def remember(self, key: str, expires_at: int) -> None:
        """A payment was used. `expires_at` is the Unix second from which the chain refuses it."""
        until = expires_at + _MARGIN_S
        self._known[key] = until
        heapq.heappush(self._order, (until, key))

    def _settle(self, payer: str) -> None:
        left = self._unsettled.get(payer, 0) - 1
        if left > 0:
            self._unsettled[payer] = left
        else:
            self._unsettled.pop(payer, None)

    def _forget(self, now: float) -> None:
        while self._order and self._order[0][0] < now:
            until, key = heapq.heappop(self._order)
            if self._known.get(key) == until:
                del self._known[key]
        if self._resting:
            self._resting = {payer: t for payer, t in self._resting.items() if t > now}
