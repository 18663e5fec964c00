"""A request that the service does not take."""

from typing import Literal

Kind = Literal[
    "invalid", "auth", "forbidden", "not_found", "too_large", "rate_limit", "internal", "overloaded"
]


class Refused(Exception):
    """What is wrong, in the vendor's words as far as they are known.

    `kind` is its class, from which each provider has its status and its error type; `param` the
    place, such as `messages[1].content`; `code` the vendor's machine-readable word.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Kind = "invalid",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
