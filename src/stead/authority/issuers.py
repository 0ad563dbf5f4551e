"""Who is believed about clients, and in what.

An issuer says who somebody is: a Kerberos realm, a domain, a certificate authority, an
OpenID provider. One that is not named is not believed. From each only what it may
assert is taken: SIDs of its own domains, or names of the store's accounts where it is
told so. Never the machine's own SIDs, nor those of another domain (docs/adr/0096).

    Issuer("EXAMPLE.TEST", names_accounts=True)         # alice@EXAMPLE.TEST is alice
    Issuer("corp", names_accounts=True, same_people_as="EXAMPLE.TEST")
    Issuer("AD.EXAMPLE.TEST", domains=(Sid.from_string("S-1-5-21-1-2-3"),))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from stead.authority.remembered import Remembered
from stead.errors import (
    EvidenceRefusedError,
    InvalidRequestError,
    UnsafeConfigurationError,
)
from stead.model.arguments import require_text
from stead.model.sid import Sid

_NT_AUTHORITY: Final = 5
_DOMAIN: Final = 21
_DOMAIN_PARTS: Final = 4
_LONGEST_HOST_LASTS: Final = 60.0
_FIRST_OWN_RID: Final = 1000  # below are the domain's own ([MS-DTYP] 2.4.2.4)


@dataclass(frozen=True, slots=True)
class Issuer:
    """One that is believed.

    Attributes:
        name: as packages name it, compared exactly: a realm in capitals, a URL.
        packages: what it may be heard through, such as `kerberos`; empty for any.
        domains: the domains, `S-1-5-21-a-b-c`, of whose members it may say who they
            are and which groups they are in.
        group_domains: other domains, of whose groups it may say that its clients are
            in them, and of nobody that it is one of their members: those in which its
            clients are in domain-local groups. Of the groups that each domain has by
            itself (`Domain Admins`) none counts. **Only where the KDC of that domain
            takes out what others say of it** (SID filtering): Windows' does, Samba's
            up to 4.17 does not.
        names_accounts: whether its names are names of the store's accounts. Without
            it, a name counts where an account has it as an alias.
        same_people_as: the issuer whose names mean the same people as this one's, where
            both name accounts: alice of either is one account then (docs/adr/0128).
        ignores_case: whether it tells names that differ in case alone as one.
        host_lasts: for how many seconds, 60 at most, what this host says of the uid of
            one of its clients counts for that client's next logons; 0 if the host is
            asked each time. Whatever changes in the store ends that at once.
        scopes: what the SIDs of `domains` are within.
        group_scopes: what those of `group_domains` are within.
    """

    name: str
    packages: Collection[str] = ()
    domains: Collection[Sid] = ()
    names_accounts: bool = False
    same_people_as: str = ""
    ignores_case: bool = False
    host_lasts: float = 0.0
    group_domains: Collection[Sid] = ()
    scopes: frozenset[bytes] = field(init=False, repr=False, compare=False)
    group_scopes: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could not be meant; raises `InvalidRequestError`."""
        require_text("name", self.name)
        if not self.name:
            raise InvalidRequestError(
                "an issuer has a name", advice="name its realm, its anchor or its URL"
            )
        for words in (self.packages, self.domains, self.group_domains):
            if isinstance(words, str):
                raise InvalidRequestError(
                    "packages and domains are named one by one",
                    advice="write `packages=[...]`, `domains=[...]`",
                )
        for domain in (*self.domains, *self.group_domains):
            if not _is_domain(domain):
                raise InvalidRequestError(
                    f"`{domain}` is no domain's SID",
                    advice='write `Sid.from_string("S-1-5-21-a-b-c")`',
                )
        if self.same_people_as and not self.names_accounts:
            raise InvalidRequestError(
                f"`{self.name}` names no accounts, and `same_people_as` says nothing",
                advice="say `names_accounts=True` as well, or leave it out",
            )
        if not 0 <= self.host_lasts <= _LONGEST_HOST_LASTS:
            raise InvalidRequestError(
                "what the host says counts for 0 to 60 seconds",
                advice="write `host_lasts=1.0`, or leave it out to ask each time",
            )
        if self.group_domains and not self.domains:
            raise InvalidRequestError(
                "groups of other domains count for members of an issuer's own",
                advice="name its own domain among `domains`",
            )
        for name, named in (
            ("scopes", self.domains), ("group_scopes", self.group_domains),
        ):  # fmt: skip
            scopes = frozenset(domain.scope for domain in named)
            object.__setattr__(self, name, scopes)

    def speaks_for(self, sid: Sid) -> bool:
        """Tell whether it may say that somebody is, or is in, `sid`."""
        return sid.within in self.scopes

    def may_add(self, group: Sid) -> bool:
        """Tell whether it may say that somebody is in a group."""
        within = group.within
        return within in self.scopes or (
            within in self.group_scopes and group.sub_authorities[-1] >= _FIRST_OWN_RID
        )


