"""Backup and restore: what their privileges open to whoever says so."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    DELETE,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    allow,
    guarded,
    token,
)

from stead.decision.access_check import access_check
from stead.model.access_mask import FILE_MAPPING, FileRights, GenericMapping
from stead.model.decision import Intent
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.well_known import LOW_LEVEL

TRAVERSE = int(FileRights.EXECUTE)
BACKUP, RESTORE = [Privilege.BACKUP], [Privilege.RESTORE]


def ask(desired, intent, privileges, mapping=MAPPING, **fields):
    who = token(privileges=privileges, **fields)
    return access_check(who, guarded(), desired, mapping, intent=intent)


def test_backup_reads_files_and_passes_through_folders():
    asked = int(FileRights.GENERIC_READ) | TRAVERSE | READ_CONTROL | SYSTEM_SECURITY
    found = ask(asked, Intent.BACKUP, BACKUP, FILE_MAPPING)
    assert asked == found.granted
    assert (Privilege.BACKUP,) == found.privileges_used


@pytest.mark.parametrize("right", [FileRights.WRITE_DATA, DELETE, WRITE_DAC])
def test_backup_writes_nothing(right):
    assert not ask(int(right), Intent.BACKUP, BACKUP, FILE_MAPPING)


def test_restore_writes_files_their_owners_and_descriptors():
    asked = (
        int(FileRights.GENERIC_WRITE) | WRITE_DAC | WRITE_OWNER | DELETE
        | SYSTEM_SECURITY
    )  # fmt: skip
    found = ask(asked, Intent.RESTORE, RESTORE, FILE_MAPPING)
    assert asked == found.granted
    assert (Privilege.RESTORE,) == found.privileges_used


@pytest.mark.parametrize("right", [FileRights.READ_DATA, FileRights.EXECUTE])
def test_restore_reads_nothing(right):
    assert not ask(int(right), Intent.RESTORE, RESTORE, FILE_MAPPING)


def test_of_another_kind_of_object_they_grant_what_reading_and_writing_are():
    assert ask(READ, Intent.BACKUP, BACKUP)
    assert not ask(RUN, Intent.BACKUP, BACKUP)
    assert ask(WRITE, Intent.RESTORE, RESTORE)


def test_of_no_other_kind_of_object_is_executing_passing_through():
    assert not ask(TRAVERSE, Intent.BACKUP, BACKUP)


def test_backup_reads_the_descriptor_whatever_reading_maps_to():
    mapping = GenericMapping(READ, WRITE, RUN, READ | WRITE | RUN)
    assert ask(READ_CONTROL, Intent.BACKUP, BACKUP, mapping)
    assert not ask(READ_CONTROL, Intent.RESTORE, RESTORE, mapping)


def test_who_does_not_say_so_gets_nothing():
    assert not ask(READ, Intent.NONE, BACKUP)
    assert not ask(WRITE, Intent.BACKUP, RESTORE)
    assert not ask(READ, Intent.RESTORE, BACKUP)


def test_who_says_so_without_the_privilege_gets_nothing():
    assert not ask(READ, Intent.BACKUP, [])
    off = TokenPrivilege(Privilege.BACKUP, PrivilegeAttributes.NONE)
    who = token(privileges=[])
    who = type(who)(who.user, privileges=(off,))
    assert not access_check(who, guarded(), READ, MAPPING, intent=Intent.BACKUP)


def test_nothing_is_granted_that_nobody_named():
    assert not ask(MAXIMUM, Intent.BACKUP, BACKUP)
    assert READ == ask(MAXIMUM | READ, Intent.BACKUP, BACKUP).granted


def test_the_rest_is_the_list_s():
    who = token(privileges=BACKUP)
    what = guarded(allow(ALICE, WRITE))
    assert access_check(who, what, READ | WRITE, MAPPING, intent=Intent.BACKUP)


def test_integrity_binds_them():
    assert not ask(WRITE, Intent.RESTORE, RESTORE, integrity=LOW_LEVEL)


def test_the_privilege_of_one_right_is_asked_before_that_of_many():
    both = [Privilege.SECURITY, Privilege.BACKUP]
    found = ask(SYSTEM_SECURITY, Intent.BACKUP, both)
    assert (Privilege.SECURITY,) == found.privileges_used
