"""Names of accounts, groups and well-known SIDs, both ways.

Names compare without regard to case or to compatibility forms, and hold nothing that a
log, a path or SDDL could misread ([MS-SAMR] 3.1.1.6 forbids much the same letters).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from stead.authority.ports import AccountStore
from stead.errors import InvalidNameError, InvalidSidError, UnknownAccountError
from stead.model import well_known
from stead.model.sid import Sid

MAXIMUM_NAME: Final = 64
_FORBIDDEN: Final = frozenset('"/\\[]:;|=,+*?<>@`')
# Letters that Unicode calls printable and nobody sees: two names would look the same.
_UNSEEN: Final = frozenset({
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0",
    *map(chr, range(0x180B, 0x1810)), *map(chr, range(0xFE00, 0xFE10)),
    *map(chr, range(0xE0100, 0xE01F0)),
})  # fmt: skip
_READ_AS_NUMBER: Final = re.compile(r"s-1-.*|\d+|[ug]id\s*\d+", re.DOTALL)
_WELL_KNOWN: Final = {name.casefold(): sid for sid, name in well_known.NAMES.items()}


def name_key(name: str) -> str:
    """Return what two spellings of one name have in common."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)  # folding may undo the first one


def require_name(name: str) -> str:
    """Return the name as it is kept.

    Raises:
        InvalidNameError: it is empty, too long, holds what a name may not, or would be
            read as a SID, a uid or a well-known name.
    """
    kept = unicodedata.normalize("NFC", name)
    if not kept.strip() or kept != kept.strip() or len(kept) > MAXIMUM_NAME:
        raise InvalidNameError(
            f"`{name[:80]}` is no name: 1 to {MAXIMUM_NAME} letters, no space around"
        )
    key = name_key(kept)
    for letter in kept + key:
        if letter in _FORBIDDEN or letter in _UNSEEN or not letter.isprintable():
            raise InvalidNameError(f"a name may not hold `{letter!a}`")
    if _READ_AS_NUMBER.fullmatch(key) or set(key) <= {".", " "}:
        raise InvalidNameError(f"`{kept}` would be read as something else")
    if key in _WELL_KNOWN:
        raise InvalidNameError(f"`{kept}` is a well-known name")
    return kept


def reads_as_sid(name: str) -> bool:
    """Tell whether a name begins as a SID does, however it is spelled."""
    return name_key(name).startswith("s-1-")


class NameTable:
    """Finds SIDs by name and names by SID, in one store.

    Names never change and accounts are never deleted, so a name once read stays right.
    """

    __slots__ = ("_known", "_store")

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._known: dict[Sid, str] = {}

    def __call__(self, sid: Sid, /) -> str:
        """Return the name of a SID as people read it, or its text."""
        known = self._known.get(sid)
        if known is None:
            known = self._read(sid)
            if known != str(sid):
                self._known[sid] = known
        return known

    def _read(self, sid: Sid) -> str:
        found = self._store.account_by_sid(sid) or self._store.group_by_sid(sid)
        if found is not None:
            return found.name
        if sid in well_known.NAMES:
            return well_known.NAMES[sid]
        uid, gid = well_known.uid_of(sid), well_known.gid_of(sid)
        if uid is not None:
            return f"uid {uid}"
        return str(sid) if gid is None else f"gid {gid}"

    def find(self, trustee: Sid | str) -> Sid:
        """Return the SID that a SID, its text, or a name stands for.

        Args:
            trustee: a `Sid`; `S-1-...`; an account's, group's or well-known name;
                `uid 1000` or `gid 100`.

        Raises:
            UnknownAccountError: nothing is called that.
            InvalidSidError: it begins like a SID and is none.
        """
        if isinstance(trustee, Sid):
            return trustee
        if trustee[:4].upper() == "S-1-":
            return Sid.from_string(trustee)
        account = self._store.account_by_name(trustee)
        if account is not None:
            return account.sid
        group = self._store.group_by_name(trustee)
        if group is not None:
            return group.sid
        found = _WELL_KNOWN.get(name_key(trustee)) or _unix(trustee)
        if found is None:
            raise UnknownAccountError(
                f"no account or group is called `{trustee[:80]}`",
                advice="add it: `stead account add` or `stead group add`",
            )
        return found


def _unix(text: str) -> Sid | None:
    """Read `uid 1000` and `gid 100`."""
    kind, _, number = text.partition(" ")
    if kind not in ("uid", "gid") or not (number.isascii() and number.isdigit()):
        return None
    try:
        make = well_known.unix_user if kind == "uid" else well_known.unix_group
        return make(int(number))
    except InvalidSidError:
        return None
