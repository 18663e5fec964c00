"""The chain's JSON-RPC endpoint: as much of it as wallets, facilitators and the router ask for."""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from tests.support.chain.background import BackgroundLoop, serve
from tests.support.chain.evm import GAS_LIMIT, GAS_PRICE, Chain, Mined, Rejected, Reverted
from tests.support.chain.evm import block_hash as hash_of

_ERROR_STRING = bytes.fromhex("08c379a0")


class RpcError(Exception):
    """What the caller is told in place of a result."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.said: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            self.said["data"] = data


class RpcServer:
    """A chain's endpoint at `url`. `asked` holds the methods called, in order."""

    def __init__(self, background: BackgroundLoop, chain: Chain) -> None:
        self.chain = chain
        self.asked: list[str] = []
        self._background = background
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_blockNumber": lambda: hex(chain.height),
            "eth_call": self._call,
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_gasPrice": lambda: hex(GAS_PRICE),
            "eth_getBalance": lambda address, _="latest": hex(chain.wei(_bytes(address))),
            "eth_getBlockByNumber": lambda number, _full: self._block(number),
            "eth_getCode": lambda address, _="latest": _hex(chain.code(_bytes(address))),
            "eth_getTransactionCount": lambda address, _="latest": hex(
                chain.nonce(_bytes(address))
            ),
            "eth_getTransactionReceipt": self._receipt,
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_sendRawTransaction": self._send,
        }
        self._runner, port = background.run(serve(self._answer))
        self.url = f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """Stop serving."""
        self._background.run(self._runner.cleanup())

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        asked = json.loads(await request.read())
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        self.asked.append(asked["method"])
        method = self._methods.get(asked["method"])
        try:
            if method is None:
                raise RpcError(-32601, f"the method {asked['method']} does not exist")
            # On this loop, not in a thread: a call takes milliseconds and waits for nobody.
            said["result"] = method(*asked.get("params", ()))
        except RpcError as error:
            said["error"] = error.said
        return web.json_response(said)

    def _call(self, wanted: dict[str, str], _block: str = "latest") -> str:
        sender = _bytes(wanted.get("from", "0x" + 40 * "0"))
        data = _bytes(wanted.get("data") or wanted.get("input") or "0x")
        try:
            return _hex(self.chain.call(_bytes(wanted["to"]), data, sender))
        except Reverted as error:
            raise RpcError(3, _revert_message(error.data), _hex(error.data)) from None

    def _send(self, raw: str) -> str:
        try:
            return self.chain.send(_bytes(raw))
        except Rejected as error:
            raise RpcError(-32000, str(error)) from None

    def _receipt(self, name: str) -> dict[str, Any] | None:
        found = self.chain.mined.get(name)
        return None if found is None else _receipt(found)

    def _block(self, number: str) -> dict[str, Any]:
        height = int(number, 16) if number.startswith("0x") else self.chain.height
        return {
            "number": hex(height),
            "hash": hash_of(height),
            "parentHash": hash_of(height - 1) if height else "0x" + 64 * "0",
            "baseFeePerGas": hex(GAS_PRICE),
            "gasLimit": hex(GAS_LIMIT),
            "transactions": [],
        }


def _receipt(mined: Mined) -> dict[str, Any]:
    where = {
        "blockHash": hash_of(mined.block),
        "blockNumber": hex(mined.block),
        "transactionHash": mined.hash,
        "transactionIndex": "0x0",
    }
    return {
        **where,
        "from": _hex(mined.sender),
        "to": _hex(mined.to),
        "contractAddress": None,
        "cumulativeGasUsed": hex(mined.gas_used),
        "effectiveGasPrice": hex(GAS_PRICE),
        "gasUsed": hex(mined.gas_used),
        "logsBloom": "0x" + 512 * "0",
        "status": "0x1" if mined.succeeded else "0x0",
        "type": "0x0",
        "logs": [
            {
                **where,
                "address": _hex(log.address),
                "topics": [f"0x{topic:064x}" for topic in log.topics],
                "data": _hex(log.data),
                "logIndex": hex(number),
                "removed": False,
            }
            for number, log in enumerate(mined.logs)
        ],
    }


def _revert_message(data: bytes) -> str:
    if not data.startswith(_ERROR_STRING):
        return "execution reverted"
    try:
        (reason,) = decode(["string"], data[4:])
    except DecodingError:
        return "execution reverted"
    return f"execution reverted: {reason}"


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
