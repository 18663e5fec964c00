"""What `payments` may say, and what is said of the rest."""

from collections.abc import Callable

import pytest
from eth_utils.address import to_checksum_address

from bitrouter.config.payments import checksum_address
from bitrouter.config.schema import Config, Offer
from bitrouter.config.tokens import known_usdc, network_of_v1, token_of, v1_name
from tests.support.vectors import VECTORS

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

SELLER = "0x5050A4F4b3f9338C3472dcC01A87C76A144b3c9c"
OTHER = "0xd09Ad14080d4b257a819a4f579b8485Be88f086c"
USDC_BASE = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
PERMIT = f'scheme: upto, network: "eip155:8453", asset: usdc, pay_to: "{SELLER}"'
TRANSFER = f'scheme: exact, network: "eip155:8453", asset: usdc, pay_to: "{SELLER}"'


def section(*offers: str, **changes: str | None) -> str:
    """A section as a file has it, on, with these ways to pay; a change to None leaves out."""
    fields: dict[str, str | None] = {
        "enabled": "true",
        "public_base_url": "https://router.example",
        "facilitator": "{url: 'https://f.example'}",
        "accepts": "[" + ", ".join(f"{{{offer}}}" for offer in offers or (TRANSFER,)) + "]",
    }
    fields |= changes
    lines = [f"    {key}: {value}" for key, value in fields.items() if value is not None]
    return "\n".join(["payments:", "  x402:", *lines])


def offer(**changes: str | None) -> str:
    """TRANSFER with other fields; one that is None is left out."""
    fields: dict[str, str | None] = {
        "scheme": "exact",
        "network": '"eip155:8453"',
        "asset": "usdc",
        "pay_to": f'"{SELLER}"',
    }
    fields |= changes
    return ", ".join(f"{key}: {value}" for key, value in fields.items() if value is not None)


FOREIGN = offer(asset=f'"{OTHER}"', name="T", version='"1"', decimals="18")


def message(problem: str) -> str:
    """A problem without file, line and column, and without the section's path."""
    return problem.split(": ", 1)[1].removeprefix("payments.x402").removeprefix(".")


def only(problems: list[str]) -> str:
    (problem,) = problems
    return message(problem)


def test_the_whole_section_is_understood(load: Load) -> None:
    text = section(
        PERMIT,
        TRANSFER,
        FOREIGN + ", asset_transfer_method: permit2",
        facilitator="{url: 'https://f.example', auth: bearer, token: secret, verify_timeout: 15s,"
        " settle_timeout: 60s}",
        rpc_url="'https://node.example/v3/key?project=1'",
        max_timeout="10m",
        min_remaining="2m",
        pricing="{margin: 1.05, min_units: 1, default_max_output_tokens: 4096,"
        " old_price_grace: 5m}",
        streams="{receipt_hold: 2.5s, charge_partial: false}",
        limits="{unsettled_per_payer: 4, cooldown_after_failed_settle: 5m}",
        defer_contract_wallets="true",
    )

    x402 = load(text).payments.x402

    assert (str(x402.pricing.margin), x402.accepts[2].decimals) == ("1.05", 18)
    assert [one.uses_permit2 for one in x402.accepts] == [True, False, True]
    assert x402.defer_contract_wallets


@pytest.mark.parametrize("enabled", ["true", "'true'", "'1'"])
def test_what_is_missing_is_said_where_payments_are_on(problems: Problems, enabled: str) -> None:
    text = f"payments: {{x402: {{enabled: {enabled}}}}}"

    assert [message(problem) for problem in problems(text)] == [
        ": `public_base_url` is missing; write where clients reach the router, such as"
        " https://router.example",
        ": `facilitator.url` is missing; write who verifies and settles payments",
        ": `accepts` is empty; write at least one way to pay",
    ]


@pytest.mark.parametrize("enabled", ["false", "'false'", "0"])
def test_nothing_is_missing_where_payments_are_off(load: Load, enabled: str) -> None:
    assert not load(f"payments: {{x402: {{enabled: {enabled}}}}}").payments.x402.enabled


def test_shapes_are_checked_where_payments_are_off_too(problems: Problems) -> None:
    text = section(
        offer(pay_to='"0x1"', asset="usdt", network="base", scheme="exakt"),
        enabled="false",
        public_base_url="router.example",
        facilitator="{url: 'ftp://f'}",
        rpc_url="node",
    )

    assert [message(problem).split(": ")[0] for problem in problems(text)] == [
        "public_base_url",
        "facilitator.url",
        "accepts[0].scheme",
        "accepts[0].network",
        "accepts[0].asset",
        "accepts[0].pay_to",
        "rpc_url",
    ]


