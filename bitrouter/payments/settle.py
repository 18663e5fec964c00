"""Settlements: each a task of its own, that no client ends and that a crash does not forget.

The order (x402.md, sections 9 and 10): the journal says `settling`, and is on disk; the facilitator
is called; the journal says how it ended. Until that is known the call is repeated, for the chain
lets an authorisation be used once.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

import msgspec

from bitrouter import log
from bitrouter.ir import Usage
from bitrouter.payments.alerts import Alerts
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator, FacilitatorDenied, FacilitatorDown
from bitrouter.payments.journal import Entry, Journal, JournalUnavailable, State
from bitrouter.payments.outcome import (
    OUTCOME_UNKNOWN,
    Inquiry,
    Refusal,
    read_refusal,
    read_verdict,
)
from bitrouter.payments.rpc import Rpc, RpcUnavailable
from bitrouter.payments.terms import Payload, Receipt, Terms

_log: Final = logging.getLogger("bitrouter.payments")

OnFinal = Callable[[Entry, Receipt], None]


class Pace(msgspec.Struct, frozen=True):
    """Seconds. A settlement without an outcome is taken up again after `first_rest`, twice that and
    so on up to `last_rest`, until `after_expiry` after the authorisation has run out: a transaction
    of the last moment takes so long to be seen.
    """

    first_rest: float = 1.0
    last_rest: float = 30.0
    after_expiry: float = 30.0


class _Job:
    """One settlement. `charge` are the terms with the amount that is charged.

    `unanswered` says that a call may have gone through whose answer is not known; `pending` is the
    transaction that was said to be on its way; `refused` the latest refusal that decided nothing.
    """

    __slots__ = (
        *("charge", "entry", "payload", "pending", "refused", "resting", "resumed", "terms"),
        *("unanswered", "unknown"),
    )

    def __init__(self, entry: Entry, payload: Payload, terms: Terms, *, resumed: bool) -> None:
        self.entry = entry
        self.payload = payload
        self.terms = terms
        self.charge = msgspec.structs.replace(terms, amount=str(entry.amount))
        self.resumed = resumed
        self.unanswered = resumed
        self.unknown = False
        self.resting = False
        self.pending = entry.transaction
        self.refused: Receipt | None = None

    @property
    def doubtful(self) -> bool:
        """Whether an earlier call may have gone through."""
        return self.unanswered or bool(self.pending)


class Settler:
    """Made when the event loop runs. `wall` gives Unix seconds.

    `on_final` is called once for every settlement that was begun or resumed, when its entry is
    final, with the receipt; its errors are logged. `rpc` is optional.
    """

    def __init__(
        self,
        facilitator: Facilitator,
        journal: Journal,
        counters: Counters,
        *,
        wall: Callable[[], float],
        on_final: OnFinal,
        rpc: Rpc | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._facilitator = facilitator
        self._journal = journal
        self._counters = counters
        self._wall = wall
        self._on_final = on_final
        self._rpc = rpc
        self._pace = pace or Pace()
        self._alerts = Alerts()
        self._running: dict[asyncio.Task[Receipt | None], _Job] = {}
        self._draining = False

    # -- what callers do ----------------------------------------------------------------------

    def start(
        self,
        entry: Entry,
        payload: Payload,
        terms: Terms,
        amount: int,
        usage: Usage | None = None,
    ) -> asyncio.Task[Receipt | None]:
        """Begin to settle `amount` of the asset's smallest units; 0 releases the authorisation.
        `usage` is what it is charged for, and is kept with it.

        `terms` are those that were verified, with the ceiling. The task's result is the receipt, or
        None if the program ends before there is one. Cancelling whoever waits for it does not end
        it. Raises ValueError for an amount that was not authorised.
        """
        ceiling = int(terms.amount)
        allowed = amount in (0, ceiling) if terms.scheme == "exact" else 0 <= amount <= ceiling
        if not allowed:
            raise ValueError(f"{amount} units of a {terms.scheme} payment of {ceiling}")
        spent = usage or entry
        begun = self._changed(
            entry,
            "settling",
            amount=amount,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
        )
        return self._begin(_Job(begun, payload, terms, resumed=False))

    async def settle(
        self, entry: Entry, payload: Payload, terms: Terms, amount: int, wait_s: float
    ) -> Receipt | None:
        """`start`, and wait for the receipt. None if there is none after `wait_s` seconds.

        The settlement goes on then, and `on_final` tells its end.
        """
        return await receipt_within(self.start(entry, payload, terms, amount), wait_s)

    async def resume(self) -> list[Entry]:
        """Take up what the journal says was not finished, once, before the first request.

        Those whose settlement had begun are settled, and returned; the others are released, for
        their answers never came. Raises JournalUnavailable.
        """
        resumed = []
        for entry in await self._journal.unfinished():
            job = None if entry.state == "open" else self._remembered(entry)
            if job is not None:
                _ = self._begin(job)  # its task is kept there
                resumed.append(entry)
            elif entry.state == "open":
                self._journal.note(self._changed(entry, "released"))
            else:
                self._lose(entry, "the entry cannot be read")
        return resumed

    async def drain(self, limit_s: float) -> int:
        """Wait for the settlements that are being made, at most `limit_s` seconds; end the rest.

        Gives how many are left without an outcome. Their entries are taken up by the next start.
        """
        self._draining = True
        for task, job in self._running.items():
            if job.resting:
                task.cancel()
        if self._running:
            # asyncio.timeout does not fire in a task that is being cancelled, on Python 3.11.2.
            await asyncio.wait(self._running, timeout=limit_s)
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return self._counters.unsettled

    # -- one settlement -------------------------------------------------------------------------

    def _begin(self, job: _Job) -> asyncio.Task[Receipt | None]:
        self._counters.unsettled += 1
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._running[task] = job
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Receipt | None]) -> None:
        job = self._running.pop(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._abandon(job, fault)

    def _abandon(self, job: _Job, fault: BaseException) -> None:
        """A fault of our own has ended a settlement: nothing waits for it any more, and its row in
        the journal stays as it is, so that the next start takes it up.
        """
        _log.error("settling %s failed: %s", job.entry.id, log.describe_fault(fault))
        self._counters.unsettled -= 1
        self._counters.lost += 1
        self._tell(job.entry, _receipt(job, success=False, error_reason=OUTCOME_UNKNOWN))

    async def _run(self, job: _Job) -> Receipt | None:
        if job.entry.amount == 0:
            return self._end(job, "released", _receipt(job, success=True))
        if not job.resumed:
            try:
                await self._journal.keep(job.entry)
            except JournalUnavailable as error:
                # The work is done and its answer waits: not to settle now would lose the money for
                # certain, to settle without a memory loses it only if the process dies as well.
                self._alerts.error("journal", "a settlement is not in the journal: %s", error)
        began = asyncio.get_running_loop().time()
        receipt = await self._decide(job)
        if not job.resumed:
            self._counters.settle_seconds.observe(asyncio.get_running_loop().time() - began)
        self._count(job, receipt)
        return self._end(job, "settled" if receipt.success else "failed", receipt)

    async def _decide(self, job: _Job) -> Receipt:
        """Call until the outcome is known, or the authorisation has run out."""
        rest_s = self._pace.first_rest
        deadline = job.entry.expires_at + self._pace.after_expiry
        at_once = True
        while self._wall() < deadline:
            receipt = await self._try(job)
            if receipt is not None:
                return receipt
            if job.pending and at_once:
                at_once = False
                continue
            await self._rest(job, min(rest_s, max(deadline - self._wall(), 0.0)))
            rest_s = min(rest_s * 2, self._pace.last_rest)
        if job.doubtful and await self._inquire(job) is Inquiry.MOVED:
            return _receipt(job, success=True)
        return _receipt(job, success=False, error_reason=OUTCOME_UNKNOWN)

    async def _try(self, job: _Job) -> Receipt | None:
        """Find out, call if that may help, and find out again. None if nothing is decided."""
        # A repetition after a success costs the facilitator gas for nothing, so ask first; but of
        # what is pending the repetition tells the result, and costs none.
        if job.unanswered and (not job.pending or job.refused is not None):
            found = await self._inquire(job)
            if found is not Inquiry.REPEAT:
                return _receipt(job, success=True) if found is Inquiry.MOVED else None
        before = job.refused
        receipt = await self._call(job)
        if receipt is not None:
            return receipt
        if job.refused is not before and await self._inquire(job) is Inquiry.MOVED:
            return _receipt(job, success=True)
        return None

    async def _call(self, job: _Job) -> Receipt | None:
        """One call of the facilitator. None if it decided nothing."""
        try:
            receipt = await self._facilitator.settle(
                job.payload, job.charge, version=job.entry.version
            )
        except FacilitatorDown as error:
            self._alerts.warn("down", "the outcome of a settlement is unknown: %s", error)
            job.unanswered = True
            self._note_unknown(job)
            return None
        except FacilitatorDenied as error:
            self._alerts.error("denied", "the facilitator does not know us: %s", error)
            return None
        if receipt.success:
            return receipt
        return self._refused(job, receipt)

    def _refused(self, job: _Job, receipt: Receipt) -> Receipt | None:
        match read_refusal(receipt, unanswered=job.unanswered, pending=job.pending):
            case Refusal.FINAL:
                return receipt
            case Refusal.MOVED:
                return _receipt(job, success=True)
            case Refusal.PENDING:
                job.pending = receipt.transaction or job.pending
                # Without a hash nobody could say later what became of it.
                job.unanswered |= not job.pending
            case Refusal.DOUBTFUL:
                job.refused = receipt
                job.unanswered = True
        self._note_unknown(job)
        return None

    def _note_unknown(self, job: _Job) -> None:
        if not job.unknown or job.pending != job.entry.transaction:
            job.entry = self._changed(job.entry, "unknown", transaction=job.pending)
            self._journal.note(job.entry)
        if not job.unknown:
            job.unknown = True
            self._counters.unknown += 1

    async def _inquire(self, job: _Job) -> Inquiry:
        """What became of the earlier calls: by the chain, if it can be asked.

        Where it cannot, by the facilitator's verify, which is asked with the ceiling.
        """
        used = await self._is_used(job)
        if used:
            return Inquiry.MOVED
        try:
            verdict = await self._facilitator.verify_again(
                job.payload, job.terms, version=job.entry.version
            )
        except (FacilitatorDown, FacilitatorDenied):
            return Inquiry.REPEAT
        found = read_verdict(job.terms, verdict, job.refused)
        # The chain knows better what is evidence for the facilitator alone.
        return Inquiry.WAIT if found is Inquiry.MOVED and used is False else found

    async def _is_used(self, job: _Job) -> bool | None:
        if self._rpc is None:
            return None
        try:
            return await self._rpc.is_used(job.payload, job.terms)
        except RpcUnavailable as error:
            self._alerts.warn("rpc", "payments.x402.rpc_url does not help: %s", error)
            return None

    async def _rest(self, job: _Job, seconds: float) -> None:
        """Wait. While the router drains, end the task: the next start takes it up."""
        if self._draining:
            raise asyncio.CancelledError
        job.resting = True
        await asyncio.sleep(seconds * random.uniform(0.75, 1.0))  # many must not call in step
        job.resting = False

    # -- how it ends ----------------------------------------------------------------------------

    def _count(self, job: _Job, receipt: Receipt) -> None:
        if receipt.success:
            self._counters.settled += 1
            self._counters.units_charged += job.entry.amount or 0
        elif receipt.error_reason == OUTCOME_UNKNOWN:
            self._counters.lost += 1
            _log.error(
                "payment %s of %s units by %s expired without a known outcome",
                *(job.entry.id, job.entry.amount, job.entry.payer),
            )
        else:
            self._counters.refused += 1

    def _end(self, job: _Job, state: State, receipt: Receipt) -> Receipt:
        job.entry = self._changed(
            job.entry,
            state,
            transaction=receipt.transaction,
            error_reason=receipt.error_reason,
        )
        # Not waited for: if it is lost, the next start finds out anew what happened.
        self._journal.note(job.entry)
        self._counters.unsettled -= 1
        self._tell(job.entry, receipt)
        return receipt

    def _tell(self, entry: Entry, receipt: Receipt) -> None:
        try:
            self._on_final(entry, receipt)
        except Exception as error:
            _log.error("after settling %s: %s", entry.id, log.describe_fault(error))

    def _remembered(self, entry: Entry) -> _Job | None:
        with contextlib.suppress(msgspec.DecodeError):
            payload = msgspec.json.decode(entry.payload, type=Payload)
            terms = msgspec.json.decode(entry.terms, type=Terms)
            if entry.amount is not None:
                return _Job(entry, payload, terms, resumed=True)
        return None

    def _lose(self, entry: Entry, why: str) -> None:
        self._counters.lost += 1
        _log.error("payment %s is given up: %s", entry.id, why)
        self._journal.note(self._changed(entry, "failed", error_reason=OUTCOME_UNKNOWN))

    def _changed(self, entry: Entry, state: State, **changes: object) -> Entry:
        return msgspec.structs.replace(entry, state=state, updated_at=self._wall(), **changes)


async def receipt_within(task: asyncio.Task[Receipt | None], wait_s: float) -> Receipt | None:
    """How a settlement's task ended; None if it has not after `wait_s` seconds, was cancelled, or
    was ended by a fault of ours. It goes on, also when whoever waits here is cancelled.
    """
    # What asyncio.wait does, for one task and 3 us less of 11 (CPython 3.11). Not wait_for, which
    # would cancel it, and not a shield: when whoever called this is cancelled, nothing is left.
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(wait_s, wake)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def _receipt(job: _Job, *, success: bool, error_reason: str | None = None) -> Receipt:
    """What we say ourselves of a settlement that nobody gave a receipt for.

    A hash is that of a pending transaction: the one of a repetition that failed is no receipt.
    """
    return Receipt(
        success=success,
        transaction=job.pending,
        network=job.terms.network,
        payer=job.entry.payer,
        amount=str(job.entry.amount) if success else None,
        error_reason=error_reason,
    )
