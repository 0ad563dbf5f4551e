"""Mandatory integrity: what a label forbids, DACL or not ([MS-DTYP] 2.5.3.3).

An object carries at most one label that counts; without one it is of medium integrity
and may not be written from below. A token whose policy lacks NO_WRITE_UP is not bound.
Who does not reach the object's level keeps only the rights that the label leaves open,
each named by a generic right of the object's kind: what only GENERIC_ALL maps to
(DELETE, WRITE_DAC, WRITE_OWNER and the like) is never open from below.
"""

from __future__ import annotations

from typing import Final

from stead.model.access_mask import VALID_MASK, GenericMapping
from stead.model.ace import MandatoryLabelAce, MandatoryLabelPolicy
from stead.model.acl import Acl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, MandatoryPolicy
from stead.model.well_known import MEDIUM_LEVEL, integrity_level, is_integrity_level

EVERY_RIGHT: Final = VALID_MASK
_DEFAULT_LABEL: Final = MandatoryLabelAce(
    MEDIUM_LEVEL, int(MandatoryLabelPolicy.NO_WRITE_UP)
)


def find_label(descriptor: SecurityDescriptor) -> tuple[int, MandatoryLabelAce] | None:
    """Find the label that counts: the first that is not inherit-only (2.5.3.3.1).

    Returns:
        its index in the SACL and the label, or None for an object without a label.
    """
    if not isinstance(descriptor.sacl, Acl):
        return None
    for position, ace in enumerate(descriptor.sacl):
        if isinstance(ace, MandatoryLabelAce) and not ace.is_inherit_only:
            return position, ace
    return None


def rights_past_label(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int:
    """Return every right that integrity leaves to the DACL and to privileges.

    Args:
        token: who asks.
        descriptor: the object's descriptor.
        mapping: which rights are reading, writing and executing.
    """
    if not token.mandatory_policy & MandatoryPolicy.NO_WRITE_UP:
        return EVERY_RIGHT
    found = find_label(descriptor)
    label = _DEFAULT_LABEL if found is None else found[1]
    if dominates(token.integrity, label.trustee):
        return EVERY_RIGHT
    return _rights_from_below(label, mapping)


def dominates(integrity: Sid, level: Sid) -> bool:
    """Tell whether an integrity reaches a level (2.5.3.1.2): compared as numbers.

    A label whose SID is no level says that something is protected and not from whom:
    nobody reaches it.
    """
    return is_integrity_level(level) and (
        integrity_level(integrity) >= integrity_level(level)
    )


def _rights_from_below(label: MandatoryLabelAce, mapping: GenericMapping) -> int:
    """Return what a label leaves open to whoever is below it."""
    if not is_integrity_level(label.trustee):
        return 0
    # A right that reading shares with writing (READ_CONTROL, SYNCHRONIZE) stays open
    # while reading does, or GENERIC_READ could never be granted from below.
    open_rights = 0
    if not label.mask & MandatoryLabelPolicy.NO_READ_UP:
        open_rights |= mapping.read
    if not label.mask & MandatoryLabelPolicy.NO_WRITE_UP:
        open_rights |= mapping.write
    if not label.mask & MandatoryLabelPolicy.NO_EXECUTE_UP:
        open_rights |= mapping.execute
    return open_rights
