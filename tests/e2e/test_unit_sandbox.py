"""The router runs with the system calls that its unit leaves it, and without writable code.

systemd itself need not run: its tools say what is in a group of calls, and libseccomp filters them
just as systemd has it do.
"""

import ctypes.util
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.support.dialects import CHAT, settings
from tests.support.process import RouterProcess
from tests.support.upstream import ScriptedUpstream, sse

UNIT = Path(__file__).parents[2] / "conf" / "systemd" / "bitrouter.service"
PROMPTLY_S = 15.0

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None,
    reason="needs systemd-analyze and libseccomp",
)

# Becomes the command after it. seccomp_rule_add(3): ALLOW is 0x7fff0000, ERRNO(EPERM) 0x00050001;
# prctl(2): PR_SET_MDWE is 65, which is what MemoryDenyWriteExecute= uses where the kernel has it.
CONFINE = """
import ctypes, ctypes.util, os, sys
seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"))
seccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(seccomp.seccomp_init(0x00050001))
for name in sys.argv[1].split(","):
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0 and seccomp.seccomp_rule_add(context, 0x7FFF0000, number, 0):
        sys.exit(f"no rule for {name}")
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
if seccomp.seccomp_load(context):
    sys.exit("the filter cannot be loaded")
os.execv(sys.argv[2], sys.argv[2:])
"""


def members(group: str) -> set[str]:
    """The calls in one of systemd's groups, those of groups within it too."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", group],
        capture_output=True,
        text=True,
        timeout=PROMPTLY_S,
        check=True,
    ).stdout
    named = re.findall(r"^ +([@a-z_0-9-]+)$", said, re.MULTILINE)
    inner = [members(name) for name in named if name.startswith("@")]
    return {name for name in named if not name.startswith("@")}.union(*inner)


def allowed() -> set[str]:
    """The calls that the unit allows. systemd allows @default in any case."""
    given, denied = re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert denied.startswith("~")
    calls = set[str]().union(*map(members, given.split()))
    for group in denied[1:].split():
        calls -= members(group)
    return calls | members("@default")


def write(file: Path, url: str) -> None:
    file.write_text(yaml.safe_dump(settings(CHAT, url)))


def status_of(process: RouterProcess) -> str:
    return Path(f"/proc/{process.pid}/status").read_text()


async def test_it_serves_reloads_and_drains_with_the_calls_that_its_unit_allows(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    calls = allowed()
    assert "accept4" in calls
    assert "setrlimit" not in calls
    write(tmp_path / "bitrouter.yaml", upstream.url)
    before = [sys.executable, "-c", CONFINE, ",".join(sorted(calls))]
    process = RouterProcess("--listen", "127.0.0.1:0", cwd=tmp_path, before=before)
    try:
        assert "Seccomp:\t2\n" in status_of(process)  # a filter is in force: proc(5)
        upstream.script = sse(*CHAT.events)
        async with aiohttp.ClientSession(process.url) as session:
            async with session.post(CHAT.path(), json=CHAT.body(stream=True)) as response:
                assert await response.read() == b"".join(CHAT.events)
            route = {"model": "n", "endpoints": [{"provider": "p1", "model_id": "x"}]}
            async with session.post("/admin/routes", json=route) as response:
                assert response.status == 200
            async with session.post("/admin/reload") as response:
                assert response.status == 200
            async with session.get("/metrics", headers={"Accept": "text/plain"}) as response:
                assert response.status == 200
        process.send(signal.SIGTERM)
        assert process.wait(PROMPTLY_S) == 0
        assert "Traceback" not in process.text
    finally:
        process.stop()
