"""The client of the service that verifies payments and settles them (x402.md, section 6)."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from yarl import URL

from bitrouter.config.schema import Facilitator as Settings
from bitrouter.payments.alerts import Alerts
from bitrouter.payments.counters import Counters
from bitrouter.payments.credential import credential
from bitrouter.payments.terms import X402_VERSION, Payload, Receipt, Terms, Verdict
from bitrouter.payments.transport import Answer, Transport, Unreachable

_SUPPORTED_S: Final = 15.0
_REPEAT_AFTER_S: Final = 0.1  # the pause before verify is asked once more
_REASON: Final = re.compile(r"[^a-z0-9_]")
_MAX_REASON: Final = 100
_TRANSACTION: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
# Longer than a hash: call data, with a signature in it that may not have been used yet.
_LONG_HEX: Final = re.compile(r"[0-9a-fA-F]{65,}")

NO_VERIFY_REASON: Final = "unexpected_verify_error"
NO_SETTLE_REASON: Final = "unexpected_settle_error"


class FacilitatorDown(Exception):
    """The facilitator said nothing that can be used. Of a settlement: the outcome is unknown.

    `cause` says why in words of our own. `retry_after` is in seconds, where it says so.
    """

    def __init__(
        self, cause: str, *, retry_after: int | None = None, timed_out: bool = False
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.retry_after = retry_after
        self.timed_out = timed_out


class FacilitatorDenied(Exception):
    """The facilitator does not take our credential: nothing was done, and no repetition helps."""


class Kind(msgspec.Struct, frozen=True):
    """A scheme on a network that the facilitator settles, and what it adds to our terms."""

    scheme: str
    network: str
    extra: dict[str, Any]


class Supported(msgspec.Struct, frozen=True):
    """What the facilitator can do. Version 1's entries are left out.

    `signers` are its accounts in lower case, of all networks together.
    """

    kinds: tuple[Kind, ...]
    extensions: frozenset[str]
    signers: frozenset[str]


# Answers as they come. Only what we act upon has a type; the rest is looked at with suspicion.


class _VerifyAnswer(msgspec.Struct, rename="camel"):
    is_valid: bool
    invalid_reason: Any = None
    invalid_message: Any = None
    payer: Any = None


class _SettleAnswer(msgspec.Struct, rename="camel"):
    success: bool
    error_reason: Any = None
    error_message: Any = None
    payer: Any = None
    transaction: Any = None
    network: Any = None
    amount: Any = None


class _SupportedAnswer(msgspec.Struct):
    kinds: list[Any]
    extensions: Any = None
    signers: Any = None


_decode_verify: Final = msgspec.json.Decoder(_VerifyAnswer).decode
_decode_settle: Final = msgspec.json.Decoder(_SettleAnswer).decode
_decode_supported: Final = msgspec.json.Decoder(_SupportedAnswer).decode
_encode: Final = msgspec.json.Encoder().encode


class Facilitator:
    """Made when the event loop runs, closed with `close`.

    `wall` gives Unix seconds. `resource_url` is what version 1 wants to be told is being sold.
    Raises ConfigError when the credential is not usable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        wall: Callable[[], float],
        counters: Counters,
        resource_url: str = "",
    ) -> None:
        base = (settings.url or "").rstrip("/")
        self._supported_url = URL(f"{base}/supported")
        self._verify_url = URL(f"{base}/verify")
        self._settle_url = URL(f"{base}/settle")
        self._verify_s = float(settings.verify_timeout)
        self._settle_s = float(settings.settle_timeout)
        self._resource_url = resource_url
        self._counters = counters
        self._alerts = Alerts()
        known_by = credential(settings, wall)
        # Two pools, so that settlements, which wait for blocks, never keep a verification waiting.
        self._asking = Transport(known_by)
        self._settling = Transport(known_by)

    async def supported(self) -> Supported:
        """What it can do. Raises FacilitatorDown, also for an empty list, and FacilitatorDenied."""
        answer = await self._call(self._asking, "GET", self._supported_url, None, _SUPPORTED_S)
        _expect_success(answer)
        try:
            said = _decode_supported(answer.body)
        except (msgspec.DecodeError, RecursionError):
            raise _not_understood(answer) from None
        kinds = tuple(_kinds(said.kinds))
        if not kinds:
            raise FacilitatorDown("its list of what it supports is empty")
        return Supported(kinds, frozenset(_texts(said.extensions)), frozenset(_signers(said)))

    async def verify(
        self, payload: Payload, terms: Terms, *, version: int = X402_VERSION
    ) -> Verdict:
        """Whether the payment would do now. Asked once more if the first answer cannot be used.

        Raises FacilitatorDown and FacilitatorDenied.
        """
        try:
            verdict = await self.verify_again(payload, terms, version=version)
        except (FacilitatorDown, FacilitatorDenied) as error:
            self._counters.verify_unavailable += 1
            self._alerts.error("verify", "the facilitator does not verify payments: %s", error)
            raise
        if verdict.reason is None:
            self._counters.verify_valid += 1
        else:
            self._counters.verify_invalid += 1
        return verdict

    async def verify_again(
        self, payload: Payload, terms: Terms, *, version: int = X402_VERSION
    ) -> Verdict:
        """What verify says of a payment whose settlement is in doubt; not counted.

        Raises FacilitatorDown and FacilitatorDenied.
        """
        try:
            body = self._body(payload, terms, version)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Verdict("invalid_payload")  # JSON that could be read and cannot be written
        payer = payer_of(payload)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._verify_s
        try:
            return await self._verify_once(body, payer, self._verify_s)
        except FacilitatorDown as error:
            left = deadline - loop.time() - _REPEAT_AFTER_S
            if error.timed_out or error.retry_after is not None or left <= 0:
                raise
        await asyncio.sleep(_REPEAT_AFTER_S)
        return await self._verify_once(body, payer, left)

    async def _verify_once(self, body: bytes, payer: str, timeout_s: float) -> Verdict:
        answer = await self._call(self._asking, "POST", self._verify_url, body, timeout_s)
        try:
            said = _decode_verify(answer.body)
        except (msgspec.DecodeError, RecursionError):
            raise _not_understood(answer) from None
        if not said.is_valid:
            reason = _reason(said.invalid_reason) or NO_VERIFY_REASON
            self._note("verify", reason, said.invalid_message)
            return Verdict(reason, payer or None)
        _expect_success(answer)
        if not _agrees(said.payer, payer):
            raise FacilitatorDown("it calls the payment valid, but names another payer")
        return Verdict(None, payer or None)

    async def settle(
        self, payload: Payload, terms: Terms, *, version: int = X402_VERSION
    ) -> Receipt:
        """Have the payment moved: `terms.amount` is what is charged. Asked exactly once.

        A receipt with `success` names our network, our payer and our amount, and a transaction.
        Raises FacilitatorDown, which leaves the outcome unknown, and FacilitatorDenied.
        """
        body = self._body(payload, terms, version)
        answer = await self._call(self._settling, "POST", self._settle_url, body, self._settle_s)
        try:
            said = _decode_settle(answer.body)
        except (msgspec.DecodeError, RecursionError):
            raise _not_understood(answer) from None
        if said.success:
            _expect_success(answer)
            return _expected(said, payload, terms)
        reason = _reason(said.error_reason) or NO_SETTLE_REASON
        self._note("settle", reason, said.error_message)
        return Receipt(
            success=False,
            transaction=_transaction(said.transaction),
            network=terms.network,
            payer=payer_of(payload) or None,
            error_reason=reason,
        )

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(self._asking.close(), self._settling.close())

    def _body(self, payload: Payload, terms: Terms, version: int) -> bytes:
        wanted = terms if version == X402_VERSION else self._first_version(payload, terms)
        return _encode(
            {"x402Version": version, "paymentPayload": payload, "paymentRequirements": wanted}
        )

    def _first_version(self, payload: Payload, terms: Terms) -> dict[str, object]:
        """Terms in the words of version 1 (x402.md, section 16).

        Its name of the network is the payload's, by which the terms were found.
        """
        return {
            "scheme": terms.scheme,
            "network": payload.get("network", terms.network),
            "maxAmountRequired": terms.amount,
            "resource": self._resource_url,
            "description": "",
            "mimeType": "application/json",
            "payTo": terms.pay_to,
            "maxTimeoutSeconds": terms.max_timeout_seconds,
            "asset": terms.asset,
            "extra": terms.extra,
        }

    async def _call(
        self, transport: Transport, method: str, url: URL, body: bytes | None, timeout_s: float
    ) -> Answer:
        """An answer that is neither a denial nor about our rate."""
        try:
            answer = await transport.call(method, url, body, timeout_s)
        except Unreachable as error:
            raise FacilitatorDown(error.cause, timed_out=error.timed_out) from None
        if answer.status in (401, 403) and not _is_verdict(answer.body):
            raise FacilitatorDenied(f"it answers {answer.status}: payments.x402.facilitator.token")
        if answer.status == 429:  # about us, whatever the body says of the payment
            raise FacilitatorDown("it answers 429", retry_after=answer.retry_after or 1)
        return answer

    def _note(self, call: str, reason: str, message: object) -> None:
        if isinstance(message, str) and message:
            told = _LONG_HEX.sub("...", message)
            self._alerts.warn(call, f"the facilitator's {call}: %s: %s", reason, told)


