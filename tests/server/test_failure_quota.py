"""A flood of failed logons leaves a count, and hides nobody else's attempts."""

from __future__ import annotations

import pytest

from stead.adapters.store import Store
from stead.errors import UnknownAccountError
from stead.ledger.canonical import read_record
from stead.model.audit_record import AuditEvent
from stead.server.failure_quota import FailureQuota, origin_of
from stead.server.protected_server import ProtectedServer

SECOND = 1_000_000_000


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_each_origin_has_its_own_and_gains_a_twentieth_a_second(clock):
    quota = FailureQuota(clock, each=20, total=1000)
    assert [True] * 20 + [False] * 80 == [quota.takes("flood") for _ in range(100)]
    assert quota.takes("somebody else")
    clock.now += 3 * SECOND
    assert [True] * 3 + [False] == [quota.takes("flood") for _ in range(4)]
    clock.now += 1000 * SECOND
    assert 20 == sum(quota.takes("flood") for _ in range(50))


def test_many_origins_share_what_all_may_take(clock):
    quota = FailureQuota(clock, each=20, total=100)
    assert 100 == sum(quota.takes(f"host {n}") for n in range(5000))
    assert 1024 >= len(quota._origins)
    clock.now += SECOND
    assert 5 == sum(quota.takes(f"host {n}") for n in range(5000))


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("uid 1000 pid 42", "pipe uid 1000"),
        ("127.0.0.1:4242", "pipe 127.0.0.1"),
        ("[::1]:80", "pipe [::1]"),
        ("fe80::1", "pipe fe80::/64"),
        ("[fe80::1%eth0]:80", "pipe fe80::/64"),
        ("[2001:DB8:0:7:8::9]:80", "pipe 2001:db8:0:7::/64"),
        ("[::ffff:192.0.2.1]:80", "pipe 192.0.2.1"),
        ("[64:ff9b::c000:201]:80", "pipe [64:ff9b::c000:201]"),
        ("", "pipe "),
        ("proxy", "pipe proxy"),
    ],
)
def test_an_origin_leaves_out_what_differs_at_each_knock(peer, origin):
    assert origin == origin_of("pipe", peer)


def test_who_has_a_network_of_addresses_hides_nobody_else_s_attempts(clock):
    flood = [f"[2001:db8:0:7:{n:x}::1]:443" for n in range(5000)]
    stranger = "[2001:db8:0:8::1]:443"
    by_address, quota = FailureQuota(clock), FailureQuota(clock)
    assert 600 == sum(by_address.takes(peer) for peer in flood)
    assert not by_address.takes(stranger)
    assert 60 == sum(quota.takes(origin_of("tls", peer)) for peer in flood)
    assert quota.takes(origin_of("tls", stranger))


def test_a_flood_is_told_as_one_and_another_origin_by_itself(tmp_path):
    numbers = []
    with ProtectedServer("notes", store=tmp_path / "notes.db") as server:
        for origin in ["10.0.0.1:99"] * 400 + ["10.0.0.2:99"]:
            with pytest.raises(UnknownAccountError) as caught:
                server.client_for("nobody", authenticated_by="proxy", peer=origin)
            numbers.append(caught.value.record)
    assert all(numbers[:60])
    # It gains three a second while it goes on.
    assert 0 < numbers[:400].count(None)
    assert numbers[400]
    failures = _failures(tmp_path / "notes.db")
    singles = [record for record in failures if "count" not in record.detail]
    told = [record for record in failures if "count" in record.detail]
    assert 401 == len(singles) + sum(int(r.detail["count"]) for r in told)
    assert all(int(r.detail["since"]) <= r.time for r in told)
    assert {"10.0.0.1:99"} == {r.peer for r in told}
    assert "10.0.0.2:99" == singles[-1].peer


def _failures(place):
    with Store.open(place) as store:
        records = [read_record(entry.body) for entry in store.ledger.entries()]
    return [r for r in records if r.event is AuditEvent.LOGON_FAILED]
