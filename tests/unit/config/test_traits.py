"""What is known of a model from its protocol, its id, its catalogue entry and the user's rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from bitrouter import ir
from bitrouter.config import traits as module
from bitrouter.config.checks import check_quirks
from bitrouter.config.document import read_document
from bitrouter.config.providers import read_catalog
from bitrouter.config.schema import Config, Provider, Quirk, Refusable, Traits
from bitrouter.config.traits import general_quirks, traits_of, translation_protocol

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

PROTOCOLS = ("openai", "responses", "anthropic", "google")
FOLDER = Path(module.__file__).parent
BUILT_IN_FILES = [FOLDER / "quirks.yaml", *sorted((FOLDER / "catalog").glob("*.yaml"))]
SAMPLING = ("temperature", "top_p", "top_k")
LOW_TO_HIGH = ("low", "medium", "high")


def of(model_id: str, protocol: str, **provider: Any) -> Traits:
    """The traits of a model at a provider of which nothing is known but what is given."""
    return traits_of(Provider("p", PROTOCOLS, "https://h", **provider), protocol, model_id)


# -- the rules as data ----------------------------------------------------------------------


def test_a_rule_can_set_every_trait_and_to_the_same_values() -> None:
    settable = {field.name: field.type for field in msgspec.structs.fields(Quirk)}
    for field in msgspec.structs.fields(Traits):
        wanted = settable.pop(field.name)
        if field.name not in ("unsupported", "efforts"):  # whose words a rule spells out
            assert wanted == field.type | None
    assert [*settable] == ["models", "protocols", "translate_to"]


def test_what_a_model_may_refuse_are_fields_of_a_request() -> None:
    assert {*get_args(Refusable)} <= {*ir.Request.__struct_fields__}


@pytest.mark.parametrize("file", BUILT_IN_FILES, ids=lambda file: file.name)
def test_the_built_in_rules_pass_the_checks_of_a_users(file: Path) -> None:
    document = read_document(file.read_bytes(), file.name)
    check_quirks(document, (), document.root, PROTOCOLS)
    assert [str(problem) for problem in document.problems] == []


def test_every_rule_makes_a_difference_to_some_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is always overruled, or that no model matches, is a mistake."""
    ids = ["some-model", *(model_id for row in EXAMPLES for model_id in row[0].split())]
    asked = [(protocol, model_id) for model_id in ids for protocol in PROTOCOLS]
    provider = Provider("p", PROTOCOLS, "https://h")

    def known(protocol: str, model_id: str) -> tuple[Traits, str]:
        return traits_of(provider, protocol, model_id), translation_protocol(provider, model_id)

    every = general_quirks()
    expected = {one: known(*one) for one in asked}
    for index, quirk in enumerate(every):
        rest = (*every[:index], *every[index + 1 :])
        monkeypatch.setattr(module, "general_quirks", lambda rest=rest: rest)
        assert any(known(*one) != expected[one] for one in asked), quirk


# -- what is known of models ----------------------------------------------------------------

