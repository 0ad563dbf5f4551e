r"""Names both ways, with all that is known of them (Win32 LookupAccountName, ...Sid).

A name may be written as `alice`, `Unix User\alice`, `alice@corp.example`,
`S-1-5-21-...`, `uid 1000` or `gid 100`. Without a domain it is the store's, or else
well-known, or else that of the one source that knows it. With the name of an issuer
behind it, it is the account that the issuer's client is here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from stead.authority.asserted_identity import AssertedIdentity, account_of_alias
from stead.authority.issuers import Issuer
from stead.authority.name_sources import NameKind, NameSources, SourceAnswer, SourceName
from stead.authority.names import (
    LIFETIME,
    name_key,
    split_name,
    unix_sid,
    well_known_sid,
)
from stead.authority.ports import Account, AccountStore, Group
from stead.errors import UnknownAccountError
from stead.model import well_known
from stead.model.sid import Sid

STORE: Final = "store"
WELL_KNOWN: Final = "well-known"
_OWN_DOMAIN: Final = "."
_WINDOWS_DOMAINS: Final = frozenset({"builtin", "nt authority"})


@dataclass(frozen=True, slots=True)
class FoundName:
    """Who a name or a SID means.

    Attributes:
        sid: its SID.
        kind: what it is the name of.
        name: as its source writes it, without its domain.
        domain: as it is printed before the name; empty for the store's own.
        source: who says so: `store`, `well-known`, or a source's name.
        unix_id: the uid of a user or the gid of a group, where it has one.
        account: the SID of the store's account that is the same user here, if another.
        lifetime: seconds for which this counts from now; None for ever.
    """

    sid: Sid
    kind: NameKind
    name: str
    domain: str
    source: str
    unix_id: int | None = None
    account: Sid | None = None
    lifetime: float | None = LIFETIME

    def __str__(self) -> str:
        return f"{self.domain}\\{self.name}" if self.domain else self.name


class NameLookup:
    """Looks names up, in a store and with whoever else knows some.

    Args:
        store: where accounts live.
        sources: who else is asked.
        issuers: whose clients may be accounts of the store.
    """

    __slots__ = ("_issuers", "_sources", "_store")

    def __init__(
        self,
        store: AccountStore,
        sources: NameSources,
        issuers: Collection[Issuer] = (),
    ) -> None:
        self._store = store
        self._sources = sources
        self._issuers = tuple(issuers)

    def find(self, text: str) -> FoundName:
        """Return whom a name, a SID's text, or a uid or gid means.

        Raises:
            UnknownAccountError: nobody, by what can be known now.
            InvalidSidError: it begins like a SID and is none.
            AmbiguousNameError: two sources mean different ones.
            DirectoryUnavailableError: whoever might know does not answer.
        """
        if text[:4].upper() == "S-1-":
            return self.name_of(Sid.from_string(text))
        number = unix_sid(text)
        if number is not None:
            return self.name_of(number)
        name, domain = split_name(text)
        if not domain:
            name = text  # `carl@` is not `carl`
        found = self._own(name, domain) or self._of_issuer(name, domain)
        if found is not None:
            return found
        answer = self._sources.find(name, domain)
        if domain and answer.source is None:
            # Nobody's domain: hosts have users whose whole names look like that.
            answer = self._sources.find(text, "")
        return self._require(answer, text)

    def sid_of(self, text: str) -> Sid:
        """Return the SID of a name; raises as `find`."""
        return self.find(text).sid

    def name_of(self, sid: Sid) -> FoundName:
        """Return who a SID is; raises as `find`."""
        account = self._store.account_by_sid(sid)
        if account is not None:
            return _of_account(account)
        group = self._store.group_by_sid(sid)
        if group is not None:
            return _of_group(group)
        if sid in well_known.NAMES:
            return _of_well_known(sid)
        for issuer in self._issuers:
            if issuer.speaks_for(sid):
                account = self._store.account_by_alias(issuer.name, str(sid))
                if account is not None:
                    return _of_account(account)
        answer = self._sources.name_of(sid)
        number = _number(sid)
        if answer.found is None and number is not None:
            # A number is somebody to the kernel, whether or not it has a name.
            kind, unix_id = number
            word = "uid" if kind is NameKind.USER else "gid"
            nameless = SourceName(sid, kind, f"{word} {unix_id}", "", unix_id)
            answer = SourceAnswer(nameless, answer.source, answer.lifetime)
        return self._require(answer, str(sid))

    def _own(self, name: str, domain: str) -> FoundName | None:
        """Look at the store, and at what every store knows."""
        if domain in {"", _OWN_DOMAIN}:
            account = self._store.account_by_name(name)
            if account is not None:
                return _of_account(account)
            group = self._store.group_by_name(name)
            if group is not None:
                return _of_group(group)
        if not domain or name_key(domain) in _WINDOWS_DOMAINS:
            sid = well_known_sid(name)
            if sid is not None:
                return self.name_of(sid)
        return None

    def _of_issuer(self, name: str, domain: str) -> FoundName | None:
        """Return the account that an issuer's client of this name is here."""
        for issuer in self._issuers:
            if issuer.name == domain:
                said = AssertedIdentity(
                    issuer=domain,
                    aliases=(name,),
                    account_name=name if issuer.names_accounts else None,
                    ignores_case=issuer.ignores_case,
                    user=None,
                    groups=(),
                )
                account = account_of_alias(self._store, said)
                return None if account is None else _of_account(account)
        return None

    def _require(self, answer: SourceAnswer, text: str) -> FoundName:
        found = answer.found
        if found is None:
            known = answer.source is not None
            again = f"; asked again in {answer.lifetime:.0f} s" if known else ""
            raise UnknownAccountError(
                f"nobody is known as `{text[:80]}`",
                advice=f"`stead account list` shows the store's{again}",
            )
        return FoundName(
            found.sid, found.kind, found.name, found.domain, answer.source or "",
            found.unix_id, self._account_of(found), answer.lifetime,
        )  # fmt: skip

    def _account_of(self, found: SourceName) -> Sid | None:
        """Return the store's account that a user of this host is."""
        uid = well_known.uid_of(found.sid)
        account = None if uid is None else self._store.account_by_uid(uid)
        return None if account is None else account.sid


def _number(sid: Sid) -> tuple[NameKind, int] | None:
    """Return what kind of number of this host a SID is, and which."""
    uid, gid = well_known.uid_of(sid), well_known.gid_of(sid)
    if uid is not None:
        return NameKind.USER, uid
    return None if gid is None else (NameKind.GROUP, gid)


def _of_account(account: Account) -> FoundName:
    return FoundName(
        account.sid, NameKind.USER, account.name, "", STORE, account.uid
    )  # fmt: skip


def _of_group(group: Group) -> FoundName:
    return FoundName(group.sid, NameKind.GROUP, group.name, "", STORE, group.gid)


def _of_well_known(sid: Sid) -> FoundName:
    return FoundName(
        sid, NameKind.WELL_KNOWN_GROUP, well_known.NAMES[sid], "", WELL_KNOWN,
        lifetime=None,
    )  # fmt: skip
