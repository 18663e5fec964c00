"""What the facilitator can do, as far as is known: the last good answer, kept up to date."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from bitrouter.payments.alerts import Alerts
from bitrouter.payments.facilitator import FacilitatorDenied, FacilitatorDown, Supported

FACILITATOR_ADDRESS: Final = "facilitatorAddress"


class Rhythm(msgspec.Struct, frozen=True):
    """Seconds. After a failure the next try comes after `first_retry`, twice that and so on up to
    `last_retry`; requests for a refresh are heard once in `between_requests`.
    """

    refresh: float = 300.0
    first_retry: float = 1.0
    last_retry: float = 60.0
    between_requests: float = 5.0


class _Address(msgspec.Struct):
    """The account that an offer of `upto` names, and the one before it until `former_until`."""

    current: str
    former: str | None = None
    former_until: float = 0.0


class SupportedKinds:
    """Knows nothing at first; `start` has it ask in the background, `close` ends that.

    `ask` is Facilitator.supported. For `grace_s` seconds after the facilitator's address for
    `upto` has changed, the former one counts as well: clients sign what they were offered.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Supported]],
        *,
        grace_s: float = 600.0,
        rhythm: Rhythm | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._grace_s = grace_s
        self._rhythm = rhythm or Rhythm()
        self._monotonic = monotonic
        self._alerts = Alerts()
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._requested = False
        self._last_request = -self._rhythm.between_requests
        self._addresses: dict[tuple[str, str], _Address] = {}
        self.ready = False
        self.kinds: Mapping[tuple[str, str], dict[str, Any]] = {}
        self.extensions: frozenset[str] = frozenset()

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def extra(self, scheme: str, network: str) -> dict[str, Any] | None:
        """What the facilitator adds to our terms, None if it does not do this, or is not known to.

        The same until it has to change: an address that was offered stays the one that is offered.
        """
        return self.kinds.get((scheme, network))

    def addresses(self, scheme: str, network: str) -> tuple[str, ...]:
        """The facilitator's accounts that a payment may name: the offered one, then the former."""
        known = self._addresses.get((scheme, network))
        if known is None:
            return ()
        if known.former is not None and self._monotonic() < known.former_until:
            return known.current, known.former
        return (known.current,)

    def refresh_soon(self) -> None:
        """Ask again, and take over what is said: the facilitator did not know its own address."""
        now = self._monotonic()
        if now - self._last_request >= self._rhythm.between_requests:
            self._last_request = now
            self._requested = True
            self._wanted.set()

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        retry_s = self._rhythm.first_retry
        while True:
            requested, self._requested = self._requested, False
            self._wanted.clear()
            if await self._refresh(requested=requested):
                retry_s, pause_s = self._rhythm.first_retry, self._rhythm.refresh
            else:
                self._requested |= requested
                pause_s, retry_s = retry_s, min(retry_s * 2, self._rhythm.last_retry)
            with contextlib.suppress(TimeoutError):
                # Many routers must not ask in step.
                await asyncio.wait_for(self._wanted.wait(), pause_s * random.uniform(0.9, 1.1))

    async def _refresh(self, *, requested: bool) -> bool:
        try:
            said = await self._ask()
        except FacilitatorDown as error:
            self._alerts.warn("down", "the facilitator does not say what it supports: %s", error)
            return False
        except FacilitatorDenied as error:
            self._alerts.error("denied", "the facilitator does not know us: %s", error)
            return False
        self._adopt(said, requested=requested)
        return True

    def _adopt(self, said: Supported, *, requested: bool) -> None:
        kinds: dict[tuple[str, str], dict[str, Any]] = {}
        for kind in said.kinds:
            # The first of several: facilitators list what they prefer first.
            kinds.setdefault((kind.scheme, kind.network), kind.extra)
        for place, extra in kinds.items():
            address = extra.get(FACILITATOR_ADDRESS)
            if isinstance(address, str):
                kept = self._settle_on(place, address, said.signers, requested=requested)
                kinds[place] = {**extra, FACILITATOR_ADDRESS: kept}
        self.kinds = kinds
        self.extensions = said.extensions
        self.ready = True

    def _settle_on(
        self, place: tuple[str, str], said: str, signers: frozenset[str], *, requested: bool
    ) -> str:
        """The address to offer.

        One with several accounts names any of them each time, and settles with all: the first that
        was heard stays, unless it is no longer among them, or one of ours was just turned down.
        """
        known = self._addresses.setdefault(place, _Address(said))
        if known.current.lower() == said.lower():
            return known.current
        gone = bool(signers) and known.current.lower() not in signers
        if gone or requested:
            known.former, known.current = known.current, said
            known.former_until = self._monotonic() + self._grace_s
        return known.current
