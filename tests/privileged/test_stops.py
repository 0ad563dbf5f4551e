"""The process ends where a thread cannot be proved to be who it should be.

Each line that ends the process is shown here, in a process of its own.
"""

import signal

import pytest

pytestmark = pytest.mark.root

BEHIND = "a thread was switched behind the back of its block"
NO_WAY = "a thread could not become the server again"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("switched_behind_the_back", BEHIND),
        ("server_block_was_switched", BEHIND),
        ("no_way_back", NO_WAY),
        ("not_the_server_again", NO_WAY),
        ("half_entered_and_no_way_back", NO_WAY),
        ("no_nobody", "a thread could not become nobody"),
        ("outer_client_is_refused", "a thread could not become its outer client again"),
    ],
)
def test_the_process_stops_and_says_why(case, reason, run_program):
    ended = run_program("stop.py", case)
    assert -signal.SIGABRT == ended.returncode
    assert "" == ended.stdout
    assert f"stead: {reason}; the process stops\n" == ended.stderr


@pytest.mark.parametrize("case", ["stderr_is_full", "stderr_is_closed"])
def test_the_process_stops_even_if_nobody_can_be_told(case, run_program):
    ended = run_program("stop.py", case)
    assert -signal.SIGABRT == ended.returncode
    assert "" == ended.stdout
