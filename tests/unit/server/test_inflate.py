"""Decompression a piece at a time, against zlib's own."""

import contextlib
import gzip
import random
import zlib
from collections.abc import Callable

import pytest

from bitrouter.errors import InvalidRequest
from bitrouter.server.inflate import Inflater

MIB = 1 << 20


def bare(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


def pieces(data: bytes, coding: str) -> list[bytes]:
    inflater = Inflater(data, coding)
    return [*iter(inflater.read, b"")]


WAYS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
}
DATA = {
    "nothing": b"",
    "a byte": b"x",
    "text": b'{"a": 1}' * 1000,
    "noise": random.Random(1).randbytes(3 * MIB),
    "zeros": bytes(5 * MIB + 1),
    "zeros, then noise": bytes(3 * MIB) + random.Random(2).randbytes(MIB),
    "noise, then zeros": random.Random(3).randbytes(MIB) + bytes(3 * MIB),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize(("coding", "compress"), WAYS.values(), ids=WAYS)
def test_it_gives_back_what_was_compressed_in_pieces_of_at_most_a_mib(
    coding: str, compress: Callable[[bytes], bytes], data: bytes
) -> None:
    got = pieces(compress(data), coding)
    assert b"".join(got) == data
    assert max(map(len, got), default=0) <= MIB


@pytest.mark.parametrize(("coding", "compress"), WAYS.values(), ids=WAYS)
def test_what_is_cut_anywhere_is_refused(coding: str, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(b'{"a": 1}' * 10)
    for end in range(len(whole)):
        with pytest.raises(InvalidRequest):
            pieces(whole[:end], coding)


@pytest.mark.parametrize(("coding", "compress"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("more", [b"x", bytes(MIB)])
def test_what_goes_on_after_its_end_is_refused(
    coding: str, compress: Callable[[bytes], bytes], more: bytes
) -> None:
    with pytest.raises(InvalidRequest, match="goes on"):
        pieces(compress(b"x" * 100) + more, coding)


@pytest.mark.parametrize(("coding", "compress"), WAYS.values(), ids=WAYS)
def test_noise_never_raises_anything_else(coding: str, compress: Callable[[bytes], bytes]) -> None:
    chance = random.Random(4)
    whole = compress(b'{"messages": []}' * 20)
    for _ in range(2000):
        broken = bytearray(whole)
        broken[chance.randrange(len(broken))] = chance.randrange(256)
        with contextlib.suppress(InvalidRequest):
            pieces(bytes(broken), coding)
