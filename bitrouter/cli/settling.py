"""What `bitrouter doctor` finds out of the facilitator: whether it is there, and settles what is
offered.
"""

import time
from typing import Final

from bitrouter.cli.finding import Finding
from bitrouter.config.schema import Config, Offer
from bitrouter.errors import ConfigError
from bitrouter.payments.counters import Counters
from bitrouter.payments.facilitator import Facilitator, FacilitatorDenied, FacilitatorDown

_NAME: Final = "facilitator"


async def facilitator(config: Config) -> list[Finding]:
    """Ask it what it can do, where payments are on."""
    x402 = config.payments.x402
    if not x402.enabled:
        return []
    try:
        client = Facilitator(x402.facilitator, wall=_wall_clock, counters=Counters())
    except ConfigError as error:
        return [Finding(_NAME, "fail", str(problem)) for problem in error.problems]
    try:
        said = await client.supported()
    except FacilitatorDown as error:
        advice = "see payments.x402.facilitator.url; until it answers, strangers get 503"
        return [Finding(_NAME, "fail", f"it does not say what it supports: {error}", advice)]
    except FacilitatorDenied as error:
        advice = "see payments.x402.facilitator.auth and token"
        return [Finding(_NAME, "fail", f"it does not know us: {error}", advice)]
    finally:
        await client.close()
    settled = {(kind.scheme, kind.network) for kind in said.kinds}
    return [_judged(offer, settled) for offer in x402.accepts]


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - the timestamp of a credential, not a duration


def _judged(offer: Offer, settled: set[tuple[str, str]]) -> Finding:
    way = f"{offer.scheme} on {offer.network}"
    if (offer.scheme, offer.network) in settled:
        return Finding(_NAME, "ok", f"it settles {way}")
    advice = "take it out of payments.x402.accepts, or choose another facilitator"
    return Finding(
        _NAME, "warn", f"it does not settle {way}, which is therefore not offered", advice
    )