EXAMPLES: list[tuple[str, str, dict[str, Any]]] = [
    # protocols, models that nothing is known of
    ("llama-4 qwen3", "openai", {"reasoning": "effort", "web_search": "", "efforts": ()}),
    ("llama-4", "responses", {"reasoning": "effort", "web_search": "web_search"}),
    (
        "llama-4 claude-next",
        "anthropic",
        {"reasoning": "adaptive", "cache_hints": "cache_control", "structured_output": "native"},
    ),
    ("llama-4", "anthropic", {"web_search": "web_search_20250305", "strict_tools": True}),
    ("llama-4", "google", {"reasoning": "level", "tool_ids": False, "web_search": "googleSearch"}),
    # Claude
    (
        "claude-3-opus-20240229 anthropic.claude-3-5-sonnet-20241022-v2:0 claude-2.1"
        " claude-instant-1.2 anthropic/claude-3.5-haiku",
        "anthropic",
        {"reasoning": "none", "structured_output": "tool", "strict_tools": False},
    ),
    (
        "claude-3-7-sonnet-20250219 anthropic/claude-3.7-sonnet claude-3-7-sonnet@20250219"
        " us.anthropic.claude-3-7-sonnet-20250219-v1:0 Claude-3-7-Sonnet-Latest",
        "anthropic",
        {"reasoning": "budget", "structured_output": "tool", "efforts": ()},
    ),
    (
        "claude-sonnet-4-20250514 claude-opus-4-0 anthropic/claude-sonnet-4 claude-opus-4"
        " claude-sonnet-4@20250514 eu.anthropic.claude-opus-4-20250514-v1:0 claude-4-sonnet"
        " anthropic/claude-sonnet-4:thinking anthropic/claude-opus-4:beta claude-4-opus-20250514",
        "anthropic",
        {"reasoning": "budget", "structured_output": "tool", "strict_tools": False, "efforts": ()},
    ),
    (
        "claude-opus-4-1-20250805 claude-sonnet-4-5 claude-haiku-4-5-20251001 claude-opus-4-5"
        " anthropic/claude-sonnet-4.5 us.anthropic.claude-sonnet-4-5-20250929-v1:0"
        " claude-sonnet-4-5[1m] claude-4.5-sonnet",
        "anthropic",
        {
            "reasoning": "budget",
            "structured_output": "native",
            "strict_tools": True,
            "unsupported": (),
        },
    ),
    (
        "claude-opus-4-6 anthropic/claude-sonnet-4.6 us.anthropic.claude-opus-4-6-v1",
        "anthropic",
        {
            "reasoning": "adaptive",
            "unsupported": (),
            "efforts": ("none", "low", "medium", "high", "max"),
        },
    ),
    (
        "claude-opus-4-7 claude-opus-4.8 claude-opus-5 claude-sonnet-5 claude-haiku-5-5"
        " anthropic.claude-sonnet-5-v1:0",
        "anthropic",
        {
            "reasoning": "adaptive",
            "unsupported": SAMPLING,
            "structured_output": "native",
            "efforts": ("none", "low", "medium", "high", "xhigh", "max"),
        },
    ),
    (
        "claude-fable-5-1 claude-opus-5-5 claude-sonnet-5-5 claude-mythos-5",
        "anthropic",
        {"unsupported": SAMPLING, "efforts": ("low", "medium", "high", "xhigh", "max")},
    ),
    ("claude-mythos-preview", "anthropic", {"efforts": ("low", "medium", "high", "max")}),
    ("anthropic/claude-opus-4.8", "openai", {"reasoning": "effort", "unsupported": SAMPLING}),
    ("anthropic/claude-3.7-sonnet", "openai", {"reasoning": "effort", "cache_hints": "none"}),
    # OpenAI
    (
        "gpt-4o gpt-4.1-mini openai/gpt-4-turbo gpt-3.5-turbo chatgpt-4o-latest",
        "openai",
        {"reasoning": "none", "max_tokens_field": "max_tokens", "unsupported": ()},
    ),
    (
        "o3 o4-mini openai/o1 o3-mini-2025-01-31 azure/o4-mini codex-mini-latest",
        "openai",
        {
            "reasoning": "effort",
            "efforts": ("low", "medium", "high"),
            "max_tokens_field": "max_completion_tokens",
        },
    ),
    ("o1-mini o1-preview-2024-09-12", "openai", {"reasoning": "none"}),
    ("o3-deep-research o4-mini-deep-research-2025-06-26", "responses", {"efforts": ("medium",)}),
    (
        "gpt-5 openai/gpt-5-mini gpt-5-nano-2025-08-07",
        "openai",
        {
            "efforts": ("minimal", "low", "medium", "high"),
            "unsupported": (
                "temperature",
                "top_p",
                "presence_penalty",
                "frequency_penalty",
                "logprobs",
                "stop",
            ),
        },
    ),
    ("gpt-5-codex gpt-5.1-codex gpt-5.1-codex-mini", "openai", {"efforts": LOW_TO_HIGH}),
    ("gpt-5-pro-2025-10-06", "responses", {"efforts": ("high",)}),
    ("gpt-5-chat-latest", "openai", {"reasoning": "none", "unsupported": ()}),
    ("gpt-5.1 gpt-5.1-2025-11-13", "openai", {"efforts": ("none", *LOW_TO_HIGH)}),
    ("gpt-5.1-chat-latest gpt-5.2-chat-latest", "openai", {"efforts": ("medium",)}),
    (
        "gpt-5.1-codex-max gpt-5.2-codex gpt-5.3-codex",
        "responses",
        {"efforts": (*LOW_TO_HIGH, "xhigh")},
    ),
    ("gpt-5.2-pro gpt-5.4-pro", "responses", {"efforts": ("medium", "high", "xhigh")}),
    ("gpt-5.2 gpt-5.4-mini gpt-5.6-sol", "openai", {"efforts": ("none", *LOW_TO_HIGH, "xhigh")}),
    ("gpt-5.4", "responses", {"efforts": ("none", *LOW_TO_HIGH, "xhigh")}),
    ("gpt-5.6-luna", "responses", {"efforts": ("none", *LOW_TO_HIGH, "xhigh", "max")}),
    ("gpt-6-astra gpt-6.2-sol", "openai", {"efforts": (*LOW_TO_HIGH, "xhigh")}),
    ("openai/gpt-6.1-terra", "responses", {"efforts": (*LOW_TO_HIGH, "xhigh", "max")}),
    ("openai/gpt-oss-120b", "openai", {"efforts": LOW_TO_HIGH, "unsupported": ()}),
    # Gemini
    (
        "gemini-2.0-flash models/gemini-1.5-pro gemma-3-27b-it learnlm-2.0-flash",
        "google",
        {"reasoning": "none", "tool_ids": False, "unsupported": ()},
    ),
    (
        "gemini-2.5-flash models/gemini-2.5-flash-lite gemini-2.5-flash-preview-09-2025",
        "google",
        {
            "reasoning": "budget",
            "efforts": (),
            "tool_ids": False,
            "tool_media": False,
            "unsupported": ("presence_penalty", "frequency_penalty"),
        },
    ),
    (
        "gemini-2.5-pro publishers/google/models/gemini-2.5-pro",
        "google",
        {"reasoning": "budget", "efforts": ("minimal", *LOW_TO_HIGH, "xhigh", "max")},
    ),
    ("gemini-2.5-flash-image gemini-2.5-pro-preview-tts", "google", {"reasoning": "none"}),
    (
        "gemini-3.8-flash gemini-3.1-pro-preview gemini-4-pro gemini-flash-latest",
        "google",
        {"reasoning": "level", "efforts": LOW_TO_HIGH, "tool_ids": True, "tool_media": True},
    ),
    (
        "gemini-3-flash-preview gemini-3.1-flash-lite gemini-3.5-flash",
        "google",
        {"efforts": ("minimal", *LOW_TO_HIGH)},
    ),
    (
        "gemini-3-pro-preview",
        "google",
        {"reasoning": "level", "efforts": LOW_TO_HIGH},
    ),
    ("google/gemini-2.5-pro", "openai", {"reasoning": "effort", "unsupported": ()}),
    ("google/gemini-3-pro-preview", "openai", {"call_signatures": True}),
    ("google/gemini-2.5-pro", "openai", {"call_signatures": False}),
    # servers that want their thoughts back
    (
        "deepseek-reasoner deepseek-chat deepseek-ai/DeepSeek-V3.2 deepseek-v4-flash glm-4.7"
        " moonshotai/Kimi-K2-Thinking kimi-k2.5 zai-org/GLM-5.1 MiniMaxAI/MiniMax-M2.5",
        "openai",
        {"replay_reasoning": True},
    ),
    ("deepseek-r1 kimi-latest glm-4-plus llama-4", "openai", {"replay_reasoning": False}),
]


