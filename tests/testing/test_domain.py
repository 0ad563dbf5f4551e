"""An Active Directory domain of the run's own: a real controller, private, and gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead.errors import EnforcementUnavailableError, LogonFailureError
from stead.testing import domain as module
from stead.testing import samba_running as running
from stead.testing.domain import Domain
from stead.testing.domain_accounts import AccountControl

pytestmark = [pytest.mark.root, pytest.mark.slow]


def controllers(folder):
    """Return the processes of a domain, all of which are told its folder."""
    return [
        process
        for process in Path("/proc").glob("[0-9]*")
        if f"STEAD_DOMAIN={folder}" in _variables(process)
    ]


def _variables(process):
    try:
        return (process / "environ").read_text()
    except OSError:
        return ""


def klist(domain, *words):
    return subprocess.run(
        ["klist", *words], env={**os.environ, **domain.environment()},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


SMB = """
import sys
import smbclient, spnego
_, address, cache, verb, name = sys.argv
pool = {}
smbclient.register_session(
    address, username=spnego.KerberosCCache(cache), auth_protocol="kerberos",
    connection_cache=pool,
)
path = rf"\\\\{address}\\data\\{name}"
mode = {"put": "w", "get": "r"}[verb]
with smbclient.open_file(path, mode=mode, connection_cache=pool) as file:
    file.write(sys.stdin.read()) if verb == "put" else print(file.read(), end="")
"""


def smb(domain, cache, verb, name, text=""):
    """Read or write a file of the share as whoever the cache belongs to."""
    return subprocess.run(
        [sys.executable, "-c", SMB, domain.address, cache, verb, name], input=text,
        env={**os.environ, **domain.environment(cache)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def logged_on(domain, name):
    return domain.log_on(name, domain.password_of(name))


def test_who_may_log_on_does_and_nobody_else(active_directory):
    cache = logged_on(active_directory, "alice")
    assert "alice@AD.STEAD.TEST" in klist(active_directory, "-c", cache)
    logged_on(active_directory, "protected")
    for name in ("disabled", "expired", "nohours", "mustchange"):
        with pytest.raises(LogonFailureError):
            logged_on(active_directory, name)
    with pytest.raises(LogonFailureError):
        active_directory.log_on("alice", "a guess")


def test_accounts_groups_and_services_are_added_while_it_runs(active_directory):
    password = active_directory.add_user("newcomer")
    active_directory.add_group("newcomers", ["newcomer"], scope="universal")
    keytab = active_directory.add_service(
        "notes", "HTTP/notes.ad.stead.test", delegates_to=["HTTP/back.ad.stead.test"]
    )
    cache = active_directory.log_on("newcomer", password)
    subprocess.run(
        ["kvno", "-c", cache, "-k", str(keytab), "HTTP/notes.ad.stead.test"],
        env={**os.environ, **active_directory.environment(cache)}, check=True,
    )  # fmt: skip
    groups = active_directory.attributes("newcomer", "memberOf")["memberOf"]
    assert ["CN=newcomers,CN=Users,DC=ad,DC=stead,DC=test"] == groups
    active_directory.remove_members("newcomers", ["newcomer"])
    assert {} == active_directory.attributes("newcomer", "memberOf")
    active_directory.set_password("newcomer", "An0ther-Word")
    active_directory.log_on("newcomer", "An0ther-Word")
    active_directory.set_control("newcomer", AccountControl.ACCOUNT_DISABLED)
    with pytest.raises(LogonFailureError):
        active_directory.log_on("newcomer", "An0ther-Word")
    sid = active_directory.sid_of("newcomers")
    assert sid.is_within(active_directory.sid)


def test_what_samba_refuses_is_an_error(active_directory):
    with pytest.raises(EnforcementUnavailableError, match="there is no account"):
        active_directory.sid_of("nobody-of-that-name")
    with pytest.raises(EnforcementUnavailableError, match="samba refuses"):
        active_directory.add_user("alice")


def test_its_file_server_serves_as_the_client(active_directory):
    alice, bob = (logged_on(active_directory, name) for name in ("alice", "bob"))
    done = smb(active_directory, alice, "put", "test-domain.txt", "written by alice")
    assert 0 == done.returncode, done
    file = active_directory.shares["data"] / "test-domain.txt"
    assert active_directory.sid_of("alice") == active_directory.owner_of(file)
    sid = active_directory.sid_of("outer")
    active_directory.set_access(file, f"O:{sid}G:DUD:P(A;;FR;;;{sid})")
    assert sid == active_directory.owner_of(file)
    got = smb(active_directory, alice, "get", "test-domain.txt")
    assert "written by alice" == got.stdout
    refused = smb(active_directory, bob, "get", "test-domain.txt")
    assert "STATUS_ACCESS_DENIED" in refused.stderr


def test_keys_and_database_are_nobody_elses(active_directory):
    folder = active_directory.folder
    modes = {
        name: (folder / name).stat().st_mode & 0o777
        for name in (".", "private", "keytabs", "passwords.json", "krb5.conf")
    }
    expected = {".": 0o711, "private": 0o700, "keytabs": 0o700}
    assert {**expected, "passwords.json": 0o600, "krb5.conf": 0o644} == modes


def test_another_lives_beside_it_and_nothing_is_left_of_it(active_directory):
    begun = time.time()
    with Domain(shares=("one", "two")) as other:
        folder = other.folder
        assert other.address != active_directory.address
        assert {"one", "two"} == set(other.shares)
        assert controllers(folder)
        logged_on(other, "bob")
        logged_on(active_directory, "bob")
        assert [] == _newer("/etc", begun)
        assert [] == _newer("/var/lib/samba", begun) + _newer("/run/samba", begun)
    assert not folder.exists()
    assert not controllers(folder)
    other.close()
    with pytest.raises(EnforcementUnavailableError, match="is not there"):
        other.sid_of("alice")
    logged_on(active_directory, "alice")


def _newer(folder, moment):
    return [p for p in Path(folder).rglob("*") if p.lstat().st_mtime > moment]


PROGRAM = """
import signal
from pathlib import Path
from stead.testing.domain import Domain

