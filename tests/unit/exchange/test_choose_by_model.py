"""What the model has a say in: the protocol that it is asked in, and its share of requests."""

import msgspec
import pytest

from bitrouter.config.schema import Provider, Quirk, Strategy
from bitrouter.exchange.choose import choices, spoken
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.routing.table import Endpoint
from tests.support.routes import entry, provider, table

CHAT = BY_API_PROTOCOL["openai"]
RESPONSES = BY_API_PROTOCOL["responses"]
ANTHROPIC = BY_API_PROTOCOL["anthropic"]
GOOGLE = BY_API_PROTOCOL["google"]

BOTH = provider("both", "openai", "responses")


@pytest.mark.parametrize(
    ("model_id", "expected"), [("gpt-4o", CHAT), ("gpt-5.6-sol", RESPONSES), ("o3", RESPONSES)]
)
def test_a_translation_is_into_the_protocol_that_serves_the_model_best(
    model_id: str, expected: object
) -> None:
    endpoint = Endpoint(BOTH, model_id)

    assert spoken(endpoint, ANTHROPIC) is expected
    assert spoken(endpoint, GOOGLE) is expected


def test_a_client_of_a_protocol_that_the_provider_speaks_is_passed_through_all_the_same() -> None:
    assert spoken(Endpoint(BOTH, "gpt-5.6-sol"), CHAT) is CHAT


def test_a_rule_of_the_user_chooses_the_protocol() -> None:
    rules = (Quirk(models="gpt-5*", translate_to="openai"),)
    changed: Provider = msgspec.structs.replace(BOTH, quirks=rules)

    assert spoken(Endpoint(changed, "gpt-5.6-sol"), ANTHROPIC) is CHAT
    assert spoken(Endpoint(changed, "o3"), ANTHROPIC) is RESPONSES


PROVIDERS = [provider("a"), provider("b"), provider("c", "anthropic")]


def shares(strategy: Strategy, protocol: str) -> dict[str, float | None]:
    models = {"r": entry("a:1@3", "b:1", "c:1", strategy=strategy)}
    routed = table(PROVIDERS, models).resolve("r")
    found = choices(routed, BY_API_PROTOCOL[protocol])
    return {one.endpoint.key: one.share for one in found}


def test_requests_are_shared_among_those_that_are_balanced() -> None:
    assert shares("load_balance", "openai") == {"a:1": 0.75, "b:1": 0.25, "c:1": None}
    assert shares("load_balance", "google") == {"a:1": 0.6, "b:1": 0.2, "c:1": 0.2}


def test_where_nothing_is_spread_there_are_no_shares() -> None:
    assert shares("load_balance", "anthropic") == {"c:1": None, "a:1": None, "b:1": None}
    assert shares("priority", "openai") == {"a:1": None, "b:1": None, "c:1": None}