def payer_of(payload: Payload) -> str:
    """The payer's address in lower case, as the signed part has it; empty if there is none.

    The shapes are those of x402.md, 4.1 to 4.3.
    """
    signed = payload.get("payload")
    if not isinstance(signed, dict):
        return ""
    authorization = signed.get("authorization") or signed.get("permit2Authorization")
    payer = authorization.get("from") if isinstance(authorization, dict) else None
    return payer.lower() if isinstance(payer, str) else ""


def _expected(said: _SettleAnswer, payload: Payload, terms: Terms) -> Receipt:
    """The receipt, if it is of the transfer that was asked for.

    One of anything else proves nothing: neither that we were paid, nor that we were not. It counts
    as no answer, and the outcome is found out in another way.
    """
    transaction, payer = _transaction(said.transaction), payer_of(payload)
    if said.network not in (None, "", terms.network, payload.get("network")):
        raise FacilitatorDown("it says that it has settled, on another network")
    if not _agrees(said.payer, payer):
        raise FacilitatorDown("it says that it has settled, for another payer")
    if said.amount not in (None, "", terms.amount):
        raise FacilitatorDown("it says that it has settled, another amount")
    if not transaction:
        raise FacilitatorDown("it says that it has settled, and names no transaction")
    return Receipt(
        success=True,
        transaction=transaction,
        network=terms.network,
        payer=payer or None,
        amount=terms.amount,
    )


