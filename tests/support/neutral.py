"""The neutral form for tests: its grammar as a check, and any answer that it can say as strategies.

The strategies give what every protocol has to be able to take. What one cannot say is left out by
keyword: `neutral_events(candidates=1, refusals=False)`.
"""

import itertools
import json
from collections.abc import Iterable
from typing import Any, Final, TypedDict, Unpack

import msgspec
from hypothesis import strategies as st

from bitrouter import ir

# -- the grammar ------------------------------------------------------------------------------


class _Checker:
    """Follows a stream of events; each breach of the grammar is an AssertionError."""

    def __init__(self) -> None:
        self.seen = 0
        self.over = False
        self.blocks: list[ir.BlockStart] = []
        self.open: dict[int, ir.BlockStart] = {}  # by candidate
        self.signed: set[int] = set()
        self.finished: set[int] = set()

    def take(self, event: ir.Event) -> None:
        assert not self.over, f"{event} after the end"
        started = isinstance(event, ir.Start | ir.Failed)
        assert started or self.seen, f"{event} before Start"
        self.seen += 1
        match event:
            case ir.Start():
                assert self.seen == 1, "a second Start"
            case ir.BlockStart():
                self._block_start(event)
            case ir.Delta():
                self._delta(event)
            case ir.Signed():
                self._signed(event)
            case ir.Cited():
                assert self._open(event.index).kind == "text", f"{event} is not in a text"
            case ir.BlockEnd():
                del self.open[self._open(event.index).candidate]
            case ir.Finished():
                assert event.candidate not in self.open, f"{event} with a block open"
                assert event.candidate not in self.finished, f"a second {event}"
                self.finished.add(event.candidate)
            case ir.End():
                self._end()
            case ir.Failed():
                assert event.failure.message, "a failure without a word"
                self.over = True

    def _open(self, index: int) -> ir.BlockStart:
        for block in self.open.values():
            if block.index == index:
                return block
        raise AssertionError(f"block {index} is not open")

    def _block_start(self, event: ir.BlockStart) -> None:
        assert event.index == len(self.blocks), f"{event} should be number {len(self.blocks)}"
        assert event.candidate not in self.open, f"{event} while another is open"
        assert event.candidate not in self.finished, f"{event} after its candidate finished"
        is_call = event.kind == "tool_call"
        assert is_call == bool(event.id) == bool(event.name), f"{event}: id and name are a call's"
        assert is_call or not event.custom, f"{event}: only a call is custom"
        assert event.kind == "reasoning" or not (event.raw or event.redacted), f"{event}"
        self.blocks.append(event)
        self.open[event.candidate] = event

    def _delta(self, event: ir.Delta) -> None:
        block = self._open(event.index)
        assert event.text, f"{event} is empty"
        assert not block.redacted, f"{event}: redacted reasoning has no text"
        assert not event.logprobs or block.kind in ("text", "refusal"), f"{event}: logprobs"

    def _signed(self, event: ir.Signed) -> None:
        assert self._open(event.index).kind in ("reasoning", "tool_call"), f"{event}: not signable"
        assert event.index not in self.signed, f"{event}: signed twice"
        self.signed.add(event.index)

    def _end(self) -> None:
        self.over = True
        assert not self.open, f"End with open blocks {self.open}"
        assert self.finished, "End without Finished"
        missing = {block.candidate for block in self.blocks} - self.finished
        assert not missing, f"End without Finished of the candidates {missing}"


def check_well_formed(events: Iterable[ir.Event], *, complete: bool = True) -> None:
    """Assert the grammar of ir.py, "the events of a stream".

    `complete` False is for what there is of a stream that goes on. A failure may come instead of
    Start: the provider's first word was its error.
    """
    checker = _Checker()
    for event in events:
        checker.take(event)
    assert checker.over or not complete, "neither End nor Failed"


# -- events and answers say the same ----------------------------------------------------------


class _Gathered(msgspec.Struct):
    start: ir.BlockStart
    texts: list[str] = []
    logprobs: list[ir.LogProb] = []
    citations: list[ir.Citation] = []
    signature: ir.Signature | None = None

    def block(self) -> ir.Block:
        start, text = self.start, "".join(self.texts)
        match start.kind:
            case "text":
                return ir.Text(text, citations=tuple(self.citations))
            case "refusal":
                return ir.Refusal(text)
            case "reasoning":
                return ir.Reasoning(text, self.signature, start.raw, start.redacted)
            case "tool_call":
                return ir.ToolCall(start.id, start.name, text, start.custom, self.signature)


