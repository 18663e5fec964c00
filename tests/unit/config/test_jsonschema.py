"""The JSON Schema of the file: what the reader takes it takes, and it notices what is wrong."""

import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no type information
import pytest
import yaml

from bitrouter.config.jsonschema import config_schema
from bitrouter.config.load import load_config
from bitrouter.errors import ConfigError
from bitrouter.protocols import BY_API_PROTOCOL

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "conf").glob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = config_schema(BY_API_PROTOCOL)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def problems(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_file_is_valid(validator: Any, file: Path) -> None:
    assert problems(validator, file.read_text()) == []


def shown(page: Path) -> list[str]:
    """The examples of a page that are configurations."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    sections = config_schema(BY_API_PROTOCOL)["properties"]
    return [one for one in blocks if set(yaml.safe_load(one)) & set(sections)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_in_the_docs_is_valid(validator: Any, page: Path) -> None:
    assert [problems(validator, text) for text in shown(page)] == [[] for _ in shown(page)]


def test_there_are_examples_in_the_docs() -> None:
    assert sum(len(shown(page)) for page in PAGES) >= 3


TAKEN = [
    "retry:",
    "providers: {openai: }",
    "retry: {max_attempts: '2', budget_ratio: '0.5'}",
    "retry: {max_attempts: '${ATTEMPTS:-2}'}",
    "server: {allow_unauthenticated: 'true', log: {level: '${LEVEL:-info}'}}",
    "timeouts: {connect: 5, idle: 0.5, total: 10m, drain: '30'}",
    "timeouts: {connect: '${CONNECT:-5s}'}",
    "limits: {max_body_bytes: 64MiB, max_header_bytes: 65536, max_event_bytes: '70000'}",
    "providers: {openai: {api_key: '${NOT_SET}'}}",
    "providers: {p: {api_protocol: [openai, responses], api_base: 'http://x.example'}}",
    "models: {m: {endpoints: [{provider: openai, model_id: x, weight: 3}], price: {call: '0.01'}}}",
]


@pytest.mark.parametrize("text", TAKEN)
def test_what_the_reader_takes_is_valid(validator: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "bitrouter.yaml"
    file.write_text(text)
    load_config(file, {}, BY_API_PROTOCOL)
    assert problems(validator, text) == []


REFUSED = [
    "retries: {}",
    "retry: {max_attempt: 2}",
    "retry: {max_attempts: 0}",
    "retry: {max_attempts: two}",
    "retry: {budget_ratio: 1.5}",
    "server: {log: {level: loud}}",
    "server: {listen: 8787}",
    "timeouts: {connect: 5 s}",
    "timeouts: {connect: -1}",
    "limits: {max_body_bytes: 64MB}",
    "providers: {p: {api_protocol: chat, api_base: 'http://x.example'}}",
    "providers: {p: {api_protocol: [openai, chat], api_base: 'http://x.example'}}",
    "models: {m: {endpoints: []}}",
    "models: {m: {endpoints: [{provider: openai}]}}",
    "models: {m: {strategy: random, endpoints: [{provider: openai, model_id: x}]}}",
    "models: {m: {endpoints: [{provider: openai, model_id: x, weight: 0}]}}",
    "models: [m]",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_by_its_shape_is_noticed(validator: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "bitrouter.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_config(file, {}, BY_API_PROTOCOL)
    assert problems(validator, text)


def test_a_section_says_what_it_is_for(validator: Any) -> None:
    definitions = validator.schema["$defs"]
    assert definitions["Retry"]["description"].startswith("How often a request may be tried")
    assert definitions["Retry"]["properties"]["max_attempts"]["default"] == 3
