"""A realm whose services delegate by name: a real KDC over a real directory."""

import os
import subprocess
from pathlib import Path

import pytest

from stead.errors import EnforcementUnavailableError
from stead.testing import directory_realm as module
from stead.testing.directory_realm import DirectoryRealm

FRONT, BACK, OTHER = (f"HTTP/{name}.stead.test" for name in ("front", "back", "other"))


def delegated(realm, keytab, target):
    """Have FRONT ask for a ticket to a service, as alice."""
    cache = f"FILE:{realm.folder}/front.ccache"
    environment = {**os.environ, **realm.environment(cache)}
    subprocess.run(
        ["kinit", "-f", "-k", "-t", str(keytab), FRONT], env=environment, check=True
    )
    return subprocess.run(
        ["kvno", "-k", str(keytab), "-U", "alice", "-P", target], env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_service_acts_for_clients_where_it_is_allowed_and_nowhere_else(
    delegating_realm,
):
    realm = delegating_realm
    realm.add_principal("alice", "tiger")
    keytab = realm.add_service(FRONT)
    for name in (BACK, OTHER):
        realm.add_service(name, keytab=keytab)
    realm.allow_delegation(FRONT, [BACK])
    assert 0 == delegated(realm, keytab, BACK).returncode
    refused = delegated(realm, keytab, OTHER)
    assert 0 != refused.returncode
    assert "KDC" in refused.stderr
    realm.allow_delegation(FRONT, [BACK, OTHER])
    assert 0 == delegated(realm, keytab, OTHER).returncode
    realm.allow_delegation(FRONT, [BACK, OTHER], without_password=False)
    assert 0 != delegated(realm, keytab, BACK).returncode
    realm.allow_delegation(FRONT, [])
    assert 0 != delegated(realm, keytab, BACK).returncode


def test_it_is_a_realm_as_others_and_nothing_is_left_of_it():
    with DirectoryRealm("OTHER.TEST") as realm:
        realm.add_principal("bob", "lion")
        assert realm.log_on("bob", "lion").startswith("FILE:")
        folder = realm.folder
        assert _slapds(folder)
    assert not folder.exists()
    assert not _slapds(folder)
    realm.close()


def _slapds(folder):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if command.startswith("slapd") and str(folder) in command:
            found.append(process)
    return found


def test_what_is_missing_or_does_not_start_is_told(monkeypatch):
    monkeypatch.setattr(module, "_PROGRAMS", ("no-such-program",))
    with (
        pytest.raises(EnforcementUnavailableError, match="no-such-program") as caught,
        DirectoryRealm(),
    ):
        pass
    assert "apt-get install slapd" in caught.value.advice
    monkeypatch.undo()
    monkeypatch.setattr(module, "_KEEP", "read -r _")
    monkeypatch.setattr(module, "_SECONDS", 0.05)
    with pytest.raises(EnforcementUnavailableError, match="slapd"), DirectoryRealm():
        pass


def test_a_long_way_to_temporary_files_is_not_too_long(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with DirectoryRealm() as realm:
        assert not realm.folder.is_relative_to(deep)
        realm.add_principal("alice", "tiger")
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp")
    with DirectoryRealm() as realm:
        assert realm.folder.is_relative_to("/var/tmp")
        realm.add_principal("alice", "tiger")
