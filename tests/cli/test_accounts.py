"""`stead account`, `group` and `privilege`, as an administrator of the store."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stead.authority.lockout import LockoutPolicy
from stead.cli.main import app
from stead.errors import LogonFailureError, PasswordMismatchError
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.server.admission import Arrival
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

ROOT = Path(__file__).resolve().parents[2]

CHANGES = (
    ("account", "add", "carol", "--uid", 70_103),
    ("account", "disable", "alice"),
    ("account", "enable", "alice"),
    ("account", "no-password", "alice"),
    ("account", "unlock", "alice"),
    ("account", "expires", "alice", "2099-01-01"),
    ("account", "hours", "alice", "mon-fri 08-18"),
    ("account", "must-change", "alice"),
    ("account", "password-lasts", "alice"),
    ("group", "add", "sales", "--gid", 70_900),
    ("group", "add-member", "staff", "uid 70900"),
    ("group", "remove-member", "staff", "alice"),
    ("account", "rename", "alice", "alicia"),
    ("account", "map", "alice", "--uid", 70_105),
    ("account", "delete", "bob"),
    ("group", "map", "interns", "--gid", 70_901),
    ("group", "rename", "interns", "juniors"),
    ("group", "delete", "summer"),
    ("privilege", "grant", "alice", "SeBatchLogonRight"),
    ("privilege", "revoke", "alice", "SeBatchLogonRight"),
    ("privilege", "grant", "alice", "SeBackupPrivilege"),
    ("privilege", "revoke", "alice", "SeBackupPrivilege"),
)
WRITTEN = {
    AuditEvent.ACCOUNT_CREATED,
    AuditEvent.ACCOUNT_DISABLED,
    AuditEvent.ACCOUNT_ENABLED,
    AuditEvent.GROUP_CREATED,
    AuditEvent.GROUP_MEMBER_ADDED,
    AuditEvent.GROUP_MEMBER_REMOVED,
    AuditEvent.RIGHT_ASSIGNED,
    AuditEvent.RIGHT_REMOVED,
    AuditEvent.ACCOUNT_RENAMED,
    AuditEvent.ACCOUNT_CHANGED,
    AuditEvent.ACCOUNT_DELETED,
    AuditEvent.GROUP_CHANGED,
    AuditEvent.GROUP_DELETED,
    AuditEvent.LOGON_RIGHT_GRANTED,
    AuditEvent.LOGON_RIGHT_REMOVED,
}


def named(change):
    return " ".join(str(part) for part in change[:2])


def test_an_account_that_is_added_is_listed_with_its_uid(stead):
    assert "account carol added for uid 70103\n" == (
        stead("account", "add", "carol", "--uid", 70_103).out
    )

    row = stead("account", "list", "--json").json[-1]
    assert ("carol", 70_103, 70_103, False) == (
        row["name"], row["uid"], row["gid"], row["disabled"],
    )  # fmt: skip
    line = stead("account", "list").lines[-1]
    assert f"carol  {row['sid']}  uid 70103 gid 70103" == line


def test_an_account_without_a_uid_says_so(stead):
    assert stead("account", "list").lines[1].endswith("  no uid")


def test_a_disabled_account_says_so_until_it_is_enabled(stead):
    assert "account alice disabled\n" == stead("account", "disable", "alice").out
    assert stead("account", "list").lines[0].endswith("  disabled")

    assert "account alice enabled\n" == stead("account", "enable", "alice").out
    assert not stead("account", "list").lines[0].endswith("  disabled")


def test_groups_are_listed_with_their_direct_members(stead):
    stead("group", "add", "sales", "--gid", 70_900)
    stead("group", "add-member", "sales", "alice")
    stead("group", "add-member", "sales", "uid 70777")

    rows = {row["name"]: row for row in stead("group", "list", "--json").json}
    assert {"alice", "uid 70777"} == set(rows["sales"]["members"])
    assert 70_900 == rows["sales"]["gid"]
    assert ["summer"] == rows["interns"]["members"]
    line = next(x for x in stead("group", "list").lines if x.startswith("summer "))
    assert line.endswith("  members: bob")


def test_what_is_so_already_is_nothing_to_do(stead):
    assert "nothing to do: alice is a member of staff\n" == (
        stead("group", "add-member", "staff", "alice").out
    )
    stead("group", "remove-member", "staff", "alice")
    assert {"nothing": "alice is no member of staff"} == (
        stead("group", "remove-member", "staff", "alice", "--json").json
    )


def test_a_privilege_that_is_granted_is_listed_until_it_is_revoked(stead):
    right = ("alice", "SeBackupPrivilege")
    assert "alice holds SeBackupPrivilege\n" == stead("privilege", "grant", *right).out
    assert "alice  SeBackupPrivilege" in stead("privilege", "list").lines
    rows = stead("privilege", "list", "--json").json
    assert right in [(row["holder"], row["right"]) for row in rows]

    assert 0 == stead("privilege", "revoke", *right).status
    assert "alice  SeBackupPrivilege" not in stead("privilege", "list").lines


def test_every_privilege_there_is_can_be_listed_without_a_store(process):
    ran = process("privilege", "list", "--all", "--json")

    assert 0 == ran.status
    assert {"SeTcbPrivilege", "SeDenyNetworkLogonRight"} <= set(ran.json)
    assert ran.json == process("privilege", "list", "--all").lines


@pytest.mark.parametrize("change", CHANGES, ids=named)
def test_a_dry_run_is_judged_and_changes_nothing(stead, events, length, change):
    before = [stead(verb, "list").out for verb in ("account", "group", "privilege")]
    began = length()

    ran = stead(*change, "--dry-run")
    as_json = stead(*change, "--dry-run", "--json")

    assert (0, 0) == (ran.status, as_json.status)
    assert ran.out == f"would: {as_json.json['would']}\n"
    after = [stead(verb, "list").out for verb in ("account", "group", "privilege")]
    assert before == after
    seen = set(events(began))
    assert int(AuditEvent.OBJECT_ACCESS) in seen
    assert set() == seen & {int(event) for event in WRITTEN}


@pytest.mark.parametrize("change", CHANGES, ids=named)
def test_a_change_prints_json_that_says_what_was_done(stead, change):
    found = stead(*change, "--json").json

    assert {"done"} == set(found) or {"nothing"} == set(found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("account", "add", "alice"), "the name `alice` is taken"),
        (("account", "add", "staff"), "the name `staff` is taken"),
        (("account", "add", "carol", "--uid", 70_101), "uid"),
        (("account", "add", "carol", "--gid", 5), "a gid without a uid says nothing"),
        (("account", "add", "S-1-5-18"), "would be read as something else"),
        (("account", "alias", "alice", "AD.TEST", ""), "an alias names an issuer"),
        (("account", "add", "Everyone"), "is a well-known name"),
        (("account", "disable", "nobody"), "no account is called `nobody`"),
        (("account", "enable", "nobody"), "no account is called `nobody`"),
        (("group", "add", "root", "--gid", 0), "gid 0 is "),
        (("group", "add-member", "nogroup", "alice"), "no group is called `nogroup`"),
        (("group", "add-member", "staff", "nobody"), "is called `nobody`"),
        (("group", "add-member", "staff", "staff"), "cannot be its own member"),
        (("group", "add-member", "staff", "S-1-5-x"), "S-1-5-x"),
        (("privilege", "grant", "alice", "SeFly"), "`SeFly` is no privilege"),
        (("privilege", "revoke", "nobody", "SeTcbPrivilege"), "called `nobody`"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_clear_line_and_status_1(stead, arguments, said):
    ran = stead(*arguments)

    first, *advice = ran.err.splitlines()
    assert (1, "") == (ran.status, ran.out)
    assert first.startswith("stead: ")
    assert said in first
    assert len(advice) <= 1
    assert all(line.startswith("  what to do: ") for line in advice)


@pytest.mark.parametrize("name", ["AD\\carol", "carol@AD.TEST"])
def test_whoever_comes_from_elsewhere_is_an_alias(stead, name):
    ran = stead("account", "add", name)
    assert (1, "") == (ran.status, ran.out)
    assert "a name may not hold" in ran.err
    assert "`stead account alias`" in ran.err


def test_a_dry_run_says_beforehand_what_the_change_would_be_refused_for(stead):
    """Whoever may not change anything hears that, and not what would be done."""
    stead("group", "remove-member", "Administrators", f"uid {os.getuid()}")

    for flags in ((), ("--dry-run",)):
        ran = stead("account", "add", "carol", *flags)
        assert (1, "") == (ran.status, ran.out)
        assert ran.err.startswith("stead: access is denied\n")
        assert "of the trail says why" in ran.err


def test_whoever_is_no_administrator_reads_neither_accounts_nor_trail(stead):
    stead("group", "remove-member", "Administrators", f"uid {os.getuid()}")

    for verb in (
        ("account", "list"), ("group", "list"), ("privilege", "list"),
        ("audit", "list"), ("audit", "verify"), ("check", "bob", "plan", "READ"),
        ("doctor",),
    ):  # fmt: skip
        ran = stead(*verb)
        assert (1, "") == (ran.status, ran.out), verb
        assert ran.err.startswith("stead: access is denied"), verb


# --- passwords ----------------------------------------------------------------------


@pytest.fixture
def type_in(store):
    """Give what runs a verb with something on its standard input."""

    def run(said, *arguments):
        return CliRunner().invoke(
            app,
            [str(a) for a in arguments],
            input=said,
            env={"STEAD_STORE": str(store)},
        )

    return run


@pytest.fixture
def log_on(store):
    """Give what logs an account of the store on."""

    def run(name, word):
        with ProtectedServer(
            "notes", store=store, enforcement=Enforcement.TOKEN
        ) as server:
            admission = replace(server._house.admission, sleep=lambda _seconds: None)
            arrival = Arrival("local", "", "1", "password", "itself")
            admission.log_on(
                name, Secret(word), LogonType.NETWORK, arrival=arrival
            ).close()

    return run


def test_a_password_is_read_from_a_line_and_listed_as_there(stead, type_in, log_on):
    ran = type_in("tiger\nlion\n", "account", "password", "alice", "--stdin")
    assert (0, "account alice has a new password\n") == (ran.exit_code, ran.stdout)
    assert "tiger" not in ran.output
    assert stead("account", "list").lines[0].endswith("  password")
    log_on("alice", "tiger")

    assert "account alice has no password\n" == (
        stead("account", "no-password", "alice").out
    )
    assert not stead("account", "list").lines[0].endswith("  password")
    with pytest.raises(LogonFailureError):
        log_on("alice", "tiger")


def test_a_password_is_never_an_argument(stead, type_in):
    for arguments in (("alice", "tiger"), ("alice", "--password", "tiger")):
        assert 2 == stead("account", "password", *arguments).status
    ran = type_in("tiger\n", "account", "password", "alice")
    assert 2 == ran.exit_code
    assert "--stdin" in ran.stderr


def test_a_password_that_must_be_changed_is_changed_with_the_old_one(
    stead, type_in, log_on
):
    type_in("given\n", "account", "password", "alice", "--stdin", "--must-change")
    with pytest.raises(LogonFailureError):
        log_on("alice", "given")
    ran = type_in("given\nown\n", "account", "change-password", "alice", "--stdin")
    assert (0, "account alice has a new password\n") == (ran.exit_code, ran.stdout)
    log_on("alice", "own")
    assert "account alice must change its password\n" == (
        stead("account", "must-change", "alice").out
    )
    assert "nothing to do" in stead("account", "must-change", "alice").out
    ran = type_in("own\nown\n", "account", "change-password", "alice", "--stdin")
    assert 1 == ran.exit_code
    assert "the new password is the old one" in ran.stderr


def test_a_password_that_none_can_be_is_refused(stead, type_in):
    for said in ("\n", "", "x" * 2000 + "\n"):
        ran = type_in(said, "account", "password", "alice", "--stdin")
        assert 1 == ran.exit_code
        assert "a password has 1 to 1024 bytes" in ran.stderr
    assert not stead("account", "list").lines[0].endswith("  password")


def test_a_dry_run_asks_for_no_password(stead):
    ran = stead("account", "password", "alice", "--dry-run")
    assert "would: account alice has a new password\n" == ran.out


def test_a_locked_account_says_so_until_it_is_unlocked(stead, type_in, log_on):
    type_in("tiger\n", "account", "password", "alice", "--stdin")
    for _ in range(10):
        with pytest.raises(LogonFailureError):
            log_on("alice", "lion")
    assert stead("account", "list").lines[0].endswith("  password  locked")
    with pytest.raises(LogonFailureError):
        log_on("alice", "tiger")

    assert "account alice is not locked\n" == stead("account", "unlock", "alice").out
    assert "nothing to do: account alice is not locked\n" == (
        stead("account", "unlock", "alice").out
    )
    log_on("alice", "tiger")


class Realm:
    """A password authority that lets nobody in."""

    name, domains = "realm", ("EXAMPLE.COM", "EXAMPLE")

    def log_on(self, name, domain, secret, *, keep):
        raise PasswordMismatchError("the password is wrong")


@pytest.fixture
def lock(store):
    """Give what locks a name of a realm's, or one that nobody has."""

    def run(name):
        with ProtectedServer(
            "notes", store=store, enforcement=Enforcement.TOKEN,
            password_authorities=[Realm()],
            lockout=LockoutPolicy(threshold=2, first_delay=0.0),
        ) as server:  # fmt: skip
            for _ in range(2):
                with pytest.raises(LogonFailureError):
                    server.log_on(name, Secret("guess"))

    return run


