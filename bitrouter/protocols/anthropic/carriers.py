"""What carries other vendors' data on this wire: signatures in thinking, citations in texts.

Source: protocols.md, 2.5, "Envelope", and 2.10.
"""

from typing import Any, Final

from bitrouter.ir import Citation, Reasoning, Signature
from bitrouter.protocols.continuity import seal, unseal

ORIGIN: Final = "a"  # in signatures and envelopes
_NOBODY: Final = Signature("o")  # thinks in plain text and signs nothing


def signature_of(carried: str | None) -> Signature | None:
    """Whose thinking it is: that of the vendor in the envelope, or Anthropic's own."""
    if not carried:
        return None
    return unseal(carried) or Signature(ORIGIN, carried)


def carried(signature: Signature | None) -> str:
    """A signature as a client gets it: Anthropic's own as it is, any other in an envelope.

    Thinking that nobody signed has one too, so that it is known when it comes back: Anthropic
    refuses it.
    """
    if signature is not None and signature.origin == ORIGIN and signature.value:
        return signature.value
    return seal(signature or _NOBODY)


def reasoning_fields(reasoning: Reasoning) -> dict[str, Any]:
    """Reasoning as a block of an answer."""
    value = carried(reasoning.signature)
    if reasoning.redacted:
        return {"type": "redacted_thinking", "data": value}
    return {"type": "thinking", "thinking": reasoning.text, "signature": value}


def citation_fields(citation: Citation) -> dict[str, Any]:
    """A citation of a text. The index is what only Anthropic could read."""
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": citation.cited_text or "",
        "encrypted_index": "",
    }
