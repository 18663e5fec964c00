"""A facilitator for tests, over a real socket, with a chain that is a set of used nonces.

It counts what the chain would: an authorisation moves money once, and a second attempt costs gas
and moves nothing. What it says can be made worse, one answer at a time.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bitrouter.payments.terms import Payload, Terms

NETWORK = "eip155:84532"
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
SELLER = "0x" + "5e" * 20
PAYER = "0x" + "Aa" * 20
SIGNER = "0x" + "fa" * 20
FAR = 4_000_000_000  # Unix seconds

Call = dict[str, Any]
# Told the call and the facilitator; gives the answer, or None to say nothing and hang up.
Behaviour = Callable[[Call, "FakeFacilitator"], Awaitable[web.Response | None]]


def terms_of(scheme: str = "exact", amount: int = 5000, *, permit2: bool = False) -> Terms:
    """What the router asks for."""
    extra = {"name": "USDC", "version": "2"}
    if permit2 or scheme == "upto":
        extra["assetTransferMethod"] = "permit2"
    if scheme == "upto":
        extra["facilitatorAddress"] = SIGNER
    return Terms(scheme, NETWORK, str(amount), USDC, SELLER, 600, extra)


def payload_of(
    terms: Terms, nonce: int = 1, *, payer: str = PAYER, expires_at: int = FAR
) -> Payload:
    """What a client sends for `terms`; the signature is none, and the fake does not look at it."""
    signature = "0x" + "51" * 65
    if terms.uses_permit2:
        signed: dict[str, Any] = {
            "permit2Authorization": {
                "permitted": {"token": terms.asset, "amount": terms.amount},
                "from": payer,
                "spender": "0x" + "40" * 20,
                "nonce": str(nonce),
                "deadline": str(expires_at),
                "witness": {"to": terms.pay_to, "validAfter": "0"},
            }
        }
    else:
        signed = {
            "authorization": {
                "from": payer,
                "to": terms.pay_to,
                "value": terms.amount,
                "validAfter": "0",
                "validBefore": str(expires_at),
                "nonce": f"0x{nonce:064x}",
            }
        }
    return {
        "x402Version": 2,
        "accepted": {"scheme": terms.scheme, "network": terms.network},
        "payload": {"signature": signature, **signed},
        "unknownField": {"kept": True},
    }


def transaction_hash(number: int) -> str:
    """The hash of the chain's n-th transaction."""
    return f"0x{number:064x}"


