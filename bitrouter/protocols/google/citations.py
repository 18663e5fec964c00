"""Web pages that an answer rests on, as Google tells them. Source: protocols.md, 2.7.

Google counts in bytes of UTF-8 over all of a candidate's text, the neutral form in characters of
one block.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from bitrouter.ir import Block, Citation, Text
from bitrouter.protocols.google.types import GroundingMetadata, Segment

Place = Callable[[Segment], tuple[int | None, int | None]]

_NO_SEGMENT: Final = Segment()


def read_citations(grounding: GroundingMetadata, place: Place) -> list[Citation]:
    """The citations, one for each page that a segment rests on; without segments, of each page.

    `place` turns a segment into characters of the text block, None where that is not known.
    """
    chunks = grounding.grounding_chunks or []
    supports = grounding.grounding_supports or []
    if not supports:
        return [c for n in range(len(chunks)) if (c := _citation(grounding, n, None, place))]
    return [
        citation
        for support in supports
        for number in support.grounding_chunk_indices or ()
        if (citation := _citation(grounding, number, support.segment, place))
    ]


def _citation(
    grounding: GroundingMetadata, number: int, segment: Segment | None, place: Place
) -> Citation | None:
    chunks = grounding.grounding_chunks or []
    web = chunks[number].web if 0 <= number < len(chunks) else None
    if web is None or not web.uri:
        return None
    if segment is None:
        return Citation(web.uri, web.title)
    start, end = place(segment)
    return Citation(web.uri, web.title, segment.text, start, end)


def cite_texts(blocks: Sequence[Block], grounding: GroundingMetadata) -> None:
    """Add the citations to the texts of a whole answer, each to the one that it is about."""
    texts = [block for block in blocks if isinstance(block, Text)]
    if not texts:
        return
    before = 0
    for number, text in enumerate(texts):
        data = text.text.encode()
        until = before + len(data)
        last = number + 1 == len(texts)
        mine = _of_text(grounding, before, until, last=last)
        place = _in_bytes(data, before)
        text.citations = tuple(read_citations(mine, place)) if mine else ()
        before = until


def _of_text(
    grounding: GroundingMetadata, start: int, end: int, *, last: bool
) -> GroundingMetadata | None:
    """What is about the text at these bytes. The last text has also what is about no place."""
    supports = grounding.grounding_supports or []
    if not supports:
        return grounding if last else None
    mine = [
        support
        for support in supports
        if start <= ((support.segment or _NO_SEGMENT).start_index or 0) < end
    ]
    return msgspec.structs.replace(grounding, grounding_supports=mine) if mine else None


def _in_bytes(data: bytes, before: int) -> Place:
    def place(segment: Segment) -> tuple[int | None, int | None]:
        start = (segment.start_index or 0) - before
        end = (segment.end_index or 0) - before
        if not 0 <= start <= end <= len(data):
            return None, None
        return len(data[:start].decode(errors="ignore")), len(data[:end].decode(errors="ignore"))

    return place


class WrittenCitations:
    """Citations on their way to a client: `groundingMetadata`, page by page."""

    def __init__(self) -> None:
        self._pages: dict[str, int] = {}
        self._chunks: list[dict[str, Any]] = []
        self._supports: list[dict[str, Any]] = []

    def add(self, citation: Citation, segment: dict[str, Any]) -> None:
        """One citation. `segment` says where it stands, as far as that is known."""
        number = self._pages.setdefault(citation.url, len(self._chunks))
        if number == len(self._chunks):
            web = {"uri": citation.url}
            if citation.title is not None:
                web["title"] = citation.title
            self._chunks.append({"web": web})
        if citation.cited_text is not None:
            segment = segment | {"text": citation.cited_text}
        if segment:
            self._supports.append({"segment": segment, "groundingChunkIndices": [number]})

    def metadata(self) -> dict[str, Any] | None:
        """The member's value, None if there is nothing to cite."""
        if not self._chunks:
            return None
        metadata: dict[str, Any] = {"groundingChunks": self._chunks}
        if self._supports:
            metadata["groundingSupports"] = self._supports
        return metadata


def write_citations(blocks: Iterable[Block]) -> dict[str, Any] | None:
    """`groundingMetadata` for a whole answer, None if it cites nothing."""
    written = WrittenCitations()
    before = 0
    for block in blocks:
        if not isinstance(block, Text):
            continue
        for citation in block.citations:
            written.add(citation, _segment(citation, block.text, before))
        before += len(block.text.encode())
    return written.metadata()


def _segment(citation: Citation, text: str, before: int) -> dict[str, Any]:
    start, end = citation.start, citation.end
    if start is None or end is None or not 0 <= start <= end <= len(text):
        return {}
    return {
        "startIndex": before + len(text[:start].encode()),
        "endIndex": before + len(text[:end].encode()),
    }