def answer_of(events: Iterable[ir.Event]) -> ir.Answer:
    """The whole answer that a complete stream tells. Raises AssertionError if it failed."""
    answer = ir.Answer([])
    blocks: dict[int, _Gathered] = {}
    for event in events:
        match event:
            case ir.Start():
                answer.id, answer.model, answer.usage = event.id, event.model, event.usage
            case ir.BlockStart():
                blocks[event.index] = _Gathered(event)
            case ir.Finished():
                own = [one for one in blocks.values() if one.start.candidate == event.candidate]
                answer.candidates.append(_candidate(event, own))
            case ir.End():
                answer.usage = event.usage or answer.usage
            case ir.Failed():
                raise AssertionError(f"the stream failed: {event.failure}")
            case _:
                _gather(event, blocks[event.index])
    answer.candidates.sort(key=lambda one: one.index)
    return answer


def _gather(event: ir.Delta | ir.Signed | ir.Cited | ir.BlockEnd, into: _Gathered) -> None:
    match event:
        case ir.Delta():
            into.texts.append(event.text)
            into.logprobs.extend(event.logprobs)
        case ir.Signed():
            into.signature = event.signature
        case ir.Cited():
            into.citations.append(event.citation)
        case ir.BlockEnd():
            pass


def _candidate(event: ir.Finished, gathered: list[_Gathered]) -> ir.Candidate:
    logprobs = tuple(one for block in gathered for one in block.logprobs)
    blocks = [one.block() for one in gathered]
    return ir.Candidate(blocks, event.finish, event.candidate, logprobs or None)


@st.composite
def events_of(draw: st.DrawFn, answer: ir.Answer) -> list[ir.Event]:
    """The events that tell `answer`, its texts cut anywhere, its candidates interleaved."""
    lanes = [draw(_candidate_events(candidate)) for candidate in answer.candidates]
    numbers: dict[tuple[int, int], int] = {}
    events: list[ir.Event] = [ir.Start(answer.id, answer.model)]
    while any(lanes):
        lane = draw(st.sampled_from([place for place, rest in enumerate(lanes) if rest]))
        event = lanes[lane].pop(0)
        if isinstance(event, ir.BlockStart):
            numbers[lane, event.index] = len(numbers)
        if not isinstance(event, ir.Start | ir.Finished | ir.End | ir.Failed):
            event.index = numbers[lane, event.index]
        events.append(event)
    return [*events, ir.End(answer.usage)]


@st.composite
def _candidate_events(draw: st.DrawFn, candidate: ir.Candidate) -> list[ir.Event]:
    """The events of one candidate, its blocks numbered from 0."""
    events: list[ir.Event] = []
    logprobs = list(candidate.logprobs or ())
    for index, block in enumerate(candidate.blocks):
        start, text, signature = _opening(index, candidate.index, block)
        events.append(start)
        signed = [ir.Signed(index, signature)] if signature else []
        if start.kind == "tool_call":  # a call's is known when the call is
            events += signed
        for piece in draw(_pieces(text)):
            given = tuple(logprobs) if start.kind == "text" else ()
            events.append(ir.Delta(index, piece, given))
            if given:
                logprobs.clear()
        if isinstance(block, ir.Text):
            events += [ir.Cited(index, citation) for citation in block.citations]
        if start.kind == "reasoning":
            events += signed
        events.append(ir.BlockEnd(index))
    events.append(ir.Finished(candidate.finish, candidate.index))
    return events


def _opening(
    index: int, candidate: int, block: ir.Block
) -> tuple[ir.BlockStart, str, ir.Signature | None]:
    match block:
        case ir.Text():
            return ir.BlockStart(index, "text", candidate), block.text, None
        case ir.Refusal():
            return ir.BlockStart(index, "refusal", candidate), block.text, None
        case ir.Reasoning():
            start = ir.BlockStart(
                index, "reasoning", candidate, raw=block.raw, redacted=block.redacted
            )
            return start, block.text, block.signature
        case ir.ToolCall():
            start = ir.BlockStart(
                index, "tool_call", candidate, block.id, block.name, custom=block.custom
            )
            return start, block.arguments, block.signature
        case _:
            raise AssertionError(f"{block} is not streamed")


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=4)) if text else set()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in itertools.pairwise(places)]