class FakeFacilitator:
    """Says what is true until `on_verify`, `on_settle` or `on_supported` have something else.

    `calls` are all requests: path, JSON, headers. `moved` are the payments that went through, by
    nonce; `reverted` counts transactions that failed, which cost gas.
    """

    def __init__(self) -> None:
        self.on_verify: deque[Behaviour] = deque()
        self.on_settle: deque[Behaviour] = deque()
        self.on_supported: deque[Behaviour] = deque()
        self.calls: list[tuple[str, Call, dict[str, str]]] = []
        self.moved: dict[str, list[int]] = {}
        self.reverted = 0
        self.pending: dict[str, str] = {}
        self.transactions = 0
        self.called = asyncio.Condition()
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._runner = web.ServerRunner(
            web.Server(self._handle), handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening, in the middle of answers too."""
        if self._runner is not None:
            await self._runner.cleanup()

    def count(self, path: str) -> int:
        """How many requests there were for a path."""
        return sum(1 for called, _, _ in self.calls if called == path)

    @property
    def total_moved(self) -> int:
        """Units that the seller has got."""
        return sum(sum(amounts) for amounts in self.moved.values())

    async def wait_for(self, path: str, times: int) -> None:
        """Until there were so many requests for a path."""
        async with asyncio.timeout(10), self.called:
            await self.called.wait_for(lambda: self.count(path) >= times)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = await request.json() if request.can_read_body else {}
        self.calls.append((request.path, call, dict(request.headers)))
        async with self.called:
            self.called.notify_all()
        scripts = {"/verify": self.on_verify, "/settle": self.on_settle}
        script = scripts.get(request.path, self.on_supported)
        answer = await (script.popleft() if script else honest(request.path))(call, self)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer

    # -- the chain --------------------------------------------------------------------------

    def is_used(self, call: Call) -> bool:
        """Whether the chain has seen the payment."""
        return nonce_of(call) in self.moved

    def move(self, call: Call) -> tuple[bool, str]:
        """Send the transaction. Gives whether it went through, and its hash."""
        self.transactions += 1
        if self.is_used(call):
            self.reverted += 1
            return False, transaction_hash(self.transactions)
        amount = int(call["paymentRequirements"]["amount"])
        self.moved.setdefault(nonce_of(call), []).append(amount)
        return True, transaction_hash(self.transactions)


def nonce_of(call: Call) -> str:
    """What the chain knows a payment by."""
    signed = call["paymentPayload"]["payload"]
    authorization = signed.get("authorization") or signed["permit2Authorization"]
    return f"{authorization['from'].lower()} {authorization['nonce']}"


def payer_of(call: Call) -> str:
    """Who has signed the payment."""
    signed = call["paymentPayload"]["payload"]
    authorization = signed.get("authorization") or signed["permit2Authorization"]
    payer: str = authorization["from"]
    return payer


def say(value: object, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer."""
    return web.json_response(value, status=status, headers=headers)


def settled(call: Call, transaction: str, **changes: object) -> web.Response:
    """The usual answer of a settlement that went through."""
    value = {
        "success": True,
        "transaction": transaction,
        "network": call["paymentRequirements"]["network"],
        "payer": payer_of(call),
    }
    return say({name: value for name, value in {**value, **changes}.items() if value is not None})


def refused(reason: str, transaction: str = "", status: int = 200) -> web.Response:
    """A settlement that did not go through."""
    value = {
        "success": False,
        "errorReason": reason,
        "transaction": transaction,
        "network": NETWORK,
    }
    return say(value, status)


# -- behaviours ---------------------------------------------------------------------------------


def honest(path: str) -> Behaviour:
    """What is true."""
    return {"/verify": verify_honestly, "/settle": settle_honestly}.get(path, support)


async def support(call: Call, facilitator: FakeFacilitator) -> web.Response:
    """All that the tests use, and an entry of version 1."""
    kinds = [
        {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
        {"x402Version": 2, "scheme": "exact", "network": NETWORK},
        {
            "x402Version": 2,
            "scheme": "upto",
            "network": NETWORK,
            "extra": {"facilitatorAddress": SIGNER},
        },
    ]
    return say(
        {
            "kinds": kinds,
            "extensions": ["eip2612GasSponsoring"],
            "signers": {"eip155:*": [SIGNER]},
        }
    )


async def verify_honestly(call: Call, facilitator: FakeFacilitator) -> web.Response:
    """As the reference facilitator does: each scheme has its own way to say that it was used."""
    wanted, payer = call["paymentRequirements"], payer_of(call)
    if facilitator.is_used(call):
        if wanted["scheme"] == "upto":
            reason = "invalid_upto_evm_transaction_failed"
            return say({"isValid": False, "invalidReason": reason, "payer": payer})
        if "assetTransferMethod" not in wanted["extra"]:
            reason = "invalid_exact_evm_nonce_already_used"
            return say({"isValid": False, "invalidReason": reason, "payer": payer})
    return say({"isValid": True, "payer": payer})


async def settle_honestly(call: Call, facilitator: FakeFacilitator) -> web.Response:
    """Once per authorisation; what is pending is told of, and not sent again."""
    known = facilitator.pending.pop(nonce_of(call), None)
    if known is not None:
        return settled(call, known)
    moved, transaction = facilitator.move(call)
    if moved:
        return settled(call, transaction)
    is_upto = call["paymentRequirements"]["scheme"] == "upto"
    reason = "invalid_upto_evm_transaction_failed" if is_upto else "transaction_failed"
    return refused(reason, transaction)


def answers(status: int, body: str, content_type: str = "text/html", **headers: str) -> Behaviour:
    """Exactly this."""

    async def behave(call: Call, facilitator: FakeFacilitator) -> web.Response:
        return web.Response(status=status, text=body, content_type=content_type, headers=headers)

    return behave


def answers_json(value: object, status: int = 200, **headers: str) -> Behaviour:
    """Exactly this."""
    return answers(status, json.dumps(value), "application/json", **headers)


def refuses(reason: str, transaction: str = "", status: int = 200) -> Behaviour:
    """A settlement that does not go through."""

    async def behave(call: Call, facilitator: FakeFacilitator) -> web.Response:
        return refused(reason, transaction, status)

    return behave


async def hang_up(call: Call, facilitator: FakeFacilitator) -> None:
    """Close the connection without a word, before anything was done."""


async def move_and_hang_up(call: Call, facilitator: FakeFacilitator) -> None:
    """The settlement goes through and nobody hears of it."""
    facilitator.move(call)


def moves_then(behaviour: Behaviour) -> Behaviour:
    """The settlement goes through, and something else is said."""

    async def behave(call: Call, facilitator: FakeFacilitator) -> web.Response | None:
        facilitator.move(call)
        return await behaviour(call, facilitator)

    return behave


def moves_and_says(**changes: object) -> Behaviour:
    """The settlement goes through, and the receipt is not the expected one."""

    async def behave(call: Call, facilitator: FakeFacilitator) -> web.Response:
        _, transaction = facilitator.move(call)
        return settled(call, transaction, **changes)

    return behave


async def leave_pending(call: Call, facilitator: FakeFacilitator) -> web.Response:
    """It is broadcast, and mined when nobody waits any more."""
    _, transaction = facilitator.move(call)
    facilitator.pending[nonce_of(call)] = transaction
    return refused("settlement_pending", transaction)


def waits(event: asyncio.Event, then: Behaviour) -> Behaviour:
    """Nothing is said until the event; not even then, if the client has gone."""

    async def behave(call: Call, facilitator: FakeFacilitator) -> web.Response | None:
        await event.wait()
        return await then(call, facilitator)

    return behave
