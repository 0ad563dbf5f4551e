"""Fuzz one reader with input that coverage chooses (atheris, libFuzzer).

usage: coverage_guided.py fuzz TARGET [--seconds N] [--seed N]
       coverage_guided.py keep TARGET

`fuzz` starts from the seeds and the kept corpus, and leaves what it finds in
`.cache/fuzz/TARGET`; libFuzzer prints how much it tried and, on a finding, the input.
`keep` distills that folder: of what it holds, and of the corpus, only inputs that reach
something of their own stay in `corpus/TARGET`.

atheris is no dependency of the project: it stands in the group `fuzz`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / ".cache" / "fuzz"
LONGEST = 4096  # bytes of one input: longer ones show little more
MOST_KEPT = 40
LONGEST_KEPT = 2048
MISSING = "atheris is missing: install it with `pip install --group fuzz`"
# Libraries run as they are; what is to be covered is ours.
OURS = str(ROOT / "src" / "stead")


def imported_atheris() -> Any:
    """Return atheris, or end with a word on how to install it."""
    try:
        import atheris
    except ImportError:
        raise SystemExit(MISSING) from None
    return atheris


def load(name: str) -> tuple[Any, Any]:
    """Return the targets' module and the target of this name."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from tests.fuzz import targets

    found = {target.name: target for target in targets.codec_targets()}
    if name not in found:
        raise SystemExit(f"no target `{name}`; there are {', '.join(found)}")
    return targets, found[name]


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz until the time is over or something breaks; does not return."""
    atheris = imported_atheris()
    with atheris.instrument_imports(include=["stead"]):
        targets, target = load(name)
    from tests.codec.forgetting import forget

    from stead.errors import SteadError

    def once(data: bytes) -> None:
        forget()
        try:
            target.read(data)
        except SteadError:
            return

    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds):
        (folder / f"seed-{number:02}").write_bytes(data)
    words = FOUND / f"{name}.dict"
    words.write_text(dictionary(targets.TOKENS), encoding="ascii")
    kept = targets.CORPUS / name
    options = [
        f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST}",
        f"-dict={words}", f"-artifact_prefix={FOUND / name}-", "-print_final_stats=1",
        "-timeout=20", "-rss_limit_mb=2048",
    ]  # fmt: skip
    folders = [str(folder), *([str(kept)] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], *options, *folders], once)
    atheris.Fuzz()


def dictionary(tokens: tuple[bytes, ...]) -> str:
    """Return tokens as libFuzzer's dictionary."""
    lines = ("".join(f"\\x{byte:02x}" for byte in token) for token in tokens)
    return "".join(f'"{line}"\n' for line in lines)


def keep(name: str) -> None:
    """Distill what was found, and what was kept before, into the corpus."""
    targets, target = load(name)
    folder = targets.CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*folder.iterdir(), *(FOUND / name).glob("*")]
    inputs = {path.read_bytes() for path in paths}
    chosen = distill(target.read, [data for data in inputs if data])
    for path in folder.iterdir():
        path.unlink()
    for data in chosen:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{name}: {len(chosen)} of {len(inputs)} inputs are kept")


def distill(read: Callable[[bytes], None], inputs: list[bytes]) -> list[bytes]:
    """Choose few inputs that reach much: the one that adds most, time and again."""
    short = sorted((data for data in inputs if len(data) <= LONGEST_KEPT), key=by_size)
    left = {data: steps_of(read, data) for data in short}
    chosen: list[bytes] = []
    while left and len(chosen) < MOST_KEPT:
        best = max(left, key=lambda data: len(left[data]))  # the first of the best
        found = left.pop(best)
        if not found:
            break
        chosen.append(best)
        left = {data: steps - found for data, steps in left.items()}
    return chosen


def by_size(data: bytes) -> tuple[int, bytes]:
    """Return the key of an order: the shorter first, and the same every time."""
    return len(data), data


def steps_of(read: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """Return which steps from line to line, of our code, reading an input takes."""
    from tests.codec.forgetting import forget

    from stead.errors import SteadError

    steps: set[tuple[str, int, int]] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return None
        if event == "line":
            steps.add((code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        elif event == "return":
            last.pop(frame, None)
        return trace

    forget()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(data)
    except SteadError:
        pass
    finally:
        sys.settrace(before)
    return steps


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("act", choices=("fuzz", "keep"))
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.act == "fuzz":
        fuzz(given.target, given.seconds, given.seed)
    else:
        keep(given.target)


if __name__ == "__main__":
    main()
