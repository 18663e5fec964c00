"""The frozen structs of bitrouter.yaml, and what they become after merging.

Names and defaults are those of contract.md, section 2 (and 7 for payments). `*Entry` structs have
every field optional, as in the file; the others are complete. Unknown keys are errors everywhere.
"""

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

import msgspec

from bitrouter.ir import Effort

_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|s|m|h)?")
_SECONDS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SECONDS: Final = 365 * 86_400
_SIZE: Final = re.compile(r"([0-9]{1,18})(B|KiB|MiB|GiB)?")
_BYTES: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MAX_BYTES: Final = 1 << 40
_AMOUNT: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")


class Secret:
    """A credential. It never shows itself; `reveal()` is called where a header is built."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential in clear."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "***"


class Duration(float):
    """A span of time in seconds, written as a number of seconds or as 250ms, 30s, 10m, 2h."""

    allowed: ClassVar[str] = "a duration of at most a year: seconds, or 250ms, 30s, 10m, 2h"

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """Read a YAML scalar. Raises ValueError, with what is allowed and without the value."""
        seconds: float | None = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value
        elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
            seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds is None or not 0 <= seconds <= _MAX_SECONDS:
            raise ValueError(f"must be {cls.allowed}")
        return cls(seconds)


class Size(int):
    """A number of bytes, written as a number or as 64KiB, 8MiB, 1GiB."""

    allowed: ClassVar[str] = "a size of at most 1024GiB: bytes, or 64KiB, 8MiB, 1GiB"

    @classmethod
    def parse(cls, value: object) -> "Size":
        """Read a YAML scalar. Raises ValueError, with what is allowed and without the value."""
        size: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            size = value
        elif isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            size = int(match[1]) * _BYTES[match[2]]
        if size is None or not 0 <= size <= _MAX_BYTES:
            raise ValueError(f"must be {cls.allowed}")
        return cls(size)


class Amount(Decimal):
    """An exact decimal of at least 0, written as a decimal string or a number."""

    allowed: ClassVar[str] = 'a decimal of at least 0, such as "0.01"'

    @classmethod
    def parse(cls, value: object) -> "Amount":
        """Read a YAML scalar. Raises ValueError, with what is allowed and without the value.

        A YAML float goes through its shortest text, so 0.01 is exactly one hundredth.
        """
        text = value
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = format(Decimal(repr(value)), "f")
        if isinstance(text, str) and _AMOUNT.fullmatch(text):
            return cls(text)
        raise ValueError(f"must be {cls.allowed}")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every mapping in the file."""


Positive = Annotated[int, msgspec.Meta(ge=1)]
Money = Annotated[float, msgspec.Meta(ge=0)]  # USD per million tokens; Decimal(repr(x)) is exact


# -- server ---------------------------------------------------------------------------------


