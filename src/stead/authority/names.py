"""Names of accounts, groups and well-known SIDs, both ways.

Names compare without regard to case or to compatibility forms, and hold nothing that a
log, a path or SDDL could misread ([MS-SAMR] 3.1.1.6 forbids much the same letters).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from stead.authority.ports import AccountStore
from stead.errors import InvalidNameError, InvalidSidError, UnknownAccountError
from stead.model import well_known
from stead.model.arguments import require_kind, require_text
from stead.model.sid import Sid

MAXIMUM_NAME: Final = 64
LIFETIME: Final = 1.0
"""Seconds for which a name that was read from the store counts, as a lease does."""
_FORBIDDEN: Final = frozenset('"/\\[]:;|=,+*?<>@`')
# Letters that Unicode calls printable and nobody sees: two names would look the same.
_UNSEEN: Final = frozenset({
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0",
    *map(chr, range(0x180B, 0x1810)), *map(chr, range(0xFE00, 0xFE10)),
    *map(chr, range(0xE0100, 0xE01F0)),
})  # fmt: skip
_DOMAIN_MARKS: Final = "\\@"
_ELSEWHERE: Final = (
    "an account has no domain in its name; who comes from another is one of its "
    "aliases: `stead account alias`"
)
_READ_AS_NUMBER: Final = re.compile(r"s-1-.*|\d+|[ug]id\s*\d+", re.DOTALL)
_WELL_KNOWN: Final = {name.casefold(): sid for sid, name in well_known.NAMES.items()}


def name_key(name: str) -> str:
    """Return what two spellings of one name have in common."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)  # folding may undo the first one


def differ_in_case_alone(name: str, other: str) -> bool:
    """Tell whether two names are one, but for their letters' case.

    What looks alike to us may be two people to whoever authenticated one of them: a
    store also takes wide letters, ligatures and a long s for others. Names that differ
    in case alone agree in both cases.
    """
    return (name.lower(), name.upper()) == (other.lower(), other.upper())


def require_name(name: str) -> str:
    """Return the name as it is kept.

    Raises:
        InvalidNameError: it is empty, too long, holds what a name may not, or would be
            read as a SID, a uid or a well-known name.
    """
    require_text("name", name)
    kept = unicodedata.normalize("NFC", name)
    if not kept.strip() or kept != kept.strip() or len(kept) > MAXIMUM_NAME:
        raise InvalidNameError(
            f"`{name[:80]}` is no name: 1 to {MAXIMUM_NAME} letters, no space around",
            advice="choose another",
        )
    key = name_key(kept)
    for letter in kept + key:
        if letter in _FORBIDDEN or letter in _UNSEEN or not letter.isprintable():
            raise InvalidNameError(
                f"a name may not hold `{letter!a}`",
                advice=_ELSEWHERE if letter in _DOMAIN_MARKS else "choose another",
            )
    if _READ_AS_NUMBER.fullmatch(key) or set(key) <= {".", " "}:
        raise InvalidNameError(
            f"`{kept}` would be read as something else",
            advice="a SID, a uid or a gid is nobody's name: choose another",
        )
    if key in _WELL_KNOWN:
        raise InvalidNameError(f"`{kept}` is a well-known name")
    return kept


def reads_as_sid(name: str) -> bool:
    """Tell whether a name begins as a SID does, however it is spelled."""
    return name_key(name).startswith("s-1-")


class NameTable:
    r"""Finds SIDs by name and names by SID, in one store.

    A name that was read counts for a second, and beyond that for as long as nothing in
    the store has changed: accounts are renamed and deleted, here or by another process.

    Args:
        store: where accounts live.
        monotonic: nanoseconds that never step.
        lifetime: seconds for which a name counts without a look at the store.
        elsewhere: whom `domain\name` and `name@realm` mean; nobody, if not given.
    """

    __slots__ = ("_elsewhere", "_generation", "_known", "_lifetime", "_monotonic",
                 "_store", "_until")  # fmt: skip

    def __init__(
        self,
        store: AccountStore,
        *,
        monotonic: Callable[[], int],
        lifetime: float = LIFETIME,
        elsewhere: Callable[[str], Sid] | None = None,
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._lifetime = int(lifetime * 1_000_000_000)
        self._elsewhere = elsewhere
        self._known: dict[Sid, str] = {}
        self._generation = 0
        self._until = 0

    def __call__(self, sid: Sid, /) -> str:
        """Return the name of a SID as people read it, or its text."""
        known = self._still_known().get(sid)
        if known is None:
            kept = self._known
            known = self._read(sid)
            if known != str(sid):
                kept[sid] = known
        return known

    def expire(self) -> None:
        """Look at the store again before anything that was read counts."""
        self._until = 0

    def _still_known(self) -> dict[Sid, str]:
        """Return what is known, which is nothing if the store has changed since."""
        now = self._monotonic()
        if now >= self._until:
            generation = self._store.generation()
            if generation != self._generation:
                # Another thread goes on with the old one, and what it adds is lost.
                self._known, self._generation = {}, generation
            self._until = now + self._lifetime
        return self._known

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
        r"""Return the SID that a SID, its text, or a name stands for.

        A name without a domain is the store's or well-known, and nobody else's.

        Args:
            trustee: a `Sid`; `S-1-...`; an account's, group's or well-known name;
                `uid 1000` or `gid 100`; `domain\name` or `name@realm`.

        Raises:
            UnknownAccountError: nothing is called that.
            InvalidSidError: it begins like a SID and is none.
            DirectoryUnavailableError: whoever would know that domain does not answer.
        """
        if isinstance(trustee, Sid):
            return trustee
        require_kind("name", trustee, str, "give a `Sid`, or a name")
        if trustee[:4].upper() == "S-1-":
            return Sid.from_string(trustee)
        if self._elsewhere is not None and split_name(trustee)[1]:
            return self._elsewhere(trustee)
        account = self._store.account_by_name(trustee)
        if account is not None:
            return account.sid
        group = self._store.group_by_name(trustee)
        if group is not None:
            return group.sid
        found = well_known_sid(trustee) or unix_sid(trustee)
        if found is None:
            raise UnknownAccountError(
                f"no account or group is called `{trustee[:80]}`",
                advice="add it: `stead account add` or `stead group add`",
            )
        return found


def split_name(text: str) -> tuple[str, str]:
    r"""Return an account's name and its domain; the domain is empty if none is named.

    >>> split_name("alice@EXAMPLE.TEST")
    ('alice', 'EXAMPLE.TEST')
    >>> split_name("ADX\\alice")
    ('alice', 'ADX')
    """
    domain, slash, name = text.partition("\\")
    if slash:
        return name, domain
    name, _, realm = text.rpartition("@")
    return (name, realm) if name else (text, "")


def well_known_sid(name: str) -> Sid | None:
    """Return the SID of a well-known name; None if it is none."""
    return _WELL_KNOWN.get(name_key(name))


def unix_sid(text: str) -> Sid | None:
    """Read `uid 1000` and `gid 100`."""
    kind, _, number = text.partition(" ")
    if kind not in ("uid", "gid") or not (number.isascii() and number.isdigit()):
        return None
    try:
        make = well_known.unix_user if kind == "uid" else well_known.unix_group
        return make(int(number))
    except InvalidSidError:
        return None