# -- small things -----------------------------------------------------------------------------

_AWKWARD: Final = (
    "Grüße, 世界 🥊",
    'a "quoted" \\ back\\slash',
    "line\nline\r\nline\rend",
    "sep\u2028para\u2029next\u0085\x0b\x0c",
    "data: [DONE]\n\nevent: error\ndata: {}\n\n",
    "tab\tnul\x00bell\x07",
    " spaces around ",
    '{"type":"message_stop"}',
    "<think>no</think>",
    "👩‍👩‍👧‍👦 e\u0301",
)


def texts(*, max_size: int = 30) -> st.SearchStrategy[str]:
    """Text with more than white space in it: any characters, and those that framings trip over."""
    free = st.text(min_size=1, max_size=max_size).filter(lambda text: bool(text.strip()))
    return st.sampled_from(_AWKWARD) | free


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e6, 1e6)
    | st.text(max_size=10)
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def arguments() -> st.SearchStrategy[str]:
    """Arguments of a call: one JSON object without white space, its keys in any order."""
    return st.dictionaries(st.text(max_size=8), _values, max_size=4).map(compact)


names: Final = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
_raw_names: Final = st.from_regex(r"[A-Za-z0-9]{8,20}", fullmatch=True)
_opaque: Final = st.binary(min_size=1, max_size=24).map(msgspec.json.encode)  # base64 in quotes


def signatures(origins: Iterable[str], *, empty: bool = True) -> st.SearchStrategy[ir.Signature]:
    """What a vendor signs with, valid base64 as all vendors' is, or nothing (`empty`)."""
    values = _opaque.map(lambda quoted: quoted.decode().strip('"'))
    if empty:
        values = st.just("") | values
    return st.builds(ir.Signature, st.sampled_from([*origins]), values)


@st.composite
def usages(draw: st.DrawFn) -> ir.Usage | None:
    """Counts that can be: the parts are not more than the whole. None where nothing is known."""
    if draw(st.booleans()):
        return None
    count = st.integers(0, 10**6)
    cached, written, fresh = draw(count), draw(count), draw(count)
    reasoning, told = draw(count), draw(count)
    return ir.Usage(
        input_tokens=cached + written + fresh,
        output_tokens=reasoning + told,
        cached_tokens=draw(st.sampled_from([cached, None])),
        cache_write_tokens=draw(st.sampled_from([written, None])),
        reasoning_tokens=draw(st.sampled_from([reasoning, None])),
    )


_citations: Final = st.builds(
    ir.Citation,
    st.sampled_from(["https://example.org/a?b=c&d=ü", "http://example.com/"]),
    st.none() | texts(),
    st.none() | texts(),
)


# -- answers ----------------------------------------------------------------------------------


class AnswerLimits(TypedDict, total=False):
    """What a protocol can say in an answer; everything if nothing is given.

    `candidates`: at most so many · `refusals`, `reasoning`, `citations`, `logprobs`: whether there
    are any · `raw`, `redacted`: whether reasoning may be · `unsigned`: whether reasoning may lack a
    signature · `origins`: whose signatures reasoning has, none if empty · `empty_signatures`:
    whether those may hold nothing but their origin · `call_signatures`: whether calls have one ·
    `custom_calls`: whether calls may be of free-text tools · `same_in_a_row`: whether two blocks of
    one kind, but for calls, may follow each other · `finishes`: the reasons to end.
    """

    candidates: int
    refusals: bool
    reasoning: bool
    raw: bool
    redacted: bool
    unsigned: bool
    origins: tuple[str, ...]
    empty_signatures: bool
    call_signatures: bool
    custom_calls: bool
    citations: bool
    logprobs: bool
    same_in_a_row: bool
    finishes: tuple[ir.FinishReason, ...]


FINISHES: Final[tuple[ir.FinishReason, ...]] = (
    *("stop", "stop_sequence", "length", "context"),
    *("tool_calls", "filtered", "paused", "other"),
)


def _any_text(limits: AnswerLimits) -> st.SearchStrategy[ir.Block]:
    citations = st.lists(_citations, max_size=2) if limits.get("citations", True) else st.just([])
    return st.builds(ir.Text, texts(), citations=citations.map(tuple))


