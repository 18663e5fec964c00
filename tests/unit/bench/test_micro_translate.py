"""The bench of the translators runs, and compares like with like."""

import pytest

from bench.micro.translate import Party, measure_all, table
from bench.micro.wires import (
    ANSWER,
    FIRST_ANSWER,
    NEXT_QUESTION,
    QUESTION,
    SYSTEM,
    TOOL,
    WIRES,
    WORDS,
    Wire,
)
from bitrouter.ir import Text
from bitrouter.protocols import CODECS

each_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.protocol)


def test_every_pair_of_protocols_is_measured() -> None:
    pairs = measure_all(repeats=1)

    names = {codec.name for codec in CODECS}
    assert {(pair.client, pair.provider) for pair in pairs} == {
        (client, provider) for client in names for provider in names if client != provider
    }
    assert all(
        min(pair.request_us, pair.answer_us, pair.event_us, pair.passed_us) > 0 for pair in pairs
    )
    assert len([*table(pairs)]) == 3 + len(pairs)


@each_wire
def test_request_is_of_about_one_kilobyte(wire: Wire) -> None:
    assert 750 < len(wire.request) < 1250


@each_wire
@pytest.mark.parametrize("stream", [False, True])
def test_each_protocol_asks_the_same(wire: Wire, stream: bool) -> None:
    party = Party(wire)

    asked = party.codec.translator.decode_request(party.asked_stream if stream else party.asked)

    said = [
        [block.text for block in turn.blocks if isinstance(block, Text)] for turn in asked.messages
    ]
    assert [text.text for text in asked.system] == [SYSTEM]
    assert [turn.role for turn in asked.messages] == ["user", "assistant", "user"]
    assert said == [[QUESTION], [FIRST_ANSWER], [NEXT_QUESTION]]
    assert [tool.name for tool in asked.tools] == [TOOL]
    assert (asked.max_tokens, asked.temperature) == (512, 0.2)
    assert asked.stream is stream


@each_wire
def test_each_protocol_answers_the_same(wire: Wire) -> None:
    answer = Party(wire).codec.translator.decode_answer(wire.answer)

    assert answer.candidates[0].blocks == [Text(ANSWER)]
    assert answer.candidates[0].finish.reason == "stop"


@each_wire
def test_each_stream_has_as_many_deltas(wire: Wire) -> None:
    assert len(wire.deltas) == WORDS
    assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in wire.deltas)
