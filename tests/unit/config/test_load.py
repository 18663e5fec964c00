from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitrouter.config.load import (
    find_config_file,
    home_dir,
    load_config,
    require_authentication,
    state_dir,
)
from bitrouter.config.schema import (
    Config,
    ConfigFile,
    EndpointEntry,
    ProviderEntry,
    RouteEntry,
    ServerSettings,
)
from bitrouter.errors import ConfigError, Problem

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

PROTOCOLS = ("openai", "responses", "anthropic", "google")

# -- which file -----------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A working directory, a $BITROUTER_HOME and a home, all without a file."""
    places = {name: tmp_path / name for name in ("cwd", "bitrouter_home", "home")}
    for place in places.values():
        place.mkdir()
    (places["home"] / ".bitrouter").mkdir()
    return places


def test_the_search_goes_from_the_option_to_the_home(places: dict[str, Path]) -> None:
    environ = {"BITROUTER_HOME": str(places["bitrouter_home"]), "HOME": str(places["home"])}
    named = places["cwd"] / "other.yaml"
    order = [
        places["home"] / ".bitrouter/bitrouter.yaml",
        places["bitrouter_home"] / "bitrouter.yaml",
        places["cwd"] / "bitrouter.yaml",
    ]
    assert find_config_file(None, {"HOME": str(places["home"])}, places["cwd"]) is None
    order[0].touch()
    assert find_config_file(None, {"HOME": str(places["home"])}, places["cwd"]) == order[0]
    order[1].touch()
    assert find_config_file(None, environ, places["cwd"]) == order[1]
    order[2].touch()
    assert find_config_file(None, environ, places["cwd"]) == order[2]
    named.touch()
    assert find_config_file("other.yaml", environ, places["cwd"]) == named
    assert find_config_file(str(named), environ, places["home"]) == named


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config_file("no.yaml", {}, tmp_path)
    assert str(caught.value) == f"{tmp_path}/no.yaml:0:0: --config: there is no such file"
    with pytest.raises(ConfigError) as caught:
        find_config_file(None, {"BITROUTER_HOME": str(tmp_path)}, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/bitrouter.yaml:0:0: BITROUTER_HOME: there is no such file"
    )


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, {}, PROTOCOLS)
    assert str(caught.value) == f"{tmp_path}:0:0: (whole file): cannot be read: Is a directory"


def test_state_is_kept_where_the_file_or_systemd_or_the_home_says(tmp_path: Path) -> None:
    file = str(tmp_path / "bitrouter.yaml")
    config = Config(path=file, server=ServerSettings(state_dir="var"))
    environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "BITROUTER_HOME": "/h"}
    assert state_dir(config, environ) == tmp_path / "var"
    absolute = Config(path=file, server=ServerSettings(state_dir="/srv"))
    assert state_dir(absolute, environ) == Path("/srv")
    assert state_dir(Config(path=file), environ) == Path("/var/lib/a")
    assert state_dir(Config(), {"BITROUTER_HOME": "/h"}) == Path("/h/state")
    assert state_dir(Config(), {"HOME": "/u"}) == Path("/u/.bitrouter/state")


def test_the_home_is_that_of_the_user_unless_it_is_named() -> None:
    assert home_dir({"BITROUTER_HOME": "/h", "HOME": "/u"}) == Path("/h")
    assert home_dir({"BITROUTER_HOME": "", "HOME": "/u"}) == Path("/u/.bitrouter")


# -- the whole file -------------------------------------------------------------------------

