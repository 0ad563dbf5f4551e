"""One attempt to log on, made ready before anybody asks: PAM, and the host's names.

For a process of its own, which ends after this. What takes long and depends on nobody
is done ahead; whether it still holds is looked at when somebody asks.
"""

from __future__ import annotations

import ctypes
import json
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from stead.adapters.pam.conversation import PamOutcome, PamReady, PamStatus
from stead.errors import SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.name_service import (
    SWITCH,
    HostNames,
    identity_of,
    open_host_names,
)

_FUTURE: Final = 2  # MCL_FUTURE of mlockall(2)


class Attempt:
    """PAM and the host's names, loaded; for one question.

    Args:
        service: the service file.
    """

    def __init__(self, service: Path) -> None:
        self._service = service
        self._as_of = _seen(service)
        self._names: HostNames | None = None
        self._pam: PamReady | None = None
        keep_in_memory()
        with suppress(SteadError):  # whoever asks hears why
            self._names = open_host_names()
            # What is touched now is quick then: each page is copied once.
            json.loads(json.dumps({"ids": repr(identity_by_name("root", self._names))}))
        with suppress(SteadError):
            self._pam = self._ready()

    def ask(self, name: str, secret: bytes) -> tuple[PamOutcome, PosixIdentity | None]:
        """Show PAM a password; return what it says, and who that is to the host.

        Modules change who somebody is: the host is asked after PAM, and about whom PAM
        lets in. And about whom PAM knows nothing of: to its modules, glibc says "no
        such user" also while a source is down.

        Raises:
            EnforcementUnavailableError: PAM is not there, or cannot begin.
            DirectoryUnavailableError: a source of the host's names does not answer.
        """
        if self._as_of != _seen(self._service):
            self._pam = self._names = None  # the files say something else by now
        outcome = (self._pam or self._ready()).ask(name, secret)
        if outcome.status not in {PamStatus.SUCCESS, PamStatus.USER_UNKNOWN}:
            return outcome, None
        names = self._names or open_host_names()
        if outcome.status == PamStatus.USER_UNKNOWN:
            names.user_by_name(name)  # raises if a source cannot say so
            return outcome, None
        return outcome, identity_by_name(outcome.user, names)

    def _ready(self) -> PamReady:
        return PamReady(self._service.name, str(self._service.parent))


def identity_by_name(name: str, names: HostNames) -> PosixIdentity | None:
    """Return uid, gid and groups of a user; None if the host knows none."""
    user = names.user_by_name(name)
    return None if user is None else identity_of(user, names)


def keep_in_memory() -> None:
    """Have memory that is asked for from now on be there at once, and stay there.

    Of the 16 MiB that yescrypt fills, each page is fetched by itself otherwise, which
    is a tenth of what it takes (docs/adr/0133). And no swap has what is written there.

    Kept memory counts against a limit, at which a module would get none. Only root's
    right to ignore it will do, and within no memory at all only that can keep any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    ctypes.CDLL(None).mlockall(_FUTURE)
    # A module may give up that right for a while: no limit, then, or that of before.
    try:
        endless = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (endless, endless))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


def _seen(service: Path) -> list[tuple[int, int, int] | None]:
    """Return what tells the files that were read from what they were before."""
    found: list[tuple[int, int, int] | None] = []
    for file in (service, SWITCH):
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return found
