"""nsswitch.conf, read as glibc reads it."""

from __future__ import annotations

import pytest

from stead.privileged.name_switch import Action, Source, Status, read_name_switch

EVERYTHING_GOES_ON = dict.fromkeys(Status, Action.CONTINUE)
USUAL = EVERYTHING_GOES_ON | {Status.SUCCESS: Action.RETURN}


def names(sources):
    return [source.name for source in sources]


def test_what_is_not_said_is_files():
    for text in ("", "# passwd: sss", "passwd:", "hosts: dns", "nonsense"):
        read = read_name_switch(text)
        assert ["files"] == names(read.users) == names(read.groups)
        assert ["files"] == names(read.memberships)


def test_sources_are_read_in_order_with_comments_and_space():
    read = read_name_switch(" passwd :\tfiles  sss # ldap\ngroup:files systemd winbind")
    assert ["files", "sss"] == names(read.users)
    assert ["files", "systemd", "winbind"] == names(read.groups)
    assert dict(read.users[0].actions) == USUAL


def test_every_source_of_groups_is_asked_for_memberships_unless_a_line_says_whom():
    read = read_name_switch("group: files sss")
    assert ["files", "sss"] == names(read.memberships)
    assert dict(read.memberships[0].actions) == EVERYTHING_GOES_ON
    read = read_name_switch("group: files sss\ninitgroups: sss")
    assert ["sss"] == names(read.memberships)
    assert dict(read.memberships[0].actions) == USUAL


@pytest.mark.parametrize(
    ("criteria", "meant"),
    [
        ("[NOTFOUND=return]", {Status.NOT_FOUND: Action.RETURN}),
        ("[ success=merge ]", {Status.SUCCESS: Action.CONTINUE}),
        ("[SUCCESS=continue UNAVAIL=return]",
         {Status.SUCCESS: Action.CONTINUE, Status.UNAVAILABLE: Action.RETURN}),
        ("[!UNAVAIL=return]",
         {Status.NOT_FOUND: Action.RETURN, Status.TRY_AGAIN: Action.RETURN}),
        ("[WHATEVER=return]", {}),
    ],
)  # fmt: skip
def test_what_follows_from_a_status_can_be_said(criteria, meant):
    first, second = read_name_switch(f"passwd: nis {criteria} files").users
    assert USUAL | meant == dict(first.actions)
    assert second == Source("files")


def test_what_is_no_file_s_name_is_no_source():
    assert ["files"] == names(
        read_name_switch("passwd: ../evil [X=return] files").users
    )