class LogSettings(Section, frozen=True):
    """How to log to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Tls(Section, frozen=True):
    """The certificate, with those between it and its root, and its private key: PEM files."""

    cert: str
    key: str


class ServerSettings(Section, frozen=True):
    """Where to listen and where to keep state."""

    listen: str = "127.0.0.1:8787"
    admin_token: Secret = Secret("")
    admin_listen: str | None = None
    tls: Tls | None = None
    allow_unauthenticated: bool = False
    state_dir: str | None = None
    log: LogSettings = LogSettings()
    recent_requests: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 1000


# -- limits and times -----------------------------------------------------------------------


class Timeouts(Section, frozen=True):
    """Timers, in seconds. reliability.md, section 2, says what each covers."""

    connect: Duration = Duration(5)
    pool_wait: Duration = Duration(2)
    pool_idle: Duration = Duration(15)  # below the time after which providers close
    first_byte: Duration = Duration(60)
    idle: Duration = Duration(60)
    total: Duration = Duration(600)
    stream_total: Duration = Duration(3600)
    deadline: Duration | None = None  # as long as the most patient endpoint may take for one answer
    header_read: Duration = Duration(10)
    body_read: Duration = Duration(60)
    keepalive: Duration = Duration(75)
    write_stall: Duration = Duration(60)
    drain: Duration = Duration(600)


class TimeoutsEntry(Section, frozen=True):
    """The timers that both a provider and a route may set for themselves."""

    connect: Duration | None = None
    pool_wait: Duration | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None
    stream_total: Duration | None = None


class ProviderTimeouts(TimeoutsEntry, frozen=True):
    """The timers that a provider may set for itself. Routes share its connections."""

    pool_idle: Duration | None = None


class RouteTimeouts(TimeoutsEntry, frozen=True):
    """The timers that a route may set for itself. A request's deadline is no provider's."""

    deadline: Duration | None = None


def overlay_timeouts(timeouts: Timeouts, entry: TimeoutsEntry | None) -> Timeouts:
    """`timeouts` with those of `entry` that are given in their place."""
    if entry is None:
        return timeouts
    given = {
        key: value for key, value in msgspec.structs.asdict(entry).items() if value is not None
    }
    return msgspec.structs.replace(timeouts, **given)


class Limits(Section, frozen=True):
    """Bounds, in bytes unless the name says otherwise."""

    max_body_bytes: Size = Size(64 << 20)
    max_header_bytes: Size = Size(64 << 10)
    max_response_bytes: Size = Size(256 << 20)
    max_event_bytes: Size = Size(8 << 20)
    max_buffered_bytes: Size | None = None  # a quarter of the memory there is
    max_memory_bytes: Size | None = None  # four fifths of it
    max_concurrent_requests: Positive = 2000
    max_json_depth: Positive = 128


class Retry(Section, frozen=True):
    """How often a request may be tried before the first byte went to the client."""

    max_attempts: Positive = 3
    budget_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2


class CircuitBreaker(Section, frozen=True):
    """When an endpoint is left alone."""

    failures: Positive = 5
    cooldown: Duration = Duration(10)


# -- providers ------------------------------------------------------------------------------


class Auth(Section, frozen=True):
    """How the provider wants its key: bare in `header_name`, as a bearer token, or not at all."""

    type: Literal["header", "bearer", "none"]
    header_name: str | None = None

    def __post_init__(self) -> None:
        if (self.type == "header") != (self.header_name is not None):
            raise ValueError("`header_name` belongs to `type: header`, which needs it")


class Price(Section, frozen=True):
    """Retail prices in USD per million tokens; for a cached prompt as a read or as a write."""

    input: Money
    output: Money
    cache_read: Money | None = None
    cache_write: Money | None = None


class Capabilities(Section, frozen=True):
    """What a model can do beyond text in and text out; absent means unknown."""

    tools: bool | None = None
    prefill: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None


# Fields of ir.Request that some models refuse.
Refusable = Literal[
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "n",
    "logprobs",
    "parallel_tools",
    "verbosity",
    "user",
    "metadata",
    "service_tier",
]


class Traits(Section, frozen=True):
    """How one model of one provider takes what a translation writes: see `traits.traits_of`.

    - `max_tokens_field`: chat's name for the limit of the answer
    - `unsupported`: fields of ir.Request (`Refusable`) that the model refuses: they are dropped
      and announced
    - `reasoning`: how the model is told how much to think, `none` if it does not
    - `efforts`: the words of effort that it takes; others become the nearest. Empty: all
    - `replay_reasoning`: whether a chat server wants its `reasoning_content` back
    - `call_signatures`: whether a chat server wants Google's thought signatures back, on calls
    - `cache_hints`: which prompt-cache marks the provider takes
    - `structured_output`: `native`, or a `tool` whose arguments are the answer
    - `schema`: whether Google takes a JSON Schema or only its own subset
    - `strict_tools`: whether a tool may be called strict
    - `stream_usage`: whether chat's `stream_options.include_usage` may be asked for
    - `hosted_tools`: whether a vendor's own tool without a counterpart refuses the request with
      400 or is dropped and announced
    - `web_search`: the type of the provider's search tool; empty if it has none
    - `tool_ids`: whether Google takes and gives ids of calls
    - `tool_media`: whether Google takes media inside a function's response
    - `version`, `betas`: Anthropic's headers on calls that are translated
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    unsupported: tuple[str, ...] = ()
    reasoning: Literal["effort", "adaptive", "budget", "level", "none"] = "effort"
    efforts: tuple[str, ...] = ()
    replay_reasoning: bool = False
    call_signatures: bool = False
    cache_hints: Literal["none", "cache_control", "breakpoints"] = "none"
    structured_output: Literal["native", "tool"] = "native"
    schema: Literal["subset", "json_schema"] = "subset"
    strict_tools: bool = True
    stream_usage: bool = True
    hosted_tools: Literal["refuse", "drop"] = "refuse"
    web_search: str = ""
    tool_ids: bool = False
    tool_media: bool = False
    version: str = "2023-06-01"
    betas: tuple[str, ...] = ()


