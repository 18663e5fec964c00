"""The router with a facilitator that is asked nothing: what is left of a paid call's cost is the
gate's own.

Run as `python -m bench.trusting serve ...`.
"""

import sys
from typing import Final

from bitrouter.cli.main import main
from bitrouter.payments.facilitator import Facilitator, payer_of
from bitrouter.payments.terms import X402_VERSION, Payload, Receipt, Terms, Verdict

_TRANSACTION: Final = "0x" + "ab" * 32


async def _verify(
    self: Facilitator, payload: Payload, terms: Terms, *, version: int = X402_VERSION
) -> Verdict:
    return Verdict(None)


async def _settle(
    self: Facilitator, payload: Payload, terms: Terms, *, version: int = X402_VERSION
) -> Receipt:
    return Receipt(
        success=True,
        transaction=_TRANSACTION,
        network=terms.network,
        payer=payer_of(payload),
        amount=terms.amount,
    )


if __name__ == "__main__":
    Facilitator.verify = _verify  # type: ignore[method-assign]  # that is its purpose
    Facilitator.settle = _settle  # type: ignore[method-assign]  # likewise
    sys.exit(main())