@pytest.mark.parametrize(
    "field", ["pay_to", "asset", "network"], ids=lambda field: f"{field} with a line break"
)
def test_a_line_break_is_no_part_of_a_name(problems: Problems, field: str) -> None:
    value = {"pay_to": SELLER, "asset": USDC_BASE, "network": "eip155:8453"}[field]

    assert f"accepts[0].{field}: " in only(problems(section(offer(**{field: f'"{value}\\n"'}))))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"network": '"eip155:8543"'},
            "accepts[0].network: 'eip155:8543': USDC is not known there, did you mean"
            " `eip155:8453`? known: eip155:8453, ",
        ),
        (
            {"network": '"eip155:5"', "asset": f'"{OTHER}"'},
            "accepts[0].asset: a token that is not a known USDC; give its `name`, `version` and"
            " `decimals`",
        ),
        (
            {"network": '"eip155:84532"', "asset": f'"{USDC_BASE}"'},
            "accepts[0].asset: this is USDC on eip155:8453, and on eip155:84532 another token;",
        ),
        (
            {"asset": f'"{USDC_BASE}"', "name": "USDC", "version": '"2"', "decimals": "6"},
            "accepts[0].name: this is USDC, whose `name` is USD Coin; or leave it out",
        ),
        (
            {"asset": f'"{USDC_BASE}"', "name": "USD Coin", "version": '"2"', "decimals": "18"},
            "accepts[0].decimals: this is USDC, whose `decimals` is 6; or leave it out",
        ),
        (
            {"pay_to": f'"{SELLER[:-1]}C"'},
            f"accepts[0].pay_to: '{SELLER[:-1]}C': the checksum is wrong (EIP-55)",
        ),
        (
            {"asset": f'"{OTHER[:-1]}C"', "name": "T", "version": '"1"', "decimals": "6"},
            f"accepts[0].asset: '{OTHER[:-1]}C': the checksum is wrong (EIP-55)",
        ),
        (
            {"pay_to": '"0x' + "0" * 40 + '"'},
            "accepts[0].pay_to: the zero address: what is paid to it is lost",
        ),
        (
            {"pay_to": f'"{USDC_BASE.lower()}"'},
            "accepts[0].pay_to: the token's own address: what is paid to it is lost",
        ),
        (
            {"scheme": "upto", "asset_transfer_method": "eip3009"},
            "accepts[0]: `upto` is always by permit2; leave `asset_transfer_method` out",
        ),
        (
            {"asset_transfer_method": "permit3"},
            "accepts[0].asset_transfer_method: must be one of eip3009, permit2, not 'permit3', did"
            " you mean `permit2`?",
        ),
        (
            {"name": "T"},
            "accepts[0]: a foreign token needs all of `name`, `version` and `decimals`",
        ),
    ],
)
def test_an_offer_that_nobody_could_pay_is_refused(
    problems: Problems, changes: dict[str, str], expected: str
) -> None:
    assert only(problems(section(offer(**changes)))).startswith(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"pay_to": f'"{SELLER.lower()}"'},
        {"pay_to": f'"0x{SELLER[2:].upper()}"'},
        {"asset": f'"{USDC_BASE.lower()}"'},
        {"asset": f'"{USDC_BASE}"', "name": "USD Coin", "version": '"2"', "decimals": "6"},
        {"scheme": "upto", "asset_transfer_method": "permit2"},
        {"asset_transfer_method": "eip3009"},
    ],
)
def test_one_case_has_no_checksum_and_what_is_known_may_be_said(
    load: Load, changes: dict[str, str]
) -> None:
    load(section(offer(**changes)))


def test_one_bad_offer_does_not_hide_another(problems: Problems) -> None:
    text = section("scheme: exact", offer(pay_to='"0x' + "0" * 40 + '"'))

    assert [message(problem).split(":")[0] for problem in problems(text)] == [
        *["accepts[0]"] * 3,
        "accepts[1].pay_to",
    ]


def test_the_same_way_to_pay_is_written_once(load: Load, problems: Problems) -> None:
    by_address = offer(asset=f'"{USDC_BASE.lower()}"', pay_to=f'"{OTHER}"')

    load(section(PERMIT, TRANSFER, offer(asset_transfer_method="permit2")))
    assert only(problems(section(PERMIT, TRANSFER, by_address))) == (
        "accepts[2]: the same way to pay as accepts[1]; one is enough"
    )


