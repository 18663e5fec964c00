"""Who pays: a wallet in the hands of the stock clients, or of one who alters what they sign."""

import base64
import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import httpx2
import requests
from eth_account.signers.local import LocalAccount
from x402 import x402Client, x402ClientSync
from x402.http import (
    decode_payment_required_header,
    decode_payment_response_header,
    x402HTTPClient,
)
from x402.http.clients import wrapHttpxWithPayment, x402_requests
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner, EthAccountSignerWithRPC
from x402.mechanisms.evm.upto import UptoEvmScheme
from x402.schemas import PaymentRequired, SettleResponse

from tests.support.chain.addresses import NETWORK

SIGNATURE = "PAYMENT-SIGNATURE"
REQUIRED = "PAYMENT-REQUIRED"
RESPONSE = "PAYMENT-RESPONSE"
COMMENT = ": x402-payment-response "

_TIMEOUT_S = 20.0
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SCHEMES = {"exact": ExactEvmScheme, "upto": UptoEvmScheme}


class Payer:
    """A wallet. Its clients know the given schemes only; with `rpc_url` they can read the chain."""

    def __init__(
        self, account: LocalAccount, schemes: Sequence[str], rpc_url: str | None = None
    ) -> None:
        self.account = account
        self.address: str = account.address
        self.networks = NETWORK  # on which it would pay; a pattern may be given
        self._schemes = schemes
        self._signer: EthAccountSigner = (
            EthAccountSignerWithRPC(account, rpc_url) if rpc_url else EthAccountSigner(account)
        )

    def sign_with(self, signer: EthAccountSigner) -> None:
        """Let another sign in place of the wallet's key."""
        self._signer = signer

    def _register(self, client: Any) -> Any:
        for scheme in self._schemes:
            client.register(self.networks, _SCHEMES[scheme](self._signer))
        return client

    def httpx(self, base_url: str) -> httpx.AsyncClient:
        """The package's client on httpx."""
        made: httpx.AsyncClient = wrapHttpxWithPayment(
            self._register(x402Client()), base_url=base_url, timeout=_TIMEOUT_S
        )
        return made

    def requests(self) -> requests.Session:
        """The package's client on requests."""
        made: requests.Session = x402_requests(self._register(x402ClientSync()))
        return made

    def httpx2(self) -> httpx2.AsyncClient:
        """What the vendors' SDKs take as their HTTP client."""
        payer = x402HTTPClient(self._register(x402Client()))
        return httpx2.AsyncClient(transport=PayingTransport(payer), timeout=_TIMEOUT_S)

    def sign(self, required: PaymentRequired) -> dict[str, Any]:
        """A payment for the first of the terms that the wallet can pay, as JSON."""
        client: x402ClientSync = self._register(x402ClientSync())
        client.set_spend_controls(False)  # what is signed here is for a test to choose
        made = client.create_payment_payload(required)
        return made.model_dump(by_alias=True, exclude_none=True, mode="json")


class PayingTransport(httpx2.AsyncHTTPTransport):
    """The x402 package pays over httpx, the vendors' SDKs speak httpx2: this joins them, in the
    way that docs/payments.md shows.
    """

    def __init__(self, payer: x402HTTPClient) -> None:
        super().__init__()
        self._payer = payer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it, and once more with a payment when one is asked for."""
        await request.aread()
        answer = await super().handle_async_request(request)
        if answer.status_code != 402:
            return answer
        body = await answer.aread()
        headers, _ = await self._payer.handle_402_response(
            dict(answer.headers), body, str(request.url)
        )
        request.headers.update(headers)
        return await super().handle_async_request(request)


def encode(payload: object) -> str:
    """A payment header."""
    return base64.b64encode(json.dumps(payload).encode()).decode()


def terms(headers: Mapping[str, str]) -> PaymentRequired:
    """What a 402 asks for, read by the client's own decoder."""
    found = decode_payment_required_header(headers[REQUIRED])
    assert isinstance(found, PaymentRequired)
    return found


def receipt(headers: Mapping[str, str]) -> SettleResponse:
    """The receipt in an answer's head, read by the client's own decoder."""
    return decode_payment_response_header(headers[RESPONSE])


def receipts_in_stream(text: str) -> list[SettleResponse]:
    """The receipts among a stream's comments."""
    return [
        decode_payment_response_header(line.removeprefix(COMMENT))
        for line in text.splitlines()
        if line.startswith(COMMENT)
    ]


def high_s(payment: dict[str, Any]) -> dict[str, Any]:
    """The same payment with the other signature of the same key."""
    made = copy.deepcopy(payment)
    signature = bytes.fromhex(made["payload"]["signature"][2:])
    s = _CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])
    made["payload"]["signature"] = "0x" + twin.hex()
    return made
