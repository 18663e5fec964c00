"""A provider's error answer. Source: protocols.md, 1.1, "Errors", and 2.12."""

from bitrouter.ir import Failure
from bitrouter.protocols.failure import read_failure


def decode_error(status: int, body: bytes) -> Failure:
    """See Translator.decode_error. OpenAI's statuses are those of the classes themselves."""
    return read_failure(status, body)