# The example of contract.md, section 2.
CONTRACT = """
server:
  listen: 127.0.0.1:8787
  admin_token: ${BITROUTER_ADMIN_TOKEN:-}
  admin_listen: null
  allow_unauthenticated: false
  state_dir: null
  log: {level: info, format: text}
providers:
  openai: {api_key: "${OPENAI_API_KEY:-}"}
  acme:
    derives: openai
    api_protocol: openai
    api_base: https://llm.acme.example/v1
    api_key: ${ACME_KEY:-}
    auth: {type: header, header_name: api-key}
    default_headers: {x-team: search}
    timeouts: {first_byte: 20s}
    models:
      acme-1: {name: Acme One, max_input_tokens: 200000, max_output_tokens: 8192,
               input_modalities: [text, image], output_modalities: [text],
               price: {input: 3, output: 15, cache_read: 0.3, cache_write: 3.75},
               capabilities: {tools: true, prefill: false}}
models:
  default:
    strategy: priority
    endpoints:
      - {provider: openai, model_id: gpt-4o, weight: 1}
      - {provider: anthropic, model_id: claude-sonnet-4-5}
  "acme/*": {endpoints: [{provider: acme, model_id: "*"}]}
timeouts: {connect: 5s, first_byte: 60s, idle: 60s, total: 10m, stream_total: 60m,
           header_read: 10s, body_read: 60s, keepalive: 75s, write_stall: 60s, drain: 10m}
limits:   {max_body_bytes: 64MiB, max_header_bytes: 64KiB, max_response_bytes: 256MiB,
           max_event_bytes: 8MiB, max_concurrent_requests: 2000, max_json_depth: 128}
retry:    {max_attempts: 3, budget_ratio: 0.2}
circuit_breaker: {failures: 5, cooldown: 10s}
"""


def test_the_example_of_the_contract_spells_out_the_defaults(load: Load, config_file: Path) -> None:
    config = load(CONTRACT, {"ACME_KEY": "k"})
    defaults = Config(path=str(config_file))
    assert config == msgspec.structs.replace(
        defaults, providers=config.providers, models=config.models
    )
    assert list(config.models) == ["default", "acme/*"]
    assert [e.provider for e in config.models["default"].endpoints] == ["openai", "anthropic"]
    price = config.providers["acme"].models["acme-1"].price
    assert price is not None
    assert (price.input, price.cache_write) == (3, 3.75)


@pytest.mark.parametrize(
    "text", ["", "providers:\nmodels:\nserver:\nretry:\n", "providers: {openai: }"]
)
def test_an_empty_file_or_section_is_the_defaults(load: Load, config_file: Path, text: str) -> None:
    assert load(text) == msgspec.structs.replace(
        load_config(None, {}, PROTOCOLS), path=str(config_file)
    )


def test_without_a_file_the_built_ins_apply() -> None:
    config = load_config(None, {"OPENAI_API_KEY": "k"}, PROTOCOLS)
    assert (config.path, config.models) == (None, {})
    usable = [name for name, provider in config.providers.items() if not provider.unusable]
    assert usable == ["local", "openai"]


def test_every_problem_is_reported_in_the_order_of_the_file(problems: Problems) -> None:
    text = """\
server:
  listen: nowhere
  lgo: {}
providers:
  opneai: {api_key: 5, api_base: ftp://h}
  acme: {derives: opena}
models:
  fast:
    strategy: fastest
    endpoints:
      - {provider: opena, model_idd: x}
      - {provider: openai, model_id: gpt-4o, weight: 0}
retry: {max_attempts: 0, budget_ratio: 2}
retry: {}
route: {}
"""
    assert [
        problem.partition(": ")[0] + " " + problem.split(": ")[1] for problem in problems(text)
    ] == [
        "bitrouter.yaml:2:11 server.listen",
        "bitrouter.yaml:3:3 server",
        "bitrouter.yaml:5:3 providers.opneai",
        "bitrouter.yaml:5:21 providers.opneai.api_key",
        "bitrouter.yaml:5:34 providers.opneai.api_base",
        "bitrouter.yaml:6:19 providers.acme.derives",
        "bitrouter.yaml:9:15 models.fast.strategy",
        "bitrouter.yaml:11:9 models.fast.endpoints[0]",
        "bitrouter.yaml:11:20 models.fast.endpoints[0].provider",
        "bitrouter.yaml:11:27 models.fast.endpoints[0]",
        "bitrouter.yaml:12:54 models.fast.endpoints[1].weight",
        "bitrouter.yaml:13:23 retry.max_attempts",
        "bitrouter.yaml:13:40 retry.budget_ratio",
        "bitrouter.yaml:14:1 retry",
        "bitrouter.yaml:15:1 (whole file)",
    ]


