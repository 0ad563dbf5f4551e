"""Central access policies ([MS-DTYP] 2.5.3.1.4, [MS-CAPR]).

An object names a policy by a scoped policy entry in its SACL; who configures the
machine says what the policy is. Each rule that applies to the object narrows what its
own DACL grants; none widens it.
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.model.acl import Acl, NoAcl
from stead.model.condition import Condition
from stead.model.sid import Sid


@dataclass(frozen=True, slots=True)
class CentralAccessRule:
    """One rule of a policy.

    Attributes:
        dacl: what the rule grants; judged beside the object's own list.
        applies_to: which objects it is about, by their resource attributes; None for
            all.
        staged_dacl: what the rule is to become; a different answer is reported and
            changes nothing. None if nothing is staged.
        name: for people.
    """

    dacl: Acl | NoAcl
    applies_to: Condition | None = None
    staged_dacl: Acl | NoAcl | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class CentralAccessPolicy:
    """A policy that objects refer to.

    Attributes:
        sid: the policy's SID, `S-1-17-...`.
        rules: its rules; all that apply must grant.
        name: for people.
    """

    sid: Sid
    rules: tuple[CentralAccessRule, ...] = ()
    name: str = ""
