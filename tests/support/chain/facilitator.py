"""The facilitator of the x402 package over HTTP, and ways for it to fail."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from x402 import x402FacilitatorSync
from x402.extensions.eip2612_gas_sponsoring import EIP2612_GAS_SPONSORING
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas.helpers import parse_payment_payload, parse_payment_requirements

from tests.support.chain.addresses import NETWORK
from tests.support.chain.background import LIMIT_S, BackgroundLoop, serve


def make_facilitator(key: str, rpc_url: str) -> x402FacilitatorSync:
    """The package's own facilitator, with all that it can do on the chain of `rpc_url`."""
    signer = FacilitatorWeb3Signer(key, rpc_url, confirmation_timeout_seconds=LIMIT_S)
    made = x402FacilitatorSync()
    register_exact_evm_facilitator(made, signer, NETWORK)
    made.register([NETWORK], UptoEvmFacilitatorScheme(signer))
    made.register_extension(EIP2612_GAS_SPONSORING)
    return made


@dataclass
class Step:
    """How one kind of call goes. Every field may be changed at any time.

    `down` closes the connection and does nothing, `broken` answers HTML with 502 and does nothing,
    `lost` is how many answers are lost after the work was done. Work does not begin while `closed`:
    the facilitator says in `reached` that a call waits at the gate.
    """

    down: bool = False
    broken: bool = False
    lost: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    _gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._gate.set()

    def close(self) -> None:
        """Let no call pass."""
        self._gate.clear()

    def open(self) -> None:
        """Let them pass."""
        self._gate.set()

    def pass_gate(self) -> None:
        """Wait until calls may pass. To be called by the facilitator."""
        if not self._gate.is_set():
            self.reached.set()
        assert self._gate.wait(LIMIT_S), "a test forgot to open the gate"

    async def wait_until_reached(self) -> None:
        """Wait until a call stands at the closed gate."""
        assert await asyncio.to_thread(self.reached.wait, LIMIT_S)


class FacilitatorServer:
    """A facilitator at `url`. `verify` and `settle` say what was called, and how it goes."""

    def __init__(self, background: BackgroundLoop, work: x402FacilitatorSync) -> None:
        self.verify = Step()
        self.settle = Step()
        self._background = background
        self._work = work
        # Many at once: a test may keep ten calls waiting.
        self._threads = ThreadPoolExecutor(max_workers=16)
        self._runner, port = background.run(serve(self._answer))
        self.url = f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """Stop serving."""
        self.verify.open()
        self.settle.open()
        self._background.run(self._runner.cleanup())
        self._threads.shutdown()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/supported":
                return _json(self._work.get_supported())
            case "/verify":
                return await self._do(request, self.verify, self._work.verify)
            case "/settle":
                return await self._do(request, self.settle, self._work.settle)
            case _:
                return web.Response(status=404)

    async def _do(self, request: web.BaseRequest, step: Step, work: Any) -> web.StreamResponse:
        body = await request.read()
        step.calls.append(json.loads(body))
        if step.down:
            return _dropped(request)
        if step.broken:
            return web.Response(
                status=502, text="<html>Bad Gateway</html>", content_type="text/html"
            )

        def worked() -> Any:
            step.pass_gate()
            asked = json.loads(body)
            version = asked["x402Version"]
            payload = parse_payment_payload(asked["paymentPayload"])
            return work(payload, parse_payment_requirements(version, asked["paymentRequirements"]))

        said = await asyncio.get_running_loop().run_in_executor(self._threads, worked)
        step.answers.append(said.model_dump(by_alias=True, exclude_none=True))
        if step.lost > 0:
            step.lost -= 1
            return _dropped(request)
        return _json(said)


def _json(said: Any) -> web.Response:
    text = said.model_dump_json(by_alias=True, exclude_none=True)
    return web.Response(text=text, content_type="application/json")


def _dropped(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)
