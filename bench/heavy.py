"""A provider of large answers: run as `python -m bench.heavy PORT`.

The first segment of the path says what the answer is: `small`, `whole-TEXT-MB` and `event-MB`. Each
connection has a thread of its own, and each large answer is made before it is asked for.
"""

import functools
import socketserver
import sys
from typing import Final

from bench import chat
from bench.content import ANSWER, WORD

MB: Final = 1_000_000
_JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_EVENTS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def filling(kind: str, size: int) -> bytes:
    """So many bytes that can stand in a JSON string: letters, or text with escapes."""
    piece = b"abcdefghij" if kind == "letters" else b'quick \\"brown\\" fox,\\n \xc3\xa9t\xc3\xa9 '
    return piece * (size // len(piece))


@functools.cache
def answer(what: str) -> bytes:
    """The HTTP response that is asked for by `what`."""
    kind, *rest = what.split("-")
    if kind == "whole":
        body = chat.WHOLE.replace(ANSWER.encode(), filling(rest[0], int(rest[1]) * MB))
    elif kind == "event":
        large = chat.EVENTS[0].replace(WORD.encode(), filling("text", int(float(rest[0]) * MB)))
        return _EVENTS + b"".join((chat.EVENTS[0], large, *chat.EVENTS[1:]))
    else:
        body = chat.WHOLE
    return _JSON % len(body) + body


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer what is asked, until there is no more, or the answer ends with the connection."""
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()).strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            while length:
                length -= len(self.rfile.read(min(length, MB)))
            what = line.split(b" ")[1].split(b"/")[1].decode()
            self.wfile.write(answer(what))
            if what.startswith("event"):
                return


class Server(socketserver.ThreadingTCPServer):
    """Serves until the process is ended."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
