r"""Passwords that a machine itself knows, and that no realm gives tickets for.

Which way a password goes is in its account's name, so that nobody can talk us into
another: `alice@EXAMPLE.COM` goes to that realm's KDC, and never to a machine. `alice`
and `NAS\alice` go to the machine, by a proof that is not the password, where policy
and whoever handed it in say so (`DelegationPolicy.why_no_password`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol, cast

from stead.adapters.outbound.by_password import PasswordLike
from stead.adapters.outbound.passage import Passage
from stead.model.delegation_policy import PasswordWay

NOT_KNOWN: Final = (
    "see the name and the password that were handed in, and whether the machine lets "
    "that account in by it"
)
"""What a `NoCredentialsError` advises where a machine does not take a password."""


class MachinePassword(PasswordLike, Protocol):
    """A name and a password that some machine knows."""

    def lent(self) -> AbstractContextManager[memoryview]:
        """Yield the password where it lies."""
        ...

    def at_close(self, act: Callable[[], object]) -> Callable[[], None]:
        """Have something done when it is wiped; return what forgets that."""
        ...


@dataclass(frozen=True, slots=True)
class ShownPassword:
    """What is about to be shown to a machine, for policy and records.

    Attributes:
        way: how.
        account: whose.
        is_clear: whether no TLS protects the channel.
    """

    way: PasswordWay
    account: str
    is_clear: bool = False


def machine_password(passage: Passage) -> MachinePassword | None:
    """Return the password that goes to the machine itself; None where tickets do.

    A session's tickets come before its passwords.
    """
    by_package = {held.package: held for held in reversed(passage.credentials)}
    found = by_package.get("password")
    if found is None or "kerberos" in by_package or "@" in found.principal:
        return None
    return cast("MachinePassword", found)
