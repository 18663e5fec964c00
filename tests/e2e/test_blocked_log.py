"""Nobody reads standard error any more: requests are answered, and the end is an end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.support.dialects import CHAT, settings
from tests.support.process import LIMIT_S, environment

REQUESTS = 600  # whose lines are more than twice what a pipe holds


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A router of whose standard error the banner was read and nothing since; and its address."""
    given = settings(CHAT, "http://127.0.0.1:1")
    (tmp_path / "bitrouter.yaml").write_text(yaml.safe_dump(given))
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "bitrouter", "serve", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writing,
    )
    os.close(writing)
    found = None
    said = b""
    while found is None and (more := os.read(reading, 4096)):
        said += more
        found = re.search(rb"listening on (\S+)", said)
    assert found is not None, said.decode()
    yield process, found[1].decode()
    process.kill()
    process.wait(LIMIT_S)
    os.close(reading)


async def test_a_blocked_standard_error_holds_up_neither_requests_nor_the_end(
    stuck: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, url = stuck
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(url, timeout=timeout) as client:
        for _ in range(REQUESTS):
            async with client.post(CHAT.path(), json=CHAT.body("none-such" * 20)) as response:
                assert response.status == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
