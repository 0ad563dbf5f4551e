"""Runs tests of this folder where the twin of blocks was not built.

usage: without_twin.py FILE...
"""

import sys
from pathlib import Path

sys.modules["stead.monitor._frames"] = None  # as if it were not there

if __name__ == "__main__":
    import pytest

    tests = [str(Path(__file__).parents[1] / name) for name in sys.argv[1:]]
    # They begin others, or are about the twin's own way with memory.
    left_out = "not the_twin_python and not interrupt_finds and not memory"
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", left_out, *tests]))
