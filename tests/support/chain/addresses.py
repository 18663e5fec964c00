"""Where the contracts are: at the addresses that they have on every EVM chain, and the dollar at
that of Base Sepolia, so that stock clients take it for what it stands for.
"""

import functools
import json
from pathlib import Path
from typing import Any

CHAIN_ID = 84532
NETWORK = f"eip155:{CHAIN_ID}"

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
EXACT_PROXY = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
UPTO_PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
WALLET = "0x0000000000000000000000000000000000041271"  # a contract wallet; the tests' own address

_CONTRACTS = {
    USDC: "Usdc",
    PERMIT2: "Permit2",
    EXACT_PROXY: "ExactProxy",
    UPTO_PROXY: "UptoProxy",
    MULTICALL3: "Multicall3",
    WALLET: "Wallet",
}


@functools.cache
def _compiled() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (Path(__file__).parent / "contracts" / "compiled.json").read_text()
    )
    return found


def genesis() -> dict[bytes, bytes]:
    """The code at each address."""
    return {
        bytes.fromhex(address[2:]): bytes.fromhex(_compiled()[name]["code"][2:])
        for address, name in _CONTRACTS.items()
    }
