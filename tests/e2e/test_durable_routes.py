"""What the admin API has accepted is there after the process was killed."""

import signal

import aiohttp

from tests.e2e.conftest import StartProcess

ANY_PORT = ("--listen", "127.0.0.1:0")


async def test_a_route_that_was_accepted_survives_kill_9(start_process: StartProcess) -> None:
    process = start_process(*ANY_PORT)
    for number in range(3):
        endpoint = {"provider": "local", "model_id": f"m{number}"}
        async with aiohttp.ClientSession(process.url) as session:
            route = {"model": f"r{number}", "endpoints": [endpoint]}
            async with session.post("/admin/routes", json=route) as response:
                status = response.status
                process.send(signal.SIGKILL)  # nothing comes between the answer and this
        assert status == 200
        assert process.wait() == -signal.SIGKILL
        process = start_process(*ANY_PORT)
        async with (
            aiohttp.ClientSession(process.url) as session,
            session.get("/admin/routes") as response,
        ):
            routes = (await response.json())["routes"]
        assert [route["model"] for route in routes] == [f"r{n}" for n in range(number + 1)]
        assert routes[-1]["endpoints"][0]["model_id"] == f"m{number}"
