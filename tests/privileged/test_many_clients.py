"""Many threads as many users at once, judged from the kernel's side."""

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_eight_clients_and_two_observers_are_never_mistaken(outcome_of, world):
    seen = outcome_of("many_clients.py", world, 400)
    assert {"switches": 3200, "violations": []} == seen