def test_a_directory_s_name_and_nobody_s_are_listed_and_unlocked_like_an_account_s(
    stead, lock
):
    for name in (r"EXAMPLE\Alice", "mallory", "alice"):
        lock(name)
    rows = {row["name"]: row for row in stead("account", "locked", "--json").json}
    [nobody] = set(rows) - {"alice@example.com", "alice"}
    assert re.fullmatch("unknown:[0-9a-f]{32}", nobody)
    assert (None, None) == (rows[nobody]["sid"], rows["alice@example.com"]["sid"])
    assert rows["alice"]["sid"].startswith("S-1-5-21-")
    assert all(row["until"].endswith("+00:00") for row in rows.values())
    lines = stead("account", "locked").lines
    assert lines[1].startswith("alice@example.com  no account here  locked until 20")
    assert stead("account", "list").lines[0].endswith("locked")

    assert r"account EXAMPLE.COM\ALICE is not locked" in (
        stead("account", "unlock", r"EXAMPLE.COM\ALICE").out
    )
    stead("account", "unlock", "mallory")
    assert ["alice"] == [
        row["name"] for row in stead("account", "locked", "--json").json
    ]
    ran = stead("account", "unlock", "mallory")
    assert 1 == ran.status
    assert "stead account locked" in ran.err
    stead("account", "unlock", "alice")
    assert [] == stead("account", "locked", "--json").json


