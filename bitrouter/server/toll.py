"""A stream that is paid for: what is written passes here, and its last event waits for the receipt.

The price is known only when the stream has ended, and headers leave at its start. So the receipt is
a comment, which every reader of event streams skips, before the last event, where the client's
protocol suffers that (x402.md, 10.3).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from bitrouter.errors import PaymentExpired, RouterError
from bitrouter.exchange.tally import Tally, completed
from bitrouter.ir import Usage
from bitrouter.server.outgoing import OutStream

WhyEnding = Callable[[], RouterError | None]

_TOO_LONG: Final = "the payment's signature is about to run out; what came until now is charged"
_COMMENT: Final = b": x402-payment-response %b\n\n"


class Sale(Protocol):
    """The purchase that a stream belongs to."""

    async def settle(self, usage: Usage) -> bytes | None:
        """Charge for what was used. The receipt as a header's value, None if it takes too long."""

    def settle_later(self, usage: Usage) -> None:
        """Charge for what was used, while nobody waits."""

    def release(self) -> None:
        """Charge nothing."""


class TolledStream(OutStream):
    """Counts what is written, and keeps the last event back. `last_event` finds where that begins,
    None where nothing may stand before it.
    """

    def __init__(
        self, headers: dict[str, str], last_event: re.Pattern[bytes] | None, tally: Tally | None
    ) -> None:
        super().__init__(status=200, headers=headers)
        self._last_event = last_event
        self._tally = tally
        self.held = b""

    async def write(self, data: "bytes | bytearray | memoryview[int] | memoryview[bytes]") -> None:
        """See web.StreamResponse."""
        if passing := self._pass(bytes(data)):
            await super().write(passing)

    def write_now(self, data: bytes) -> bool:
        """See OutStream."""
        passing = self._pass(data)
        return super().write_now(passing) if passing else True

    async def write_aside(self, data: bytes) -> None:
        """See OutStream. It may stand before the last event, and must not follow it."""
        await super().write(data)

    async def let_go(self, receipt: bytes | None) -> None:
        """Write what was kept, after the receipt if there is one."""
        held, self.held = self.held, b""
        if receipt is not None and self._last_event is not None:
            held = _COMMENT % receipt + held
        if held:
            await super().write(held)

    def _pass(self, data: bytes) -> bytes:
        if self._tally is not None:
            self._tally.count(data)
        if self.held:
            self.held += data
            return b""
        found = self._last_event.search(data) if self._last_event is not None else None
        if found is None:
            return data
        self.held = data[found.start() :]
        return data[: found.start()]


class Toll:
    """What a stream owes. `estimate` is the tokens of the request, where nobody else counts them;
    `charges_broken` says whether what a broken stream has brought is charged; `lasts_s` is how long
    it may go on, for it must be settled while the signature is good.
    """

    def __init__(
        self,
        sale: Sale,
        *,
        last_event: re.Pattern[bytes] | None,
        tally: Tally | None,
        estimate: int,
        charges_broken: bool,
        lasts_s: float,
    ) -> None:
        self._sale = sale
        self._last_event = last_event
        self._tally = tally
        self._estimate = estimate
        self._charges_broken = charges_broken
        self._lasts_s = lasts_s
        self._is_concluded = False
        self._is_expired = False
        self._alarm: asyncio.TimerHandle | None = None

    def stream(self, headers: dict[str, str]) -> TolledStream:
        """The stream to the client. When its time is up, the task that runs now is cancelled."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        self._alarm = loop.call_later(self._lasts_s, self._expire, task)
        self._out = TolledStream(headers, self._last_event, self._tally)
        return self._out

    def why_ending(self, otherwise: WhyEnding) -> WhyEnding:
        """The reason of a cancellation: the time is up, or what `otherwise` says."""
        return lambda: PaymentExpired(_TOO_LONG) if self._is_expired else otherwise()

    def _expire(self, task: asyncio.Task[object] | None) -> None:
        self._is_expired = True
        if task is not None:
            task.cancel()

    def _conclude(self) -> None:
        self._is_concluded = True
        if self._alarm is not None:
            self._alarm.cancel()

    async def conclude(self, usage: Usage | None, *, complete: bool) -> None:
        """The upstream has said all: settle, and let the end of it go. Nothing is charged for what
        broke off, unless the configuration says so, or its time was up.
        """
        self._conclude()
        receipt = None
        if complete:
            receipt = await self._sale.settle(self._counted(usage or Usage()))
        elif self._charges_broken or self._is_expired:
            receipt = await self._sale.settle(self._so_far(usage or Usage()))
        else:
            self._sale.release()
        await self._out.let_go(receipt)

    def broken_off(self, usage: Usage | None, *, by_client: bool) -> None:
        """The stream ends in the middle. A client that leaves pays for what there was; for what
        the router breaks off itself, nobody does. After `conclude` there is nothing left to do.
        """
        if self._is_concluded:
            return
        self._conclude()
        if by_client or self._is_expired:
            self._sale.settle_later(self._so_far(usage or Usage()))
        else:
            self._sale.release()

    def _counted(self, known: Usage) -> Usage:
        """The upstream's own figures, and where there are none, ours."""
        if self._tally is None:
            return known
        spoken = self._tally.output_tokens if known.output_tokens is None else 0
        return completed(known, self._estimate, spoken)

    def _so_far(self, known: Usage) -> Usage:
        """The same of a part. What the upstream says before the end is often but a beginning."""
        counted = self._counted(known)
        if self._tally is None:
            return counted
        spoken = max(counted.output_tokens or 0, self._tally.output_tokens)
        return msgspec.structs.replace(counted, output_tokens=spoken)
