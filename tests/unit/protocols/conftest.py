"""Requests as the codecs read them, for the tests of what follows an answer."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bitrouter.protocols import BY_API_PROTOCOL
from bitrouter.protocols.base import Request, Transform
from bitrouter.protocols.codec import Codec

MakeTransform = Callable[..., Transform]


def stream_request(api_protocol: str, framing: str = "") -> tuple[Codec, Request]:
    """A request to stream; `framing` is google's: sse, array or ndjson."""
    codec = BY_API_PROTOCOL[api_protocol]
    path, example = codec.example("m", "hi")
    body: dict[str, Any] = msgspec.json.decode(example)
    if framing in ("sse", "array"):
        path = path.replace(":generateContent", ":streamGenerateContent")
    else:
        body["stream"] = True
    match = codec.match(path)
    assert match is not None
    query = "alt=sse" if framing == "sse" else ""
    return codec, codec.read(*match, query, msgspec.json.encode(body))


@pytest.fixture
def make_transform() -> MakeTransform:
    """Makes the transform for a stream of a protocol to a client of the same."""

    def make(api_protocol: str, framing: str = "", limit: int = 1 << 20) -> Transform:
        codec, request = stream_request(api_protocol, framing)
        return codec.passthrough(request, limit, "req_1")

    return make
