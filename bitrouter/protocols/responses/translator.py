"""Responses to and from the neutral form. See bitrouter.protocols.translator."""

from bitrouter import ir
from bitrouter.protocols import openai
from bitrouter.protocols.base import Request
from bitrouter.protocols.continuity import MARKS
from bitrouter.protocols.responses.decode_answer import decode_answer
from bitrouter.protocols.responses.decode_request import decode_request
from bitrouter.protocols.responses.decode_stream import ResponsesStreamDecoder
from bitrouter.protocols.responses.encode_answer import encode_answer
from bitrouter.protocols.responses.encode_request import encode_request
from bitrouter.protocols.responses.encode_stream import ResponsesStreamEncoder
from bitrouter.protocols.responses.error import decode_error
from bitrouter.protocols.responses.foreign import without_foreign
from bitrouter.protocols.translator import Encoded, Recipient, Reply


class ResponsesTranslator:
    """protocols.md, 1.2 and 2. See translator.Translator."""

    origin = openai.ORIGIN
    mark = MARKS[0]

    def decode_request(self, request: Request) -> ir.Request:
        """See Translator.decode_request."""
        return decode_request(request)

    def encode_request(self, request: ir.Request, recipient: Recipient) -> Encoded:
        """See Translator.encode_request."""
        return encode_request(request, recipient)

    def decode_answer(self, body: bytes) -> ir.Answer:
        """See Translator.decode_answer."""
        return decode_answer(body)

    def encode_answer(self, answer: ir.Answer, reply: Reply) -> bytes:
        """See Translator.encode_answer."""
        return encode_answer(answer, reply)

    def stream_decoder(self) -> ResponsesStreamDecoder:
        """See Translator.stream_decoder."""
        return ResponsesStreamDecoder()

    def stream_encoder(self, reply: Reply) -> ResponsesStreamEncoder:
        """See Translator.stream_encoder."""
        return ResponsesStreamEncoder(reply)

    def decode_error(self, status: int, body: bytes) -> ir.Failure:
        """See Translator.decode_error."""
        return decode_error(status, body)

    def without_foreign(self, request: Request) -> Request:
        """See Translator.without_foreign."""
        return without_foreign(request)
