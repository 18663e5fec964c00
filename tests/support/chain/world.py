"""All that a payment needs, together: chain, endpoint, facilitator's key, wallets.

Every test has wallets of its own, so that nothing has to be undone between tests.
"""

import itertools
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from x402 import x402FacilitatorSync

from tests.support.chain.addresses import CHAIN_ID, PERMIT2, USDC, WALLET, genesis
from tests.support.chain.background import BackgroundLoop
from tests.support.chain.evm import GAS_PRICE, Chain
from tests.support.chain.facilitator import FacilitatorServer, make_facilitator
from tests.support.chain.rpc import RpcServer

ETHER = 10**18
_GAS = 200_000
_FACILITATOR_KEY = keccak(b"the tests' facilitator")
_BANK_KEY = keccak(b"the tests' bank")


class World:
    """A chain with a dollar, its endpoint at `rpc.url`, a facilitator's wallet. To be closed."""

    def __init__(self) -> None:
        self._bank: LocalAccount = Account.from_key(_BANK_KEY)
        facilitator: LocalAccount = Account.from_key(_FACILITATOR_KEY)
        wei = {to_bytes(account.address): 1000 * ETHER for account in (self._bank, facilitator)}
        self.chain = Chain(CHAIN_ID, genesis(), wei)
        self.background = BackgroundLoop()
        self.rpc = RpcServer(self.background, self.chain)
        self.facilitator_address: str = facilitator.address
        self._facilitator: x402FacilitatorSync = make_facilitator(
            _FACILITATOR_KEY.hex(), self.rpc.url
        )
        self._numbers = itertools.count()

    def close(self) -> None:
        """Stop all of it."""
        self.rpc.close()
        self.background.close()

    def start_facilitator(self) -> FacilitatorServer:
        """Serve the facilitator at an address of its own. To be closed."""
        return FacilitatorServer(self.background, self._facilitator)

    def new_wallet(self, units: int = 0) -> LocalAccount:
        """A key that nobody has used, with so many units of the dollar and nothing for gas."""
        account: LocalAccount = Account.from_key(keccak(b"wallet %d" % next(self._numbers)))
        if units:
            self.call_as(self._bank, USDC, "mint(address,uint256)", account.address, units)
        return account

    def give_gas(self, account: LocalAccount) -> None:
        """Let a wallet send transactions of its own."""
        self._send(self._bank, account.address, b"", ETHER)

    def balance(self, address: str) -> int:
        """Units of the dollar."""
        return self._read(USDC, "balanceOf(address)", address)

    def allowance(self, owner: str) -> int:
        """What Permit2 may take of an owner's dollars."""
        return self._read(USDC, "allowance(address,address)", owner, PERMIT2)

    def approve_permit2(self, account: LocalAccount) -> None:
        """The approval that a wallet gives Permit2 once; it needs gas."""
        self.give_gas(account)
        self.call_as(account, USDC, "approve(address,uint256)", PERMIT2, 2**256 - 1)

    def drain(self, account: LocalAccount) -> None:
        """A wallet with gas moves its dollars out of reach."""
        units = self.balance(account.address)
        self.call_as(account, USDC, "transfer(address,uint256)", self._bank.address, units)

    def own_contract_wallet(self, account: LocalAccount, units: int) -> str:
        """Give the contract wallet an owner and dollars: its address."""
        self.call_as(self._bank, WALLET, "own(address)", account.address)
        self.call_as(self._bank, USDC, "mint(address,uint256)", WALLET, units)
        return WALLET

    def call_as(self, sender: LocalAccount, contract: str, signature: str, *values: Any) -> None:
        """Send a transaction that calls a contract; it must succeed."""
        self._send(sender, contract, _calldata(signature, *values))

    def _send(self, sender: LocalAccount, to: str, data: bytes, wei: int = 0) -> None:
        transaction: dict[str, Any] = {
            "to": to,
            "data": data,
            "value": wei,
            "gas": _GAS,
            "gasPrice": GAS_PRICE,
            "nonce": self.chain.nonce(to_bytes(sender.address)),
            "chainId": CHAIN_ID,
        }
        sent = self.chain.send(bytes(sender.sign_transaction(transaction).raw_transaction))
        assert self.chain.mined[sent].succeeded

    def _read(self, contract: str, signature: str, *values: Any) -> int:
        said = self.chain.call(to_bytes(contract), _calldata(signature, *values))
        return int.from_bytes(said, "big")


def to_bytes(address: str) -> bytes:
    """An address as the chain has it."""
    return bytes.fromhex(address[2:])


def _calldata(signature: str, *values: Any) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    return keccak(signature.encode())[:4] + encode(types.split(","), list(values))
