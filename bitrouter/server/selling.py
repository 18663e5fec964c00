"""Opens the till where payments are on.

What payments need takes some 20 ms and 2.5 MB to import, which no router that sells nothing should
pay for: hence the imports inside.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bitrouter.config.schema import X402
from bitrouter.server.relay import WholeAnswer
from bitrouter.server.services import Services

if TYPE_CHECKING:
    from bitrouter.payments.gate import Gate
    from bitrouter.server.till import Till


async def open_till(
    settings: X402, services: Services, state_dir: Path, wall: Callable[[], float]
) -> "Till":
    """The till, after what was left by a crash or a stop has been taken up.

    `wall` gives Unix seconds. Raises ConfigError when payments cannot be taken here.
    """
    from bitrouter.payments.opening import open_gate
    from bitrouter.server.till import Till

    routes = services.routes
    gate: Gate[WholeAnswer] = await open_gate(
        settings, lambda: routes.current, state_dir, wall=wall
    )
    return Till(gate, lambda: routes.config.limits.max_event_bytes)
