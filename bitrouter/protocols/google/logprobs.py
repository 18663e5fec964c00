"""Probabilities of tokens: `logprobsResult` (google-genai's types; protocols.md, 2.2)."""

from collections.abc import Iterable, Sequence
from typing import Any

from bitrouter.ir import LogProb
from bitrouter.protocols.google.types import LogprobsResult, TokenProbability


def read_logprobs(result: LogprobsResult | None) -> tuple[LogProb, ...]:
    """The tokens that were chosen, each with those that could have been."""
    if result is None or not result.chosen_candidates:
        return ()
    tops = [place.candidates or [] for place in result.top_candidates or ()]
    return tuple(
        _token(chosen, tops[number] if number < len(tops) else ())
        for number, chosen in enumerate(result.chosen_candidates)
    )


def _token(one: TokenProbability, top: Sequence[TokenProbability]) -> LogProb:
    others = tuple(_token(other, ()) for other in top)
    return LogProb(one.token or "", one.log_probability or 0.0, top=others)


def write_logprobs(logprobs: Iterable[LogProb]) -> dict[str, Any]:
    """The same for a client."""
    chosen = list(logprobs)
    result: dict[str, Any] = {"chosenCandidates": [_written(one) for one in chosen]}
    if any(one.top for one in chosen):
        result["topCandidates"] = [{"candidates": [*map(_written, one.top)]} for one in chosen]
    return result


def _written(one: LogProb) -> dict[str, Any]:
    return {"token": one.token, "logProbability": one.logprob}
