"""Run every test, in two processes side by side, each with its own report.

usage: run_tests.py FOLDER [ARGUMENT...]

One has the tests that become clients on the machine itself and share its uids; they
would be in each other's way. The other has the rest. Arguments are pytest's, and have
it run in one process.

The reports are FOLDER/junit-*.xml. What the first process prints is seen as it comes,
what the other one does at the end.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

_TESTS = Path("tests")
_ON_THE_MACHINE = ("end_to_end", "packaging", "privileged", "server")


def main(arguments: list[str]) -> int:
    """Run them; return 1 if a test failed or none ran."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    folder, given = Path(arguments[0]), arguments[1:]
    folder.mkdir(exist_ok=True)
    for old in folder.glob("junit-*.xml"):
        old.unlink()
    if given:
        return _pytest("all", folder, given).wait()
    others = sorted(
        {
            path.relative_to(_TESTS).parts[0] for path in _TESTS.rglob("test_*.py")
        }.difference(_ON_THE_MACHINE)
    )
    said = folder / "tests-others.log"
    with ExitStack() as stack:
        output = stack.enter_context(said.open("wb"))
        running = [
            _pytest("others", folder, _paths(others), output),
            _pytest("machine", folder, _paths(_ON_THE_MACHINE)),
        ]
        for each in running:
            # Whatever ends this ends them.
            stack.callback(each.wait)
            stack.callback(each.terminate)
        statuses = [each.wait() for each in running]
    print(f"\n=== the other tests\n{said.read_text('utf-8', 'replace')}")
    return int(any(statuses))


def _paths(rooms: list[str] | tuple[str, ...]) -> list[str]:
    return [str(_TESTS / room) for room in rooms]


def _pytest(
    name: str, folder: Path, arguments: list[str], output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "coverage", "run", "-m", "pytest",
            f"--junit-xml={folder / f'junit-{name}.xml'}",
            "-o", f"cache_dir=.pytest_cache/{name}", *arguments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
