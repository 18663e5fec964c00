"""Which endpoints are asked, in which order, in which protocol."""

import pytest

from bitrouter.config.schema import Strategy
from bitrouter.errors import TranslationUnavailable
from bitrouter.exchange.choose import candidates, choices, spoken
from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import Operation
from bitrouter.routing.strategy import Balancer
from bitrouter.routing.table import Endpoint, Route
from tests.support.routes import entry, provider, table

CHAT = BY_API_PROTOCOL["openai"]
GOOGLE = BY_API_PROTOCOL["google"]
GENERATE = CHAT.operations[0]
EMBEDDINGS = Operation("embeddings", "/embeddings")
COUNT = Operation("count_tokens", "/count")

PROVIDERS = [
    provider("a", "anthropic"),
    provider("b", "openai"),
    provider("c", "responses", "openai"),
    provider("d", "openai", unusable="no API key: set D_API_KEY"),
]


def route(*endpoints: str, strategy: Strategy = "priority") -> Route:
    return table(PROVIDERS, {"r": entry(*endpoints, strategy=strategy)}).resolve("r")


def keys(*endpoints: Endpoint) -> list[str]:
    return [endpoint.key for endpoint in endpoints]


def test_endpoints_of_the_clients_protocol_come_first_and_the_others_after_them() -> None:
    asked = candidates(route("a:1", "c:1", "b:1"), CHAT, GENERATE, Balancer())

    assert keys(*asked) == ["c:1", "b:1", "a:1"]


def test_a_provider_is_asked_in_the_clients_protocol_if_it_has_it() -> None:
    c = Endpoint(PROVIDERS[2], "1")

    assert spoken(c, CHAT) is CHAT
    assert spoken(c, GOOGLE) is BY_API_PROTOCOL["responses"]


def test_the_native_ones_are_balanced_among_themselves() -> None:
    balancer = Balancer()
    balanced = route("a:1", "c:1", "b:1", strategy="load_balance")

    first = [candidates(balanced, CHAT, GENERATE, balancer)[0].key for _ in range(4)]

    assert sorted(first) == ["b:1", "b:1", "c:1", "c:1"]


def test_the_others_are_balanced_where_there_is_no_native_one() -> None:
    balancer = Balancer()
    balanced = route("a:1", "b:1", strategy="load_balance")

    first = {candidates(balanced, GOOGLE, GENERATE, balancer)[0].key for _ in range(4)}

    assert first == {"a:1", "b:1"}


def test_what_has_no_key_is_left_out_while_another_can_be_asked() -> None:
    assert keys(*candidates(route("d:1", "a:1"), CHAT, GENERATE, Balancer())) == ["a:1"]
    assert keys(*candidates(route("d:1"), CHAT, GENERATE, Balancer())) == ["d:1"]


def test_embeddings_are_not_translated() -> None:
    with pytest.raises(TranslationUnavailable, match=r"anthropic, not in openai; embeddings"):
        candidates(route("a:1"), CHAT, EMBEDDINGS, Balancer())

    assert keys(*candidates(route("a:1", "b:1"), CHAT, EMBEDDINGS, Balancer())) == ["b:1"]


def test_nobody_is_asked_to_count_for_a_client_of_another_protocol() -> None:
    assert candidates(route("a:1", "b:1"), GOOGLE, COUNT, Balancer()) == ()


def test_every_choice_says_why() -> None:
    explained = choices(route("a:1", "b:1", "c:1", "d:1"), BY_API_PROTOCOL["responses"])

    assert [(one.endpoint.key, one.native, one.reason) for one in explained] == [
        ("c:1", True, "speaks the client's protocol responses: bytes pass through"),
        ("a:1", False, "speaks anthropic: after those that speak responses"),
        ("b:1", False, "speaks openai: after those that speak responses"),
        ("d:1", False, "not usable: no API key: set D_API_KEY"),
    ]


def test_choices_are_in_the_order_in_which_endpoints_are_asked() -> None:
    routed = route("a:1", "b:1", "c:1")

    for codec in BY_API_PROTOCOL.values():
        asked = candidates(routed, codec, GENERATE, Balancer())
        assert keys(*asked) == keys(*(one.endpoint for one in choices(routed, codec)))
