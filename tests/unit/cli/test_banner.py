"""What a start says, and the lines that it offers to copy."""

import itertools
import shlex

import msgspec

from bitrouter.cli.banner import banner, examples
from bitrouter.config.load import load_config
from bitrouter.config.schema import Config
from bitrouter.protocols import BY_API_PROTOCOL, CODECS

ADDRESS = "http://127.0.0.1:8787"


def load(**environ: str) -> Config:
    """Zero-config with these variables."""
    return load_config(None, environ, BY_API_PROTOCOL)


def without_embedded_model(config: Config) -> Config:
    """The same on a machine where the embedded model is not installed."""
    local = msgspec.structs.replace(config.providers["local"], unusable="not installed")
    return msgspec.structs.replace(config, providers={**config.providers, "local": local})


def curl_lines(text: str) -> dict[str, str]:
    """The lines by the comment above each."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return {
        comment.removeprefix("# "): line
        for comment, line in itertools.pairwise(lines)
        if line.startswith("curl ")
    }


def test_the_line_names_the_providers_that_have_a_key() -> None:
    line = banner([ADDRESS], load(OPENAI_API_KEY="k", GEMINI_API_KEY="k"), "none")
    assert "providers: google, openai ·" in line
    assert "\n" not in line


def test_the_line_says_who_answers_without_a_key() -> None:
    config = load()
    assert "the embedded model answers" in banner([ADDRESS], config, "none")
    assert "none is usable" in banner([ADDRESS], without_embedded_model(config), "none")


def test_every_protocol_has_a_line_that_its_codec_reads() -> None:
    lines = curl_lines(examples(load(OPENAI_API_KEY="k"), ADDRESS, needs_key=False))
    assert [name.partition(",")[0] for name in lines] == [codec.name for codec in CODECS]
    for codec, line in zip(CODECS, lines.values(), strict=True):
        words = shlex.split(line)
        found = codec.match(words[1].removeprefix(ADDRESS))
        assert found is not None
        codec.read(*found, "", words[words.index("-d") + 1].encode())


def test_a_provider_with_a_key_goes_before_the_embedded_model() -> None:
    lines = curl_lines(examples(load(OPENAI_API_KEY="k"), ADDRESS, needs_key=False))
    assert '"openai:' in lines["chat"]
    assert '"openai:' in lines["anthropic"]


def test_what_passes_through_goes_before_what_is_translated() -> None:
    config = load(OPENAI_API_KEY="k", GEMINI_API_KEY="k")
    lines = curl_lines(examples(config, ADDRESS, needs_key=False))
    assert '"openai:' in lines["chat"]
    assert "/models/google:" in lines["google"]


def test_the_embedded_model_answers_every_protocol_where_there_is_no_key() -> None:
    lines = curl_lines(examples(load(), ADDRESS, needs_key=False))
    assert all("local:smollm2" in line for line in lines.values())


def test_what_has_to_be_done_first_is_said_of_the_provider_that_the_line_names() -> None:
    config = without_embedded_model(load())
    lines = curl_lines(examples(config, ADDRESS, needs_key=False))
    for comment, line in lines.items():
        name, _, reason = comment.partition(", not yet: ")
        provider = next(p for p in config.providers.values() if f"{p.name}:" in line)
        assert reason == provider.unusable, name


def test_a_line_has_a_place_for_the_key_where_one_is_needed() -> None:
    lines = curl_lines(examples(load(), ADDRESS, needs_key=True))
    assert all("Authorization: Bearer $BITROUTER_KEY" in line for line in lines.values())


def test_a_line_for_a_unix_socket_names_it() -> None:
    lines = curl_lines(examples(load(), "unix:/run/bitrouter.sock", needs_key=False))
    assert all(
        line.startswith("curl --unix-socket /run/bitrouter.sock http://localhost/v1")
        for line in lines.values()
    )
