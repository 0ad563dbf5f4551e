"""KeyboardInterrupt in entering and leaving: in the block or out of it, not between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("programs") / "interrupted.py"


@pytest.mark.slow
@pytest.mark.parametrize(("how", "kinds"), [("instructions", 3), ("timer", 1)], ids=str)
def test_an_interrupt_at_any_moment_leaves_the_server_and_no_hold(how, kinds):
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), how],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert kinds == ran.stdout.count("interrupted")
