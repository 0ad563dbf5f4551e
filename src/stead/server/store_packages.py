"""Packages for the store's own accounts: a server tells them where those are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, runtime_checkable

from stead.adapters.scram import Scram
from stead.authority.credential_ports import CredentialStore, ScramVerifiers
from stead.authority.logon import Logon
from stead.authority.packages import AuthenticationPackage
from stead.errors import EnforcementUnavailableError, InvalidRequestError


@runtime_checkable
class StorePackage(ScramVerifiers, Protocol):
    """What a server is told in place of such a package.

    It makes what the store keeps of passwords for it, whenever one is set.
    """

    def over(self, logon: Logon, credentials: CredentialStore) -> AuthenticationPackage:
        """Return the package over a store."""
        ...


Packages = Collection[AuthenticationPackage | StorePackage]


def verifiers_for(
    packages: Packages, credentials: CredentialStore
) -> Callable[[], ScramVerifiers | None]:
    """Return what says how passwords are kept for such packages, as of now.

    A server without one (the command line's) does as others over its store have done:
    who changes a password there does not shut anybody out elsewhere.

    Raises:
        InvalidRequestError: two are there, and a store keeps one kind.
    """
    found = [each for each in packages if isinstance(each, StorePackage)]
    if len(found) > 1:
        raise InvalidRequestError("a store keeps verifiers for one such package")

    def as_before() -> ScramVerifiers | None:
        counts = [count for count, _ in credentials.scram_decoys().iterations]
        return Scram(iterations=max(counts)) if counts else None

    return (lambda: found[0]) if found else as_before


def opened(
    packages: Packages, logon: Logon | None, credentials: CredentialStore
) -> tuple[AuthenticationPackage, ...]:
    """Return packages that all know whose accounts they are about.

    Raises:
        EnforcementUnavailableError: this server can keep no passwords.
    """
    made: list[AuthenticationPackage] = []
    for each in packages:
        if not isinstance(each, StorePackage):
            made.append(each)
        elif logon is None:
            raise EnforcementUnavailableError(
                "no library that compares passwords is installed",
                advice="`pip install 'stead[password]'`",
            )
        else:
            made.append(each.over(logon, credentials))
    return tuple(made)
