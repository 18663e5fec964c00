"""Errors: a provider's error answer, and the error of a response that failed.

Source: protocols.md, 1.1, "Errors", 1.2, "Response", and 2.12.
"""

from bitrouter.errors import RouterError
from bitrouter.ir import Failure
from bitrouter.protocols import openai
from bitrouter.protocols.failure import read_failure


def decode_error(status: int, body: bytes) -> Failure:
    """See Translator.decode_error. OpenAI's statuses are those of the classes themselves."""
    return read_failure(status, body)


def failed_error(error: RouterError) -> dict[str, str | None]:
    """The value of `error` in a response that failed, whose code is never null."""
    stated = openai.error_object(error)
    return {"code": stated["code"] or "server_error", "message": stated["message"]}
