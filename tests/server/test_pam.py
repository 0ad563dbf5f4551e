"""The host's accounts log on to a server by PAM, as who the host says they are."""

from __future__ import annotations

import pwd

import pytest
from tests.adapters.pam_stage import CHECK, RIGHT

from stead.adapters.pam.authority import PamAuthority
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated
from stead.errors import LogonFailureError
from stead.ledger.query import Query
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret
from stead.privileged.name_service import open_host_names

QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)
DAEMON = pwd.getpwuid(1).pw_name


@pytest.fixture
def server(open_server, tmp_path):
    tmp_path.chmod(0o755)
    script = tmp_path / "check"
    script.write_text(CHECK.format(daemon=DAEMON, right=RIGHT))
    script.chmod(0o755)
    (tmp_path / "stead-test").write_text(
        f"auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {script}\n"
        "auth requisite pam_deny.so\n"
        "auth required pam_permit.so\n"
        "account required pam_permit.so\n"
    )
    with PamAuthority(
        ["HOST", "localhost"], service="stead-test", folder=tmp_path
    ) as host:
        yield open_server(password_authorities=[host], lockout=QUICK)


def records(server, event):
    return [entry for _, entry in server.trail.find(Query(event=event))]


@pytest.mark.parametrize("name", [f"HOST\\{DAEMON}", f"{DAEMON}@host"])
def test_a_user_of_the_host_is_its_uid_with_all_its_groups(server, name):
    with server.log_on(name, Secret(RIGHT), LogonType.NETWORK) as session:
        assert well_known.unix_user(1) == session.sid
        names = open_host_names()
        groups = names.groups_of(names.user_by_name(DAEMON))
        held = {group.sid for group in session.token.groups}
        assert {well_known.unix_group(gid) for gid in groups} <= held
    entry = records(server, AuditEvent.LOGON)[-1]
    assert ("pam", "stead-test", "1") == (
        entry.detail["package"], entry.detail["pam service"], entry.detail["uid"],
    )  # fmt: skip


def test_a_user_of_the_host_is_the_account_with_its_uid(server):
    known = server.accounts.add("demon", uid=1, gid=1)
    with server.log_on(f"HOST\\{DAEMON}", Secret(RIGHT)) as session:
        assert (known.sid, "demon") == (session.sid, session.name)
    server.accounts.disable("demon")
    with pytest.raises(LogonFailureError):
        server.log_on(f"HOST\\{DAEMON}", Secret(RIGHT))


@pytest.mark.parametrize("name", ["mallory", DAEMON])
def test_every_failure_is_one_and_counts(server, name):
    for _ in range(4):
        with pytest.raises(LogonFailureError) as refused:
            server.log_on(f"HOST\\{name}", Secret("lion"))
        assert str(LogonFailureError()) == str(refused.value)
    assert 1 == len(records(server, AuditEvent.ACCOUNT_LOCKED_OUT))
    with pytest.raises(LogonFailureError):
        server.log_on(f"HOST\\{name}", Secret(RIGHT))


def test_another_spelling_of_a_name_is_no_guess_more(server):
    """Counted by spelling, each of these is locked by itself, and none is after one."""
    spellings = [f"HOST\\{DAEMON}", f"{DAEMON}@HOST", f"localhost\\{DAEMON}"]
    assert 3 == len(set(spellings))
    for each in spellings:
        with pytest.raises(LogonFailureError):
            server.log_on(each, Secret("lion"))
    assert 1 == len(records(server, AuditEvent.ACCOUNT_LOCKED_OUT))
    for each in (*spellings, f"{DAEMON.upper()}@Host"):
        with pytest.raises(LogonFailureError):
            server.log_on(each, Secret(RIGHT), LogonType.NETWORK)


def test_nobody_but_a_password_authority_speaks_for_the_host(open_server):
    """A package that says `root` has made root nobody's business but the host's."""
    server = open_server(issuers=[Issuer("PKI", names_accounts=True)], lockout=QUICK)
    client = Authenticated(
        package="certificate", issuer="PKI", name="alice", host=PosixIdentity(0, 0)
    )
    with pytest.raises(LogonFailureError):
        server.admit(client)
    (entry,) = records(server, AuditEvent.LOGON_FAILED)
    assert "0xC000006D" in entry.detail["status"]