def test_the_message_of_the_architecture_note_is_what_is_printed(problems: Problems) -> None:
    text = "models:\n  fast:\n    endpoints:\n      - {provider: openai, model_id: m, weigth: 2}"
    assert problems(text) == [
        "bitrouter.yaml:4:41: models.fast.endpoints[0]: unknown field `weigth`, did you mean"
        " `weight`? allowed: provider, model_id, weight, max_concurrency"
    ]


def test_an_unknown_section_is_a_problem(problems: Problems) -> None:
    assert problems("model: {}") == [
        "bitrouter.yaml:1:1: (whole file): unknown section `model`, did you mean `models`? allowed:"
        " server, providers, models, timeouts, limits, retry, circuit_breaker, payments"
    ]


def test_a_timer_that_is_not_its_owners_to_set_is_a_problem(problems: Problems) -> None:
    provider, route = problems(
        "providers: {openai: {timeouts: {deadline: 1m, pool_idle: 5s}}}\n"
        "models: {m: {timeouts: {deadline: 1m, pool_idle: 5s}, endpoints: [{provider: openai,"
        " model_id: m}]}}"
    )
    assert "providers.openai.timeouts: unknown field `deadline`" in provider
    assert "models.m.timeouts: unknown field `pool_idle`" in route


def test_a_section_of_the_wrong_kind_is_a_problem(problems: Problems) -> None:
    assert problems("providers: [openai]\nretry: 3") == [
        "bitrouter.yaml:1:12: providers: must be a mapping of names to their settings",
        "bitrouter.yaml:2:8: retry: must be a mapping, not 3",
    ]


# -- the environment ------------------------------------------------------------------------


def test_numbers_and_times_may_come_from_the_environment(load: Load) -> None:
    text = "retry: {max_attempts: '${N}'}\ntimeouts: {idle: '${T}'}\n"
    text += "server: {listen: 'localhost:${P}'}"
    config = load(text, {"N": "5", "T": "250ms", "P": "99"})
    assert config.retry.max_attempts == 5
    assert float(config.timeouts.idle) == 0.25
    assert config.server.listen == "localhost:99"


def test_a_missing_variable_is_reported_once(problems: Problems) -> None:
    assert problems("retry: {max_attempts: '${N}'}") == [
        "bitrouter.yaml:1:23: retry.max_attempts: the environment variable N is not set; set it, or"
        " give a default: ${N:-...}"
    ]


def test_a_variable_in_the_place_of_a_section_is_a_problem(problems: Problems) -> None:
    assert problems("providers: ${NO}\nmodels: ${YES}", {"YES": "x"}) == [
        "bitrouter.yaml:1:12: providers: the environment variable NO is not set; set it, or give a"
        " default: ${NO:-...}",
        "bitrouter.yaml:2:9: models: must be a mapping of names to their settings",
    ]


def test_a_value_from_the_environment_is_never_quoted(problems: Problems) -> None:
    text = """
server: {listen: "${X}", log: {level: "${X}"}}
retry: {max_attempts: "${X}"}
timeouts: {idle: "${X}"}
providers: {p: {derives: "${X}", api_protocol: "${X}"}, local: {model_path: "${X}"}}
models: {m: {strategy: "${X}", endpoints: [{provider: "${X}", model_id: m, weight: "${X}"}]}}
"""
    found = problems(text, {"X": "sk-secret"})
    assert len(found) == 10
    assert "sk-secret" not in "".join(found)


