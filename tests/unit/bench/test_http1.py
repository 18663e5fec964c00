"""The bench's client takes an answer for whole when its own framing says so, and not before."""

import pytest

from bench.http1 import Response

LENGTH = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"

both = pytest.mark.parametrize("answer", [LENGTH, CHUNKED], ids=["length", "chunked"])


def fed(*pieces: bytes) -> Response:
    response = Response()
    for piece in pieces:
        response.feed(piece)
    return response


@both
def test_answer_is_read_wherever_it_is_cut(answer: bytes) -> None:
    for place in range(1, len(answer)):
        assert not fed(answer[:place]).complete
        response = fed(answer[:place], answer[place:])

        assert response.complete
        assert (response.status, bytes(response.body)) == (200, b"hello world")


@both
def test_answer_is_read_byte_by_byte(answer: bytes) -> None:
    response = fed(*(answer[place : place + 1] for place in range(len(answer))))

    assert response.complete
    assert response.body == b"hello world"


def test_body_grows_with_each_whole_chunk() -> None:
    response = fed(CHUNKED[: CHUNKED.index(b"5\r\nworld") + 6])

    assert response.body == b"hello "


def test_empty_body_is_complete_with_its_head() -> None:
    response = fed(EMPTY)

    assert response.complete
    assert response.status == 204


@both
def test_bytes_after_the_end_are_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match="after the end"):
        fed(answer + b"x")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -\r\n\r\n", "invalid literal"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "not both",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "does not end",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "invalid literal"),
    ],
)
def test_what_is_framed_wrongly_is_an_error(answer: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        fed(answer)
