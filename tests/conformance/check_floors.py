"""Drive the client over the recorded vectors and hold every set to its floor.

usage: check_floors.py [--raise]

The vectors and their runner are kept outside this repository: in the folder that
`STEAD_CONFORMANCE` names, or else in `shared/conformance` beside the repository. Where
neither exists nothing can be compared, and this program says so.

`floors.json` holds how many answers of each set were right at the last count. Fewer
is a failure; `--raise` writes the new numbers down once there are more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLOORS = HERE / "floors.json"
_LINE = re.compile(r"^(\w+) +(\d+) of +(\d+) +[\d.]+ %$")


def vectors() -> Path:
    """Name the folder that holds the vectors and their runner."""
    named = os.environ.get("STEAD_CONFORMANCE")
    return Path(named) if named else ROOT.parent / "shared" / "conformance"


def count(folder: Path) -> dict[str, int]:
    """Run the client over all sets and count the right answers of each.

    Raises:
        CalledProcessError: the client stopped or broke the protocol.
    """
    client = [sys.executable, str(HERE / "client.py")]
    runner = [sys.executable, str(folder / "run_vectors.py")]
    ran = subprocess.run(
        [*runner, "--show", "0", "--min", "0", "--", *client],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(ran.stdout, end="")
    found = (_LINE.match(line) for line in ran.stdout.splitlines())
    return {match[1]: int(match[2]) for match in found if match}


def compare(floors: dict[str, int], counted: dict[str, int]) -> list[str]:
    """Say which sets fell, vanished or have no floor."""
    wrong = [
        f"{name}: {counted.get(name, 0)} right, the floor is {floor}"
        for name, floor in floors.items()
        if counted.get(name, 0) < floor
    ]
    unnamed = counted.keys() - floors.keys()
    return wrong + [f"{name}: has no floor in floors.json" for name in sorted(unnamed)]


def main(arguments: list[str]) -> int:
    """Compare, and raise the floors if asked to."""
    folder = vectors()
    if not folder.is_dir():
        print("conformance: not compared, the vectors are not on this machine")
        return 0
    floors: dict[str, int] = json.loads(FLOORS.read_text("utf-8"))
    counted = count(folder)
    if arguments == ["--raise"]:
        raised = {k: max(v, floors.get(k, 0)) for k, v in sorted(counted.items())}
        FLOORS.write_text(json.dumps(raised, indent=2) + "\n", "utf-8")
        floors = raised
    wrong = compare(floors, counted)
    if not counted:
        wrong.append("the runner reported no set at all")
    for line in wrong:
        print(f"below the floor: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
