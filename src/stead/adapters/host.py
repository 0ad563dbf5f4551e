"""What this host knows of its uids: the name service's users and groups."""

from __future__ import annotations

import os
import pwd

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
        raise DirectoryUnavailableError(
            f"the host cannot say who uid {uid} is", advice="see nsswitch.conf(5)"
        ) from error
    try:
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except OSError as error:
        raise DirectoryUnavailableError(
            f"the host cannot say which groups uid {uid} is in",
            advice="see nsswitch.conf(5)",
        ) from error
    return PosixIdentity(uid, entry.pw_gid, tuple(groups))
