"""Users and groups of the host, by sources that may be down (pains of getgrouplist)."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import subprocess
import sys

import pytest
from tests.name_sources import NameSourceOfTests

from stead.adapters.host import host_identity
from stead.errors import DirectoryUnavailableError
from stead.privileged.name_service import (
    NameService,
    PlainNames,
    SourceState,
    UnixGroup,
    User,
    examine_sources,
    open_host_names,
)
from stead.privileged.name_sources import Passwd

DORA = User("dora", 70500, 70500, "/home/dora", "")
ALL = (70500, 70601, 70602)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return NameSourceOfTests(tmp_path_factory.mktemp("nss"))


@pytest.fixture(autouse=True)
def up(source):
    source.be("up")


@pytest.fixture
def names(source):
    return NameService.open(source.switch())


def test_this_host_says_here_what_it_says_to_everybody_else():
    asked, plain = open_host_names(), PlainNames()
    for entry in pwd.getpwall():
        user = asked.user_by_uid(entry.pw_uid)
        assert plain.user_by_uid(entry.pw_uid) == user
        assert user == asked.user_by_name(user.name) == plain.user_by_name(user.name)
        assert plain.groups_of(user) == asked.groups_of(user)
    for entry in grp.getgrall():
        group = UnixGroup(entry.gr_name, entry.gr_gid)
        assert group == asked.group_by_gid(group.gid) == plain.group_by_gid(group.gid)
        assert group == asked.group_by_name(group.name)
        assert group == plain.group_by_name(group.name)


@pytest.mark.parametrize("answer", [NameService.open, PlainNames])
@pytest.mark.parametrize("name", ["no-such", "", "a\0b", "\ud800"], ids=ascii)
def test_nobody_is_no_error(answer, name):
    assert answer().user_by_name(name) is None
    assert answer().group_by_name(name) is None


@pytest.mark.parametrize("answer", [NameService.open, PlainNames])
@pytest.mark.parametrize("number", [-1, 4_000_000_123, 1 << 40])
def test_no_number_is_an_error(answer, number):
    assert answer().user_by_uid(number) is None
    assert answer().group_by_gid(number) is None


def test_a_user_of_a_directory_is_known_with_all_groups(names):
    assert names.user_by_uid(70500) == DORA == names.user_by_name("dora")
    assert ALL == names.groups_of(DORA)
    assert UnixGroup("keepers", 70601) == names.group_by_gid(70601)
    assert UnixGroup("auditors", 70602) == names.group_by_name("auditors")


def test_a_source_that_lists_groups_only_is_read_to_its_end(tmp_path):
    made = NameSourceOfTests(tmp_path, "steadlist", "-DENUMERATES")
    names = NameService.open(made.switch())
    assert ALL == names.groups_of(DORA)
    assert (70700,) == names.groups_of(User("eve", 70700, 70700, "/", ""))
    for state in ("down", "busy"):
        made.be(state)
        with pytest.raises(DirectoryUnavailableError):
            names.groups_of(DORA)


def test_a_source_of_users_alone_has_no_groups_to_tell(tmp_path):
    made = NameSourceOfTests(tmp_path, "steadusers", "-DUSERS_ONLY")
    names = NameService.open(made.switch(f"{made.name} [!SUCCESS=continue] files"))
    assert names.user_by_uid(70500) == DORA
    assert (70500,) == names.groups_of(DORA)
    assert names.group_by_gid(70601) is None


@pytest.mark.parametrize("state", ["down", "busy"])
def test_a_directory_that_is_down_is_an_error_and_never_no_groups(source, state):
    """The naive way, here in one process: ask glibc, as every program does."""
    switch = source.switch()
    source.be(state)
    naive = (
        "import ctypes, os, pwd\n"
        "libc = ctypes.CDLL(None)\n"
        f"ctypes.CDLL({str(source.library)!r})\n"
        "for each in (b'passwd', b'group', b'initgroups'):\n"
        f"    libc.__nss_configure_lookup(each, b'files {source.name}')\n"
        "print(os.getgrouplist('dora', 70500))\n"
        "try: pwd.getpwnam('dora')\n"
        "except KeyError: print('no such user')\n"
    )
    run = [sys.executable, "-c", naive]
    assert "[70500]\nno such user\n" == subprocess.check_output(run, text=True)
    source.be("up")
    assert str(list(ALL)) == subprocess.check_output(run, text=True).splitlines()[0]

    source.be(state)
    ours = NameService.open(switch)
    asks = (
        lambda: ours.groups_of(DORA),
        lambda: ours.user_by_uid(70500),
        lambda: ours.user_by_name("dora"),
        lambda: ours.group_by_gid(70601),
        lambda: ours.group_by_name("keepers"),
    )
    for ask in asks:
        with pytest.raises(DirectoryUnavailableError, match="steadtest"):
            ask()
    source.be("up")  # and nothing of it was kept
    assert ALL == ours.groups_of(DORA)
    assert ours.user_by_name("dora") == DORA


def test_a_local_user_is_not_known_whole_while_a_directory_is_down(names, source):
    """The directory may have put root into a group, too."""
    root = names.user_by_uid(0)
    source.be("down")
    assert root == names.user_by_uid(0)  # the first source has it
    with pytest.raises(DirectoryUnavailableError):
        names.groups_of(root)


def test_a_line_of_its_own_says_whom_memberships_are_asked_of(source):
    source.be("down")
    names = NameService.open(source.switch(memberships="files"))
    assert tuple(sorted(set(os.getgrouplist("root", 0)))) == names.groups_of(
        names.user_by_uid(0)
    )


def test_with_that_line_the_first_source_that_finds_some_is_the_last(source):
    names = NameService.open(source.switch(memberships=f"{source.name} absent files"))
    assert ALL == names.groups_of(DORA)


def test_a_source_that_ends_the_search_ends_it(source):
    switch = source.switch(users=f"{source.name} [NOTFOUND=return] files")
    names = NameService.open(switch)
    assert names.user_by_uid(0) is None
    assert names.user_by_uid(70500) == DORA


def test_a_source_whose_library_is_not_installed_is_not_there(source):
    names = NameService.open(source.switch(f"absent files {source.name}"))
    assert ["files", source.name] == [each.source.name for each in names.groups]
    assert ALL == names.groups_of(DORA)


def test_a_library_that_cannot_be_loaded_is_an_error(tmp_path):
    broken = tmp_path / "libnss_steadbroken.so.2"
    broken.write_bytes(b"\x7fELF and no more")
    program = (
        "from pathlib import Path\n"
        "from stead.privileged.name_service import NameService\n"
        "from stead.errors import DirectoryUnavailableError\n"
        f"switch = Path({str(tmp_path / 'switch')!r})\n"
        "switch.write_text('group: files steadbroken')\n"
        "try: NameService.open(switch)\n"
        "except DirectoryUnavailableError as error: print(error)\n"
    )
    said = subprocess.check_output(
        [sys.executable, "-c", program],
        text=True,
        env={"LD_LIBRARY_PATH": str(tmp_path)},
    )
    assert "`steadbroken` cannot say anything" in said


def test_a_list_of_sources_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(DirectoryUnavailableError, match="which sources"):
        NameService.open(tmp_path)
    names = NameService.open(tmp_path / "absent")  # to glibc that is `files`
    assert ["files"] == [each.source.name for each in names.users]


def test_who_asks_hears_how_each_source_is(source):
    switch = source.switch(f"files absent {source.name}")
    files, ours, absent = examine_sources(switch)
    assert SourceState("files", is_installed=True) == files
    assert SourceState(source.name, is_installed=True) == ours
    assert SourceState("absent", is_installed=False) == absent
    source.be("down")
    _, ours, _ = examine_sources(switch)
    assert "connection refused" in ours.problem
    with pytest.raises(DirectoryUnavailableError):
        examine_sources(source.folder)


def test_who_is_found_by_one_number_and_has_another_is_an_error(names):
    """As where an entry of a directory has two: the naive one goes on as the other."""
    key = ctypes.c_uint(70599)
    (source,) = [each for each in names.users if each.source.name == "steadtest"]
    _, naive, _kept = source.look_up("getpwuid_r", key, Passwd, "who it is")
    assert 70500 == naive.uid
    with pytest.raises(DirectoryUnavailableError, match="70500 for uid 70599"):
        names.user_by_uid(70599)
    with pytest.raises(DirectoryUnavailableError, match="70500 for uid 70599"):
        host_identity(70599, names)
    with pytest.raises(DirectoryUnavailableError, match="70601 for gid 70699"):
        names.group_by_gid(70699)
