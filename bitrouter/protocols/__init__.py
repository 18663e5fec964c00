"""The wire protocols, one folder each; none imports another.

CODECS is the only list of protocols in the program: paths, the words of `api_protocol`, tests and
benchmarks follow from it.
"""

from typing import Final

from bitrouter.protocols.anthropic.codec import AnthropicCodec
from bitrouter.protocols.chat.codec import ChatCodec
from bitrouter.protocols.codec import Codec
from bitrouter.protocols.google.codec import GoogleCodec
from bitrouter.protocols.responses.codec import ResponsesCodec

CODECS: Final[tuple[Codec, ...]] = (
    ChatCodec(),
    ResponsesCodec(),
    AnthropicCodec(),
    GoogleCodec(),
)

BY_API_PROTOCOL: Final = {codec.api_protocol: codec for codec in CODECS}
