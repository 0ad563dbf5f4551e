"""Clients' processes do not go before others because their server does."""

import pytest

from stead.privileged.scheduling import give_up_sparing

pytestmark = pytest.mark.root


def test_a_client_has_nothing_of_its_servers_priority(outcome_of):
    found = outcome_of("preferred.py")
    # nice, real-time priority, policy (2: round robin); and the I/O priority
    assert ["-5 5 2", "realtime: prio 0"] == found["naive"][:2]
    assert ["0 0 0", "none: prio 0"] == found["ours"][:2]


def test_a_client_cannot_raise_its_priority_by_its_servers_limits(outcome_of):
    for line in outcome_of("preferred.py")["ours"][2:]:
        assert ["0", "0"] == line.split()[-2:]


def test_what_sets_a_server_below_others_is_its_clients_too(outcome_of):
    found = outcome_of("preferred.py", "below")
    assert ["5 0 3", "idle"] == found["ours"][:2]
    assert found["naive"] == found["ours"]


def test_a_priority_that_cannot_be_given_up_lets_nothing_start(outcome_of):
    found = outcome_of("preferred.py", "refused")
    assert "-5 5 2" == found["naive"][0]
    assert (
        "clients would have the server's priority: operation not permitted"
        == found["ours"]
    )


@pytest.mark.parametrize(
    ("before", "after"), [("-900\n", "0"), ("0\n", "0\n"), ("300\n", "300\n")]
)
def test_nobody_is_spared_when_memory_runs_out(tmp_path, before, after):
    adjustment = tmp_path / "oom_score_adj"
    adjustment.write_text(before)
    give_up_sparing(adjustment)
    assert after == adjustment.read_text()