def test_an_account_s_aliases_are_listed(stead):
    assert [] == stead("account", "aliases", "alice", "--json").json
    stead("account", "alias", "alice", "EXAMPLE.COM", "ally")
    assert "ally  of EXAMPLE.COM\n" == stead("account", "aliases", "alice").out
    assert [{"issuer": "EXAMPLE.COM", "alias": "ally"}] == (
        stead("account", "aliases", "alice", "--json").json
    )
    assert 1 == stead("account", "aliases", "nobody").status


@pytest.fixture
def at_a_terminal(store):
    """Give what runs a verb at a terminal where somebody types."""

    def run(answers, *arguments):
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "stead", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            cwd=ROOT,
            env=os.environ | {"STEAD_STORE": str(store)},
        )
        os.close(theirs)
        shown = b""
        try:
            for prompt, answer in answers:
                while prompt not in shown:
                    shown += os.read(ours, 1000)
                os.write(ours, answer + b"\n")
            with suppress(OSError):  # EIO: the other end is closed
                while more := os.read(ours, 1000):
                    shown += more
            status = process.wait(60)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        return status, shown.decode()

    return run


def test_a_password_is_asked_for_twice_at_a_terminal_and_shown_there_to_nobody(
    at_a_terminal, log_on
):
    verb = ("account", "password", "alice")
    answers = [(b"New password:", b"tiger"), (b"Once more:", b"tiger")]
    status, shown = at_a_terminal(answers, *verb)
    assert (0, True) == (status, "account alice has a new password" in shown)
    assert "tiger" not in shown
    log_on("alice", "tiger")

    answers = [(b"New password:", b"lion"), (b"Once more:", b"line")]
    status, shown = at_a_terminal(answers, *verb)
    assert (1, True) == (status, "the two passwords differ" in shown)
    log_on("alice", "tiger")
