"""Bodies that came whole, as small ones do.

Unusual code: it works on attributes that aiohttp calls its own. tests/unit/upstream/test_content.py
holds them to what is expected of them (aiohttp 3.14).
"""

from aiohttp import StreamReader


def take_at_once(content: StreamReader) -> bytes | None:
    """All of a body that is there, in one piece; None if it is not so. `read_nowait` takes six
    calls for it and 3 us.
    """
    if type(content) is not StreamReader:  # it may be aiohttp's own for no body at all
        return None
    buffer = content._buffer
    if not content._eof or len(buffer) != 1 or content._buffer_offset or content._exception:
        return None
    content._cursor += content._size
    content._size = 0
    return buffer.popleft()
