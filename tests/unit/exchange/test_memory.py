"""What clients drop between two turns comes back, to its own conversation alone."""

from bitrouter.exchange.memory import Memory, StreamNotes
from bitrouter.ir import (
    Block,
    BlockEnd,
    BlockStart,
    Delta,
    Message,
    Reasoning,
    Request,
    Signature,
    Signed,
    Text,
    ToolCall,
    ToolResult,
)

THOUGHT = Reasoning("it rains", Signature("a", "sig"))
CALL = ToolCall("call_1", "weather", '{"city":"Rome"}')
SIGNED_CALL = ToolCall("call_1", "weather", '{"city":"Rome"}', signature=Signature("g", "thought"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def replayed(*blocks: Block) -> Request:
    turns = [
        Message("user", [Text("Rome?")]),
        Message("assistant", list(blocks)),
        Message("user", [ToolResult("call_1", [Text("sun")])]),
    ]
    return Request("m", turns, "o")


def completed(memory: Memory, request: Request, owner: str = "key-1") -> list[Block]:
    return memory.complete(owner, request).messages[1].blocks


def memory_of(*blocks: Block, clock: Clock | None = None) -> Memory:
    memory = Memory(clock or Clock())
    memory.keep("key-1", blocks)
    return memory


def test_thinking_comes_back_before_its_call() -> None:
    memory = memory_of(THOUGHT, CALL)

    assert completed(memory, replayed(Text("hm"), CALL)) == [THOUGHT, Text("hm"), CALL]


def test_signature_comes_back_on_its_call() -> None:
    memory = memory_of(SIGNED_CALL)

    assert completed(memory, replayed(CALL)) == [SIGNED_CALL]


def test_the_request_that_was_completed_is_another_one() -> None:
    request = replayed(CALL)

    memory_of(SIGNED_CALL).complete("key-1", request)

    assert request == replayed(CALL)


def test_what_the_client_brought_itself_is_not_doubled() -> None:
    memory = memory_of(THOUGHT, SIGNED_CALL)
    other = ToolCall("call_1", "weather", '{"city":"Rome"}', signature=Signature("g", "other"))

    assert completed(memory, replayed(THOUGHT, other)) == [THOUGHT, other]


def test_another_caller_gets_nothing() -> None:
    assert completed(memory_of(THOUGHT, CALL), replayed(CALL), owner="key-2") == [CALL]


def test_another_call_of_the_same_id_gets_nothing() -> None:
    memory = memory_of(THOUGHT, CALL)
    for other in (
        ToolCall("call_1", "weather", '{"city":"Oslo"}'),
        ToolCall("call_1", "time", '{"city":"Rome"}'),
        ToolCall("call_2", "weather", '{"city":"Rome"}'),
    ):
        assert completed(memory, replayed(other)) == [other]


def test_nothing_is_kept_of_an_answer_that_nobody_signed() -> None:
    memory = memory_of(Reasoning("hm"), Reasoning("hm", Signature("o")), CALL)

    assert len(memory) == 0


def test_it_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    memory = memory_of(THOUGHT, CALL, clock=clock)

    clock.now += 3599
    assert completed(memory, replayed(CALL))[0] == THOUGHT
    clock.now += 2
    assert completed(memory, replayed(CALL)) == [CALL]


def test_the_oldest_goes_when_there_are_too_many() -> None:
    memory = memory_of(SIGNED_CALL)
    for number in range(50_000):
        memory.keep("key-1", [ToolCall(f"c{number}", "f", "{}", signature=Signature("g", "s"))])

    assert len(memory) == 50_000
    assert completed(memory, replayed(CALL)) == [CALL]


def test_the_oldest_goes_when_it_is_too_much() -> None:
    memory = memory_of(SIGNED_CALL)
    for number in range(8):
        thought = Reasoning("x" * (10 << 20), Signature("a", "s"))
        memory.keep("key-1", [thought, ToolCall(f"c{number}", "f", "{}")])

    assert len(memory) == 6
    assert completed(memory, replayed(CALL)) == [CALL]


def test_the_same_call_again_replaces_what_was_kept() -> None:
    memory = memory_of(SIGNED_CALL)
    newer = ToolCall("call_1", "weather", '{"city":"Rome"}', signature=Signature("g", "newer"))
    memory.keep("key-1", [newer])

    assert (len(memory), completed(memory, replayed(CALL))) == (1, [newer])


def test_a_stream_is_noted_block_by_block() -> None:
    notes = StreamNotes()
    notes.note([BlockStart(0, "reasoning"), Delta(0, "it "), Delta(0, "rains")])
    notes.note([Signed(0, Signature("a", "sig")), BlockEnd(0), BlockStart(1, "text")])
    notes.note([Delta(1, "Let me see"), BlockEnd(1)])
    notes.note([BlockStart(2, "tool_call", id="call_1", name="weather")])
    notes.note([Delta(2, '{"city":'), Delta(2, '"Rome"}'), BlockEnd(2)])

    assert notes.blocks() == [THOUGHT, CALL]


def test_a_stream_without_signatures_leaves_no_notes() -> None:
    notes = StreamNotes()
    notes.note([BlockStart(0, "tool_call", id="c", name="f"), Delta(0, "{}"), BlockEnd(0)])

    assert notes.blocks() == []
