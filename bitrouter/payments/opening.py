"""Opens the gate, or nothing: a start that fails leaves no thread and no connection behind."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from bitrouter.config.schema import X402
from bitrouter.errors import ConfigError, Problem
from bitrouter.payments.counters import Counters
from bitrouter.payments.curve import require_coincurve
from bitrouter.payments.facilitator import Facilitator
from bitrouter.payments.gate import Answer, Gate, Parts
from bitrouter.payments.journal import DATABASE_FILE, Journal, JournalUnavailable
from bitrouter.payments.rpc import Rpc
from bitrouter.routing.table import RouteTable


async def open_gate(
    settings: X402,
    find_table: Callable[[], RouteTable],
    state_dir: Path,
    *,
    wall: Callable[[], float],
) -> Gate[Answer]:
    """The gate, after what was left by a crash or a stop has been taken up. See Gate.

    Raises ConfigError when what checks signatures is missing, when the journal cannot be opened or
    read, or when the facilitator's credential is not usable.
    """
    require_coincurve()
    async with AsyncExitStack() as opened:
        # First of all, because it is what may fail.
        journal = Journal(state_dir, wall=wall)
        opened.push_async_callback(journal.close)
        counters = Counters()
        facilitator = Facilitator(
            settings.facilitator,
            wall=wall,
            counters=counters,
            resource_url=settings.public_base_url or "",
        )
        opened.push_async_callback(facilitator.close)
        rpc = None
        if settings.rpc_url:
            rpc = Rpc(settings.rpc_url)
            opened.push_async_callback(rpc.close)
        gate: Gate[Answer] = Gate(
            settings, find_table, Parts(journal, facilitator, counters, rpc), wall=wall
        )
        opened.pop_all()  # they are the gate's from here on
        opened.push_async_callback(gate.close)
        try:
            await gate.start()
        except JournalUnavailable as error:
            where = str(state_dir / DATABASE_FILE)
            problem = Problem(where, 0, 0, "(payments journal)", f"cannot be read: {error}")
            raise ConfigError([problem]) from error
        opened.pop_all()
    return gate
