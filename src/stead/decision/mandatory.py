"""Mandatory rules: what they leave to privileges and the DACL ([MS-DTYP] 2.5.3.3).

Three rules of the SACL bind whoever asks, DACL or not; none grants anything.

* Process trust: who is below the object's trust label keeps the label's mask.
* Access filters: who a filter's condition is not true for keeps the filter's mask.
* Integrity: an object carries at most one label that counts; without one it is of
  medium integrity and may not be written from below. A token whose policy lacks
  NO_WRITE_UP is not bound. Who does not reach the object's level keeps only the rights
  that the label leaves open, each named by a generic right of the object's kind: what
  only GENERIC_ALL maps to (DELETE, WRITE_DAC and the like) is never open from below.

The first two leave ACCESS_SYSTEM_SECURITY to SeSecurityPrivilege (winnt.h has the
entries; what they mean is observed, not specified).
"""

from __future__ import annotations

from typing import Final

from stead.decision.callbacks import Callbacks
from stead.decision.conditional import Truth
from stead.decision.principals import Principal
from stead.model.access_mask import VALID_MASK, AccessMask, GenericMapping
from stead.model.ace import (
    AccessFilterAce,
    Ace,
    MandatoryLabelAce,
    MandatoryLabelPolicy,
    ProcessTrustLabelAce,
)
from stead.model.acl import Acl
from stead.model.decision import AccessQuestion
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, MandatoryPolicy
from stead.model.well_known import (
    MEDIUM_LEVEL,
    integrity_level,
    is_integrity_level,
    is_trust_level,
)

EVERY_RIGHT: Final = VALID_MASK
_SYSTEM_SECURITY: Final = int(AccessMask.ACCESS_SYSTEM_SECURITY)
_DEFAULT_LABEL: Final = MandatoryLabelAce(
    MEDIUM_LEVEL, int(MandatoryLabelPolicy.NO_WRITE_UP)
)
_NO_WRITE_UP: Final = int(MandatoryPolicy.NO_WRITE_UP)
_NO_TRUST: Final = (0, 0)


# --- process trust ------------------------------------------------------------------


def find_trust_label(descriptor: SecurityDescriptor) -> tuple[int, Ace] | None:
    """Find the trust label that counts: the first that is not inherit-only."""
    return _first(descriptor, ProcessTrustLabelAce)


def rights_past_trust(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int:
    """Return every right that the object's trust label leaves open."""
    found = find_trust_label(descriptor)
    if found is None or trust_dominates(token.trust, found[1].trustee):
        return EVERY_RIGHT
    return mapping.map(found[1].mask) | _SYSTEM_SECURITY


def trust_dominates(trust: Sid | None, level: Sid) -> bool:
    """Tell whether a trust level reaches another: in its type and in its level.

    A label whose SID is no trust level protects from everybody.
    """
    if not is_trust_level(level):
        return False
    held = _NO_TRUST if trust is None else trust.sub_authorities
    needed = level.sub_authorities
    return held[0] >= needed[0] and held[1] >= needed[1]


# --- access filters -----------------------------------------------------------------


def closed_filters(
    descriptor: SecurityDescriptor, callbacks: Callbacks, principal: Principal
) -> list[tuple[int, Ace]]:
    """Return the access filters whose condition is not true for a principal."""
    if not isinstance(descriptor.sacl, Acl):
        return []
    return [
        (position, ace)
        for position, ace in enumerate(descriptor.sacl.aces)
        if type(ace) is AccessFilterAce
        and not ace.is_inherit_only
        and callbacks.truth_of_data(ace.application_data, principal, deny=False)
        is not Truth.TRUE
    ]


def rights_past_filters(
    question: AccessQuestion, callbacks: Callbacks, principal: Principal
) -> int:
    """Return every right that the object's access filters leave open."""
    left = EVERY_RIGHT
    for _, ace in closed_filters(question.descriptor, callbacks, principal):
        left &= question.mapping.map(ace.mask) | _SYSTEM_SECURITY
    return left


# --- integrity ----------------------------------------------------------------------


def find_label(descriptor: SecurityDescriptor) -> tuple[int, Ace] | None:
    """Find the label that counts: the first that is not inherit-only (2.5.3.3.1).

    Returns:
        its index in the SACL and the label, or None for an object without a label.
    """
    return _first(descriptor, MandatoryLabelAce)


def rights_past_label(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int:
    """Return every right that integrity leaves to the DACL and to privileges.

    An AppContainer is of low integrity and not bound by a label up to medium: its
    package needs an entry of its own instead.

    Args:
        token: who asks.
        descriptor: the object's descriptor.
        mapping: which rights are reading, writing and executing.
    """
    if not int(token.mandatory_policy) & _NO_WRITE_UP:
        return EVERY_RIGHT
    found = find_label(descriptor)
    label = _DEFAULT_LABEL if found is None else found[1]
    if dominates(token.integrity, label.trustee):
        return EVERY_RIGHT
    if token.package is not None and dominates(MEDIUM_LEVEL, label.trustee):
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


def _rights_from_below(label: Ace, mapping: GenericMapping) -> int:
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


def _first(descriptor: SecurityDescriptor, kind: type[Ace]) -> tuple[int, Ace] | None:
    """Return the SACL's first entry of a kind that is not inherit-only."""
    if isinstance(descriptor.sacl, Acl):
        for position, ace in enumerate(descriptor.sacl.aces):
            if type(ace) is kind and not ace.is_inherit_only:
                return position, ace
    return None
