"""Descriptors of ten entries, read and written: seen before, and never seen.

Entries that were read are made when somebody looks at them, so a line is added that
reads a descriptor and judges it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import peers
from bench import Bench
from judging import DOMAIN, READ, make_descriptor, make_token

from stead import Acl, SecurityDescriptor
from stead.decision.fast import is_granted
from stead.model.access_mask import FILE_MAPPING

_NEW_AT_ONCE = 200
_random = random.Random(1)

Act = Callable[[Any], Any]
_OURS: dict[str, Act] = {
    "read": SecurityDescriptor.from_bytes,
    "written": SecurityDescriptor.to_bytes,
    "read from SDDL": SecurityDescriptor.from_sddl,
    "written as SDDL": SecurityDescriptor.to_sddl,
}


def measure(bench: Bench) -> None:
    """Measure both, beside Samba where it is at hand."""
    theirs = _samba()
    ours = make_descriptor(10)
    text = ours.to_sddl()
    for what, act in _OURS.items():
        mine = {"read": ours.to_bytes(), "read from SDDL": text}.get(what, ours)
        to = {}
        if theirs:
            to["Samba"] = partial(theirs[what], _theirs(what)(text))
        bench.compare_all(f"known descriptor {what}", partial(act, mine), to)
    for what, act in _OURS.items():
        acts = {"Stead": (_mine(what), act)}
        if theirs:
            acts["Samba"] = (_theirs(what), theirs[what])
        bench.compare_new(f"new descriptor {what}", _new_texts, acts)
    token = make_token()
    judges = {"Stead": (_mine("read"), lambda binary: is_granted(
        token, SecurityDescriptor.from_bytes(binary), READ, FILE_MAPPING
    ))}  # fmt: skip
    if theirs:
        judge = peers.samba_judge([token.user, *(one.sid for one in token.groups)])
        judges["Samba"] = (_mine("read"), partial(judge, READ))
    bench.compare_new("new descriptor read and judged", _new_texts, judges)


def _samba() -> dict[str, Act]:
    """Return how Samba does each; nothing if it is not at hand."""
    security: Any = peers.samba()
    if security is None:
        return {}
    ndr, domain = sys.modules["samba.ndr"], security.dom_sid(str(DOMAIN))
    return {
        "read": lambda binary: ndr.ndr_unpack(security.descriptor, binary),
        "written": ndr.ndr_pack,
        "read from SDDL": lambda text: security.descriptor.from_sddl(text, domain),
        "written as SDDL": lambda descriptor: descriptor.as_sddl(domain),
    }


def _mine(what: str) -> Act:
    """Return what makes of SDDL the thing that something is done with."""
    if what == "read from SDDL":
        return str
    if what == "read":  # reading bytes shares nothing with reading text
        return lambda text: SecurityDescriptor.from_sddl(text).to_bytes()
    return lambda text: _looked_at(SecurityDescriptor.from_sddl(text))


def _looked_at(read: SecurityDescriptor) -> SecurityDescriptor:
    """Return one like it, all of which is made and of which nothing was written."""
    return SecurityDescriptor(Acl(tuple(read.dacl)), read.owner, read.group)


def _theirs(what: str) -> Act:
    """Do the same for Samba."""
    return peers.samba_descriptor if what.startswith("written") else _mine(what)


def _new_texts() -> list[str]:
    return [_new_text() for _ in range(_NEW_AT_ONCE)]


def _new_text() -> str:
    entries = "".join(f"(A;;FR;;;{_new_sid()})" for _ in range(10))
    return f"O:{_new_sid()}G:{_new_sid()}D:{entries}"


def _new_sid() -> str:
    return "S-1-5-21-" + "-".join(str(_random.getrandbits(32)) for _ in range(4))
