"""Asks a node of the chain whether an authorisation was used (x402.md, section 10.5)."""

from typing import Any, Final

import msgspec
from yarl import URL

from bitrouter.payments.terms import Payload, Terms
from bitrouter.payments.transport import NoCredential, Transport, Unreachable

PERMIT2: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"

_TIMEOUT_S: Final = 10.0
_WORD_BITS: Final = 256
# The first four bytes of the Keccak hash of a function's name and types.
_AUTHORIZATION_STATE: Final = "e94a0102"  # authorizationState(address,bytes32), EIP-3009
_NONCE_BITMAP: Final = "4fe02b44"  # nonceBitmap(address,uint256), Permit2


class RpcUnavailable(Exception):
    """The node said nothing that can be used. The text is our own and does not name its URL."""


class _Answer(msgspec.Struct):
    result: Any = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


class Rpc:
    """A node of one chain. Made when the event loop runs, closed with `close`.

    `url` may hold a key, and is never shown.
    """

    def __init__(self, url: str) -> None:
        self._url = URL(url)
        self._transport = Transport(NoCredential())
        self._chain_id: int | None = None

    async def is_used(self, payload: Payload, terms: Terms) -> bool:
        """Whether the payment's nonce was used, in the latest block.

        Raises RpcUnavailable, also when the node is of another chain than the payment.
        """
        if self._chain_id is None:
            self._chain_id = await self._ask("eth_chainId", [])
        if self._chain_id != terms.chain_id:
            raise RpcUnavailable(f"it serves eip155:{self._chain_id}, not {terms.network}")
        try:
            contract, data, mask = _question(payload, terms)
        except (KeyError, TypeError, ValueError):
            raise RpcUnavailable("the payment has no nonce to ask for") from None
        call = {"to": contract, "data": data}
        return bool(await self._ask("eth_call", [call, "latest"]) & mask)

    async def _ask(self, method: str, params: list[object]) -> int:
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = await self._transport.call("POST", self._url, body, _TIMEOUT_S)
            said = _decode(answer.body)
            # A contract that is not there answers 0x, which is no number.
            return int(said.result, 16)
        except Unreachable as error:
            raise RpcUnavailable(error.cause) from None
        except (msgspec.DecodeError, RecursionError, TypeError, ValueError):
            raise RpcUnavailable(f"its answer to {method} is not a number") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()


def _question(payload: Payload, terms: Terms) -> tuple[str, str, int]:
    """Which contract is asked, with which data, and which bits of the answer count."""
    signed = payload["payload"]
    if not terms.uses_permit2:
        authorization = signed["authorization"]
        nonce = int(authorization["nonce"], 16)
        return terms.asset, _data(_AUTHORIZATION_STATE, authorization["from"], nonce), 1
    permit = signed["permit2Authorization"]
    word, bit = divmod(int(permit["nonce"]), _WORD_BITS)
    return PERMIT2, _data(_NONCE_BITMAP, permit["from"], word), 1 << bit


def _data(function: str, address: str, number: int) -> str:
    return f"0x{function}{int(address, 16):064x}{number:064x}"
