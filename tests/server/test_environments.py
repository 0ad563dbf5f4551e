from __future__ import annotations

import os
import pwd

import pytest
from tests.name_sources import NameSourceOfTests

from stead.adapters.host import HostAccount, host_account, host_identity
from stead.errors import DirectoryUnavailableError, InvalidRequestError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.name_service import NameService
from stead.server.acting.environments import changed, environment_of, household_of

UNKNOWN = 70_777


def test_a_uid_that_the_host_knows_is_at_home_where_the_host_says():
    entry = pwd.getpwuid(os.getuid())
    found = household_of(PosixIdentity(entry.pw_uid, entry.pw_gid))
    assert (entry.pw_name, entry.pw_dir) == (found.name, found.home)
    assert found.is_known
    variables = dict(found.environment())
    assert os.fsencode(entry.pw_dir) == variables[b"HOME"]
    assert os.fsencode(entry.pw_name) == variables[b"USER"] == variables[b"LOGNAME"]


def test_a_uid_that_the_host_does_not_know_is_nowhere_at_home():
    assert host_account(UNKNOWN) is None
    found = household_of(PosixIdentity(UNKNOWN, UNKNOWN))
    assert ("/", str(UNKNOWN), "/bin/sh") == (found.home, found.name, found.shell)
    assert not found.is_known


def test_nothing_of_the_servers_environment_is_in_it(monkeypatch):
    monkeypatch.setenv("PATH", "/servers/own")
    monkeypatch.setenv("SERVER_SECRET", "tiger")
    variables = dict(environment_of(PosixIdentity(UNKNOWN, UNKNOWN)))
    assert b"tiger" not in variables.values()
    assert b"/usr/local/bin:/usr/bin:/bin" == variables[b"PATH"]


def test_a_name_service_that_does_not_answer_is_an_error(tmp_path):
    source = NameSourceOfTests(tmp_path, "steadhome")
    names = NameService.open(source.switch())
    assert HostAccount("dora", "/home/dora", "") == host_account(70500, names)
    groups = (70500, 70601, 70602)
    assert PosixIdentity(70500, 70500, groups) == host_identity(70500, names)
    source.be("down")
    for ask in (host_account, host_identity):
        with pytest.raises(DirectoryUnavailableError, match="70500"):
            ask(70500, names)


def test_variables_are_set_and_taken_out():
    begun = ((b"HOME", b"/"), (b"LANG", b"C"))
    made = changed(begun, {"LANG": None, "COLOR": "blue", "HOME": b"/x", "NONE": None})
    assert {b"HOME": b"/x", b"COLOR": b"blue"} == dict(made)


@pytest.mark.parametrize("changes", [{"A": 3}, {3: "a"}, {"A": "\ud8ff"}])
def test_what_is_no_text_is_refused_without_being_quoted(changes):
    with pytest.raises(InvalidRequestError, match="no text") as refused:
        changed((), changes)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