@pytest.mark.parametrize(
    ("model_id", "protocol", "expected"),
    [
        pytest.param(model_id, protocol, expected, id=f"{protocol} {model_id}")
        for ids, protocol, expected in EXAMPLES
        for model_id in ids.split()
    ],
)
def test_what_is_known_of_a_model(model_id: str, protocol: str, expected: dict[str, Any]) -> None:
    known = msgspec.structs.asdict(of(model_id, protocol))
    assert {name: known[name] for name in expected} == expected


def test_every_generating_model_of_the_catalogue_is_spoken_to_in_its_vendors_way(
    load: Load,
) -> None:
    """A reasoning style that belongs to another protocol would be a request that is refused."""
    styles = {
        "openai": {"effort", "none"},
        "responses": {"effort", "none"},
        "anthropic": {"adaptive", "budget", "none"},
        "google": {"level", "budget", "none"},
    }
    for provider in load("").providers.values():
        for model_id, model in provider.models.items():
            if "text" not in model.output_modalities:
                continue
            for protocol in provider.protocols:
                reasoning = traits_of(provider, protocol, model_id).reasoning
                assert reasoning in styles[protocol]
                assert (reasoning == "none") == (model.capabilities.reasoning is False), model_id


# -- built-in providers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "protocol", "model_id", "expected"),
    [
        ("openai", "openai", "gpt-4o", {"max_tokens_field": "max_completion_tokens"}),
        ("openai", "openai", "gpt-5.5", {"cache_hints": "none"}),
        ("openai", "responses", "gpt-5.6-sol", {"cache_hints": "breakpoints"}),
        ("openai", "openai", "gpt-6-astra", {"cache_hints": "breakpoints"}),
        ("openai", "openai", "gpt-4o-search-preview", {"web_search": "web_search_options"}),
        ("openai", "openai", "gpt-4o", {"web_search": ""}),
        ("google", "google", "gemini-2.5-flash", {"schema": "json_schema"}),
        ("google", "google", "gemini-2.0-flash", {"schema": "subset"}),
        ("local", "anthropic", "smollm2", {"reasoning": "none", "cache_hints": "none"}),
        ("local", "responses", "smollm2", {"web_search": "", "stream_usage": True}),
    ],
)
def test_what_only_the_vendors_own_servers_do(
    load: Load, provider: str, protocol: str, model_id: str, expected: dict[str, Any]
) -> None:
    known = traits_of(load("").providers[provider], protocol, model_id)
    assert {name: getattr(known, name) for name in expected} == expected


