"""What befalls a server that writes its trail, again and again; nothing gets lost.

usage: trail.py [CASE=TIMES ...] [--json]

kills          kill -9 at any moment under load
clock steps    the same while the clock is set back and forth
full disk      a disk without a free byte
read-only      a disk that the kernel makes read-only in the middle
write errors   writes and flushes that fail below the store
power cuts     kill -9, and what was not flushed is gone

After each: no acknowledged record is lost or doubled, the chain verifies, no act was
done without its record, and the server works again when the disk does. The two cases
`naive: early` and `naive: unflushed` must fail: a server that acts before the record is
durable, and one that does not flush. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.soak.disks import have_own_mounts
from tests.soak.trail_cases import CASES


def tell(name: str, folder: Path, times: int, *, as_json: bool) -> bool:
    """Run a case, print what came of it, and say whether that is as it should be."""
    began = time.monotonic()
    judges = CASES[name](folder, times)
    found = sum((judge.count for judge in judges), Counter[str]())
    problems = [problem for judge in judges for problem in judge.problems]
    said = {"case": name, "count": found, "problems": problems}
    if as_json:
        print(json.dumps(said), flush=True)
    else:
        print(f"{name}: {dict(found)} in {time.monotonic() - began:.0f} s", flush=True)
        for problem in problems[:20]:
            print(f"  {problem}", flush=True)
    return bool(problems) == name.startswith("naive")


def main() -> int:
    """Read the arguments, run the cases, and tell what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE=TIMES")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak test needs root: it mounts disks")
        return 1
    have_own_mounts()
    is_right = True
    for case in given.cases or [f"{name}=5" for name in CASES]:
        name, _, times = case.partition("=")
        with tempfile.TemporaryDirectory(prefix="stead-soak-") as folder:
            is_right &= tell(name, Path(folder), int(times), as_json=given.json)
    print("nothing was lost" if is_right else "NOT AS IT SHOULD BE", file=sys.stderr)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
