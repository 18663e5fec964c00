"""What a client sees of a router that sells answers, whatever chain is behind it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from x402.schemas import PaymentRequired

from tests.support.chain.background import LIMIT_S
from tests.support.chain.payer import SIGNATURE, Payer, encode, terms
from tests.support.dialects import CHAT, Dialect
from tests.support.router import RunningRouter


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def required(self) -> PaymentRequired:
        """The terms that it holds."""
        return terms(self.headers)

    @property
    def reason(self) -> str:
        """Why it asks for a payment."""
        found = self.required.error
        assert found is not None
        return found


class Front:
    """A running router, as its clients see it."""

    router: RunningRouter

    @property
    def url(self) -> str:
        """The router's address."""
        return self.router.url

    async def until_it_sells(self, model: str = "m") -> None:
        """Wait until the router knows what its facilitator can do."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.ask(model=model)).status == 503:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def ask(
        self,
        payment: object = None,
        dialect: Dialect = CHAT,
        model: str = "m",
        *,
        stream: bool = False,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `payment` is a payload, or the text of a header."""
        paid = {} if payment is None else self.payment_header(payment)
        async with self.router.http.post(
            dialect.path(model, stream=stream),
            json=body or dialect.body(model, stream=stream),
            headers={**(headers or {}), **paid},
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    def payment_header(self, payment: object) -> dict[str, str]:
        """The header for a payload, or for the text of a header."""
        return {SIGNATURE: payment if isinstance(payment, str) else encode(payment)}

    async def offer(self, **request: Any) -> PaymentRequired:
        """The terms of a request."""
        answer = await self.ask(**request)
        assert answer.status == 402, answer
        return answer.required

    async def signed(self, payer: Payer, **request: Any) -> dict[str, Any]:
        """A payment for a request."""
        return await asyncio.to_thread(payer.sign, await self.offer(**request))

    async def payment(self, request_id: str) -> dict[str, Any]:
        """What the router says of a payment."""
        async with self.router.http.get(f"/v1/payments/{request_id}") as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def until_payment(self, request_id: str, state: str) -> dict[str, Any]:
        """Wait until the router says that a payment is in this state."""
        async with asyncio.timeout(LIMIT_S):
            while (found := await self.payment(request_id))["state"] != state:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        return found