# -- a user's rules -------------------------------------------------------------------------

SERVER = """
providers:
  p:
    api_protocol: [openai, responses]
    api_base: https://h/v1
    models:
      gpt-4o: {capabilities: {structured_output: false}}
      thinker: {capabilities: {reasoning: false, structured_output: true}}
    quirks:
"""


def test_the_last_of_a_users_rules_wins_and_leaves_the_other_traits_alone(load: Load) -> None:
    config = load(
        f"{SERVER}      - {{unsupported: [seed], stream_usage: false}}\n"
        "      - {models: ['gpt-*', o3], protocols: openai, unsupported: [stop, user]}\n"
    )
    p = config.providers["p"]
    assert traits_of(p, "openai", "llama").unsupported == ("seed",)
    assert traits_of(p, "responses", "gpt-5").unsupported == ("seed",)
    known = traits_of(p, "openai", "gpt-5")
    assert (known.unsupported, known.stream_usage) == (("stop", "user"), False)
    assert known.max_tokens_field == "max_completion_tokens"


def test_a_glob_of_a_user_matches_in_any_case(load: Load) -> None:
    p = load(f"{SERVER}      - {{models: 'Meta/Llama-*', tool_ids: true}}\n").providers["p"]
    assert traits_of(p, "openai", "meta/LLAMA-4").tool_ids


def test_a_rule_may_empty_a_list(load: Load) -> None:
    p = load(f"{SERVER}      - {{models: gpt-5, unsupported: [], efforts: []}}\n").providers["p"]
    known = traits_of(p, "openai", "gpt-5")
    assert (known.unsupported, known.efforts) == ((), ())


def test_what_the_catalogue_denies_holds_unless_a_rule_of_the_user_says_otherwise(
    load: Load,
) -> None:
    p = load(f"{SERVER}      - {{models: other, tool_ids: true}}\n").providers["p"]
    assert traits_of(p, "openai", "gpt-4o").structured_output == "tool"
    assert traits_of(p, "openai", "thinker").structured_output == "native"
    assert traits_of(p, "openai", "thinker").reasoning == "none"
    rules = "      - {reasoning: effort, structured_output: native}\n"
    p = load(SERVER + rules).providers["p"]
    assert traits_of(p, "openai", "gpt-4o").structured_output == "native"
    assert traits_of(p, "openai", "thinker").reasoning == "effort"


def test_rules_are_inherited_and_stand_before_ones_own(load: Load) -> None:
    text = """
providers:
  openai: {quirks: [{stream_usage: false, strict_tools: false}]}
  mine: {derives: openai, quirks: [{strict_tools: true}, {max_tokens_field: max_tokens}]}
"""
    providers = load(text).providers
    openai = traits_of(providers["openai"], "openai", "m")
    assert (openai.stream_usage, openai.strict_tools) == (False, False)
    assert openai.max_tokens_field == "max_completion_tokens"
    mine = traits_of(providers["mine"], "openai", "m")
    assert (mine.stream_usage, mine.strict_tools) == (False, True)
    assert mine.max_tokens_field == "max_tokens"


def test_the_catalogue_is_read_with_its_rules() -> None:
    assert {name for name, entry in read_catalog().items() if entry.quirks} == {
        "google",
        "local",
        "openai",
    }


