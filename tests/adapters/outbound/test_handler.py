"""A handler is nobody, and may still reach others as the client that it is handed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.adapters.outbound.test_postgres import dsn

PROGRAM = Path(__file__).with_name("handler_program.py")


def test_a_handler_that_is_the_first_to_reach_others_does(stage, web, database):
    cache = stage.realm.log_on("alice", "alice-pw")
    words = [stage.realm.name, cache, web.url, dsn(database)]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), *words],
        env=dict(os.environ), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert "alice@STEAD.TEST\nalice\n" == done.stdout, done.stderr
