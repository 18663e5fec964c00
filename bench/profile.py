"""Where the router's time goes, as a flame graph. `make bench-profile`.

py-spy samples the process under one scenario's load, C functions included if `--native` is given,
and writes an SVG under bench/results/. It is not among the project's dependencies:
`.venv/bin/pip install py-spy`. Attaching to a process may need root, or
`sysctl kernel.yama.ptrace_scope=0`.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench import report
from bench.driver import drive
from bench.process import ROOT
from bench.run import start_targets
from bench.runs import BARE, ROUTER
from bench.scenarios import SCENARIOS

_SAMPLES_A_SECOND: Final = 400
_MARGIN_S: Final = 1.0


def main() -> int:
    """Profile what the command line names. 1 if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    names = [one.name for one in SCENARIOS]
    parser.add_argument("scenario", nargs="?", default="0.3kB-whole-c64", choices=names)
    parser.add_argument("--target", choices=(ROUTER, BARE), default=ROUTER)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--native", action="store_true", help="show functions written in C")
    given = parser.parse_args()
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if spy is None:
        print("py-spy is not installed; see `python -m bench.profile --help`", file=sys.stderr)
        return 1
    scenario = SCENARIOS[names.index(given.scenario)]
    file = report.result_file(report.describe_host(), f"{given.scenario}.flame.svg")
    with contextlib.ExitStack() as stack:
        target = start_targets(stack)[given.target]
        command = [
            *(spy, "record", "--pid", str(target.pid), "--output", str(file)),
            *("--duration", str(given.seconds), "--rate", str(_SAMPLES_A_SECOND)),
            *(["--native"] if given.native else []),
        ]
        recorder = stack.enter_context(subprocess.Popen(command))
        drive(target, [scenario], given.seconds + _MARGIN_S)
        if recorder.wait():
            return 1
    print(f"The flame graph: {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
