"""What one client may cost the trail and the threads, and what the trail says after."""

from __future__ import annotations

import pytest

from stead.errors import (
    AccountExistsError,
    InvalidNameError,
    InvalidRequestError,
    KernelRefusedError,
    StaleVersionError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import allow
from stead.monitor.record_texts import LONGEST_TEXT
from stead.server.composition import Settings, _turns
from stead.server.protected_server import ProtectedServer


def settings(**changed) -> Settings:
    return Settings(
        **{
            "name": "notes",
            "store": ":memory:",
            "enforcement": None,
            "privileges": (),
            "guard_uid": 65530,
            "allowed_system_uids": frozenset(),
            "kernel_threads": 4,
            "handler_threads": 16,
            **changed,
        }
    )


@pytest.mark.parametrize(
    ("kernel_threads", "handler_threads", "turns"),
    [(4, 16, 3), (8, 16, 4), (2, 16, 1), (1, 1, 1), (64, 400, 63)],
)
def test_one_account_never_holds_every_thread(kernel_threads, handler_threads, turns):
    assert turns == _turns(
        settings(kernel_threads=kernel_threads, handler_threads=handler_threads)
    )


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"name": None}, "a name is text"),
        ({"store": None}, "name a file"),
        ({"store": 5}, "name a file"),
        ({"enforcement": "kernel"}, "`Enforcement.KERNEL`"),
        ({"enforcement": True}, "`Enforcement.TOKEN`"),
        ({"kernel_threads": "4"}, "how many"),
        ({"privileges": "SeTcbPrivilege"}, "Privilege.TCB"),
        ({"privileges": ["SeTcbPrivilege"]}, "Privilege.TCB"),
        ({"privileges": None}, "Privilege.TCB"),
        ({"guard_uid": "65530"}, "a uid is a number"),
        ({"allowed_system_uids": 33}, "allowed_system_uids=[33]"),
        ({"worker_modules": "app.jobs"}, 'worker_modules=("app.jobs",)'),
        ({"worker_limits": 5}, "WorkerLimits(...)"),
        ({"lockout": 5}, "LockoutPolicy(...)"),
        ({"account_policy": {}}, "AccountPolicy(...)"),
        ({"segments": 5}, "SegmentPolicy(...)"),
        ({"impersonation": 5}, "a file of rules"),
        ({"trail_reserve": "5"}, "bytes"),
        ({"sinks": "linux-audit"}, "sinks=["),
        ({"sinks": [5]}, "a URL"),
        ({"packages": "negotiate"}, "packages=["),
        ({"packages": ["negotiate"]}, "packages=["),
        ({"password_authorities": ["PAM"]}, "password_authorities=["),
        ({"delegation": "https://x"}, "https://..."),
        ({"delegation": [5]}, "https://..."),
    ],
)
def test_what_is_nothing_of_the_kind_is_said_with_what_would_be(wrong, advice):
    with pytest.raises(InvalidRequestError, match=r"` is a `\w+`") as e:
        ProtectedServer(**{"name": "notes", **wrong})
    assert advice in e.value.advice


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel_threads": 0},
        {"handler_threads": -1},
        {"processes_per_client": 0},
        {"guard_uid": 0},
        {"guard_uid": 2**32},
        {"allowed_system_uids": [33, 0]},
    ],
)
def test_a_number_that_could_not_be_is_refused(wrong):
    with pytest.raises(InvalidRequestError):
        ProtectedServer(name="notes", **wrong)


def test_a_text_without_end_is_cut_and_says_so(server, alice, trail):
    guard = server._house.guard
    guard.recorder.record(
        AuditEvent.OBJECT_ACCESS, alice.subject, object_name="x" * 100_000
    )
    [record] = [r for r in trail(AuditEvent.OBJECT_ACCESS) if "xx" in r.object_name]
    assert len(record.object_name) < LONGEST_TEXT + 40
    assert record.object_name.endswith("... (100000 characters)")


@pytest.mark.root
def test_a_path_that_no_kernel_takes_is_refused_before_it_is_recorded(
    kernel_server, client_of
):
    with pytest.raises(KernelRefusedError, match="4095"):
        client_of(kernel_server, "alice").open("/" + "x" * 4095)
    asked = Query(event=AuditEvent.HANDLE_REQUESTED)
    assert [] == list(kernel_server.trail.find(asked))


def test_an_account_that_could_not_be_added_is_recorded_as_failed(server, trail):
    server.accounts.add("zoe", uid=70010)
    with pytest.raises(AccountExistsError):
        server.accounts.add("yan", uid=70010)
    said = [r for r in trail(AuditEvent.ACCOUNT_CREATED) if r.object_name == "yan"]
    assert [Outcome.SUCCESS, Outcome.FAILURE] == [r.outcome for r in said]
    assert "announced by" in said[1].detail


@pytest.mark.bypasses_the_law
def test_a_change_that_lost_a_race_is_recorded_as_failed(
    server, bob, plan, rights, trail
):
    house = server._house
    house.objects._store.set_object_descriptor(
        plan.name, plan.descriptor.to_bytes(), version=plan.version
    )
    with pytest.raises(StaleVersionError):
        server.set_entries(bob, plan, [allow("alice", rights.WRITE)])
    changes = trail(AuditEvent.PERMISSIONS_CHANGED)
    assert [Outcome.SUCCESS, Outcome.FAILURE] == [r.outcome for r in changes]


def test_what_changes_nothing_is_not_recorded_as_a_change(server, trail):
    server.accounts.add("xan")
    assert server.accounts.remove_member("Administrators", "xan") is False
    assert [] == trail(AuditEvent.GROUP_MEMBER_REMOVED)


@pytest.mark.parametrize("gid", [0, 6, 42, 999, 65534])
def test_a_store_gives_nobody_a_group_of_the_system(server, gid):
    with pytest.raises(InvalidNameError, match="a store may not give it"):
        server.accounts.add_group("helpers", gid=gid)
    with pytest.raises(InvalidNameError, match="a store may not give it"):
        server.accounts.add("wes", uid=70011, gid=gid)
