"""docs/configuration.md names every key there is, with its default."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest
import yaml

from bitrouter.config.compare import AT_START
from bitrouter.config.decode import convert
from bitrouter.config.schema import ConfigFile, Secret

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
ROW = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|")

# How a mapping by names of the user's own is written in a path.
NAMES = {"providers": "NAME", "models": "NAME", "providers.NAME.models": "MODEL_ID"}


def keys(struct: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a struct, with its field; of a mapping with keys of its own only those."""
    for field in msgspec.structs.fields(struct):
        where = f"{path}.{field.name}" if path else field.name
        below = list(nested(field.type, where))
        if all(step.endswith("[]") for _, step in below):
            yield where, field
        for inner, step in below:
            yield from keys(inner, step)


def nested(wanted: Any, where: str) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The structs within a type, and their paths."""
    origin = get_origin(wanted)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        yield wanted, where
    elif origin is Annotated:
        yield from nested(get_args(wanted)[0], where)
    elif origin in (Union, UnionType):
        for option in get_args(wanted):
            yield from nested(option, where)
    elif origin is dict:
        yield from nested(get_args(wanted)[1], f"{where}.{NAMES.get(where, 'KEY')}")
    elif origin is tuple:
        yield from nested(get_args(wanted)[0], f"{where}[]")


KEYS = dict(keys(ConfigFile))
ROWS = {match[1]: match for match in ROW.finditer(PAGE.read_text())}


def test_the_walk_finds_keys_of_every_kind() -> None:
    assert {
        "server.log.level",
        "providers.NAME.api_key",
        "providers.NAME.models.MODEL_ID.price.input",
        "models.NAME.endpoints[].weight",
        "payments.x402.accepts[].scheme",
    } <= KEYS.keys()


@pytest.mark.parametrize("path", [*AT_START, "server.tls"])
@pytest.mark.parametrize("page", [PAGE, PAGE.with_name("admin.md")], ids=lambda page: page.name)
def test_what_only_a_restart_applies_is_named(page: Path, path: str) -> None:
    _, _, told = page.read_text().partition("the restart" if page != PAGE else "Only a new start")
    assert f"`{path}`" in told.partition("\n\n")[0]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_schema_has_a_row(key: str) -> None:
    assert key in ROWS


def test_every_key_of_the_page_is_in_the_schema() -> None:
    assert {key for key in ROWS if "." in key} <= KEYS.keys()


@pytest.mark.parametrize(
    "key",
    [
        key
        for key, field in KEYS.items()
        if field.default not in (None, msgspec.UNSET, msgspec.NODEFAULT, Secret(""))
        and field.default != ()
        and field.default != ()
    ],
)
def test_the_default_on_the_page_is_that_of_the_schema(key: str) -> None:
    field = KEYS[key]
    shown = yaml.safe_load(ROWS[key][3].strip().strip("`"))
    assert convert(shown, field.type) == field.default
