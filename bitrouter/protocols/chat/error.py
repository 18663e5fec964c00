"""What a chat server's error answer says: protocols.md, 1.1 ("Errors") and 2.12."""

from bitrouter.ir import Failure
from bitrouter.protocols.failure import read_failure


def decode_error(status: int, body: bytes) -> Failure:
    """See Translator.decode_error. The class is that of the status, as OpenAI has it."""
    return read_failure(status, body)
