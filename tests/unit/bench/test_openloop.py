"""At a fixed rate a request's latency counts from when it was due."""

import asyncio

from bench import chat
from bench.http1 import http_request
from bench.openloop import SCENARIO, run
from bench.scenarios import request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(chat.WHOLE), chat.WHOLE)
STALL_S = 0.5


async def test_a_stall_counts_for_all_who_were_due_in_it() -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.read(len(request(SCENARIO))):
            asked += 1
            if asked > 300:  # warm, and a third of the rest
                await stalled.wait()
            writer.write(ANSWER)
        writer.close()

    stalled = asyncio.Event()
    asyncio.get_running_loop().call_later(STALL_S + 0.3, stalled.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with asyncio.timeout(20):
        seen = await run(server.sockets[0].getsockname()[1], rate=600, seconds=0.5)
    server.close()

    assert seen.requests == 300
    # A closed loop would have asked 64 times in the stall, and not have counted the wait of most.
    assert seen.p50_us > 50_000
    assert seen.worst_us >= seen.p99_us >= seen.p50_us


def test_it_asks_what_the_closed_loop_asks() -> None:
    assert request(SCENARIO).startswith(http_request(chat.PATH, chat.HEADER_LINES, b"")[:40])
