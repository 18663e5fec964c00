"""What is known of a settlement whose outcome was not told (x402.md, section 10.5).

Decisions only: who is asked, and when, is settle.py's.
"""

import enum
from typing import Final

from bitrouter.payments.facilitator import NO_SETTLE_REASON
from bitrouter.payments.terms import Receipt, Terms, Verdict

PENDING: Final = "settlement_pending"
OUTCOME_UNKNOWN: Final = "outcome_unknown"  # ours: the time ran out and nobody could say

# That the chain has seen this authorisation. It pays nobody but us, so where a settlement of ours
# may have gone through, it did.
_USED: Final = frozenset({"invalid_exact_evm_nonce_already_used", "permit2_invalid_nonce"})
# A transfer that fails for no reason that the facilitator could name: it names what is missing.
_NAMELESS: Final = frozenset(
    {
        "transaction_failed",
        "invalid_upto_evm_transaction_failed",
        "invalid_exact_evm_transaction_simulation_failed",
    }
)


class Inquiry(enum.Enum):
    """What is found out about a doubtful settlement."""

    MOVED = enum.auto()  # it went through
    REPEAT = enum.auto()  # a repetition can go through, or nobody says that it cannot
    WAIT = enum.auto()  # a repetition would fail as things are, and cost gas


class Refusal(enum.Enum):
    """What a refused settlement says."""

    FINAL = enum.auto()  # nothing was moved
    PENDING = enum.auto()  # broadcast; the next call tells its result
    MOVED = enum.auto()  # it is refused because an earlier call went through
    DOUBTFUL = enum.auto()  # it says nothing of the earlier calls


def read_refusal(receipt: Receipt, *, unanswered: bool, pending: str) -> Refusal:
    """`unanswered` says that an earlier call may have gone through without our being told.

    `pending` is the hash of a transaction that was said to be on its way, or empty. Without doubt a
    refusal is what it says, the use of the nonce included: somebody else did that. But a
    facilitator that tells of a fault of its own may have broadcast before.
    """
    if receipt.error_reason == PENDING:
        return Refusal.PENDING
    if not unanswered and (not pending or receipt.transaction == pending):
        own_fault = receipt.error_reason == NO_SETTLE_REASON
        return Refusal.DOUBTFUL if own_fault else Refusal.FINAL
    return Refusal.MOVED if receipt.error_reason in _USED else Refusal.DOUBTFUL


def read_verdict(terms: Terms, verdict: Verdict, refused: Receipt | None) -> Inquiry:
    """What verify says of a doubtful settlement."""
    if _has_moved(terms, verdict, refused):
        return Inquiry.MOVED
    return Inquiry.REPEAT if verdict.reason is None else Inquiry.WAIT


def _has_moved(terms: Terms, verdict: Verdict, refused: Receipt | None) -> bool:
    """Whether it went through.

    `refused` is the refusal of a repetition, if there was one. Proof is only that the nonce was
    used. With Permit2 the facilitator does not look at it: that a transfer fails although nothing
    is missing is strong evidence, for the payment was good before the work began. A balance or an
    allowance that is missing is none, since our own settlement may have taken it.
    """
    if verdict.reason in _USED:
        return True
    if not terms.uses_permit2:
        return False
    if verdict.reason in _NAMELESS:
        return True
    # `exact` is verified without trying the transfer, so "valid" says that nothing is missing; and
    # with a hash it was the chain that refused, not a facilitator without money for the gas.
    reverted = refused is not None and refused.error_reason in _NAMELESS and refused.transaction
    return terms.scheme == "exact" and verdict.reason is None and bool(reverted)