Words = str | tuple[str, ...]


class Quirk(Section, frozen=True):
    """A rule that sets some traits of some models. None leaves a trait as it is.

    `models` are globs over model ids in any case, `protocols` the words of api_protocol that it
    concerns, None for all. `translate_to` is the protocol, of those that the provider speaks, in
    which such a model is asked for clients of another; the rest are the members of Traits.
    """

    models: Words = "*"
    protocols: Words | None = None
    translate_to: str | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    unsupported: tuple[Refusable, ...] | None = None
    reasoning: Literal["effort", "adaptive", "budget", "level", "none"] | None = None
    efforts: tuple[Effort, ...] | None = None
    replay_reasoning: bool | None = None
    call_signatures: bool | None = None
    cache_hints: Literal["none", "cache_control", "breakpoints"] | None = None
    structured_output: Literal["native", "tool"] | None = None
    schema: Literal["subset", "json_schema"] | None = None
    strict_tools: bool | None = None
    stream_usage: bool | None = None
    hosted_tools: Literal["refuse", "drop"] | None = None
    web_search: str | None = None
    tool_ids: bool | None = None
    tool_media: bool | None = None
    version: str | None = None
    betas: tuple[str, ...] | None = None


class Model(Section, frozen=True):
    """One entry of a provider's catalogue. Sizes are in tokens."""

    name: str | None = None
    description: str | None = None
    max_input_tokens: Positive | None = None
    max_output_tokens: Positive | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    price: Price | None = None
    capabilities: Capabilities = Capabilities()


class ProviderEntry(Section, frozen=True):
    """A provider as written; `derives` fills what is not given."""

    derives: str | None = None
    api_protocol: Words | None = None
    api_base: str | None = None
    api_key: Secret | None = None
    env_prefix: Words | None = None
    auth: Auth | None = None
    default_headers: dict[str, str] | None = None
    timeouts: ProviderTimeouts | None = None
    models: dict[str, Model] | None = None
    quirks: tuple[Quirk, ...] | None = None
    allow_link_local: bool | None = None
    model_path: str | None = None
    threads: Positive | None = None


class CatalogEntry(ProviderEntry, frozen=True):
    """A file of `config/catalog`: a provider entry, and whether the router runs it itself."""

    embedded: bool = False


class Embedded(Section, frozen=True):
    """A model that the router runs itself.

    `model_path` is a GGUF file, None the packaged one; `threads` are those that compute, None half
    of the machine's cores, so that the router has some to itself.
    """

    model_path: str | None = None
    threads: Positive | None = None


class Provider(Section, frozen=True):
    """A provider ready for use.

    `protocols` are words of `api_protocol`, the preferred first. `api_base` is a URL without a
    trailing slash, and empty for an embedded provider, whose port is known once it runs. Of the
    `quirks` the later win: those of what it derives from stand before its own. `unusable` says in
    one sentence why no request can go there (no key), or is None.
    """

    name: str
    protocols: tuple[str, ...]
    api_base: str
    api_key: Secret | None = None
    auth: Auth | None = None
    default_headers: dict[str, str] = {}
    timeouts: Timeouts = Timeouts()
    models: dict[str, Model] = {}
    quirks: tuple[Quirk, ...] = ()
    embedded: Embedded | None = None
    allow_link_local: bool = False
    unusable: str | None = None


# -- routes ---------------------------------------------------------------------------------

Strategy = Literal["priority", "load_balance"]
# How a stream that broke off is finished by the next endpoint; see docs/rescue.md.
Rescue = Literal["continue", "restart"]


class EndpointEntry(Section, frozen=True):
    """One place a route can send to. `weight` counts under load_balance; `max_concurrency` is how
    many requests it may have at a time, any number if it is not given.
    """

    provider: str
    model_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    max_concurrency: Positive | msgspec.UnsetType = msgspec.UNSET


class RoutePrice(Section, frozen=True):
    """A route's own retail price: USD per million tokens as in `Price`, or USD a call."""

    input: Money | None = None
    output: Money | None = None
    cache_read: Money | None = None
    cache_write: Money | None = None
    call: Amount | None = None

    def __post_init__(self) -> None:
        per_token = (self.input, self.output, self.cache_read, self.cache_write)
        if self.call is not None and per_token == (None, None, None, None):
            return
        if self.call is not None or self.input is None or self.output is None:
            raise ValueError("give both `input` and `output`, or `call` alone")


