"""What the chain itself says of a payment, over JSON-RPC, and what it is believed about."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from eth_utils.crypto import keccak

from bitrouter.payments import rpc as module
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.rpc import PERMIT2, Rpc, RpcUnavailable
from bitrouter.payments.terms import Receipt, Terms
from tests.support.facilitator import (
    PAYER,
    USDC,
    FakeFacilitator,
    answers_json,
    hang_up,
    move_and_hang_up,
    payload_of,
    refuses,
    terms_of,
)
from tests.support.settling import SettlingRouter, entry_of

EXACT = terms_of()
PERMIT = terms_of(permit2=True)
UPTO = terms_of("upto")
CHAIN = "0x14a34"  # 84532
NONCE = 2**250 + 515


class Node:
    """Answers `eth_chainId` with `chain` and `eth_call` with `word`; or everything with `raw`."""

    def __init__(self) -> None:
        self.chain: object = CHAIN
        self.word: object = f"0x{0:064x}"
        self.raw: str | None = None
        self.calls: list[dict[str, Any]] = []
        self.url = ""
        self._runner = web.ServerRunner(web.Server(self._handle), handle_signals=False)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v2/k3y"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        call = await request.json()
        self.calls.append(call)
        result = self.chain if call["method"] == "eth_chainId" else self.word
        text = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result})
        return web.Response(text=self.raw or text, content_type="application/json")


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def rpc(node: Node) -> AsyncIterator[Rpc]:
    client = Rpc(node.url)
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("selector", "signature"),
    [
        (module._AUTHORIZATION_STATE, b"authorizationState(address,bytes32)"),
        (module._NONCE_BITMAP, b"nonceBitmap(address,uint256)"),
    ],
)
def test_functions_are_called_by_their_selectors(selector: str, signature: bytes) -> None:
    assert selector == keccak(signature)[:4].hex()


async def test_an_authorisation_of_the_token_is_asked_for_by_its_nonce(
    node: Node, rpc: Rpc
) -> None:
    assert not await rpc.is_used(payload_of(EXACT, NONCE), EXACT)

    node.word = f"0x{1:064x}"
    assert await rpc.is_used(payload_of(EXACT, NONCE), EXACT)

    call, block = node.calls[-1]["params"]
    assert call["to"] == USDC
    assert call["data"] == f"0xe94a0102{PAYER[2:].lower():0>64}{NONCE:064x}"
    assert block == "latest"
    assert [one["method"] for one in node.calls] == ["eth_chainId", "eth_call", "eth_call"]


@pytest.mark.parametrize("terms", [PERMIT, UPTO], ids=["exact", "upto"])
async def test_a_permit_is_asked_for_by_its_bit(node: Node, rpc: Rpc, terms: Terms) -> None:
    word, bit = NONCE >> 8, NONCE & 255
    node.word = f"0x{(2**256 - 1) ^ (1 << bit):064x}"
    assert not await rpc.is_used(payload_of(terms, NONCE), terms)

    node.word = f"0x{1 << bit:064x}"
    assert await rpc.is_used(payload_of(terms, NONCE), terms)

    call = node.calls[-1]["params"][0]
    assert call["to"] == PERMIT2
    assert call["data"] == f"0x4fe02b44{PAYER[2:].lower():0>64}{word:064x}"


@pytest.mark.parametrize(
    "raw",
    [
        '{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"boom"}}',
        '{"jsonrpc":"2.0","id":1,"result":"0x"}',
        '{"jsonrpc":"2.0","id":1,"result":null}',
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        "[]",
        "<html>",
    ],
)
async def test_a_node_without_an_answer_is_no_proof(node: Node, rpc: Rpc, raw: str) -> None:
    await rpc.is_used(payload_of(EXACT), EXACT)
    node.raw = raw

    with pytest.raises(RpcUnavailable) as caught:
        await rpc.is_used(payload_of(EXACT), EXACT)

    assert "k3y" not in str(caught.value)


async def test_a_node_of_another_chain_is_not_asked(node: Node, rpc: Rpc) -> None:
    node.chain = "0x1"
    node.word = f"0x{1:064x}"

    with pytest.raises(RpcUnavailable, match="it serves eip155:1, not eip155:84532"):
        await rpc.is_used(payload_of(EXACT), EXACT)

    assert [one["method"] for one in node.calls] == ["eth_chainId"]


async def test_a_payment_without_a_nonce_is_no_question(rpc: Rpc) -> None:
    with pytest.raises(RpcUnavailable, match="no nonce"):
        await rpc.is_used({"payload": {}}, EXACT)


async def test_a_node_that_is_not_there_is_no_proof() -> None:
    rpc = Rpc("http://127.0.0.1:1/k3y")
    with pytest.raises(RpcUnavailable):
        await rpc.is_used(payload_of(EXACT), EXACT)
    await rpc.close()


# -- in doubt -------------------------------------------------------------------------------------


@pytest.fixture
async def router(
    tmp_path: Path, client: Facilitator, counters: Counters, rpc: Rpc
) -> AsyncIterator[SettlingRouter]:
    running = SettlingRouter(tmp_path, client, counters, rpc=rpc)
    yield running
    await running.stop()


async def settle(router: SettlingRouter, terms: Terms) -> Receipt | None:
    payload = payload_of(terms)
    entry = entry_of(payload, terms)
    return await router.settler.settle(entry, payload, terms, int(terms.amount), 10)


@pytest.mark.parametrize("terms", [EXACT, PERMIT, UPTO], ids=["eip3009", "permit2", "upto"])
async def test_the_chain_proves_a_settlement_and_nobody_else_is_asked(
    fake: FakeFacilitator, node: Node, router: SettlingRouter, terms: Terms
) -> None:
    fake.on_settle.append(move_and_hang_up)
    node.word = f"0x{2:064x}" if terms.uses_permit2 else f"0x{1:064x}"

    receipt = await settle(router, terms)

    assert receipt is not None
    assert receipt.success
    assert [path for path, _, _ in fake.calls] == ["/settle"]


async def test_what_the_chain_has_not_seen_the_facilitator_cannot_prove(
    fake: FakeFacilitator, node: Node, router: SettlingRouter
) -> None:
    fake.on_settle += [hang_up, refuses("invalid_upto_evm_transaction_failed", "0x" + "1" * 64)]
    said = {"isValid": False, "invalidReason": "invalid_upto_evm_transaction_failed"}
    fake.on_verify += [answers_json(said)] * 2

    receipt = await settle(router, UPTO)

    assert receipt is not None
    assert receipt.success
    assert fake.total_moved == 5000


async def test_without_an_answer_of_the_chain_the_facilitator_is_asked(
    fake: FakeFacilitator, node: Node, router: SettlingRouter
) -> None:
    node.raw = "<html>"
    fake.on_settle.append(move_and_hang_up)

    receipt = await settle(router, EXACT)

    assert receipt is not None
    assert receipt.success
    assert [path for path, _, _ in fake.calls] == ["/settle", "/verify"]
