"""An Ethereum chain in memory: py-evm's state machine, each transaction a block of its own.

There are no headers and no consensus: a block is a number and the wall clock's time, so that what
a payer signed for ten minutes is valid for ten minutes however many transactions a test sends. Safe
to be used by several threads.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from eth.abc import ComputationAPI, SignedTransactionAPI
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.exceptions import Revert
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.state import PragueState
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address, BlockNumber
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from eth_utils.hexadecimal import encode_hex

GAS_PRICE = 10**9
GAS_LIMIT = 30_000_000


class Reverted(Exception):
    """A contract refused: `data` is what it said, ABI-encoded."""

    def __init__(self, data: bytes) -> None:
        super().__init__("execution reverted")
        self.data = data


class Rejected(Exception):
    """A transaction that no block can have: a wrong nonce, or a sender who cannot pay for it."""


@dataclass(frozen=True)
class Log:
    """An event of a contract."""

    address: bytes
    topics: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Mined:
    """A transaction that is in a block. `succeeded` is false when it was reverted."""

    hash: str
    block: int
    sender: bytes
    to: bytes
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]


class Chain:
    """A chain that begins with the given code at addresses, and wei of accounts."""

    def __init__(
        self, chain_id: int, code: Mapping[bytes, bytes], wei: Mapping[bytes, int]
    ) -> None:
        self.chain_id = chain_id
        self.mined: dict[str, Mined] = {}
        self._waiting: dict[tuple[Address, int], SignedTransactionAPI] = {}
        self._lock = threading.Lock()
        self._state = PragueState(AtomicDB(), self._block(0), BLANK_ROOT_HASH)
        for address, bytecode in code.items():
            self._state.set_code(Address(address), bytecode)
            self._state.set_nonce(Address(address), 1)  # EIP-161: what a deployed contract has
        for address, amount in wei.items():
            self._state.set_balance(Address(address), amount)
        self._state.lock_changes()

    @property
    def height(self) -> int:
        """The number of the newest block."""
        return self._state.execution_context.block_number

    def code(self, address: bytes) -> bytes:
        """The code at an address, empty for an account of a key."""
        with self._lock:
            return self._state.get_code(Address(address))

    def wei(self, address: bytes) -> int:
        """What an account has for gas."""
        with self._lock:
            return self._state.get_balance(Address(address))

    def nonce(self, address: bytes) -> int:
        """How many transactions an account has sent."""
        with self._lock:
            return self._state.get_nonce(Address(address))

    def call(self, to: bytes, data: bytes, sender: bytes = ZERO_ADDRESS) -> bytes:
        """What a contract answers, without changing anything. Raises Reverted."""
        with self._lock:
            state = self._state
            state.execution_context = self._block(self.height)
            unsigned = PragueTransactionBuilder.create_unsigned_transaction(
                nonce=state.get_nonce(Address(sender)),
                gas_price=GAS_PRICE,
                gas=GAS_LIMIT,
                to=Address(to),
                value=0,
                data=data,
            )
            before = state.snapshot()
            state.set_balance(Address(sender), GAS_LIMIT * GAS_PRICE)
            try:
                computation = state.apply_transaction(
                    SpoofTransaction(unsigned, from_=Address(sender))  # type: ignore[arg-type]  # py-evm's own way to call
                )
            finally:
                state.revert(before)
        if computation.is_error:
            raise Reverted(_words(computation))
        return computation.output

    def send(self, raw: bytes) -> str:
        """Put a signed transaction into a block of its own: its hash. One whose sender has others
        to send before it waits for these. Raises Rejected.
        """
        transaction = PragueTransactionBuilder.decode(raw)
        sender = transaction.sender
        with self._lock:
            if transaction.nonce > self._state.get_nonce(sender):
                self._waiting[sender, transaction.nonce] = transaction
                return encode_hex(transaction.hash)
            self._mine(transaction)
            while following := self._waiting.pop((sender, self._state.get_nonce(sender)), None):
                self._mine(following)
        return encode_hex(transaction.hash)

    def _mine(self, transaction: SignedTransactionAPI) -> None:
        state, number = self._state, self.height
        state.execution_context = self._block(number + 1)
        try:
            computation = state.apply_transaction(transaction)
        except ValidationError as error:
            state.execution_context = self._block(number)
            raise Rejected(str(error)) from error
        state.lock_changes()
        name = encode_hex(transaction.hash)
        self.mined[name] = Mined(
            hash=name,
            block=number + 1,
            sender=transaction.sender,
            to=transaction.to,
            succeeded=computation.is_success,
            gas_used=transaction.gas - computation.get_gas_remaining(),
            logs=tuple(Log(*entry) for entry in computation.get_log_entries()),
        )

    def _block(self, number: int) -> ExecutionContext:
        return ExecutionContext(
            coinbase=ZERO_ADDRESS,
            timestamp=int(time.time()),
            block_number=BlockNumber(number),
            difficulty=0,
            mix_hash=ZERO_HASH32,
            gas_limit=GAS_LIMIT,
            prev_hashes=(),
            chain_id=self.chain_id,
            base_fee_per_gas=GAS_PRICE,
            excess_blob_gas=0,
        )


def _words(computation: ComputationAPI) -> bytes:
    return computation.output if isinstance(computation.error, Revert) else b""


def block_hash(number: int) -> str:
    """The hash of a block: any will do, so long as each has its own."""
    return encode_hex(keccak(number.to_bytes(8, "big")))
