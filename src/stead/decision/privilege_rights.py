"""Rights that privileges grant in an access check ([MS-DTYP] 2.5.3.2, Win32).

ACCESS_SYSTEM_SECURITY comes from SeSecurityPrivilege; WRITE_OWNER may come from
SeTakeOwnershipPrivilege or SeRelabelPrivilege; whoever says that it asks for backup or
restore gets from SeBackupPrivilege and SeRestorePrivilege what these are for. A
privilege grants nothing that nobody asked for by name.
"""

from __future__ import annotations

from typing import Final

from stead.model.access_mask import (
    FILE_MAPPING,
    AccessMask,
    FileRights,
    GenericMapping,
)
from stead.model.decision import AccessQuestion, Intent
from stead.model.privilege import Privilege

ACCESS_SYSTEM_SECURITY: Final = int(AccessMask.ACCESS_SYSTEM_SECURITY)
MAXIMUM_ALLOWED: Final = int(AccessMask.MAXIMUM_ALLOWED)
WRITE_OWNER: Final = int(AccessMask.WRITE_OWNER)
_READ_CONTROL: Final = int(AccessMask.READ_CONTROL)
_RESTORED: Final = int(
    AccessMask.WRITE_DAC | AccessMask.WRITE_OWNER | AccessMask.DELETE
)
_TRAVERSE: Final = int(FileRights.EXECUTE)


def privileges_for(
    question: AccessQuestion, left: int, *, but_for_label: int
) -> dict[int, Privilege]:
    """Return which enabled privilege grants which of the rights asked for by name.

    Args:
        question: what was asked.
        left: the rights that the mandatory rules leave open.
        but_for_label: those that they would without a label: SeRelabelPrivilege alone
            reaches past one (2.5.3.3).

    Returns:
        each right, one bit, and its privilege; a right that two grant, the first of
        SeSecurity, SeTakeOwnership, SeRelabel, SeBackup and SeRestore.
    """
    required = question.desired & ~MAXIMUM_ALLOWED
    found: dict[int, Privilege] = {}
    for privilege, rights in _offers(question):
        reached = but_for_label if privilege is Privilege.RELABEL else left
        wanted = rights & required & reached
        if wanted and question.token.has_privilege(privilege):
            for right in bits_of(wanted):
                found.setdefault(right, privilege)
    return found


def bits_of(mask: int) -> list[int]:
    """Return a mask's bits, each alone, lowest first."""
    bits = []
    while mask:
        lowest = mask & -mask
        bits.append(lowest)
        mask ^= lowest
    return bits


def _offers(question: AccessQuestion) -> list[tuple[Privilege, int]]:
    """Return what each privilege could grant, in the order in which they are asked."""
    offers = [
        (Privilege.SECURITY, ACCESS_SYSTEM_SECURITY),
        (Privilege.TAKE_OWNERSHIP, WRITE_OWNER),
        (Privilege.RELABEL, WRITE_OWNER),
    ]
    if question.intent & Intent.BACKUP:
        offers.append((Privilege.BACKUP, backup_rights(question.mapping)))
    if question.intent & Intent.RESTORE:
        offers.append((Privilege.RESTORE, restore_rights(question.mapping)))
    return offers


def backup_rights(mapping: GenericMapping) -> int:
    """Return what SeBackupPrivilege is for: reading, and passing through folders.

    Win32's list is about files; of another kind of object it grants what reading is.
    """
    rights = _READ_CONTROL | ACCESS_SYSTEM_SECURITY | mapping.read
    return rights | _TRAVERSE if mapping == FILE_MAPPING else rights


def restore_rights(mapping: GenericMapping) -> int:
    """Return what SeRestorePrivilege is for: writing, descriptors and owners too."""
    return _RESTORED | ACCESS_SYSTEM_SECURITY | mapping.write
