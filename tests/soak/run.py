"""The tests of `tests/end_to_end` that last longer the more one asks: many more.

usage: run.py [--requests N] [--rounds N]

One server answers N requests of eight clients with eight uids, each checked as it is
heard, and is looked at from outside meanwhile: its threads are the server's own again
between requests, and what it has open and holds in memory does not grow. Then it is
killed at random moments, so many rounds, over one store; the trail must hold every
answered request. Needs root.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
END_TO_END = HERE.parent / "end_to_end"


def loaded(path: Path) -> ModuleType:
    """Load a module of the tests, whose fixtures are to be used here."""
    spec = importlib.util.spec_from_file_location(f"stead_soak_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Read the arguments and run the tests of `larger.py`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak test needs root: the kernel judges real uids")
        return 1
    clients = loaded(END_TO_END / "test_clients.py")
    kills = loaded(END_TO_END / "test_kill.py")
    clients.REQUESTS = given.requests // 8
    kills.ROUNDS = given.rounds
    plugins = [loaded(END_TO_END / "conftest.py"), clients, kills]
    options = ["-v", "-s", "-p", "no:cacheprovider"]
    # Fixtures are loaded here before pytest looks at Stead's own plug-in.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, str(HERE / "larger.py")], plugins=plugins))


if __name__ == "__main__":
    sys.exit(main())
