"""What a client's process finds: home, shell, and an environment of its own.

Never the server's: with a NULL environment CreateProcessAsUser hands out the caller's,
secrets and `USERNAME` included, and that is a trap this does not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from stead.adapters.host import host_account
from stead.errors import InvalidRequestError
from stead.model.posix_identity import PosixIdentity

Text: TypeAlias = str | bytes
Variables: TypeAlias = tuple[tuple[bytes, bytes], ...]

NOWHERE: Final = "/"
_SHELL: Final = "/bin/sh"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LANG: Final = "C.UTF-8"


@dataclass(frozen=True, slots=True)
class Household:
    """Where a client is at home on this host.

    Attributes:
        name: the host's name for the uid; the number if it has none.
        home: the home directory; `/` if it has none.
        shell: the login shell.
        is_known: whether the host knows the uid at all.
    """

    name: str
    home: str
    shell: str
    is_known: bool

    def environment(self) -> Variables:
        """Return what a logon of this client begins with, and nothing else."""
        begun = {
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "PATH": _PATH,
            "LANG": _LANG,
        }
        return tuple((os.fsencode(n), os.fsencode(v)) for n, v in begun.items())


def household_of(identity: PosixIdentity) -> Household:
    """Return where the kernel's client is at home.

    Raises:
        DirectoryUnavailableError: the name service cannot be asked.
    """
    found = host_account(identity.uid)
    if found is None:
        return Household(str(identity.uid), NOWHERE, _SHELL, is_known=False)
    return Household(
        found.name, found.home or NOWHERE, found.shell or _SHELL, is_known=True
    )


def environment_of(identity: PosixIdentity) -> Variables:
    """Return what a logon of the kernel's client begins with; raises as above."""
    return household_of(identity).environment()


def changed(begun: Variables, changes: Mapping[str, Text | None]) -> Variables:
    """Return an environment with variables set, or (None) taken out.

    Raises:
        InvalidRequestError: a name or value is no text.
    """
    made = dict(begun)
    for name, value in changes.items():
        try:
            if value is None:
                made.pop(os.fsencode(name), None)
            else:
                made[os.fsencode(name)] = os.fsencode(value)
        except (TypeError, UnicodeEncodeError):
            # From nothing: the error would quote the value, which may be a secret.
            raise InvalidRequestError("a variable is no text") from None
    return tuple(made.items())
