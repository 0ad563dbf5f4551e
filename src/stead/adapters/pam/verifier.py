"""The broker's verifier of passwords: one process for one attempt, with PAM.

It gets the account's name and the password in sealed memory, asks PAM by a service file
of our own (``pam/stead-logon``), and answers with the account's ids or with nothing.
Why it failed goes to nobody: not to the server, which might be anybody's, and not to a
log with the name that was typed, which may be a password. PAM itself logs failures.
"""

from __future__ import annotations

import ctypes
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from stead.adapters.pam.attempt import Attempt
from stead.adapters.pam.conversation import LONGEST_SECRET, PamStatus
from stead.errors import LogonFailureError, RemoteProtocolError, SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import pam_session, sealing
from stead.privileged.broker_wire import LONGEST_ANSWER, LONGEST_DOCUMENT, hear, say

FOLDER: Final = Path(pam_session.__file__).with_name("pam")
"""Where our own service files lie."""
SERVICE: Final = "stead-logon"
"""The one for passwords."""
_DUMPABLE: Final = 4


def serve(control: socket.socket, document: dict[str, Any]) -> None:  # noqa: ARG001  # as every program of the bootstrap
    """Look at one password, and answer if it is right; otherwise say nothing."""
    ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
    attempt = Attempt(FOLDER / SERVICE)  # before there is anybody
    with suppress(SteadError, OSError, ValueError, KeyError, TypeError):
        identity = _identified(control, attempt)
        say(
            control,
            {"uid": identity.uid, "gid": identity.gid, "groups": identity.groups},
        )


def _identified(control: socket.socket, attempt: Attempt) -> PosixIdentity:
    heard = hear(control, LONGEST_ANSWER, 2)
    if heard is None or len(heard[1]) != 2:  # noqa: PLR2004  # name and password
        raise RemoteProtocolError("there is no password")
    names, secrets = heard[1]
    name = json.loads(sealing.read_sealed(names, LONGEST_DOCUMENT))["account"]
    secret = sealing.read_sealed(secrets, LONGEST_DOCUMENT)
    return verify(attempt, name, secret)


def verify(attempt: Attempt, name: str, secret: bytes) -> PosixIdentity:
    """Return whose account it is, if the password is right and it may log on.

    Args:
        attempt: asks PAM, and the host.
        name: the account's, as this host knows it.
        secret: the password, without a NUL.

    Raises:
        EnforcementUnavailableError: PAM is not there.
        DirectoryUnavailableError: a source of the host's users does not answer. A group
            that is left out can grant: who cannot be known whole is not known.
        LogonFailureError: whatever else.
    """
    if not name or not secret or b"\0" in secret or len(secret) > LONGEST_SECRET:
        raise LogonFailureError
    # PAM is asked whether or not there is such a name, and before anybody looks.
    outcome, identity = attempt.ask(name, secret)
    if outcome.status != PamStatus.SUCCESS or identity is None:
        raise LogonFailureError
    return identity
