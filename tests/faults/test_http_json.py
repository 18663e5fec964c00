"""JSON that is none, or that few can read, at every place of a request: passed on or translated."""

import io
import json
import logging

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import DIALECTS, Dialect
from tests.support.fuzz.bodies import paths, with_value
from tests.support.fuzz.requests import MODELS
from tests.support.fuzz.rich import RICH
from tests.support.fuzz.run import Provider, settings
from tests.support.router import RunningRouter
from tests.support.upstream import ScriptedUpstream

JSON = {"Content-Type": "application/json"}
# Each client with a provider of its own protocol, and of the next one.
PAIRS = [
    *zip(DIALECTS, DIALECTS, strict=True),
    *zip(DIALECTS, DIALECTS[1:] + DIALECTS[:1], strict=True),
]
pairs = pytest.mark.parametrize(
    ("client", "server"), PAIRS, ids=[f"{one.name} to {other.name}" for one, other in PAIRS]
)


@pytest.fixture
async def router(
    start_router: StartRouter, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> RunningRouter:
    caplog.set_level(logging.WARNING)
    return await start_router(settings(upstream.url))


@pytest.fixture
def provider(upstream: ScriptedUpstream) -> Provider:
    """Answers, and judges what the router sends on."""
    upstream.script = judge = Provider()
    return judge


def rich(client: Dialect, server: Dialect) -> dict[str, object]:
    """A request of the client's protocol, with something of everything."""
    request = dict(RICH[client.name])
    if "model" in request:
        request["model"] = MODELS[server.name]
    return request


async def ask(router: RunningRouter, client: Dialect, server: Dialect, body: bytes) -> int:
    """The status; an error must have the client's shape."""
    path = client.path(MODELS[server.name])
    async with router.http.post(path, data=io.BytesIO(body), headers=JSON) as answer:
        got = await answer.read()
        if answer.status != 200:
            client.error(got, answer.status)
        return answer.status


async def ask_everywhere(
    router: RunningRouter, client: Dialect, server: Dialect, value: bytes
) -> dict[str, int]:
    """The statuses with `value` in the place of each value of a request."""
    request = rich(client, server)
    return {
        "/".join(map(str, path)): await ask(
            router, client, server, with_value(request, path, value)
        )
        for path in paths(request)
        if path != ("model",)
    }


NO_JSON = {
    "half a surrogate": rb'"\ud800"',
    "not a number": b"NaN",
    "a control character": b'"\x01"',
    "invalid UTF-8": b'"\xff"',
    "a depth that nobody can follow": b"[" * 9000 + b"]" * 9000,
}


@pairs
@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
async def test_what_is_no_json_is_a_400_wherever_it_stands(
    router: RunningRouter,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    client: Dialect,
    server: Dialect,
    value: bytes,
) -> None:
    statuses = await ask_everywhere(router, client, server, value)
    assert {place: status for place, status in statuses.items() if status != 400} == {}
    assert (provider.asked, caplog.messages) == (0, [])


HARD = {
    "thousands of digits": b"9" * 5000,
    "beyond a double": b"-1e400",
    "three hundred levels": b'{"a":' * 300 + b"0" + b"}" * 300,
    "the same key twice": b'{"type":"text","text":"a","type":"x","text":"b"}',
    "a key that is empty, and one with a NUL": rb'{"":1,"\u0000":2}',
}


@pairs
@pytest.mark.parametrize("value", HARD.values(), ids=HARD)
async def test_what_is_hard_to_read_is_passed_on_or_a_400_and_never_a_fault(
    router: RunningRouter,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    client: Dialect,
    server: Dialect,
    value: bytes,
) -> None:
    statuses = await ask_everywhere(router, client, server, value)
    assert {place: status for place, status in statuses.items() if status not in (200, 400)} == {}
    assert provider.wrong == []
    assert caplog.messages == []
    if client is server:
        assert statuses["unknown/x"] == 200  # the router need not understand it


@pairs
async def test_a_key_twice_at_the_top_is_a_400_whatever_it_is(
    router: RunningRouter, provider: Provider, client: Dialect, server: Dialect
) -> None:
    request = rich(client, server)
    for name, value in request.items():
        twice = b"{%b:%b,%b" % (
            json.dumps(name).encode(),
            json.dumps(value).encode(),
            json.dumps(request).encode()[1:],
        )
        assert await ask(router, client, server, twice) == 400, name
    assert provider.asked == 0
