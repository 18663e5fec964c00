"""Every client protocol against every upstream protocol: what is kept, lost or refused.

The vendors' own SDKs ask a running router, which asks strict providers (`tests.support.strict`).
Each feature is written once, in neutral words; `docs/compatibility.md` is made from what they
declare.
"""
