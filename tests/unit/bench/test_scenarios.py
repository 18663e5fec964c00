"""What the bench asks is what its names say, and a wrong answer does not pass for a right one."""

import json

import msgspec
import pytest

from bench import chat, messages
from bench.content import ANSWER, EVENTS, WORD, WORDS
from bench.micro.translate import mint
from bench.scenarios import SCENARIOS, Scenario, choose, groups, is_answer, request, request_body
from bitrouter.config.schema import Traits
from bitrouter.exchange.stream import TranslatedStream
from bitrouter.ir import Request as Neutral
from bitrouter.protocols import CODECS
from bitrouter.protocols.base import Request
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.translator import Recipient, Reply

CHAT, MESSAGES = (
    next(codec for codec in CODECS if codec.name == name) for name in ("chat", "anthropic")
)

each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
each_translated = pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in SCENARIOS if scenario.translated],
    ids=lambda scenario: scenario.name,
)


def read(codec: Codec, path: str, body: bytes) -> Request:
    found = codec.match(path)
    assert found is not None
    return codec.read(*found, "", body)


def meaning(codec: Codec, path: str, body: bytes) -> Neutral:
    return codec.translator.decode_request(read(codec, path, body))


# -- what is asked --------------------------------------------------------------------------


def test_no_two_scenarios_have_one_name() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


@each
def test_body_is_a_request_of_its_size(scenario: Scenario) -> None:
    body = request_body(scenario)

    assert len(request_body(scenario.twin)) == scenario.body_kb * 1000
    assert abs(len(body) - scenario.body_kb * 1000) < 40
    assert json.loads(body)["stream"] is scenario.stream


@each_translated
def test_translated_load_asks_the_same_as_its_twin(scenario: Scenario) -> None:
    translated = meaning(MESSAGES, messages.PATH, request_body(scenario))
    passed = meaning(CHAT, chat.PATH, request_body(scenario.twin))

    for name in ("model", "system", "messages", "stream", "max_tokens", "temperature", "dropped"):
        assert getattr(translated, name) == getattr(passed, name), name


@each_translated
def test_provider_is_asked_the_same_for_both(scenario: Scenario) -> None:
    asked = meaning(MESSAGES, messages.PATH, request_body(scenario))

    sent = json.loads(CHAT.translator.encode_request(asked, Recipient("bench", Traits())).body)

    passed = json.loads(request_body(scenario.twin))
    assert {name: sent.get(name, False) for name in passed} == passed


@each
def test_request_says_how_long_its_body_is(scenario: Scenario) -> None:
    head, _, body = request(scenario).partition(b"\r\n\r\n")

    assert body == request_body(scenario)
    assert b"Content-Length: %d" % len(body) in head


def test_choosing_a_translated_scenario_brings_its_twin() -> None:
    names = [scenario.name for scenario in choose("0.3kB-whole-c64-translated")]

    assert names == ["0.3kB-whole-c64", "0.3kB-whole-c64-translated"]


def test_twins_run_together() -> None:
    together = groups(SCENARIOS)

    assert [scenario for group in together for scenario in group] == list(SCENARIOS)
    assert all(one.twin == group[0] for group in together for one in group)


# -- what is answered -----------------------------------------------------------------------


def translated_reply(*, stream: bool) -> Reply:
    body = request_body(Scenario(1, stream, 1, translated=True))
    request = read(MESSAGES, messages.PATH, body)
    asked = MESSAGES.translator.decode_request(request)
    return Reply(request, asked, created_s=1, mint=mint, request_id="r")


def translated_whole() -> bytes:
    answer = CHAT.translator.decode_answer(chat.WHOLE)
    return MESSAGES.translator.encode_answer(answer, translated_reply(stream=False))


def translated_stream() -> bytes:
    reply = translated_reply(stream=True)
    stream = TranslatedStream(
        CHAT.translator.stream_decoder(),
        MESSAGES.translator.stream_encoder(reply),
        CHAT.translator.encode_request(reply.asked, Recipient("bench-1", Traits())),
        keep=lambda blocks: None,
        max_event_bytes=1 << 20,
    )
    return b"".join([*map(stream.feed, chat.EVENTS), stream.finish()])


def test_stream_has_as_many_events_as_said() -> None:
    assert len(chat.EVENTS) == EVENTS == chat.WHOLE_STREAM.count(b"\n\n")
    assert chat.WHOLE_STREAM.count(WORD.encode()) == WORDS


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_says_is_the_answer_that_passes(stream: bool) -> None:
    answer = chat.WHOLE_STREAM if stream else chat.WHOLE

    assert is_answer(Scenario(1, stream, 1), answer)
    assert not is_answer(Scenario(1, stream, 1), answer[:-1])
    assert not is_answer(Scenario(1, not stream, 1), answer)


def test_its_translation_is_the_answer_that_is_translated() -> None:
    assert is_answer(Scenario(1, False, 1, translated=True), translated_whole())
    assert is_answer(Scenario(1, True, 1, translated=True), translated_stream())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (ANSWER.encode(), ANSWER[:-1].encode()),
        (b'"end_turn"', b'"max_tokens"'),
        (b'"input_tokens":34', b'"input_tokens":0'),
        (b'"model":"bench"', b'"model":"bench-1"'),
        (b'"type":"message"', b'"type":"error"'),
        (b"}}", b"}"),
    ],
)
def test_wrong_translated_answer_is_noticed(right: bytes, wrong: bytes) -> None:
    body = translated_whole()
    assert right in body

    assert not messages.is_answer(body.replace(right, wrong), stream=False)


DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}'


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"event: content_block_delta\ndata: " + DELTA + b"\n\n", b""),
        (b'"text":" word"', b'"text":" ward"'),
        (b'event: message_stop\ndata: {"type":"message_stop"}\n\n', b""),
        (b"event: message_stop", b"event: message_end"),
        (b'"end_turn"', b'"max_tokens"'),
        (b'"output_tokens":198', b'"output_tokens":197'),
        (b"event: content_block_stop", b": keep-alive\n\nevent: content_block_stop"),
        (b"data: " + DELTA, b"data: " + DELTA[:-1]),
    ],
)
def test_wrong_translated_stream_is_noticed(right: bytes, wrong: bytes) -> None:
    body = translated_stream()
    assert right in body

    assert not messages.is_answer(body.replace(right, wrong, 1), stream=True)


def test_cut_translated_stream_is_noticed() -> None:
    assert not messages.is_answer(translated_stream()[:-1], stream=True)


def test_scenario_survives_the_command_line() -> None:
    for scenario in SCENARIOS:
        assert [one for one in SCENARIOS if one.name == scenario.name] == [scenario]
        assert msgspec.structs.replace(scenario, translated=False) == scenario.twin
