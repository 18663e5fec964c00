"""Messages to and from the neutral form: the eight halves."""

from bitrouter import ir
from bitrouter.protocols.anthropic.carriers import ORIGIN
from bitrouter.protocols.anthropic.decode_answer import decode_answer
from bitrouter.protocols.anthropic.decode_request import decode_request
from bitrouter.protocols.anthropic.decode_stream import MessagesStreamDecoder
from bitrouter.protocols.anthropic.encode_answer import encode_answer
from bitrouter.protocols.anthropic.encode_request import encode_request
from bitrouter.protocols.anthropic.encode_stream import MessagesStreamEncoder
from bitrouter.protocols.anthropic.error import decode_error
from bitrouter.protocols.anthropic.foreign import without_foreign
from bitrouter.protocols.base import Request
from bitrouter.protocols.continuity import MARKS
from bitrouter.protocols.translator import Encoded, Recipient, Reply, StreamDecoder, StreamEncoder


class AnthropicTranslator:
    """See protocols.translator.Translator."""

    origin = ORIGIN
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

    def stream_decoder(self) -> StreamDecoder:
        """See Translator.stream_decoder."""
        return MessagesStreamDecoder()

    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        """See Translator.stream_encoder."""
        return MessagesStreamEncoder(reply)

    def decode_error(self, status: int, body: bytes) -> ir.Failure:
        """See Translator.decode_error."""
        return decode_error(status, body)

    def without_foreign(self, request: Request) -> Request:
        """See Translator.without_foreign."""
        return without_foreign(request)
