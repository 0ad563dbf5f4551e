"""Packages that need something of a server: its accounts, or how it counts guesses."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, runtime_checkable

from stead.adapters.scram import Scram
from stead.authority.credential_ports import CredentialStore, ScramVerifiers
from stead.authority.guesses import Counting
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


@runtime_checkable
class GuessedPackage(AuthenticationPackage, Protocol):
    """A package by which passwords can be tried that the store does not know."""

    def counted_by(self, counting: Counting) -> AuthenticationPackage:
        """Return the same, where each try counts as a wrong password does."""
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
    packages: Packages,
    logon: Logon | None,
    credentials: CredentialStore,
    counting: Counting,
) -> tuple[AuthenticationPackage, ...]:
    """Return packages that have what they need of a server.

    Args:
        packages: as the server was told them.
        logon: compares passwords of the store's accounts.
        credentials: what is kept of those.
        counting: counts guesses of other passwords.

    Raises:
        EnforcementUnavailableError: this server can keep no passwords.
    """
    made: list[AuthenticationPackage] = []
    for each in packages:
        if isinstance(each, GuessedPackage):
            made.append(each.counted_by(counting))
        elif not isinstance(each, StorePackage):
            made.append(each)
        elif logon is None:
            raise EnforcementUnavailableError(
                "no library that compares passwords is installed",
                advice="`pip install 'stead[password]'`",
            )
        else:
            made.append(each.over(logon, credentials))
    return tuple(made)