class Issuers:
    """Those that one server believes.

    Args:
        issuers: each named once.
        local_domain: the store's own authority, which nobody else speaks for.
        monotonic: nanoseconds that never step.

    Raises:
        InvalidRequestError: two have one name, or one speaks for the store.
        UnsafeConfigurationError: two name accounts, and nobody says that they name the
            same people.
    """

    __slots__ = ("_by_name", "monotonic", "remembered")

    def __init__(
        self,
        issuers: Collection[Issuer],
        local_domain: Sid,
        monotonic: Callable[[], int],
    ) -> None:
        if not all(isinstance(issuer, Issuer) for issuer in issuers):
            raise InvalidRequestError(
                "issuers are `Issuer`s, not names",
                advice='write `issuers=[Issuer("AD.EXAMPLE", ...)]`',
            )
        self._by_name: Final = {issuer.name: issuer for issuer in issuers}
        self.monotonic: Final = monotonic
        self.remembered: Final = Remembered()
        """Who their clients turned out to be, in the one store that they are for."""
        if len(self._by_name) != len(issuers):
            raise InvalidRequestError(
                "two issuers have one name",
                advice="say all that one is believed in by one `Issuer`",
            )
        for issuer in issuers:
            if local_domain in (*issuer.domains, *issuer.group_domains):
                raise InvalidRequestError(
                    f"`{issuer.name}` cannot speak for the store's own accounts",
                    advice="give accounts an alias, or say `names_accounts=True`",
                )
        _require_one_people([one for one in issuers if one.names_accounts])

    def __iter__(self) -> Iterator[Issuer]:
        return iter(self._by_name.values())

    def believed(self, name: str, package: str) -> Issuer:
        """Return the issuer of a name, if it is believed through a package.

        Raises:
            EvidenceRefusedError: it is not.
        """
        issuer = self._by_name.get(name)
        if issuer is None:
            raise EvidenceRefusedError(
                f"nobody here believes `{name[:120]}`",
                advice="name it among the server's `issuers`",
            )
        if issuer.packages and package not in issuer.packages:
            raise EvidenceRefusedError(
                f"`{name[:120]}` is not believed through {package}",
                advice="add the package to the issuer's `packages`",
            )
        return issuer


def _require_one_people(naming: Collection[Issuer]) -> None:
    """Refuse issuers that name accounts and may mean different people by one name.

    Raises:
        UnsafeConfigurationError: nobody says that they mean the same.
    """
    first = next((one.name for one in naming if not one.same_people_as), "")
    for each in naming:
        if (each.same_people_as or each.name) == first:
            continue
        if not first:
            raise UnsafeConfigurationError(
                f"`{each.name}` means the same people as `{each.same_people_as}`, "
                "which names no accounts by itself",
                advice="name that one among the `issuers`, with `names_accounts=True`",
            )
        raise UnsafeConfigurationError(
            f"`{first}` and `{each.name}` both name accounts, and each may mean "
            "somebody else by one name",
            advice="let one of them name accounts, and `stead account alias` say who "
            "clients of the other are; or, if a name means the same person to both, "
            f'say `same_people_as="{first}"` of `{each.name}`',
        )


def _is_domain(sid: object) -> bool:
    if not isinstance(sid, Sid):
        return False
    parts = sid.sub_authorities
    return (
        sid.authority == _NT_AUTHORITY
        and len(parts) == _DOMAIN_PARTS
        and parts[0] == _DOMAIN
    )
