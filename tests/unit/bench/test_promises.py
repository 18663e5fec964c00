"""What is provoked is timed rightly, and judged without what the machine does."""

import asyncio
import time

import pytest

from bench.process import free_port
from bench.promises import Times, judge, render
from bench.provoke import HALF, SILENT, STREAM, Provider, ask, get, leave
from bench.pulse import Stalls, watched

ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"


def times(*seconds: float) -> Times:
    spans = [(10.0 * number, 10.0 * number + one) for number, one in enumerate(seconds)]
    return Times("a promise", "no load", 50.0, spans)


def test_a_promise_is_judged_by_all_but_one_of_a_hundred() -> None:
    kept = judge(times(*[0.001] * 199, 0.9), Stalls())
    broken = judge(times(*[0.001] * 197, 0.06, 0.06, 0.9), Stalls())

    assert (kept.is_kept, kept.count, round(kept.worst_ms)) == (True, 200, 900)
    assert (broken.is_kept, round(broken.p99_ms), round(broken.median_ms)) == (False, 60, 1)
    assert [line[-6:] for line in render([kept, broken]).splitlines()[1:]] == [": kept", "BROKEN"]


@pytest.mark.parametrize(
    ("stall", "left_out"),
    [((9.9, 10.1), 1), ((9.0, 11.0), 1), ((10.4, 10.6), 1), ((11.0, 19.0), 0)],
)
def test_what_the_machine_stood_still_in_is_left_out(
    stall: tuple[float, float], left_out: int
) -> None:
    stalls = Stalls()
    stalls.add([(3.0, 4.0), stall])

    found = judge(times(0.001, 0.5, 0.001), stalls)

    assert (found.left_out, found.count) == (left_out, 3 - left_out)


def test_nothing_is_judged_by_nothing() -> None:
    stalls = Stalls()
    stalls.add([(0.0, 100.0)])

    with pytest.raises(RuntimeError, match="stood still whenever"):
        judge(times(0.001), stalls)


def test_a_pulse_ends_with_its_watch() -> None:
    with watched([0]) as stalls:
        assert stalls.spans == []

    assert all(since < until for since, until in stalls.spans)


@pytest.mark.parametrize("model", [SILENT, HALF, STREAM])
async def test_a_client_that_leaves_is_timed_until_the_provider_notices(model: str) -> None:
    """In place of the router stands what passes bytes on, and says when it hangs up."""
    provider = Provider()
    port = free_port()
    hung_up_at: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer, asked = await asyncio.open_connection("127.0.0.1", port)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        asked.write(head + (await reader.readexactly(length)).replace(b"odd:", b""))
        if model != SILENT:
            writer.write(await answer.read(1000))
        await reader.read()
        hung_up_at.append(time.monotonic())
        asked.close()
        writer.close()

    async with asyncio.timeout(10):
        upstream = await provider.listen(port, at_once=False)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        since, until = await leave(server.sockets[0].getsockname()[1], model, provider)
    server.close()
    upstream.close()

    assert since <= hung_up_at[0] <= until


async def test_another_answer_than_was_promised_ends_it() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        since, until = await ask(port, get("/x"), 404)
        with pytest.raises(RuntimeError, match="404 where 200 was expected"):
            await ask(port, get("/x"), 200)
    server.close()

    assert until > since