def _agrees(said: object, payer: str) -> bool:
    if said is None or said == "":
        return True
    return isinstance(said, str) and said.lower() == payer


def _expect_success(answer: Answer) -> None:
    if not 200 <= answer.status < 300:
        raise FacilitatorDown(f"it answers {answer.status}", retry_after=answer.retry_after)


def _not_understood(answer: Answer) -> FacilitatorDown:
    what = "and not in the shape of an answer" if answer.body else "and nothing else"
    return FacilitatorDown(f"it answers {answer.status}, {what}", retry_after=answer.retry_after)


def _is_verdict(body: bytes) -> bool:
    """Whether it is a verdict, in either shape. Hosted services give some with 4xx and 5xx."""
    for decode in (_decode_verify, _decode_settle):
        try:
            decode(body)
        except (msgspec.DecodeError, RecursionError):
            continue
        return True
    return False


def _reason(value: object) -> str:
    """A reason as far as it can be told to a client."""
    return _REASON.sub("", value.lower())[:_MAX_REASON] if isinstance(value, str) else ""


def _transaction(value: object) -> str:
    return value if isinstance(value, str) and _TRANSACTION.fullmatch(value) else ""


def _kinds(entries: list[Any]) -> list[Kind]:
    kinds = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("x402Version") != X402_VERSION:
            continue
        scheme, network, extra = (entry.get(name) for name in ("scheme", "network", "extra"))
        if isinstance(scheme, str) and isinstance(network, str):
            kinds.append(Kind(scheme, network, extra if isinstance(extra, dict) else {}))
    return kinds


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _signers(said: _SupportedAnswer) -> list[str]:
    groups = said.signers.values() if isinstance(said.signers, dict) else ()
    return [
        address.lower()
        for group in groups
        for address in _texts(group)
        if _ADDRESS.fullmatch(address)
    ]
