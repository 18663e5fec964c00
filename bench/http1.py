"""As much of HTTP/1.1 as a client on a connection of its own needs. Source: RFC 9112."""

from typing import Final

_HEAD_END: Final = b"\r\n\r\n"


def http_request(path: str, header_lines: bytes, body: bytes) -> bytes:
    """A POST of JSON, as a client library would send it. Each header line ends in CRLF."""
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (path.encode(), header_lines, len(body), body)
    )


class Response:
    """One answer, read as it comes. What it raises is ValueError, for anything but one whole
    answer that says its length or is chunked. `closes` is that it is the last on its connection.
    """

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.complete = False
        self.closes = False
        self._unread = bytearray()
        self._missing: int | None = None  # bytes of the body; None if it is chunked

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the connection."""
        self._unread += data
        if not self.status and not self._read_head():
            return
        if self._missing is None:
            self._read_chunks()
        else:
            self._missing -= len(self._unread)
            self._take(len(self._unread))
            self.complete = self._missing <= 0
        if self.complete and (self._unread or self._missing):
            raise ValueError("there are bytes after the end of the answer")

    def _read_head(self) -> bool:
        end = self._unread.find(_HEAD_END)
        if end < 0:
            return False
        status_line, *lines = bytes(self._unread[:end]).split(b"\r\n")
        del self._unread[: end + len(_HEAD_END)]
        version, _, rest = status_line.partition(b" ")
        if version != b"HTTP/1.1":
            raise ValueError(f"not HTTP/1.1: {status_line!r}")
        self.status = int(rest[:3])
        fields = dict(_field(line) for line in lines)
        self.closes = fields.get(b"connection") == b"close"
        is_chunked = fields.get(b"transfer-encoding") == b"chunked"
        if is_chunked == (b"content-length" in fields):
            raise ValueError("the answer has to say its length or be chunked, and not both")
        if not is_chunked:
            self._missing = int(fields[b"content-length"])
        return True

    def _read_chunks(self) -> None:
        """Take every chunk that is there as a whole."""
        while (line_end := self._unread.find(b"\r\n")) >= 0:
            size = int(self._unread[:line_end], 16)
            chunk_end = line_end + 2 + size
            if len(self._unread) < chunk_end + 2:
                return
            if self._unread[chunk_end : chunk_end + 2] != b"\r\n":
                raise ValueError("a chunk does not end where its size says")
            del self._unread[: line_end + 2]
            self._take(size)
            del self._unread[:2]
            if not size:
                self.complete = True
                return

    def _take(self, size: int) -> None:
        self.body += self._unread[:size]
        del self._unread[:size]


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip().lower()
