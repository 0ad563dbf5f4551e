"""The judge, and descriptors read and written; beside Samba's where it is at hand."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING

from stead import AccessToken, Acl, FileRights, SecurityDescriptor, Sid
from stead.decision.access_check import access_check, is_granted
from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import AccessAllowedAce
from stead.model.token import TokenGroup

if TYPE_CHECKING:
    from run import Bench

_DOMAIN = Sid.from_string("S-1-5-21-111-222-333")
_READ = int(FileRights.READ_DATA)


def measure(bench: Bench) -> None:
    """Measure lists whose last entry decides, for a user in 30 groups."""
    token = AccessToken(
        _DOMAIN.with_rid(1001),
        tuple(TokenGroup(_DOMAIN.with_rid(5000 + n)) for n in range(30)),
    )
    judge = _samba()
    if judge is None:
        bench.leave_out("Samba's access check", "python3-samba is not importable")
    for entries in (1, 10, 100, 1000):
        descriptor = _descriptor(entries)
        ask = (token, descriptor, _READ, FILE_MAPPING)
        other = None if judge is None else judge(token, descriptor)
        bench.compare(
            f"is_granted, {entries} entries",
            partial(is_granted, *ask),
            to=None if other is None else ("Samba", other),
        )
        bench.compare(f"access_check, {entries} entries", partial(access_check, *ask))
    descriptor = _descriptor(10)
    text, binary = descriptor.to_sddl(), descriptor.to_bytes()
    bench.compare("binary descriptor read, 10 entries",
                  partial(SecurityDescriptor.from_bytes, binary))  # fmt: skip
    bench.compare("binary descriptor written, 10 entries", descriptor.to_bytes)
    bench.compare("SDDL read, 10 entries", partial(SecurityDescriptor.from_sddl, text))
    bench.compare("SDDL written, 10 entries", descriptor.to_sddl)


def _descriptor(entries: int) -> SecurityDescriptor:
    """Return one whose last entry alone is about the token's user."""
    others = [_DOMAIN.with_rid(90_000 + n) for n in range(entries - 1)]
    trustees = [*others, _DOMAIN.with_rid(1001)]
    return SecurityDescriptor(
        owner=_DOMAIN.with_rid(500),
        group=_DOMAIN.with_rid(513),
        dacl=Acl(tuple(AccessAllowedAce(trustee, _READ) for trustee in trustees)),
    )


def _samba():  # noqa: ANN202 - Samba's own types
    """Return what prepares Samba's check of a token and descriptor, or None."""
    if importlib.util.find_spec("samba") is None:
        return None
    from samba.dcerpc import security  # noqa: PLC0415 - not a library of ours

    def prepare(token: AccessToken, descriptor: SecurityDescriptor):  # noqa: ANN202
        theirs = security.token()
        sids = [token.user, *(group.sid for group in token.groups)]
        theirs.sids = [security.dom_sid(str(sid)) for sid in sids]
        theirs.num_sids = len(sids)
        same = security.descriptor.from_sddl(
            descriptor.to_sddl(), security.dom_sid(str(_DOMAIN))
        )
        return partial(security.access_check, same, theirs, _READ)

    return prepare
