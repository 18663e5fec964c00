"""Requests as bytes: a good one with something wrong in its body, its head or its framing."""

import gzip
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.dialects import DIALECTS, Dialect
from tests.support.fuzz import bodies

MODELS: Final = {dialect.name: f"m-{dialect.name}" for dialect in DIALECTS}

_PAGES: Final = (
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/v1/models",
    "/v1/models/x",
    "/admin/routes",
)
_METHODS: Final = (
    *("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI", "post", ""),
    *("POST POST", "G\x00T", "M-SEARCH", "QUERY", "A" * 500, "\xff"),
)
_TARGETS: Final = (
    *("", "*", "/", "//", "/..", "/%2e%2e/", "/%", "/%zz", "/%00", "/\xff", "/ü", "?", "#", "/#x"),
    *(
        "http://x/health",
        "https://x:1/v1/models",
        "http://",
        "http://[::1",
        "http://x:99999/",
        "//x",
    ),
    *(
        "foo://x/health",
        "x:443",
        "/" + "a" * 8200,
        "/?" + "&" * 500,
        "/v1/messages?key=" + "k" * 900,
    ),
    *("/v1beta/models/m:generateContent", "/v1beta/models/:x", "/v1beta/models/a%2Fb:countTokens"),
    *(
        "/v1beta/models/..:generateContent",
        "/v1/chat/completions/",
        "/v1//messages",
        "/v1/messages;x",
    ),
    *("/admin/routes/x", "/v1/admin/reload", "/admin/explain?model=x", "/openapi.json", "/a b"),
)
_VERSIONS: Final = (
    *("HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.11", "http/1.1", "HTTP/1", "", "X"),
    *("HTTP/1.1 ", " HTTP/1.1", "HTTP/1.1\r", "HTTP/1.1\x00", "HTTPS/1.1"),
)
_LINES: Final = (
    *("Host: y", "Host:", "Content-Length: 5", "Content-Length: 0", "Content-Length: -1", "X"),
    *("Content-Length: 99999999999999999999", "Content-Length: 1,1", "Content-Length: 0x5", ": x"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: x"),
    *("Transfer-Encoding: identity", "Transfer-Encoding:\tchunked", "Transfer-Encoding : chunked"),
    *("Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Connection: Host, x"),
    *("Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "TE: gzip"),
    *("Expect: 100-continue", "Expect: x", "Sec-WebSocket-Key1: x", "Trailer: X", "Keep-Alive: 5"),
    *("Content-Type: text/plain", "Content-Type:", "Content-Type: application/json; charset=x"),
    *(
        "Content-Type: application/json; charset=\xff",
        'Content-Type: ;;;=="',
        "Accept: ,;q=x,*/*;q=9",
    ),
    *(
        "Content-Encoding: gzip",
        "Content-Encoding: br",
        "Content-Encoding: \xff",
        "X Y: z",
        " X: y",
    ),
    *(
        "X: a\rb",
        "X: a\nb",
        "X: a\0b",
        "X\0: y",
        "X:\x7f",
        "\xff: y",
        "X: \xff\xfe",
        "X:" + "a" * 900,
    ),
    *(
        "Authorization: Bearer",
        "Authorization: Basic \xff",
        "x-api-key: \ud800",
        "Cookie: " + "a=b;" * 99,
    ),
    *(
        "X-Request-Id: a\x01b",
        "X-Request-Id: " + "a" * 300,
        "X-Request-Id: <script>",
        'Forwarded: "',
    ),
    *("OpenAI-Beta: \xff", "anthropic-beta: a,,b", "anthropic-version: x\ty", "Range: bytes=0-"),
    *("If-Match: *", "Host: x\r\n folded: y", "Origin: \xff", "PAYMENT-SIGNATURE: " + "A" * 999),
)
_SIZES: Final = (
    *(b"0", b"-1", b"+1", b"0x1", b"ffffffffffffffff", b"fffffffffffffffffff", b"", b" 1", b"1 "),
    *(b"1;a=b", b'1;a="b\\""', b"1;" + b"a" * 900, b"1\n", b"1;\n", b"zz", b"\xff", b"1\x00"),
)
_NOISE: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(80),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\r\n" * 50,
    b"\n" * 50,
    b"\x00" * 200,
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"EHLO x\r\nQUIT\r\n",
    b"A" * 70_000,
    b"GET /health\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
)


@dataclass(frozen=True)
class Case:
    """What is sent on one connection, piece by piece, with pauses of `pause_s` seconds. `number` is
    its place in the row.
    """

    number: int
    pieces: tuple[bytes, ...]
    pause_s: float = 0.0


def cases(seed: str, count: int) -> Iterator[Case]:
    """The same cases for the same seed. Each depends on its number alone, not on those before."""
    for number in range(count):
        yield case(seed, number)


def case(seed: str, number: int) -> Case:
    """One of them."""
    chance = random.Random(f"{seed}/{number}")
    sent = b"".join(_request(chance) for _ in range(chance.choice((1, 1, 1, 1, 2, 3))))
    if chance.random() < 0.1:
        sent = sent[: chance.randrange(len(sent) + 1)]
    return Case(number, tuple(_cut(chance, sent)))


def _request(chance: random.Random) -> bytes:
    kinds: tuple[tuple[int, Callable[[random.Random], bytes]], ...] = (
        (8, _with_odd_body),
        (3, _with_odd_length),
        (4, _with_odd_chunks),
        (2, _with_odd_coding),
        (6, _with_odd_head),
        (4, _changed),
        (1, _noise),
    )
    (make,) = chance.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
    return make(chance)


def _cut(chance: random.Random, sent: bytes) -> Iterator[bytes]:
    """In one piece mostly, as clients send."""
    ends = sorted(chance.randrange(len(sent) + 1) for _ in range(chance.choice((0, 0, 1, 4))))
    for begin, end in zip([0, *ends], [*ends, len(sent)], strict=True):
        if begin < end:
            yield sent[begin:end]


def _asked(chance: random.Random) -> tuple[str, bytes]:
    """A target and a body for it: of each protocol, for a provider of each protocol."""
    dialect: Dialect = chance.choice(DIALECTS)
    model = chance.choice([*MODELS.values()])
    target = dialect.path(model, stream=dialect.stream_url is not None and chance.random() < 0.3)
    return target, bodies.body(chance, dialect.name, model)


def _head(first: str, *lines: str) -> bytes:
    text = "\r\n".join(
        [first, "Host: router.test", "Content-Type: application/json", *lines, "", ""]
    )
    return text.encode("latin-1", "replace")


def _with_odd_body(chance: random.Random) -> bytes:
    target, body = _asked(chance)
    return _head(f"POST {target} HTTP/1.1", f"Content-Length: {len(body)}") + body


def _with_odd_length(chance: random.Random) -> bytes:
    target, body = _asked(chance)
    wrong = chance.choice((len(body) - 1, len(body) + 1, len(body) // 2, len(body) + 5000, 0))
    return _head(f"POST {target} HTTP/1.1", f"Content-Length: {wrong}") + body


def _with_odd_chunks(chance: random.Random) -> bytes:
    target, body = _asked(chance)
    chunks = []
    size = chance.choice((1, 7, 1000, 100_000))
    for begin in range(0, min(len(body), 200 * size), size):
        chunk = body[begin : begin + size]
        chunks.append(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    chunks.append(chance.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n", b"")))
    for _ in range(chance.choice((0, 1, 1, 3))):
        odd = b"%b\r\n%b\r\n" % (chance.choice(_SIZES), chance.choice((b"", b"x", b"xx")))
        chunks.insert(chance.randrange(len(chunks) + 1), odd)
    return _head(f"POST {target} HTTP/1.1", "Transfer-Encoding: chunked") + b"".join(chunks)


def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # else the time of day is in it


def _with_odd_coding(chance: random.Random) -> bytes:
    target, body = _asked(chance)
    name, compress = chance.choice((("gzip", _gzipped), ("deflate", zlib.compress)))
    packed = bytearray(compress(body))
    for _ in range(chance.choice((0, 0, 1, 5))):
        packed[chance.randrange(len(packed))] = chance.randrange(256)
    if chance.random() < 0.2:
        packed = packed[: chance.randrange(len(packed))] + chance.randbytes(5)
    lines = (f"Content-Encoding: {name}", f"Content-Length: {len(packed)}")
    return _head(f"POST {target} HTTP/1.1", *lines) + packed


def _with_odd_head(chance: random.Random) -> bytes:
    target, body = _asked(chance)
    method, version = "POST", "HTTP/1.1"
    if chance.random() < 0.3:
        method, target = "GET", chance.choice(_PAGES)
    if chance.random() < 0.3:
        method = chance.choice(_METHODS)
    if chance.random() < 0.3:
        target = chance.choice(_TARGETS)
    if chance.random() < 0.2:
        version = chance.choice(_VERSIONS)
    lines = [f"Content-Length: {len(body)}"] if chance.random() < 0.8 else []
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(_LINES))
    if chance.random() < 0.1:
        lines += ["X: " + "a" * chance.choice((1, 2000, 70_000))] * chance.choice((1, 50, 120))
    return _head(f"{method} {target} {version}", *lines) + body


def _changed(chance: random.Random) -> bytes:
    """A request in which some bytes are others."""
    sent = bytearray(_with_odd_body(chance))
    end = sent.index(b"\r\n\r\n") + 4
    for _ in range(chance.choice((1, 1, 3, 10))):
        at = chance.randrange(min(end, len(sent)) if chance.random() < 0.8 else len(sent))
        match chance.randrange(3):
            case 0:
                sent[at] = chance.randrange(256)
            case 1:
                sent[at:at] = chance.choice((b"\r", b"\n", b"\r\n", b" ", b"\0", b":", b"\xff"))
            case _:
                del sent[at : at + chance.choice((1, 2, 30))]
    return bytes(sent)


def _noise(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(chance.choice((1, 10, 1000)))
    return chance.choice(_NOISE)
