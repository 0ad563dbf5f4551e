"""Compare the twins in C with Python on random questions, under sanitizers.

usage: twin.py build FOLDER    build the twins in FOLDER with -fsanitize
       twin.py run FOLDER [--seconds N] [--seed N]

`make twin-sanitized` does both. What runs must have the sanitizer's library loaded
before Python; `build` prints its path.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import random
import subprocess
import sys
import sysconfig
import time
from array import array
from dataclasses import replace
from pathlib import Path

import twin_blocks
import twin_passes
import twin_records
import twin_sealing

_ROOT = Path(__file__).parents[2] / "src"
_NAMES = (
    "stead.decision._fast",
    "stead.ledger._canonical",
    "stead.ledger._sealing",
    "stead.monitor._frames",
    "stead.privileged._switch",
)
_SANITIZERS = "-fsanitize=address,undefined"


def build(folder: Path) -> None:
    """Build the twins with the sanitizers, and print what is to be preloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "gcc")
    options = [
        "-std=c11", "-O1", "-g", "-shared", "-fPIC", "-fno-omit-frame-pointer",
        "-fno-sanitize-recover=all", _SANITIZERS, "-Wall", "-Wextra", "-Werror",
        f"-I{sysconfig.get_path('include')}",
    ]  # fmt: skip
    for name in _NAMES:
        place, _, stem = name.replace(".", "/").rpartition("/")
        sources = map(str, sorted((_ROOT / place).glob(f"{stem}*.c")))
        output = ["-o", str(_built(folder, name))]
        subprocess.run([compiler, *options, *sources, *output], check=True)
    names = ["libclang_rt.asan-x86_64.so"] if "clang" in compiler else ["libasan.so"]
    for name in names:
        asked = [compiler, f"-print-file-name={name}"]
        print(subprocess.check_output(asked, text=True).strip())


def _built(folder: Path, name: str) -> Path:
    return folder / (name.rpartition(".")[2] + ".abi3.so")


def load(folder: Path) -> None:
    """Have Stead use those twins."""
    for name in _NAMES:
        path = str(_built(folder, name))
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise SystemExit(f"`{path}` cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module


def run(seconds: float, seed: int) -> int:
    """Compare until the time is over; return how often."""
    from stead.decision import twin

    if twin.TWIN is None:
        raise SystemExit("the twin is not there")
    source, count = random.Random(seed), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(100):
            compare(source)
            settle(source, twin.TWIN)
            twin_blocks.walk(source)
            twin_blocks.misuse(source)
            twin_blocks.sift(source)
            twin_blocks.garbage(source)
            twin_blocks.misuse_of_stays(source)
            twin_passes.compare(source)
            twin_blocks.compare_reading(source)
            twin_blocks.compare_calls(source)
            twin_records.compare(source)
            twin_sealing.compare(source)
            count += 1
        twin_blocks.switch(source)
        twin_passes.walk_in_operations(source)
        twin_passes.walk_with_the_kernel(source)
    return count


def compare(source: random.Random) -> None:
    """Ask both for one random token of one random descriptor, several things."""
    from stead.decision import plain_list, twin
    from stead.decision.fast import is_granted, pure_is_granted
    from stead.errors import SteadError

    def answered(door: object, *question: object) -> object:
        try:
            return door(*question)  # type: ignore[operator]  # a door of the judge
        except SteadError as error:
            return type(error)

    token, descriptor, mapping = (
        make_token(source),
        make_list(source),
        make_mapping(source),
    )
    mine, theirs = (replace(token), replace(descriptor)), (token, descriptor)
    for _ in range(3):
        desired = source.choice((1, 2, 3, 1 << 17, 1 << 18, source.getrandbits(32)))
        question = (*mine, desired, mapping)
        expected = answered(pure_is_granted, *question)
        found = answered(is_granted, *theirs, desired, mapping)
        if expected != found:
            raise SystemExit(f"python {expected}, twin {found}: {question}")
    expected = plain_list.plain_mask(*mine, mapping)
    found = twin.plain_mask(*theirs, mapping)
    if expected != found:
        raise SystemExit(f"python {expected}, twin {found}: {mine} {mapping}")


def settle(source: random.Random, module: object) -> None:
    """Settle random rights at random places by both."""
    from stead.decision.many import pure_answers, pure_settle

    size = source.randrange(40)
    mine = array("I", [source.getrandbits(25) for _ in range(size)])
    theirs = array("I", mine)
    places = array("I", [source.randrange(size) for _ in range(size)])
    bits, grants = source.getrandbits(25), source.random() < 0.5
    pure_settle(mine, places, bits, grants)
    module.settle(theirs, places, bits, grants)  # type: ignore[attr-defined]
    beyond = array("I", [size, size + 1, 0xFFFFFFFF])
    module.settle(theirs, beyond, bits, grants)  # type: ignore[attr-defined]
    if mine != theirs or pure_answers(mine) != module.answers(theirs):  # type: ignore[attr-defined]
        raise SystemExit(f"{mine} is not {theirs}")


def make_sid(source: random.Random):
    """Return one of few SIDs, of different lengths."""
    from stead.model.sid import Sid

    if source.random() < 0.02:
        return Sid.from_string(source.choice(("S-1-3-4", "S-1-5-10", "S-1-1-0")))
    parts = tuple(source.choice((21, 32)) for _ in range(source.choice((0, 1, 3, 14))))
    return Sid.from_parts(5, (*parts, source.randrange(50)))


def make_token(source: random.Random):
    """Return a token with up to some hundred groups."""
    from stead.model.token import AccessToken, TokenGroup

    many = source.choice((0, 1, 5, 30, 300))
    attributes = (7, 7, 7, 0, 0x10)
    return AccessToken(
        make_sid(source),
        tuple(
            TokenGroup(make_sid(source), source.choice(attributes)) for _ in range(many)
        ),
        user_is_deny_only=source.random() < 0.1,
    )


def make_list(source: random.Random):
    """Return a descriptor with up to 700 entries."""
    from stead.model.ace import AccessAllowedAce, AccessDeniedAce
    from stead.model.acl import Acl
    from stead.model.security_descriptor import SecurityDescriptor

    kinds = (AccessAllowedAce, AccessDeniedAce)
    many = source.choice((0, 1, 5, 10, 31, 32, 33, 64, 65, 700))
    aces = tuple(
        source.choice(kinds)(
            make_sid(source),
            source.choice((1, 2, 3, 1 << 17, 1 << 31, source.getrandbits(32))),
            source.choice((0, 0, 0, 8)),
        )
        for _ in range(many)
    )
    sids = make_sid(source), make_sid(source)
    return SecurityDescriptor(dacl=Acl(aces), owner=sids[0], group=sids[1])


def make_mapping(source: random.Random):
    """Return what generic rights mean."""
    from stead.model.access_mask import GenericMapping

    return GenericMapping(*(source.getrandbits(21) for _ in range(4)))


def main(arguments: list[str]) -> int:
    """Build, or run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("act", choices=("build", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.act == "build":
        build(given.folder)
    else:
        load(given.folder)
        print(f"{run(given.seconds, given.seed):,} comparisons, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
