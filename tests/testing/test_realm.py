"""A realm of a test's own: a real KDC, private, and gone afterwards."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.testing.ordinary import done_as

from stead.errors import EnforcementUnavailableError, LogonFailureError
from stead.testing import realm as module
from stead.testing.realm import Realm


def klist(realm, cache):
    return subprocess.run(
        ["klist", "-c", cache], env={**os.environ, **realm.environment(cache)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def kdcs(realm):
    """Return the processes whose configuration is the realm's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(realm.configuration).encode() in variables:
            found.append(process)
    return found


@pytest.mark.root
def test_an_ordinary_user_has_one_though_the_host_knows_no_account_of_the_uid():
    def ask():
        with Realm() as realm:
            realm.add_principal("alice", "tiger")
            return realm.log_on("alice", "tiger")

    assert done_as(61_234, ask).startswith("FILE:")


def test_somebody_logs_on_with_a_password_and_nobody_with_another(kerberos_realm):
    kerberos_realm.add_principal("alice", "tiger")
    cache = kerberos_realm.log_on("alice", "tiger")
    assert "alice@STEAD.TEST" in klist(kerberos_realm, cache)
    for name, password in (("alice", "lion"), ("bob", "tiger")):
        with pytest.raises(LogonFailureError):
            kerberos_realm.log_on(name, password)


def test_a_service_has_a_key_and_several_have_one_file(kerberos_realm):
    first = kerberos_realm.add_service("stead/localhost")
    assert first == kerberos_realm.add_service("http/localhost", keytab=first)
    names = subprocess.run(
        ["klist", "-k", str(first)], env={**os.environ, **kerberos_realm.environment()},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "stead/localhost@STEAD.TEST" in names
    assert "http/localhost@STEAD.TEST" in names
    assert 0o600 == first.stat().st_mode & 0o777


def test_what_the_kdc_refuses_to_do_is_an_error(kerberos_realm):
    kerberos_realm.add_principal("alice", "tiger")
    with pytest.raises(EnforcementUnavailableError, match="already exists"):
        kerberos_realm.add_principal("alice", "tiger")


def test_keys_are_nobody_elses_and_the_configuration_is_everybodys(kerberos_realm):
    modes = {
        name: (kerberos_realm.folder / name).stat().st_mode & 0o777
        for name in (".", "kdc", "krb5.conf")
    }
    assert {".": 0o711, "kdc": 0o700, "krb5.conf": 0o644} == modes


def test_two_realms_know_nothing_of_one_another():
    with Realm() as one, Realm("OTHER.TEST") as other:
        one.add_principal("alice", "tiger")
        with pytest.raises(LogonFailureError):
            other.log_on("alice", "tiger")


def tickets_to(host, client, keytab):
    """Have a realm's client ask for a host's service; say whether it gets a ticket."""
    cache = client.log_on("alice", "tiger")
    return subprocess.run(
        ["kvno", "-q", "-k", str(keytab), "-S", "HTTP", host],
        capture_output=True, check=False,
        env={**os.environ, **client.environment(cache)},
    ).returncode == 0  # fmt: skip


def test_a_realm_lets_clients_of_another_come_and_not_the_other_way_round():
    with Realm() as ours, Realm("OTHER.TEST") as other, Realm("THIRD.TEST") as third:
        plain = ours.configuration.read_text()
        for realm in (ours, other, third):
            realm.add_principal("alice", "tiger")
        here = "a.stead.test", ours.add_service("HTTP/a.stead.test")
        there = "a.other.test", other.add_service("HTTP/a.other.test")
        assert "capaths" not in plain
        ours.trust(other)
        assert tickets_to(here[0], other, here[1])
        assert not tickets_to(there[0], ours, there[1])
        other.trust(third)
        assert tickets_to(there[0], third, there[1])
        assert not tickets_to(here[0], third, here[1])
        ours.trust(third, through=[other])
        assert tickets_to(here[0], third, here[1])
        assert tickets_to(here[0], other, here[1])


def test_a_kdc_that_does_not_return_is_an_error(monkeypatch):
    with Realm() as realm:
        realm.configure("max_life = 10m")
        realm.add_principal("alice", "tiger")
        assert realm.log_on("alice", "tiger")
        assert "max_life = 10m" in (realm.folder / "kdc" / "kdc.conf").read_text()
        monkeypatch.setattr(module, "_KEEP", "exit 1")
        monkeypatch.setattr(module, "_SECONDS_TO_START", 0.05)
        with pytest.raises(EnforcementUnavailableError, match="does not return"):
            realm.configure()


def test_nothing_is_left_of_it_and_closing_again_does_nothing():
    with Realm() as realm:
        folder, running = realm.folder, kdcs(realm)
        assert running
    assert not folder.exists()
    assert not any(process.exists() for process in running)
    realm.close()


def test_it_ends_with_the_process_that_started_it():
    program = (
        "import os, signal, sys\n"
        "from stead.testing.realm import Realm\n"
        "realm = Realm().__enter__()\n"
        "print(realm.folder, flush=True)\n"
        "signal.pause()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    )
    realm = Realm()
    realm.folder = Path(owner.stdout.readline().strip())
    assert kdcs(realm)
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 60
    while kdcs(realm) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not kdcs(realm)
    realm.close()


def test_a_machine_without_a_kdc_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "PATH", "/nonexistent")
    with (
        pytest.raises(EnforcementUnavailableError, match="krb5kdc") as caught,
        Realm(),
    ):
        pass
    assert "apt-get install krb5-kdc" in caught.value.advice


def test_a_kdc_that_does_not_start_is_an_error_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(module, "_KEEP", "exit 1")
    monkeypatch.setattr(module, "_SECONDS_TO_START", 0.05)
    realm = Realm()
    with pytest.raises(EnforcementUnavailableError, match="does not start"):
        realm.__enter__()
    assert Path() == realm.folder
