"""The files under conf/ do what they say."""

import re
from pathlib import Path

import pytest
import yaml

from bitrouter.cli import check
from bitrouter.config.load import load_config
from bitrouter.config.providers import read_catalog
from bitrouter.config.schema import Config, ConfigFile
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.routing.state import RouteState

CONF = Path(__file__).parents[3] / "conf"
EXAMPLES = sorted(CONF.glob("*.yaml"))


def load(file: Path) -> Config:
    """Load it as on a machine that has no key at all."""
    return load_config(file, {}, BY_API_PROTOCOL)


def by_id(file: Path) -> str:
    return file.name


# -- the YAML examples ----------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=by_id)
def test_an_example_passes_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.run(str(file), as_json=False) == 0
    assert capsys.readouterr().out.startswith(f"ok: {file}: ")


@pytest.mark.parametrize("file", EXAMPLES, ids=by_id)
def test_every_route_of_an_example_resolves_to_its_endpoints(file: Path) -> None:
    config = load(file)
    table = RouteState(config).current
    assert config.models
    for name, entry in config.models.items():
        route = table.resolve(name.replace("*", "some-model"))
        assert route.source == "config"
        assert [endpoint.key for endpoint in route.endpoints] == [
            f"{endpoint.provider}:{endpoint.model_id.replace('*', 'some-model')}"
            for endpoint in entry.endpoints
        ]


def test_the_complete_example_has_every_section() -> None:
    sections = yaml.safe_load((CONF / "bitrouter.yaml").read_text())
    assert [*sections] == [*ConfigFile.__struct_fields__]


@pytest.mark.parametrize("section", ["timeouts", "limits", "retry", "circuit_breaker"])
def test_the_complete_example_spells_out_every_default(section: str) -> None:
    given = yaml.safe_load((CONF / "bitrouter.yaml").read_text())[section]
    values = getattr(load(CONF / "bitrouter.yaml"), section)
    assert {*given} == {*values.__struct_fields__}
    assert values == type(values)()


def test_the_example_without_keys_needs_none() -> None:
    config = load(CONF / "zero-key.yaml")
    table = RouteState(config).current
    for name in config.models:
        (endpoint,) = table.resolve(name.replace("*", "anything")).endpoints
        assert endpoint.provider.embedded is not None
        assert endpoint.provider.unusable is None
        assert endpoint.model is not None


def test_every_variable_of_the_environment_example_is_looked_for() -> None:
    text = (CONF / "bitrouter.env.example").read_text()
    example = (CONF / "bitrouter.yaml").read_text()
    named = set(re.findall(r"^#([A-Z_]+)=$", text, re.MULTILINE))
    used = set(re.findall(r"^[^#]*\$\{([A-Z_]+)", example, re.MULTILINE))
    prefixes = {"EXAMPLE_GATEWAY"}
    for entry in read_catalog().values():
        given = entry.env_prefix or ()
        prefixes |= {given} if isinstance(given, str) else {*given}
    looked_for = used | {f"{p}_{what}" for p in prefixes for what in ("API_KEY", "BASE_URL")}
    assert used <= named <= looked_for


# -- Prometheus -----------------------------------------------------------------------------


def test_the_scrape_file_asks_for_the_path_that_serves_metrics() -> None:
    (job,) = yaml.safe_load((CONF / "prometheus" / "scrape.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": [Config().server.listen]}]
