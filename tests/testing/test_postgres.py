"""A PostgreSQL of a test's own: a real server, private, and gone afterwards."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.testing.ordinary import done_as

from stead.errors import EnforcementUnavailableError
from stead.testing import postgres as module
from stead.testing.postgres import Postgres

pytestmark = [pytest.mark.slow]

WHO = "select current_user, principal from pg_stat_gssapi where pid = pg_backend_pid()"


def psql(database, conninfo, sql, environment=None):
    return subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-w", "-d", conninfo], input=sql, text=True,
        env={**os.environ, **(environment or {})}, capture_output=True, check=False,
    )  # fmt: skip


def servers(folder):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if f"{folder}/data" in command:
            found.append(process)
    return found


def test_a_role_with_a_password_sees_its_own_rows_alone(private_postgres):
    passwords = {name: private_postgres.add_role(name) for name in ("alice", "bob")}
    private_postgres.add_owned_rows("notes", passwords)
    for name, password in passwords.items():
        own = {"PGPASSWORD": password}
        conninfo = private_postgres.conninfo(name)
        done = psql(private_postgres, conninfo,
                    "insert into notes (body) values ('mine');"
                    "select owner, body from notes", own)  # fmt: skip
        assert f"{name}|mine\n" == done.stdout, done
    rows = private_postgres.execute("select owner from notes order by owner")
    assert ["alice", "bob"] == rows
    wrong = psql(private_postgres, private_postgres.conninfo("alice"), "select 1",
                 {"PGPASSWORD": passwords["bob"]})  # fmt: skip
    assert "password authentication failed" in wrong.stderr
    assert (
        0 != psql(private_postgres, private_postgres.conninfo("alice"), "").returncode
    )


def test_a_principal_of_the_realm_is_the_role_of_its_name(kerberos_realm):
    keytab = kerberos_realm.add_service(Postgres.principal)
    kerberos_realm.add_principal("alice", "tiger")
    cache = kerberos_realm.log_on("alice", "tiger")
    environment = kerberos_realm.environment(cache)
    with Postgres(domain=kerberos_realm, keytab=keytab) as database:
        database.add_role("alice")
        database.add_role("bob")
        for mode in ("disable", "require"):
            conninfo = database.conninfo("alice", gssencmode=mode)
            done = psql(database, conninfo, WHO, environment)
            assert "alice|alice@STEAD.TEST\n" == done.stdout, done
        other = psql(database, database.conninfo("bob"), WHO, environment)
        assert "authentication failed" in other.stderr


@pytest.mark.root
def test_an_ordinary_user_has_one_and_a_uid_without_account_is_told_why_not():
    def ask():
        with Postgres() as database:
            database.add_role("alice")
            return database.execute("select rolname from pg_roles where rolcanlogin")

    nobody = pwd.getpwnam("nobody").pw_uid
    assert "['nobody', 'alice']" == done_as(nobody, ask)
    told = done_as(61_234, ask)
    assert "there is no account of uid 61234 on this host" in told
    assert "EnforcementUnavailableError" in told


def test_what_the_database_refuses_is_an_error(private_postgres):
    with pytest.raises(EnforcementUnavailableError, match="does not exist"):
        private_postgres.execute("select * from nothing")


def test_nobody_else_reaches_its_folder_and_nothing_is_left():
    with Postgres() as database:
        folder = database.folder
        assert 0o700 == folder.stat().st_mode & 0o777
        assert servers(folder)
    assert not folder.exists()
    assert not servers(folder)
    database.close()


def test_it_ends_with_the_process_that_started_it():
    program = (
        "import signal\n"
        "from stead.testing.postgres import Postgres\n"
        "database = Postgres().__enter__()\n"
        "print(database.folder, flush=True)\n"
        "signal.pause()\n"
    )
    measured = {key for key in os.environ if key.startswith("COVERAGE_")}
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
        env={key: value for key, value in os.environ.items() if key not in measured},
    )  # fmt: skip
    folder = Path(owner.stdout.readline().strip())
    assert servers(folder)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    deadline = time.monotonic() + 60
    while (servers(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not servers(folder)
    assert not folder.exists()


def test_a_taken_port_is_not_the_end(monkeypatch, private_postgres):
    ports = iter([private_postgres.port])
    free = module.free_port
    monkeypatch.setattr(module, "free_port", lambda: next(ports, None) or free())
    with Postgres() as database:
        assert database.port != private_postgres.port
        assert ["1"] == database.execute("select 1")


def test_one_that_does_not_start_is_an_error_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(module, "_KEEP", 'echo FATAL: no luck >"$2/log"')
    database = Postgres()
    with pytest.raises(EnforcementUnavailableError, match="no luck"):
        database.__enter__()
    assert Path() == database.folder


def test_a_machine_without_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "_HOME", Path("/nonexistent"))
    with pytest.raises(EnforcementUnavailableError) as caught, Postgres():
        pass
    assert "apt-get install postgresql" in caught.value.advice
    monkeypatch.undo()
    monkeypatch.setattr(module, "_USER", "nobody-of-that-name")
    with pytest.raises(EnforcementUnavailableError, match="no user"), Postgres():
        pass