# -- in which protocol a model is asked ------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "protocols", "expected"),
    [
        ("gpt-4o", ("openai", "responses"), "openai"),
        ("gpt-5.6-sol", ("openai", "responses"), "responses"),
        ("openai/o3", ("openai", "responses"), "responses"),
        ("gpt-5.6-sol", ("openai",), "openai"),
        ("gpt-5-chat-latest", ("responses", "openai"), "openai"),
        ("claude-sonnet-4-5", ("openai", "anthropic"), "openai"),
    ],
)
def test_a_model_is_asked_in_the_protocol_that_serves_it_best(
    model_id: str, protocols: tuple[str, ...], expected: str
) -> None:
    assert translation_protocol(Provider("p", protocols, "https://h"), model_id) == expected


def test_a_user_may_choose_the_protocol_in_which_a_model_is_asked(load: Load) -> None:
    text = """
providers:
  openai: {quirks: [{models: "gpt-5*", translate_to: openai}, {translate_to: google}]}
"""
    assert translation_protocol(load(text).providers["openai"], "gpt-5.6") == "openai"


# -- what is wrong with a rule --------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "place", "expected"),
    [
        (
            "unsupported: [stop, temprature]",
            "[0].unsupported[1]",
            "must be one of temperature, top_p, top_k, stop, seed, presence_penalty,"
            " frequency_penalty, n, logprobs, parallel_tools, verbosity, user, metadata,"
            " service_tier, not 'temprature', did you mean `temperature`?",
        ),
        (
            "efforts: [mid]",
            "[0].efforts[0]",
            "must be one of none, minimal, low, medium, high, xhigh, max, not 'mid'",
        ),
        ("efforts: low", "[0].efforts", "must be a list, not 'low'"),
        (
            "reasoning: budgt",
            "[0].reasoning",
            "must be one of effort, adaptive, budget, level, none, not 'budgt', did you mean"
            " `budget`?",
        ),
        ("tool_ids: 3", "[0].tool_ids", "must be true or false, not 3"),
        (
            "tool_ids: true, protocols: [openai, gogle]",
            "[0].protocols[1]",
            "'gogle': unknown protocol, did you mean `google`? allowed: anthropic, google, openai,"
            " responses",
        ),
        (
            "translate_to: chat",
            "[0].translate_to",
            "'chat': unknown protocol; allowed: anthropic, google, openai, responses",
        ),
        (
            "translate_to: openai, protocols: openai",
            "[0].translate_to",
            "holds for clients of every protocol; leave `protocols` out, or to another rule",
        ),
        (
            "tool_ids: true, models: []",
            "[0].models",
            "needs at least one glob, such as `*-mini`",
        ),
        (
            "tool_ids: true, models: [x, '']",
            "[0].models[1]",
            "must be a glob over model ids, such as `*-mini`",
        ),
        ('version: "1\\r\\nx: y"', "[0].version", "must be visible ASCII text"),
        (
            "betas: ['a, b']",
            "[0].betas[0]",
            "must be visible ASCII characters, without spaces and commas",
        ),
    ],
)
def test_a_wrong_rule_is_told_with_its_place(
    problems: Problems, rule: str, place: str, expected: str
) -> None:
    (problem,) = problems(f"providers: {{openai: {{quirks: [{{{rule}}}]}}}}")
    where, _, message = problem.split(":", 3)[3].strip().partition(": ")
    assert (where, message) == (f"providers.openai.quirks{place}", expected)


def test_a_problem_has_the_line_and_column_of_the_word(problems: Problems) -> None:
    text = "providers:\n  openai:\n    quirks:\n      - models: o3\n        efforts: [low, mid]\n"
    (problem,) = problems(text)
    assert problem.startswith("bitrouter.yaml:5:24: providers.openai.quirks[0].efforts[1]: ")


@pytest.mark.parametrize("rule", ["{}", "{models: x}", "{protocols: openai, efforts: null}"])
def test_a_rule_that_sets_nothing_is_a_mistake(problems: Problems, rule: str) -> None:
    (problem,) = problems(f"providers: {{openai: {{quirks: [{rule}]}}}}")
    assert "providers.openai.quirks[0]: sets nothing; give at least one of max_tokens" in problem


def test_a_rule_with_an_unknown_field_is_told_that_alone(problems: Problems) -> None:
    (problem,) = problems("providers: {openai: {quirks: [{stream_usages: true}]}}")
    assert "unknown field `stream_usages`, did you mean `stream_usage`?" in problem