class Slow(Domain):
    def _seed(self):
        print(self.folder, flush=True)
        super()._seed()

domain = {made}.__enter__()
print(domain.folder, flush=True)
signal.pause()
"""


@pytest.fixture
def owner():
    """Have another process start a domain; return it and the folder, when that is."""
    measured = {key for key in os.environ if key.startswith("COVERAGE_")}
    started = []

    def start(made):
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(made=made)],
                stdout=subprocess.PIPE, text=True,
                env={key: os.environ[key] for key in os.environ.keys() - measured},
            )
        )  # fmt: skip
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(folder):
    """Wait until nothing is left of a domain."""
    deadline = time.monotonic() + 60
    while (controllers(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not controllers(folder) and not folder.exists()


def test_it_ends_with_the_process_that_started_it(owner):
    process, folder = owner("Domain()")
    assert len(controllers(folder)) > 5  # shells, samba, its servers
    process.send_signal(signal.SIGKILL)
    assert gone(folder)


def test_one_that_is_being_made_ends_with_it_too(owner, tmp_path):
    cache = tmp_path / "kept"
    process, folder = owner(f"Slow('NEW.STEAD.TEST', cache=Path({str(cache)!r}))")
    assert folder.exists()
    process.send_signal(signal.SIGKILL)
    assert gone(folder)
    assert [] == list(cache.iterdir())


def test_a_finished_one_is_kept_and_few_of_others(tmp_path, active_directory):
    cache = tmp_path / "kept"
    cache.mkdir(mode=0o700)
    for number in range(4):
        (cache / f"domain-old{number}.tar").touch()
        os.utime(cache / f"domain-old{number}.tar", (number, number))
    with Domain("OTHER.STEAD.TEST", "OTHER", cache=cache) as first:
        sid = first.sid
        logged_on(first, "alice")
        with pytest.raises(LogonFailureError):
            first.log_on("alice", active_directory.password_of("alice"))
    kept = sorted(path.name for path in cache.iterdir())
    assert 3 == len(kept)
    assert ["domain-old2.tar", "domain-old3.tar"] == [n for n in kept if "old" in n]
    with Domain("OTHER.STEAD.TEST", "OTHER", cache=cache) as again:
        assert sid == again.sid != active_directory.sid
        logged_on(again, "alice")


def test_a_cache_that_others_may_write_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    assert running.kept_in(tmp_path) is None
    tmp_path.chmod(0o700)
    assert tmp_path == running.kept_in(tmp_path)
    assert running.kept_in(Path("/proc/nothing")) is None


def test_a_machine_without_samba_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "PATH", "/nonexistent")
    with pytest.raises(EnforcementUnavailableError, match="samba") as caught, Domain():
        pass
    assert "apt-get install samba" in caught.value.advice
    monkeypatch.undo()
    monkeypatch.setattr(running, "PYTHON", "/nonexistent/python3")
    with pytest.raises(EnforcementUnavailableError, match="bindings"), Domain():
        pass


def test_a_controller_that_does_not_start_is_an_error_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(running, "_INNER", 'echo no luck >"$1/log/inside"; exit 1')
    domain = Domain()
    with pytest.raises(EnforcementUnavailableError, match="no luck"):
        domain.__enter__()
    assert Path() == domain.folder


def test_a_machine_without_namespaces_is_told_so(monkeypatch):
    refused = running._OUTER.replace("unshare ", "unshare --no-such-namespace ")
    monkeypatch.setattr(running, "_OUTER", refused)
    with (
        pytest.raises(EnforcementUnavailableError, match="no-such-namesp") as caught,
        Domain(),
    ):
        pass
    assert "namespaces" in caught.value.advice


def test_whoever_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EnforcementUnavailableError, match="needs root"), Domain():
        pass
