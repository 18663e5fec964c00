"""What payments are made with is not imported by a router that takes none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

LIMIT_S: Final = 60
STARTED: Final = """
import asyncio, json, sys
from pathlib import Path
import bitrouter.cli.main
import bitrouter.cli.serve
from bitrouter.app import Router
from bitrouter.config.load import load_config
from bitrouter.protocols import BY_API_PROTOCOL

async def run(home):
    environ = {"BITROUTER_HOME": home}
    def read():
        return load_config(Path(home, "bitrouter.yaml"), environ, BY_API_PROTOCOL)
    router = Router(read(), environ, read)
    await router.start()
    await router.stop()

asyncio.run(run(sys.argv[1]))
print(json.dumps(sorted(sys.modules)))
"""
_OF_PAYMENTS: Final = frozenset(
    {"coincurve", "cryptography", "eth_account", "eth_utils", "sqlite3"}
)
SETTINGS: Final = """
server: {listen: "127.0.0.1:0"}
payments: {x402: {enabled: false, accepts: [{scheme: upto, network: "eip155:8453", asset: usdc,
           pay_to: "0x5050A4F4b3f9338C3472dcC01A87C76A144b3c9c"}]}}
"""


def test_a_start_without_payments_imports_none_of_it(tmp_path: Path) -> None:
    tmp_path.joinpath("bitrouter.yaml").write_text(SETTINGS)

    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    modules = json.loads(done.stdout.splitlines()[-1])
    assert "bitrouter.app" in modules
    assert [
        name
        for name in modules
        if name.partition(".")[0] in _OF_PAYMENTS or name.startswith("bitrouter.payments.")
    ] == []
