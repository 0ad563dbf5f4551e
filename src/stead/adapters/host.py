"""What this host knows of its uids: the name service's users and groups."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from stead.errors import DirectoryUnavailableError
from stead.model.posix_identity import PosixIdentity


def host_identity(uid: int) -> PosixIdentity | None:
    """Return the ids that this host gives a uid at logon; None if it has none.

    Raises:
        DirectoryUnavailableError: the name service cannot be asked. That is an error
            and never "no groups": a group left out can grant.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    except OSError as error:
        raise _unanswered(f"who uid {uid} is") from error
    try:
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except OSError as error:
        raise _unanswered(f"which groups uid {uid} is in") from error
    return PosixIdentity(uid, entry.pw_gid, tuple(groups))


@dataclass(frozen=True, slots=True)
class HostAccount:
    """What this host's name service says of a uid beside its groups.

    Attributes:
        name: its name on this host.
        home: its home directory.
        shell: its login shell; empty for the system's default.
    """

    name: str
    home: str
    shell: str


def host_account(uid: int) -> HostAccount | None:
    """Return name, home and shell of a uid; None if this host has no such uid.

    Raises:
        DirectoryUnavailableError: the name service cannot be asked.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    except OSError as error:
        raise _unanswered(f"who uid {uid} is") from error
    return HostAccount(entry.pw_name, entry.pw_dir, entry.pw_shell)


def _unanswered(what: str) -> DirectoryUnavailableError:
    return DirectoryUnavailableError(
        f"the host cannot say {what}", advice="see nsswitch.conf(5)"
    )
