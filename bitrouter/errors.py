"""Every exception that BitRouter raises on purpose.

A `RouterError` is an answer to a client that a protocol's codec knows how to render; a
`ConfigError` stops a start or a reload. Both carry text that is safe to show: no credential, no
prompt, no upstream exception text. The cause, if any, hangs on `__cause__` and is never rendered.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Literal

Source = Literal["router", "upstream"]


class RouterError(Exception):
    """A request that ends in an error answer.

    `status` is the HTTP status in the OpenAI dialect (a codec may have its own for the same
    class, such as Anthropic's 529); `code` a stable machine-readable word, None where the protocol
    has one for the status; `detail` one public
    sentence; `retry_after_s` how long waiting helps, in seconds; `outcome` the word under which
    the request is counted (reliability.md, section 13).
    """

    status: int = 500
    code: str | None = "internal_error"
    source: ClassVar[Source] = "router"
    outcome: str = "client_error"
    headers: Mapping[str, str] = MappingProxyType({})  # that go with the answer

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s

    @property
    def logged(self) -> str:
        """What a log line may say: `detail`, unless that holds words that are not ours."""
        return self.detail


class InvalidRequest(RouterError):
    """The body or the target of the request is not what the protocol allows."""

    status = 400
    code = "invalid_request"


class UnsupportedFeature(InvalidRequest):
    """What the request asks for cannot be said to this endpoint, and leaving it out would change
    what the request means. Another endpoint may be able to.
    """

    code = "unsupported_feature"


class Unauthorized(RouterError):
    """No credential, or one that is not valid."""

    status = 401
    code = "invalid_api_key"


class PaymentRequired(RouterError):
    """A stranger who has not paid, or not so that it does. `code` is why (x402.md, section 11).

    `headers` hold the terms; `members` are the same for who reads the body: members of a JSON
    object, each preceded by a comma.
    """

    status = 402
    outcome = "payment"

    def __init__(
        self, detail: str, *, reason: str, headers: Mapping[str, str], members: bytes
    ) -> None:
        super().__init__(detail)
        self.code = reason
        self.headers = headers
        self.members = members


class ApprovalMissing(PaymentRequired):
    """The payer has not yet approved the contract that would move the token (x402.md, 4.2)."""

    status = 412


class InvalidPayment(RouterError):
    """A payment header that cannot be read."""

    status = 400
    code = "invalid_payment"
    outcome = "payment"


class PaymentConflict(RouterError):
    """A payment identifier that stands for another payment, or for an answer that is not kept."""

    status = 409
    code = "payment_identifier_conflict"
    outcome = "payment"


class PayerLimited(RouterError):
    """The payer owes too much already, or a payment of theirs has just failed."""

    status = 429
    code = "payer_limited"
    outcome = "payment"


class PaymentExpired(RouterError):
    """A stream that went on for as long as its payment is good."""

    status = 402
    code = "payment_expired"
    outcome = "payment"


class PaymentOutlasted(RouterError):
    """A call that took longer than its payment is good for: broken off, and not charged."""

    status = 504
    code = "payment_expired"
    outcome = "payment"


class SettlementUnknown(RouterError):
    """Whether a payment was settled is not known yet. The same request may be repeated."""

    status = 502
    code = "settlement_unknown"
    outcome = "payment"
    # The vendors' SDKs repeat a 502 by themselves: each time with a payment that is signed anew.
    headers = MappingProxyType({"x-should-retry": "false"})


class PaymentsUnavailable(RouterError):
    """Payments cannot be checked now, for nobody can be asked about the chain."""

    status = 503
    code = "payments_unavailable"
    outcome = "payment"


class Forbidden(RouterError):
    """The caller is known, or the place is, and may not do this."""

    status = 403
    code = "permission_denied"


class NotFound(RouterError):
    """There is nothing at this path."""

    status = 404
    code = "not_found"


class RouteNotFound(NotFound):
    """No route, provider or wildcard matches the model name."""

    code = "model_not_found"


class MethodNotAllowed(RouterError):
    """The path exists, for other methods. `allow` lists them."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, detail: str, *, allow: Sequence[str]) -> None:
        super().__init__(detail)
        self.allow = tuple(allow)


class PreconditionFailed(RouterError):
    """`If-Match` names another version than the current one (RFC 9110, section 13.1.1)."""

    status = 412
    code = "precondition_failed"


class BodyTooLarge(RouterError):
    """The request body exceeds `limits.max_body_bytes`."""

    status = 413
    code = "request_too_large"


class RequestTimeout(RouterError):
    """The client took too long to send its request; `timer` is the name in section `timeouts`."""

    status = 408
    code = "request_timeout"

    def __init__(self, timer: str, limit_s: float) -> None:
        super().__init__(f"the request did not come in time (timeouts.{timer}: {limit_s:g} s)")
        self.outcome = f"timeout:{timer}"


class TargetTooLong(RouterError):
    """The path and the query of a request are longer than is read."""

    status = 414
    code = "uri_too_long"


class UnsupportedMediaType(RouterError):
    """The request body is not declared as JSON, or is compressed in a way that is not known."""

    status = 415
    code = "unsupported_media_type"


class ExpectationFailed(RouterError):
    """The request has an `Expect` other than `100-continue` (RFC 9110, section 10.1.1)."""

    status = 417
    code = "expectation_failed"


class HeadTooLarge(RouterError):
    """The headers of a request are more, or longer, than is read."""

    status = 431
    code = "request_header_fields_too_large"


class TranslationUnavailable(RouterError):
    """The route has no endpoint that speaks the client's protocol."""

    status = 501
    code = "not_implemented"


class ServiceUnavailable(RouterError):
    """Nothing that could answer is able to: no key, no model, shutting down."""

    status = 503
    code = "service_unavailable"
    outcome = "refused"


class ShuttingDown(ServiceUnavailable):
    """The router is being stopped, and what was running had its time (timeouts.drain)."""


class Overloaded(ServiceUnavailable):
    """Refused before any work was done, because too much is running already."""

    outcome = "shed"


class AllResting(ServiceUnavailable):
    """Every endpoint of the route is left alone for now, after failures or at its own wish."""


class InternalError(RouterError):
    """A fault of ours. The log has the cause, the answer only the request id."""

    outcome = "internal_error"


class UpstreamError(RouterError):
    """An attempt at one endpoint that gave no answer to pass on.

    What may be done while nothing has been sent to the client (reliability.md, section 3):
    `retryable` another endpoint may be asked; `transient` the same one as well, after a pause;
    `never_arrived` it has not seen the request; `larger_window_helps` only one that takes longer
    prompts can help. Unless `was_asked` no call was tried, and it does not count as an attempt.
    What it says of the endpoint: `trips` that it fails, `asks_for_rest` that it is asked too often,
    `blames_router` that it does not take the router's own credential.
    """

    transient: bool = False
    never_arrived: bool = False
    was_asked: bool = True
    larger_window_helps: bool = False
    trips: bool = True
    asks_for_rest: bool = False
    blames_router: bool = False

    status = 502
    code: str | None = "upstream_error"
    source = "upstream"
    outcome = "upstream_error"

    def __init__(
        self, detail: str, *, retryable: bool = True, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.retryable = retryable


class ConnectFailed(UpstreamError):
    """No connection: name lookup, TCP or TLS failed. The endpoint has not seen the request."""

    never_arrived = True


class ConnectionReset(UpstreamError):
    """The connection was closed or reset before an answer began."""

    transient = True


class BadResponse(UpstreamError):
    """The endpoint answered, but not with what its protocol promises: cut, garbled, a redirect."""


class AnswerDiffers(UpstreamError):
    """The endpoint answers, but not so that it could go on with what another one began."""

    trips = False


class UpstreamUnavailable(UpstreamError):
    """The endpoint cannot be asked at all: its key is missing, its embedded model did not start."""

    status = 503
    code = "service_unavailable"
    was_asked = False
    trips = False


class UpstreamBusy(UpstreamError):
    """All slots of the endpoint are taken (max_concurrency), and none became free in time."""

    status = 503
    code = "service_unavailable"
    outcome = "timeout:pool_wait"
    was_asked = False
    trips = False


# The word of OpenAI's API, which decoders of other vendors' errors use for theirs.
CONTEXT_TOO_LONG: Final = "context_length_exceeded"
# What the words for a refusal of the content have been seen to be. That is an answer, and asking
# somebody else would be to route around it.
_CONTENT_REFUSED: Final = frozenset(
    {"content_filter", "content_policy_violation", "responsible_ai_policy_violation"}
    | {"moderation_blocked", "invalid_prompt", "data_inspection_failed"}
)
_TRANSIENT: Final = frozenset({408, 409, 500, 502, 503, 529})
_ELSEWHERE: Final = frozenset({401, 402, 403, 408, 409, 429})  # besides every 5xx
_PAYMENT_REQUIRED: Final = 402
_ABOUT_ROUTER: Final = frozenset({401, 403})
_LONGEST_WAIT_S: Final = 5.0  # a Retry-After beyond that is handed on to the client


def refuses_content(code: str | None) -> bool:
    """Whether a provider's word for an error says that it will not answer this content."""
    return code is not None and code.lower() in _CONTENT_REFUSED


def is_about_router(status: int, code: str | None) -> bool:
    """Whether a refusal is about the router's own account at the provider, not the client's."""
    # Nobody's words make a 402 the client's affair: it would pay, and pay again.
    return status == _PAYMENT_REQUIRED or (status in _ABOUT_ROUTER and not refuses_content(code))


def is_worth_elsewhere(status: int, code: str | None) -> bool:
    """Whether another endpoint may answer what one refused with this status and word."""
    return (status >= 500 or status in _ELSEWHERE) and not refuses_content(code)


class Rejected(UpstreamError):
    """The endpoint's own error answer: a status of 400 or above, complete.

    `headers` are those that the client may see. `body` is its JSON, for a client of the same
    protocol; empty when there is none to pass on, and `detail` says it. `blames_router` when it is
    about the router's own account there.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        retryable: bool,
        retry_after_s: float | None = None,
        code: str | None = None,
        blames_router: bool = False,
    ) -> None:
        super().__init__(detail, retryable=retryable, retry_after_s=retry_after_s)
        self.status = status
        self.code = code
        self.headers = headers
        self.body = body
        may_pass = retryable and not blames_router
        if retry_after_s is None:
            self.transient = may_pass and status in _TRANSIENT
        elif retry_after_s <= _LONGEST_WAIT_S:
            self.transient = may_pass and (status in _TRANSIENT or status == 429)
        # 501: the endpoint is well, and has no such operation.
        self.trips = may_pass and status >= 500 and status != 501
        self.asks_for_rest = status == 429
        self.blames_router = blames_router
        self.larger_window_helps = code == CONTEXT_TOO_LONG
        if status < 500 and status not in (401, 403, 429):
            self.outcome = "client_error"

    @property
    def logged(self) -> str:
        """The status alone: a provider may quote the prompt."""
        return f"the provider answered with status {self.status}"


class StreamRefused(UpstreamError):
    """A stream that began with the provider's own error event, in whose `words` it is told.

    `status` and `code` are those of the error where the event says what kind it is.
    """

    def __init__(
        self,
        words: str,
        *,
        status: int = 502,
        code: str | None = "upstream_error",
        retry_after_s: float | None = None,
        blames_router: bool = False,
    ) -> None:
        retryable = blames_router or is_worth_elsewhere(status, code)
        super().__init__(
            f"{self.logged}: {words}", retryable=retryable, retry_after_s=retry_after_s
        )
        self.status = status
        self.code = code
        self.trips = status >= 500 and retryable and not blames_router
        self.asks_for_rest = status == 429
        self.blames_router = blames_router
        self.larger_window_helps = code == CONTEXT_TOO_LONG
        if status < 500 and status != 429:
            self.outcome = "client_error"

    @property
    def logged(self) -> str:
        """That it happened: a provider may quote the prompt."""
        return "the upstream began its stream with an error"


class StreamFailed(UpstreamError):
    """The provider's own error event in a stream that had begun: its words, its class."""

    def __init__(self, words: str, *, status: int, code: str | None) -> None:
        super().__init__(words)
        self.status = status
        self.code = code

    @property
    def logged(self) -> str:
        """That it happened: a provider may quote the prompt."""
        return "the upstream reported an error in its stream"


class UpstreamTimeout(UpstreamError):
    """A timer of section `timeouts` ran out; `timer` is its name there. An endpoint that was not
    even asked by then has not failed.
    """

    status = 504
    code = "upstream_timeout"

    def __init__(
        self, timer: str, limit_s: float, *, retryable: bool = True, was_asked: bool = True
    ) -> None:
        super().__init__(
            f"the upstream did not answer in time (timeouts.{timer}: {limit_s:g} s)",
            retryable=retryable,
        )
        self.timer = timer
        self.outcome = f"timeout:{timer}"
        self.was_asked = self.trips = was_asked


class Problem:
    """One thing that is wrong in a configuration file.

    `line` and `column` count from 1; 0 means the place is unknown (the problem is in the
    environment, or the file does not exist). `where` is the path of the key, such as
    `models.fast.endpoints[0].provider`; `message` says what is wrong and what is allowed.
    """

    __slots__ = ("column", "file", "line", "message", "where")

    def __init__(self, file: str, line: int, column: int, where: str, message: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.where}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used: every problem found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
