"""docs/deploy.md, and the proxies that it recommends."""

import re
from pathlib import Path

import pytest

from bitrouter.config.load import load_config
from bitrouter.config.schema import Duration, Limits, Timeouts
from bitrouter.protocols import BY_API_PROTOCOL

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "deploy.md"
TEXT = PAGE.read_text()
NGINX = (ROOT / "conf" / "nginx" / "bitrouter.conf").read_text()
CADDY = (ROOT / "conf" / "caddy" / "Caddyfile").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def seconds(pattern: str, text: str) -> float:
    """A duration in a proxy's configuration."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None
    return Duration.parse(found[1])


def test_every_configuration_can_be_loaded(tmp_path: Path) -> None:
    assert blocks("yaml")
    for number, block in enumerate(blocks("yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        load_config(file, {}, BY_API_PROTOCOL, check_secrets=False)


def test_every_file_that_it_names_exists() -> None:
    named = {
        *re.findall(r"\]\((\.\./[^)#]+)\)", TEXT),
        *(f"../{path}" for path in re.findall(r"\bconf/[\w./-]*\w", TEXT)),
    }
    assert len(named) > 6
    assert [path for path in sorted(named) if not (PAGE.parent / path).exists()] == []


def test_every_verb_of_make_that_it_names_exists() -> None:
    verbs = set(re.findall(r"\bmake\s+([a-z]+-[a-z]+)", TEXT))
    assert {"install-service", "uninstall-service"} <= verbs
    makefile = (ROOT / "Makefile").read_text()
    assert [verb for verb in verbs if f"\n{verb}:" not in makefile] == []


def test_every_unit_and_setting_of_a_unit_that_it_names_exists() -> None:
    units = (ROOT / "conf" / "systemd").glob("bitrouter*.s*")
    text = {unit.name: unit.read_text() for unit in units}
    assert set(re.findall(r"\bbitrouter[a-z-]*\.(?:service|socket)\b", TEXT)) == {*text}
    for name in re.findall(r"^\| [^|]+ \| `(\w+)=`(?:, `\w+=`)? \|", TEXT, re.MULTILINE):
        assert f"\n{name}=" in text["bitrouter.service"]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(r"^ +proxy_read_timeout (\w+);", NGINX), (r"^\s+response_header_timeout (\w+)", CADDY)],
    ids=["nginx", "caddy"],
)
def test_a_proxy_waits_longer_than_a_model_may_take(pattern: str, text: str) -> None:
    assert seconds(pattern, text) > Timeouts().total


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(r"^ +keepalive_timeout (\w+);", NGINX), (r"^\s+keepalive (\w+)", CADDY)],
    ids=["nginx", "caddy"],
)
def test_a_proxy_closes_an_idle_connection_first(pattern: str, text: str) -> None:
    assert seconds(pattern, text) < Timeouts().keepalive


def test_a_proxy_takes_the_bodies_that_the_router_takes() -> None:
    assert f"client_max_body_size {Limits().max_body_bytes >> 20}m;" in NGINX
    assert f"max_size {Limits().max_body_bytes >> 20}MB" in CADDY


def test_streams_are_not_held_up_and_nothing_is_sent_twice() -> None:
    for line in ("proxy_buffering off;", "gzip off;", "proxy_next_upstream off;"):
        assert line in NGINX
    assert "flush_interval -1" in CADDY