def test_the_dotenv_file_beside_the_file_is_read_and_the_environment_wins(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\nANTHROPIC_API_KEY='a'\n")
    providers = load("", {"OPENAI_API_KEY": "from-environment"}).providers
    assert providers["openai"].api_key is not None
    assert providers["openai"].api_key.reveal() == "from-environment"
    assert providers["anthropic"].api_key is not None
    assert providers["anthropic"].api_key.reveal() == "a"


def test_a_broken_dotenv_file_is_a_problem(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("oops\n")
    assert problems("") == [".env:1:1: line 1: not KEY=VALUE"]


# -- without secrets ------------------------------------------------------------------------


def test_values_that_depend_on_an_unset_variable_are_not_judged(load: Load) -> None:
    text = """
server: {listen: "${LISTEN}", admin_token: "${TOKEN}", state_dir: "${DIR}"}
retry: {max_attempts: "${N}"}
models: {m: {endpoints: [{provider: "${P}", model_id: "${M}", weight: "${W}"}]}}
"""
    load(text, check_secrets=False)


def test_an_admin_token_from_the_environment_may_be_absent(load: Load, problems: Problems) -> None:
    text = "server: {listen: '0.0.0.0:80', admin_token: '${TOKEN:-}'}"
    load(text, check_secrets=False)
    (problem,) = problems(text)
    assert "server.admin_token: empty" in problem


def test_what_does_not_depend_on_a_variable_is_judged_all_the_same(problems: Problems) -> None:
    text = "server: {listen: '${LISTEN}'}\nretry: {max_attempts: 0}"
    (problem,) = problems(text, check_secrets=False)
    assert "retry.max_attempts" in problem


# -- who may reach it -----------------------------------------------------------------------


def server(**fields: object) -> Config:
    return Config(server=msgspec.convert(fields, ServerSettings, dec_hook=lambda t, v: t(v)))


@pytest.mark.parametrize(
    ("config", "has_keys"),
    [
        (server(listen="127.0.0.1:1"), False),
        (server(listen="unix:/x"), False),
        (server(listen="0.0.0.0:1", admin_token="t"), True),
        (server(listen="0.0.0.0:1", admin_token="t", allow_unauthenticated=True), False),
        (server(listen="0.0.0.0:1", admin_listen="127.0.0.1:2"), True),
    ],
)
def test_a_listener_that_is_guarded_or_meant_to_be_open_is_fine(
    config: Config, has_keys: bool
) -> None:
    require_authentication(config, has_keys=has_keys)


@pytest.mark.parametrize(
    ("config", "has_keys", "where"),
    [
        (server(listen="0.0.0.0:1", admin_token="t"), False, ["server.listen"]),
        (server(listen="0.0.0.0:1"), True, ["server.admin_token"]),
        (server(listen="[::]:1"), False, ["server.listen", "server.admin_token"]),
        (server(admin_listen="[::]:1"), True, ["server.admin_token"]),
    ],
)
def test_a_listener_that_anybody_could_use_by_accident_is_refused(
    config: Config, has_keys: bool, where: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        require_authentication(config, has_keys=has_keys)
    assert [problem.where for problem in caught.value.problems] == where


# -- anything at all ------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *ConfigFile.__struct_fields__,
        *ProviderEntry.__struct_fields__,
        *RouteEntry.__struct_fields__,
        *EndpointEntry.__struct_fields__,
        *("openai", "acme", "local", "listen", "idle", "type", "x402", "accepts", "input", "<<"),
    ]
)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), _WORDS,
    st.sampled_from(["${X}", "${NO}", "10s", "*", "openai", "http://h", "https://[", "0.0.0.0:1"]),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_FILES = st.one_of(
    st.binary(),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.dictionaries(_WORDS, _VALUES).map(msgspec.json.encode),
    st.dictionaries(_WORDS, _VALUES).map(msgspec.yaml.encode),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(raw=_FILES, check_secrets=st.booleans())
def test_any_file_is_a_configuration_or_a_config_error(
    config_file: Path, raw: bytes, check_secrets: bool
) -> None:
    config_file.write_bytes(raw)
    problems: Sequence[Problem] | None = None
    try:
        load_config(config_file, {"X": "\udcff x"}, PROTOCOLS, check_secrets=check_secrets)
    except ConfigError as error:
        problems = error.problems
    assert problems is None or len(problems) > 0
