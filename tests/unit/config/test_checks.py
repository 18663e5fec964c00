"""Rules between entries, and those that a type does not express."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bitrouter.config.schema import Config

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

KNOWN = "known: anthropic, google, local, openai"


def provider(fields: str) -> str:
    return f"providers: {{p: {{api_protocol: openai, api_base: 'https://h', {fields}}}}}"


def message(problem: str) -> str:
    """A printed problem without file, line and column."""
    return problem.split(": ", 1)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "server: {listen: ':80'}",
            "server.listen: ':80': must be host:port, [v6]:port or unix:/path",
        ),
        (
            "server: {admin_listen: 'x'}",
            "server.admin_listen: 'x': must be host:port, [v6]:port or unix:/path",
        ),
        (
            "server: {listen: '0.0.0.0:80', allow_unauthenticated: true, admin_token: ''}",
            "server.admin_token: empty, which is allowed only with a loopback `listen`; set a"
            " token",
        ),
        (
            "server: {listen: '127.0.0.1:80', admin_listen: '[::]:81'}",
            "server.admin_token: empty, which is allowed only with a loopback `admin_listen`; set a"
            " token",
        ),
        (
            "server: {admin_token: 'two words'}",
            "server.admin_token: must be visible ASCII characters without spaces",
        ),
        (
            'server: {state_dir: "a\\0b"}',
            "server.state_dir: must be a path, without control characters",
        ),
        ("timeouts: {idle: 0s}", "timeouts.idle: must be more than 0"),
        ("limits: {max_event_bytes: 0}", "limits.max_event_bytes: must be more than 0"),
        (
            "providers: {openai: {timeouts: {connect: 0}}}",
            "providers.openai.timeouts.connect: must be more than 0",
        ),
        (
            "models: {m: {endpoints: [{provider: local, model_id: x}], timeouts: {idle: 0s}}}",
            "models.m.timeouts.idle: must be more than 0",
        ),
    ],
)
def test_server_and_timers(problems: Problems, text: str, expected: str) -> None:
    assert [message(problem) for problem in problems(text)] == [expected]


def test_an_admin_token_may_be_empty_when_the_admin_listener_is_loopback(load: Load) -> None:
    load("server: {listen: '0.0.0.0:80', admin_listen: 'unix:/run/admin.sock'}")


def test_drain_may_be_zero(load: Load) -> None:
    assert float(load("timeouts: {drain: 0}").timeouts.drain) == 0


@pytest.mark.parametrize("name", ["a b", "a/b", "a:b", "", '"a\\nb"', "p" * 257])
def test_a_provider_name_has_no_separator(problems: Problems, name: str) -> None:
    quoted = name if name.startswith('"') else f"'{name}'"
    (problem,) = problems(f"providers: {{{quoted}: {{derives: openai}}}}")
    assert problem.startswith("bitrouter.yaml:1:13: providers")
    assert problem.endswith(": a provider's name must be without spaces, `:` and `/`")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("derives: opneai", "derives: 'opneai': there is no such provider, did you mean `openai`?"),
        ("derives: zzz", f"derives: 'zzz': there is no such provider; {KNOWN}, p"),
        ("api_base: 'https://u:sk-1@h'", None),
        (
            "env_prefix: A-B",
            "env_prefix: must be letters, digits and `_`, the part before _API_KEY",
        ),
        (
            "auth: {type: header, header_name: 'a b'}",
            "auth.header_name: must be an HTTP header name",
        ),
        (
            "auth: {type: header, header_name: Host}",
            "auth.header_name: the router itself writes this header",
        ),
        ("default_headers: {'a b': x}", "default_headers['a b']: must be an HTTP header name"),
        ('default_headers: {x: "a\\r\\nb: c"}', "default_headers.x: must be visible ASCII text"),
        ("default_headers: {x: ''}", "default_headers.x: must be visible ASCII text"),
        (
            "default_headers: {Authorization: x}",
            "default_headers.Authorization: a credential; write it as `api_key`, with `auth`",
        ),
        (
            "default_headers: {X-Api-Key: x}",
            "default_headers.X-Api-Key: a credential; write it as `api_key`, with `auth`",
        ),
        (
            "default_headers: {Transfer-Encoding: x}",
            "default_headers.Transfer-Encoding: the router itself writes this header, or leaves it"
            " out",
        ),
        (
            "default_headers: {X-Forwarded-For: x}",
            "default_headers.X-Forwarded-For: the router itself writes this header, or leaves it"
            " out",
        ),
        ("default_headers: {x-a: 1x, X-A: 2x}", "default_headers.X-A: this header is given twice"),
        (
            "auth: {type: header, header_name: x-k}, default_headers: {X-K: v}",
            "default_headers.X-K: this header is given twice",
        ),
        (
            "models: {'': {}}",
            "models['']: a model's name must be 1 to 256 characters, none of control",
        ),
        (
            "threads: 2",
            "threads: belongs to a provider that the router runs itself, such as one that has"
            " `derives: local`",
        ),
    ],
)
def test_provider_fields(problems: Problems, fields: str, expected: str | None) -> None:
    if expected is None:
        text = f"providers: {{p: {{api_protocol: openai, {fields}}}}}"
        expected = "api_base: must not hold credentials; write them as `api_key`"
    else:
        text = provider(fields)
    assert [message(problem) for problem in problems(text)] == [f"providers.p.{expected}"]


def test_a_base_url_with_a_key_in_it_is_never_shown(problems: Problems) -> None:
    for url in ("https://h/?key=sk-secret", "https://u:sk-secret@h", "sk-secret"):
        text = f"providers: {{p: {{api_protocol: openai, api_base: '{url}'}}}}"
        assert "sk-secret" not in "".join(problems(text))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "opneai",
            ": 'opneai': unknown protocol, did you mean `openai`? allowed: anthropic, google,"
            " openai, responses",
        ),
        (
            "[openai, zzz]",
            "[1]: 'zzz': unknown protocol; allowed: anthropic, google, openai, responses",
        ),
        ("[openai, openai]", "[1]: given twice"),
        ("[]", ": needs at least one of anthropic, google, openai, responses"),
    ],
)
def test_protocol_words(problems: Problems, written: str, expected: str) -> None:
    text = f"providers: {{p: {{api_base: 'https://h', api_protocol: {written}}}}}"
    assert [message(p) for p in problems(text)] == [f"providers.p.api_protocol{expected}"]


def test_a_ring_of_derives_is_reported_once(problems: Problems) -> None:
    text = "providers:\n  x: {derives: a}\n  a: {derives: b}\n  b: {derives: a}\n  c: {derives: c}"
    assert problems(text) == [
        "bitrouter.yaml:3:16: providers.a.derives: derives from itself: a -> b -> a",
        "bitrouter.yaml:5:16: providers.c.derives: derives from itself: c -> c",
    ]


def test_a_row_of_derives_is_bounded(problems: Problems, load: Load) -> None:
    row = [f"p{i}: {{derives: p{i + 1}}}" for i in range(1000)]
    found = problems("providers:\n  " + "\n  ".join([*row, "p1000: {derives: openai}"]))
    assert found[0] == (
        "bitrouter.yaml:2:17: providers.p0.derives: derives through more than 32 providers"
    )
    short = "\n  ".join([*row[:30], "p30: {derives: openai}"])
    assert load(f"providers:\n  {short}").providers["p0"].api_base == "https://api.openai.com/v1"


def test_a_provider_of_its_own_says_what_it_speaks_and_where_it_is(problems: Problems) -> None:
    assert problems("providers:\n  my-llm:") == [
        "bitrouter.yaml:2:3: providers.my-llm: `api_protocol` is missing; allowed: anthropic,"
        " google, openai, responses",
        "bitrouter.yaml:2:3: providers.my-llm: `api_base` is missing; write it, or set"
        " MY_LLM_BASE_URL",
    ]


def test_a_provider_may_have_its_base_url_from_the_environment_alone(load: Load) -> None:
    config = load("providers: {p: {api_protocol: openai}}", {"P_BASE_URL": "https://h/v1/"})
    assert config.providers["p"].api_base == "https://h/v1"


def test_an_embedded_provider_has_a_model_file_and_no_address(
    problems: Problems, load: Load, tmp_path: Path
) -> None:
    text = "providers: {local: {model_path: nope.gguf, api_base: 'http://h', api_protocol: openai}}"
    assert [message(problem) for problem in problems(text)] == [
        "providers.local.model_path: 'nope.gguf': no such file",
        "providers.local.api_base: the router runs this provider itself, and knows it",
        "providers.local.api_protocol: the router runs this provider itself, and knows it",
    ]
    (tmp_path / "tiny.gguf").touch()
    embedded = load("providers: {local: {model_path: tiny.gguf, threads: 4}}").providers["local"]
    assert embedded.embedded is not None
    assert embedded.embedded.model_path == str(tmp_path / "tiny.gguf")
    assert embedded.embedded.threads == 4


@pytest.mark.parametrize("path", ['"a\\0b"', "''", "x" * 5000])
def test_a_model_path_that_no_file_system_has_is_a_problem(problems: Problems, path: str) -> None:
    (problem,) = problems(f"providers: {{local: {{model_path: {path}}}}}")
    assert "providers.local.model_path" in problem


def route(name: str, endpoint: str = "provider: openai, model_id: m") -> str:
    return f'models: {{"{name}": {{endpoints: [{{{endpoint}}}]}}}}'


@pytest.mark.parametrize(
    "name", ["gpt-4o", "acme/fast", "openai:gpt-4o", "a b", "ü", "*", "acme/*", "x" * 256]
)
def test_route_names_may_hold_slashes_and_colons(load: Load, name: str) -> None:
    assert list(load(route(name)).models) == [name]


@pytest.mark.parametrize("name", ["", "a\\nb", "a\\u2028b", "x" * 257])
def test_route_names_have_1_to_256_characters_none_of_control(
    problems: Problems, name: str
) -> None:
    (problem,) = problems(route(name))
    assert problem.startswith("bitrouter.yaml:1:10: models")
    assert problem.endswith(": a model's name must be 1 to 256 characters, none of control")


@pytest.mark.parametrize("name", ["*/a", "a*b", "a**", "*a*"])
def test_a_wildcard_is_one_star_at_the_end(problems: Problems, name: str) -> None:
    (problem,) = problems(route(name))
    assert message(problem) == (
        f"models.{name}: a wildcard is one `*` at the end of the name, such as `acme/*`"
    )


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (
            "provider: opneai, model_id: m",
            "provider: 'opneai': there is no such provider, did you mean `openai`?",
        ),
        (
            "provider: zzz, model_id: m",
            f"provider: 'zzz': there is no such provider; {KNOWN}",
        ),
        (
            "provider: openai, model_id: '*'",
            "model_id: `*` stands for the rest of a wildcard's name; this route has none",
        ),
        ('provider: openai, model_id: "a\\0"', "model_id: must be without control characters"),
    ],
)
def test_endpoints(problems: Problems, endpoint: str, expected: str) -> None:
    (problem,) = problems(route("m", endpoint))
    assert message(problem) == f"models.m.endpoints[0].{expected}"


def test_a_wildcard_route_may_pass_on_the_rest_of_the_name(load: Load) -> None:
    load(route("acme/*", "provider: openai, model_id: '*'"))


def test_a_broken_provider_still_counts_as_known(problems: Problems) -> None:
    text = provider("nonsense: 1") + "\n" + route("m", "provider: p, model_id: x")
    (problem,) = problems(text)
    assert "unknown field `nonsense`" in problem


def test_routes_have_a_price_by_token_or_by_call(load: Load, problems: Problems) -> None:
    endpoints = "endpoints: [{provider: openai, model_id: m}]"
    config = load(
        f"models: {{a: {{price: {{input: 1, output: '4.5'}}, {endpoints}}},"
        f" b: {{price: {{call: '0.01'}}, {endpoints}}}}}"
    )
    a, b = config.models["a"].price, config.models["b"].price
    assert a is not None
    assert b is not None
    assert (a.input, a.output, a.call) == (1, 4.5, None)
    assert str(b.call) == "0.01"
    (problem,) = problems(f"models: {{a: {{price: {{call: 1, input: 1}}, {endpoints}}}}}")
    assert message(problem) == "models.a.price: give both `input` and `output`, or `call` alone"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "metadata.google.internal"])
def test_a_link_local_base_url_is_meant_only_if_the_file_says_so(
    load: Load, problems: Problems, host: str
) -> None:
    fields = f"api_protocol: openai, api_key: k, api_base: 'http://{host}'"

    (problem,) = problems(f"providers: {{p: {{{fields}}}}}")
    allowed = load(f"providers: {{p: {{{fields}, allow_link_local: true}}}}").providers["p"]

    assert message(problem).startswith("providers.p.api_base: names a link-local or cloud metadata")
    assert allowed.allow_link_local


# -- rescue -----------------------------------------------------------------------------------

RESCUE = "models:\n  m:\n    rescue: {}\n    endpoints: [{}]"


@pytest.mark.parametrize("mode", ["continue", "restart"])
def test_a_rescue_goes_to_a_second_endpoint(load: Load, mode: str) -> None:
    two = "{provider: openai, model_id: a}, {provider: openai, model_id: b}"
    assert load(RESCUE.format(mode, two)).models["m"].rescue == mode


@pytest.mark.parametrize(
    "endpoints",
    [
        "{provider: openai, model_id: a}",
        "{provider: openai, model_id: a}, {provider: openai, model_id: a}",
    ],
)
def test_a_rescue_without_a_second_endpoint_is_a_problem(
    problems: Problems, endpoints: str
) -> None:
    assert problems(RESCUE.format("restart", endpoints)) == [
        "bitrouter.yaml:3:13: models.m.rescue: needs a second endpoint, which finishes what the"
        " first broke off"
    ]


def test_another_word_for_a_rescue_is_a_problem(problems: Problems) -> None:
    two = "{provider: openai, model_id: a}, {provider: openai, model_id: b}"
    (problem,) = problems(RESCUE.format("always", two))
    assert "models.m.rescue" in problem
