"""Answers of generateContent, whole and streamed.

Source: google.genai.types.GenerateContentResponse; protocols.md, 1.4 and 4 (G21, G22).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.support.strict.script import (
    Cite,
    Say,
    SpokenCall,
    Step,
    Think,
    Tokens,
    pieces,
    spoken,
)
from tests.support.strict.seen import Seen
from tests.support.strict.signing import Signer

NewId = Callable[[str], str]
Part = dict[str, Any]
_FINISH: Final = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "filtered": "SAFETY",
}
_RATINGS: Final = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH"}]


def usage(tokens: Tokens) -> dict[str, Any]:
    """Token counts in Google's arithmetic: the answer's are without the thinking. Zero is left
    out; what is written to a cache is not told.
    """
    told = {
        "promptTokenCount": tokens.input,
        "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "thoughtsTokenCount": tokens.reasoning,
        "totalTokenCount": tokens.input + tokens.output,
    }
    details = [{"modality": "TEXT", "tokenCount": tokens.input}]
    return {name: count for name, count in told.items() if count} | {"promptTokensDetails": details}


def _parts(
    step: Step, seen: Seen, new_id: NewId, signer: Signer, index: int
) -> list[tuple[str, Part]]:
    """The parts of an answer, each with what it is. What was thought is signed on the first call,
    or, on newer models, on the last text.
    """
    told: list[tuple[str, Part]] = []
    newest = seen.model.startswith("gemini-3")
    signature = signer.sign("thought", step.thinking) if step.thinking or newest else None
    for part in spoken(step, seen):
        match part:
            case Think(text=text) if seen.thoughts_shown:
                told.append(("thought", {"text": text, "thought": True}))
            case Say(text=text):
                told.append(("text", {"text": f"{text}{index}" if index else text}))
            case SpokenCall(arguments=dict(arguments)):
                call: Part = {"name": part.name, "args": arguments}
                if newest:
                    call["id"] = new_id("fc-")
                told.append(("call", {"functionCall": call}))
            case _:
                pass
    first = next((one for kind, one in told if kind == "call"), None)
    if signature and first is not None:
        first["thoughtSignature"] = signature
    elif signature and told and newest:
        told[-1][1]["thoughtSignature"] = signature
    return told


def whole(step: Step, seen: Seen, new_id: NewId, signer: Signer) -> dict[str, Any]:
    """The answer as one object."""
    about = _about(step, seen, new_id)
    if step.finish == "blocked":
        return {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": _RATINGS}, **about}
    candidates = []
    for index in range(seen.n):
        parts = [part for _, part in _parts(step, seen, new_id, signer, index)]
        candidate: dict[str, Any] = {"finishReason": _FINISH[step.finish], "index": index}
        if parts:
            candidate["content"] = {"parts": parts, "role": "model"}
        if cites := _cites(step):
            candidate["groundingMetadata"] = _grounding(step.text, cites)
        if seen.settings.get("logprobs"):
            candidate["logprobsResult"] = _logprobs(step.text[:3], seen)
            candidate["avgLogprobs"] = -0.25
        candidates.append(candidate)
    return {"candidates": candidates, **about}


def _about(step: Step, seen: Seen, new_id: NewId) -> dict[str, Any]:
    return {
        "usageMetadata": usage(step.tokens),
        "modelVersion": f"{seen.model}-09-2026",
        "responseId": new_id(""),
    }


def _cites(step: Step) -> list[Cite]:
    return [cite for part in step.parts if isinstance(part, Say) for cite in part.cites]


def _grounding(text: str, cites: list[Cite]) -> dict[str, Any]:
    chunks = [{"web": {"uri": cite.url, "title": cite.title}} for cite in cites]
    supports = [
        {
            "segment": {
                "startIndex": cite.start,
                "endIndex": cite.end,
                "text": text[cite.start : cite.end],
            },
            "groundingChunkIndices": [number],
        }
        for number, cite in enumerate(cites)
    ]
    return {"groundingChunks": chunks, "groundingSupports": supports, "webSearchQueries": ["?"]}


def _logprobs(tokens: str, seen: Seen) -> dict[str, Any]:
    chosen = [{"token": one, "tokenId": 5, "logProbability": -0.25} for one in tokens]
    other = {"token": "?", "tokenId": 6, "logProbability": -2.5}
    top = [{"candidates": [one, other][: seen.settings.get("top_logprobs", 0)]} for one in chosen]
    return {"chosenCandidates": chosen, "topCandidates": top}


def stream(step: Step, seen: Seen, new_id: NewId, signer: Signer) -> list[bytes]:
    """The answer as elements of a stream; that it is complete is told by a later, empty one."""
    about = _about(step, seen, new_id)
    if step.finish == "blocked":
        return [event(whole(step, seen, new_id, signer))]
    elements: list[dict[str, Any]] = []
    for index in range(seen.n):
        for parts in _groups(_parts(step, seen, new_id, signer, index)):
            candidate: dict[str, Any] = {
                "content": {"parts": parts, "role": "model"},
                "index": index,
            }
            text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
            if seen.settings.get("logprobs") and text:
                candidate["logprobsResult"] = _logprobs(text[:1], seen)
            elements.append({"candidates": [candidate], **about})
    for index in range(seen.n):
        end = {"content": {"parts": [{"text": ""}], "role": "model"}}
        candidate = {**end, "finishReason": _FINISH[step.finish], "index": index}
        if cites := _cites(step):
            candidate["groundingMetadata"] = _grounding(step.text, cites)
        elements.append({"candidates": [candidate], **about})
    # What has been counted grows from element to element.
    for element in elements[: -seen.n]:
        counted = {**about["usageMetadata"], "candidatesTokenCount": 1}
        counted["totalTokenCount"] = step.tokens.input + 1
        element["usageMetadata"] = counted
    return [event(element) for element in elements]


def _groups(told: list[tuple[str, Part]]) -> Iterator[list[Part]]:
    """The parts as they are streamed: texts in pieces, with a signature on an empty text after
    them; the first call alone, the others together.
    """
    calls: list[Part] = []
    for kind, part in told:
        if kind == "call":
            calls.append(part)
            continue
        flags = {"thought": True} if kind == "thought" else {}
        for piece in pieces(part["text"]):
            yield [{"text": piece, **flags}]
        if "thoughtSignature" in part:
            yield [{"text": "", **flags, "thoughtSignature": part["thoughtSignature"]}]
    for group in (calls[:1], calls[1:]):
        if group:
            yield group


def event(element: dict[str, Any]) -> bytes:
    """One element as an event."""
    return f"data: {json.dumps(element, ensure_ascii=False)}\r\n\r\n".encode()
