"""KeyboardInterrupt in entering and leaving: in the block or out of it, not between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("programs") / "interrupted.py"


@pytest.mark.slow
@pytest.mark.parametrize(("how", "kinds"), [("instructions", 3), ("timer", 1)], ids=str)
def test_an_interrupt_at_any_moment_leaves_the_server_and_no_hold(how, kinds):
    # What is interrupted runs unmeasured: coverage's collector holds a lock of its own,
    # which an interrupt leaves taken.
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), how],
        env=unmeasured,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert kinds == ran.stdout.count("interrupted")
