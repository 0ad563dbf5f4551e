"""Put random plain questions to the judge and to Samba's, and compare the answers.

usage: compare_samba.py [--cases N] [--seed N]

The oracle around python3-samba is kept outside this repository, beside the vectors (see
check_floors.py); it runs under the system's Python, which has Samba's bindings. Where
either is missing nothing can be compared, and this program says so.

Plain means what both judge by the same rules: allow and deny entries without generic
rights, enabled groups, an owner, OWNER RIGHTS entries, MAXIMUM_ALLOWED, and of the
privileges SeSecurity and SeTakeOwnership. One difference is known and allowed for:
where MAXIMUM_ALLOWED yields nothing, Samba answers success with nothing granted.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from check_floors import vectors

from stead.decision.access_check import access_check
from stead.decision.fast import is_granted
from stead.errors import SteadError
from stead.model.access_mask import FILE_MAPPING, AccessMask
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, TokenGroup

Case = dict[str, Any]

PYTHON = "/usr/bin/python3"
MAXIMUM = int(AccessMask.MAXIMUM_ALLOWED)
OWNER_RIGHTS = "S-1-3-4"
SIDS = [f"S-1-5-21-1-2-3-{rid}" for rid in range(1001, 1009)]
WELL_KNOWN = ["S-1-1-0", "S-1-5-11", "S-1-5-32-544", "S-1-5-32-545"]
RIGHTS = [1 << bit for bit in (*range(9), 16, 17, 18, 19, 20)]
PRIVILEGES = ["SeSecurityPrivilege", "SeTakeOwnershipPrivilege"]


def mask(rng: random.Random) -> int:
    """Return some rights, seldom none."""
    chosen = rng.sample(RIGHTS, rng.choice((1, 1, 2, 3, 5, 14)))
    return sum(chosen)


def entry(rng: random.Random) -> str:
    """Return one entry in SDDL: allow more often than deny, inherit-only at times."""
    kind = rng.choice("AAAD")
    flags = rng.choice(("", "", "", "", "", "OICIIO", "ID"))
    trustee = rng.choice((*SIDS, *WELL_KNOWN, OWNER_RIGHTS))
    return f"({kind};{flags};{mask(rng):#x};;;{trustee})"


def question(rng: random.Random, number: int) -> Case:
    """Return one random question in the oracle's form."""
    entries = "".join(entry(rng) for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13))))
    owner, group = rng.choice((*SIDS, "S-1-5-32-544")), rng.choice(SIDS)
    desired, privileges = mask(rng), []
    if rng.random() < 0.3:
        desired = MAXIMUM | (desired if rng.random() < 0.3 else 0)
    elif rng.random() < 0.3:
        privileges = rng.sample(PRIVILEGES, rng.choice((1, 2)))
        if rng.random() < 0.5:
            desired |= int(AccessMask.ACCESS_SYSTEM_SECURITY)
    others = rng.sample((*SIDS[1:], *WELL_KNOWN), rng.choice((0, 1, 2, 4)))
    return {
        "id": number,
        "sddl": f"O:{owner}G:{group}D:{entries}",
        "sids": [SIDS[0], *others],
        "privileges": privileges,
        "desired": desired,
    }


def ours(case: Case) -> tuple[bool, int]:
    """Answer a question with both doors of the judge, which must agree.

    Raises:
        SteadError: the doors disagree.
    """
    user, *groups = (Sid.from_string(text) for text in case["sids"])
    held = tuple(TokenPrivilege(Privilege(name)) for name in case["privileges"])
    token = AccessToken(user, tuple(TokenGroup(sid) for sid in groups), held)
    descriptor = SecurityDescriptor.from_sddl(case["sddl"])
    decision = access_check(token, descriptor, case["desired"], FILE_MAPPING)
    if decision.allowed != is_granted(token, descriptor, case["desired"], FILE_MAPPING):
        raise SteadError("the two doors of the judge disagree")
    return decision.allowed, decision.granted


def theirs(answer: Case) -> tuple[bool, int]:
    """Read the oracle's answer; success with nothing granted is no success here."""
    granted = 0 if answer["error"] else answer["granted"]
    return bool(granted), granted


def answers(oracle: Path, cases: list[Case]) -> Iterator[Case]:
    """Put all questions to the oracle and yield its answers in their order."""
    with subprocess.Popen(
        [PYTHON, str(oracle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = (json.dumps(case) + "\n" for case in cases)
        writer = threading.Thread(target=_write, args=(process.stdin, lines))
        writer.start()
        for _ in cases:
            yield json.loads(process.stdout.readline())
        writer.join()


def _write(stream: Any, lines: Iterator[str]) -> None:
    stream.writelines(lines)
    stream.close()


def is_there() -> bool:
    """Tell whether the system's Python has Samba's bindings."""
    probe = [PYTHON, "-c", "import samba.dcerpc.security"]
    try:
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def main(arguments: list[str]) -> int:
    """Compare and print every difference, up to ten."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=20_260_101)
    options = parser.parse_args(arguments)
    oracle = vectors() / "samba_oracle.py"
    if not oracle.exists() or not is_there():
        print("samba: not compared, the oracle or python3-samba is not on this machine")
        return 0
    rng = random.Random(options.seed)  # noqa: S311 - reproducible input, not secrets
    cases = [question(rng, number) for number in range(options.cases)]
    granted = wrong = 0
    for case, answer in zip(cases, answers(oracle, cases), strict=True):
        mine, other = ours(case), theirs(answer)
        granted += mine[0]
        if mine != other:
            wrong += 1
            if wrong <= 10:
                print(f"differs: {json.dumps(case)}: {mine}, Samba {other} {answer}")
    print(f"samba: {len(cases)} cases, {granted} granted, {wrong} answered differently")
    return 1 if wrong or not granted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
