"""Sources of users that answer some questions, and not the next, or otherwise.

Beside ours stands what every program does: two questions of glibc's kind, whose answers
are put together.
"""

from __future__ import annotations

import pytest
from tests.name_sources import TableOfNames

from stead.adapters.host import HostNameSource, host_identity
from stead.adapters.pam.attempt import identity_by_name
from stead.errors import (
    DirectoryUnavailableError,
    ImpersonationRefusedError,
    TooManyGroupsError,
)
from stead.model import well_known
from stead.model.posix_identity import PosixIdentity
from stead.privileged import pam_session
from stead.privileged.name_service import NameService
from stead.privileged.pam_session import PamSession

UID = 70500


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TableOfNames(tmp_path_factory.mktemp("nss"))


@pytest.fixture
def names(source):
    return NameService.open(source.switch())


def naive(names, user):
    """Return who a user is, by a number or name and then the groups of that name."""
    return PosixIdentity(user.uid, user.gid, names.groups_of(user))


def test_a_user_whose_name_a_local_one_has_is_not_in_the_groups_of_that_one(
    names, source
):
    """Whoever writes a directory would give its users the groups of this machine's."""
    source.knows("U games 70500 70500", "M games 70601")
    local = names.user_by_name("games")
    assert local.uid != UID
    gained = naive(names, names.user_by_uid(UID)).groups
    assert {*names.groups_of(local)} - {local.gid} <= {*gained}
    assert 70601 in gained
    with pytest.raises(DirectoryUnavailableError, match=f"`games` .* uid {local.uid}"):
        host_identity(UID, names)


def test_two_numbers_of_one_name_are_not_one_user_s_groups(names, source):
    source.knows("U dora 70500 70500", "U dora 70501 70501", "M dora 70601")
    assert (70501, 70601) == naive(names, names.user_by_uid(70501)).groups
    with pytest.raises(DirectoryUnavailableError, match=f"uid {UID}"):
        host_identity(70501, names)
    assert (70500, 70601) == host_identity(UID, names).groups  # whose name it is


def test_two_names_of_one_number_are_who_came_by_each(names, source):
    source.knows(
        "U dora 70500 70500", "U nora 70500 70500", "M dora 70601", "M nora 70602"
    )
    assert (70500, 70601) == host_identity(UID, names).groups
    assert (70500, 70602) == identity_by_name("nora", names).groups


WAYS = [
    pytest.param(
        lambda names: naive(names, names.user_by_uid(UID)),
        lambda names: host_identity(UID, names),
        id="uid",
    ),
    pytest.param(
        lambda names: naive(names, names.user_by_name("dora")),
        lambda names: identity_by_name("dora", names),
        id="name",
    ),
]


@pytest.mark.parametrize(("naively", "ask"), WAYS)
def test_who_is_made_anew_between_two_questions_has_not_the_new_ones_groups(
    names, source, naively, ask
):
    def change():
        then = source.then("U dora 70777 70777", "M dora 70602")
        source.knows(
            "U dora 70500 70500", "M dora 70601",
            f"T getpwuid 70500 {then}", f"T getpwnam dora {then}",
        )  # fmt: skip

    change()
    assert PosixIdentity(UID, UID, (UID, 70602)) == naively(names)
    change()
    with pytest.raises(DirectoryUnavailableError, match="uid 70777"):
        ask(names)


@pytest.mark.parametrize(("naively", "ask"), WAYS)
@pytest.mark.parametrize("then", [(), ("U dora 70777 70777",), ("U dora 70500 70777",)])
def test_who_is_gone_or_another_before_the_last_answer_is_not_who_was_meant(
    names, source, naively, ask, then
):
    def change():
        changed = source.then(*then, "M dora 70602")
        source.knows(
            "U dora 70500 70500", "M dora 70601", f"T initgroups dora {changed}"
        )

    change()
    assert PosixIdentity(UID, UID, (UID, 70601)) == naively(names)
    change()
    with pytest.raises(DirectoryUnavailableError, match="that name is"):
        ask(names)


@pytest.mark.parametrize(
    "lines",
    [
        ("U dora 70500 4294967295",),
        ("U dora 70500 -1",),
        ("U dora 4294967295 70500", "A getpwuid 70500 dora"),
        ("U dora 70500 70500", "M dora 4294967295"),
        ("U NULL 70500 70500",),
    ],
    ids=" ".join,
)
def test_an_entry_without_its_numbers_or_a_name_is_an_error_that_says_so(
    names, source, lines
):
    """The naive reader has a group that means "leave unchanged", or a fault of C's."""
    source.knows(*lines)
    with pytest.raises(DirectoryUnavailableError, match=r"no name|4294967295"):
        host_identity(UID, names)


def test_nobody_is_named_by_the_number_that_means_none(names, source):
    source.knows("U dora 4294967295 70500", "G keepers 4294967295", "G NULL 70601")
    assert well_known.uid_of(well_known.unix_user(4294967295)) is None
    for ask in (
        lambda: names.user_by_name("dora"),
        lambda: names.group_by_name("keepers"),
        lambda: names.group_by_gid(70601),
        lambda: HostNameSource(names, "here").find("dora", ""),
    ):
        with pytest.raises(
            DirectoryUnavailableError, match=r"which means none|no name"
        ):
            ask()


def test_more_groups_than_the_kernel_takes_are_an_error_and_no_cut(names, source):
    source.knows("U dora 70500 70500", "R dora 80000 65535")
    assert 65536 == len(host_identity(UID, names).groups)
    source.knows("U dora 70500 70500", "R dora 80000 65536")
    assert 65537 == len(names.groups_of(names.user_by_uid(UID)))
    with pytest.raises(TooManyGroupsError):
        host_identity(UID, names)


def test_what_was_found_before_a_source_fell_silent_is_no_answer(names, source):
    """Of a list that was begun glibc keeps what there is."""
    source.knows("U dora 70500 70500", "M dora 70601", "F initgroups dora -1")
    with pytest.raises(DirectoryUnavailableError, match="connection refused"):
        host_identity(UID, names)
    source.knows("U dora 70500 70500", "M dora 70601", "F initgroups dora -2")
    with pytest.raises(DirectoryUnavailableError):
        host_identity(UID, names)


def test_a_session_of_pam_s_says_what_is_down_and_not_that_it_is_somebody_else(
    names, source, monkeypatch
):
    monkeypatch.setattr(pam_session, "open_host_names", lambda: names)
    source.knows("U dora 70500 70500", "F getpwnam dora -1")
    with pytest.raises(ImpersonationRefusedError, match="connection refused"):
        PamSession("dora", UID)
    source.knows("U dora 70501 70501")
    for name in ("dora", "nora"):
        with pytest.raises(ImpersonationRefusedError, match=f"`{name}` is not uid"):
            PamSession(name, UID)