class RouteEntry(Section, frozen=True):
    """A virtual model."""

    endpoints: Annotated[tuple[EndpointEntry, ...], msgspec.Meta(min_length=1)]
    strategy: Strategy = "priority"
    price: RoutePrice | None = None
    timeouts: RouteTimeouts | None = None
    rescue: Rescue | None = None


# -- payments -------------------------------------------------------------------------------

# To Python's `$` a line break at the end is the end too; hence what follows it.
Address = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^0x[0-9a-fA-F]{40}$(?!\n)",
        description="an address: 0x and 40 hexadecimal digits",
    ),
]


class Facilitator(Section, frozen=True):
    """The service that verifies and settles payments."""

    url: str | None = None
    auth: Literal["none", "bearer", "cdp_jwt"] = "none"
    token: Secret | None = None
    verify_timeout: Duration = Duration(15)
    settle_timeout: Duration = Duration(60)


class Offer(Section, frozen=True):
    """One way to pay. A token that is not a known USDC has its EIP-712 `name` and `version`.

    `asset_transfer_method` is whom the payer signs for: the token itself (EIP-3009), which is the
    default under `exact`, or Permit2, which `upto` always has.
    """

    scheme: Literal["exact", "upto"]
    network: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^eip155:[1-9][0-9]{0,18}$(?!\n)", description="a network such as eip155:8453"
        ),
    ]
    asset: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(usdc|0x[0-9a-fA-F]{40})$(?!\n)",
            description="`usdc` or a token's address",
        ),
    ]
    pay_to: Address
    name: str | None = None
    version: str | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=36)] | None = None
    asset_transfer_method: Literal["eip3009", "permit2"] | None = None

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.name, self.version, self.decimals)]
        if any(given) and not all(given):
            raise ValueError("a foreign token needs all of `name`, `version` and `decimals`")
        if self.asset == "usdc" and any(given):
            raise ValueError("`name`, `version` and `decimals` go with an address as `asset`")
        if self.scheme == "upto" and self.asset_transfer_method == "eip3009":
            raise ValueError("`upto` is always by permit2; leave `asset_transfer_method` out")

    @property
    def uses_permit2(self) -> bool:
        """Whether payers sign for Permit2, and not for the token itself."""
        return self.scheme == "upto" or self.asset_transfer_method == "permit2"


class Pricing(Section, frozen=True):
    """How a retail price becomes an amount. `min_units` are the asset's smallest units."""

    margin: Amount = Amount(1)
    min_units: Positive = 1
    default_max_output_tokens: Positive = 4096
    old_price_grace: Duration = Duration(300)


class PaidStreams(Section, frozen=True):
    """What a paid stream holds back for its receipt, and whether a broken one is charged."""

    receipt_hold: Duration = Duration(2.5)
    charge_partial: bool = False


class PaymentLimits(Section, frozen=True):
    """How much one payer may owe."""

    unsettled_per_payer: Positive = 4
    cooldown_after_failed_settle: Duration = Duration(300)


class X402(Section, frozen=True):
    """Payment by x402. contract.md, section 7."""

    enabled: bool = False
    public_base_url: str | None = None
    facilitator: Facilitator = Facilitator()
    rpc_url: str | None = None
    accepts: tuple[Offer, ...] = ()
    max_timeout: Duration = Duration(600)
    min_remaining: Duration = Duration(120)
    pricing: Pricing = Pricing()
    streams: PaidStreams = PaidStreams()
    limits: PaymentLimits = PaymentLimits()
    defer_contract_wallets: bool = False
    discovery: bool = False


class Payments(Section, frozen=True):
    """What a client without a key may pay with."""

    x402: X402 = X402()


# -- the whole ------------------------------------------------------------------------------


class ConfigFile(Section, frozen=True):
    """bitrouter.yaml as written. Every key is optional."""

    server: ServerSettings = ServerSettings()
    providers: dict[str, ProviderEntry] = {}
    models: dict[str, RouteEntry] = {}
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    retry: Retry = Retry()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    payments: Payments = Payments()


class Config(Section, frozen=True):
    """Everything that one start or reload knows. `path` is the file, None for zero-config."""

    path: str | None = None
    server: ServerSettings = ServerSettings()
    providers: dict[str, Provider] = {}
    models: dict[str, RouteEntry] = {}
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    retry: Retry = Retry()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    payments: Payments = Payments()