@pytest.mark.parametrize(
    ("facilitator", "expected"),
    [
        ("auth: bearer", "needed with `auth: bearer`"),
        ("auth: bearer, token: ''", "needed with `auth: bearer`"),
        ("auth: cdp_jwt", "needed with `auth: cdp_jwt`"),
        ("token: s3cr3t", "not sent with `auth: none`"),
        ("auth: bearer, token: 's3c r3t'", "must be visible ASCII characters without spaces"),
    ],
)
def test_the_credential_goes_with_auth_and_is_not_shown(
    problems: Problems, facilitator: str, expected: str
) -> None:
    problem = only(problems(section(facilitator=f"{{url: 'https://f.example', {facilitator}}}")))

    assert problem.startswith(f"facilitator.token: {expected}")
    assert "s3c" not in problem


def test_a_credential_from_the_environment_may_be_missing_where_secrets_are_not_looked_at(
    load: Load, problems: Problems
) -> None:
    text = section(
        facilitator="{url: 'https://f.example', auth: bearer, token: '${FACILITATOR_TOKEN:-}'}"
    )

    load(text, check_secrets=False)
    assert only(problems(text)).startswith("facilitator.token: needed with")


@pytest.mark.parametrize("url", ["https://u:s3cr3t@f.example", "https://f.example?key=s3cr3t"])
def test_a_url_with_a_secret_is_refused_and_not_shown(problems: Problems, url: str) -> None:
    problem = only(problems(section(facilitator=f"{{url: '{url}'}}")))

    assert problem.startswith("facilitator.url: must not ")
    assert "s3cr3t" not in problem


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"max_timeout": "2m", "min_remaining": "2m"}, "max_timeout: `max_timeout` (120s) must be"),
        ({"min_remaining": "11m"}, "min_remaining: `max_timeout` (600s) must be more than"),
        ({"max_timeout": "90s"}, "max_timeout: `max_timeout` (90s) must be more than"),
        ({"max_timeout": "500ms", "min_remaining": "0s"}, "max_timeout: must be at least 1s"),
        ({"max_timeout": "soon"}, "max_timeout: "),
    ],
)
def test_a_signature_lives_longer_than_must_be_left_of_it(
    problems: Problems, times: dict[str, str], expected: str
) -> None:
    assert only(problems(section(**times))).startswith(expected)


def test_the_table_is_that_of_the_vectors_and_its_addresses_have_their_checksum() -> None:
    base, sepolia = known_usdc()["eip155:8453"], known_usdc()["eip155:84532"]
    addresses = {
        one["requirements"]["asset"]: one["requirements"]["extra"] for one in VECTORS["vectors"]
    }

    assert addresses[base.address]["name"] == base.name == "USD Coin"
    assert addresses[sepolia.address]["name"] == sepolia.name == "USDC"
    assert len({token.address for token in known_usdc().values()}) == 10
    assert {(token.version, token.decimals) for token in known_usdc().values()} == {("2", 6)}
    for token in known_usdc().values():
        assert checksum_address(token.address.lower()) == token.address
        assert to_checksum_address(token.address) == token.address


def test_networks_have_names_in_version_1() -> None:
    assert network_of_v1("base-sepolia") == "eip155:84532"
    assert network_of_v1("arbitrum") is None
    assert v1_name("eip155:42161") is None
    assert v1_name("eip155:5") is None
    for network in known_usdc():
        name = v1_name(network)
        assert name is None or network_of_v1(name) == network


def test_an_offer_has_the_token_of_the_table_or_its_own() -> None:
    known = Offer("exact", "eip155:1329", "usdc", SELLER)
    foreign = Offer("exact", "eip155:1329", OTHER, SELLER, "T", "3", 18)

    assert token_of(known) is known_usdc()["eip155:1329"]
    assert (token_of(foreign).address, token_of(foreign).name) == (OTHER, "T")


def test_there_are_no_more_ways_to_pay_than_a_header_holds(load: Load, problems: Problems) -> None:
    ways = [
        offer(asset=f'"0x{number:040x}"', name="T", version='"1"', decimals="18")
        for number in range(1, 10)
    ]
    assert len(load(section(*ways[:8])).payments.x402.accepts) == 8
    assert only(problems(section(*ways))).startswith("accepts: at most 8 ways to pay")
