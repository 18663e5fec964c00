"""Ways to pay that a client cannot mean are not priced, and nothing else comes of that."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.config.schema import X402, Amount, Offer, Pricing, RoutePrice
from bitrouter.payments.facilitator import Kind, Supported
from bitrouter.payments.match import find_match
from bitrouter.payments.offers import Offers
from bitrouter.payments.price import quote, tariff
from bitrouter.payments.supported import SupportedKinds

NETWORKS = ("eip155:8453", "eip155:84532")
SCHEMES = ("exact", "upto")
SELLER = "0x" + "5e" * 20
SIGNER = "0x" + "ab" * 20
PRICE = quote(tariff(RoutePrice(call=Amount("0.01"))), 0, 0, Pricing())


async def nobody() -> Supported:
    raise AssertionError("nobody is asked here")


def offers() -> Offers:
    kinds = SupportedKinds(nobody)
    settled = [
        Kind(scheme, network, {"facilitatorAddress": SIGNER} if scheme == "upto" else {})
        for network in NETWORKS
        for scheme in SCHEMES
    ]
    kinds._adopt(Supported(tuple(settled), frozenset(), frozenset([SIGNER])), requested=False)
    ways = tuple(
        msgspec.convert(
            {"scheme": scheme, "network": network, "asset": "usdc", "pay_to": SELLER}, Offer
        )
        for network in NETWORKS
        for scheme in SCHEMES
    )
    return Offers(X402(accepts=ways), kinds)


OFFERS = offers()
ALL = [one.terms for one in OFFERS.acceptable(PRICE)]
TAKEN = [msgspec.to_builtins(terms) for terms in ALL]
NO_TERMS = st.none() | st.text() | st.lists(st.text())


def test_of_one_network_and_scheme_one_way_is_priced() -> None:
    assert len(ALL) == 4
    assert [one.terms for one in OFFERS.acceptable(PRICE, TAKEN[2])] == [ALL[2]]


@given(
    st.sampled_from(TAKEN),
    st.dictionaries(
        st.sampled_from(["scheme", "network", "amount", "asset", "payTo"]),
        st.sampled_from([*NETWORKS, *SCHEMES, SELLER, "10000"]) | NO_TERMS,
    ),
)
def test_what_is_found_is_what_is_found_among_all(
    taken: dict[str, object], changes: dict[str, object]
) -> None:
    accepted = taken | changes
    priced = [one.terms for one in OFFERS.acceptable(PRICE, accepted)]
    assert find_match(accepted, priced) == find_match(accepted, ALL)


@given(NO_TERMS)
def test_what_is_no_terms_leaves_all_of_them(accepted: object) -> None:
    assert [one.terms for one in OFFERS.acceptable(PRICE, accepted)] == ALL