def _any_call(limits: AnswerLimits) -> st.SearchStrategy[ir.Block]:
    signature: st.SearchStrategy[ir.Signature | None] = st.none()
    if limits.get("call_signatures", True):
        signature |= signatures(("g",), empty=False)
    ids = _raw_names.map(lambda name: f"call_{name}")
    calls = st.builds(ir.ToolCall, ids, names, arguments(), signature=signature)
    if limits.get("custom_calls", True):
        calls |= st.builds(ir.ToolCall, ids, names, texts(), custom=st.just(True))
    return calls


@st.composite
def _any_reasoning(draw: st.DrawFn, limits: AnswerLimits) -> ir.Block:
    origins = limits.get("origins", ("a", "g", "o"))
    if origins and limits.get("redacted", True) and draw(st.integers(0, 4)) == 0:
        return ir.Reasoning("", draw(signatures(origins, empty=False)), redacted=True)
    signature = None
    if origins and not (limits.get("unsigned", True) and draw(st.booleans())):
        signature = draw(signatures(origins, empty=limits.get("empty_signatures", True)))
    raw = limits.get("raw", True) and draw(st.booleans())
    return ir.Reasoning(draw(texts()), signature, raw)


def _any_block(limits: AnswerLimits) -> st.SearchStrategy[ir.Block]:
    blocks = _any_text(limits) | _any_call(limits)
    if limits.get("reasoning", True):
        blocks |= _any_reasoning(limits)
    if limits.get("refusals", True):
        blocks |= st.builds(ir.Refusal, texts())
    return blocks


def _kind(block: ir.Block) -> tuple[Any, ...]:
    return (type(block), getattr(block, "raw", None))


def _as_the_protocol_allows(blocks: list[ir.Block], limits: AnswerLimits) -> list[ir.Block]:
    """The blocks without calls of an id that was there before, and without what may not follow."""
    ids: set[str] = set()
    kept: list[ir.Block] = []
    for block in blocks:
        if isinstance(block, ir.ToolCall):
            if block.id in ids:
                continue
            ids.add(block.id)
        elif kept and not limits.get("same_in_a_row", True) and _kind(kept[-1]) == _kind(block):
            continue
        kept.append(block)
    return kept


@st.composite
def _finish(draw: st.DrawFn, blocks: list[ir.Block], limits: AnswerLimits) -> ir.Finish:
    calls = any(isinstance(block, ir.ToolCall) for block in blocks)
    fitting = [
        reason
        for reason in limits.get("finishes", FINISHES)
        if (reason in ("tool_calls", "length") if calls else reason != "tool_calls")
    ]
    reason = draw(st.sampled_from(fitting))
    return ir.Finish(
        reason,
        sequence=draw(texts()) if reason == "stop_sequence" else None,
        detail=draw(st.none() | texts()) if reason == "filtered" else None,
    )


_log_prob: Final = st.builds(
    ir.LogProb,
    texts(max_size=6),
    st.floats(-20, 0),
    top=st.lists(st.builds(ir.LogProb, texts(max_size=6), st.floats(-20, 0)), max_size=2).map(
        tuple
    ),
)


@st.composite
def _candidates(draw: st.DrawFn, index: int, limits: AnswerLimits) -> ir.Candidate:
    drawn = draw(st.lists(_any_block(limits), max_size=5))
    blocks = _as_the_protocol_allows(drawn, limits)
    logprobs = None
    if limits.get("logprobs", True) and any(isinstance(block, ir.Text) for block in blocks):
        logprobs = draw(st.none() | st.lists(_log_prob, min_size=1, max_size=3).map(tuple))
    return ir.Candidate(blocks, draw(_finish(blocks, limits)), index, logprobs)


@st.composite
def neutral_answers(draw: st.DrawFn, **limits: Unpack[AnswerLimits]) -> ir.Answer:
    """Whole answers. Texts have more than white space, calls of one candidate unlike ids."""
    count = draw(st.integers(1, limits.get("candidates", 2)))
    candidates = [draw(_candidates(index, limits)) for index in range(count)]
    return ir.Answer(
        candidates,
        usage=draw(usages()),
        id=draw(st.none() | _raw_names),
        model=draw(st.none() | names),
    )


@st.composite
def neutral_events(draw: st.DrawFn, **limits: Unpack[AnswerLimits]) -> list[ir.Event]:
    """Complete, well-formed streams. A call's signature stands directly after its start, that of
    reasoning before its end.
    """
    return draw(events_of(draw(neutral_answers(**limits))))
