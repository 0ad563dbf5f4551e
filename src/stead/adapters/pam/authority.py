r"""Passwords of the host's accounts, for a server that is root itself (pam(8)).

    with PamAuthority(["HOST"]) as host:
        server = ProtectedServer("notes", password_authorities=[host])
        session = server.log_on("HOST\\dora", password)

The service file is our own (``privileged/pam/stead-logon``), or another that was
written for this. One of the machine's is not: what `su` and `cron` are asked for lets
root pass without a password, and a server that asks is root. Before anybody is logged
on, an account that cannot be there is tried with a password that nobody has; where that
passes, the service file is refused.

A server that is not root asks a broker instead (`broker_passwords`).
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Self

from stead.adapters.pam.conversation import LONGEST_SECRET
from stead.adapters.pam.outcomes import error_of, unavailable
from stead.adapters.pam.server_end import PamProcess
from stead.adapters.pam.verifier import FOLDER, SERVICE
from stead.adapters.pam.worker import MOST_LANES
from stead.authority.packages import Authenticated
from stead.errors import (
    InvalidRequestError,
    LogonTypeNotGrantedError,
    PasswordMismatchError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_LONGEST_NAME: Final = 256


class PamAuthority:
    """The `PasswordAuthority` of this host's accounts.

    To be made and closed outside any block: it starts a process.

    Args:
        domains: what comes before a backslash, or after an `@`, for these accounts.
        service: the name of the service file.
        folder: where it lies; nobody but root and the server may write there.
        seconds: how long PAM may take.
        at_once: how many attempts may be under way; others wait, no longer than that.
        allows_root: whether uid 0 may log on with its password.

    Raises:
        InvalidRequestError: no domain is named, or a number is out of bounds.
        UnsafeConfigurationError: others may write the service file, or it lets in
            whoever comes.
        DirectoryUnavailableError: PAM is not there, or does not answer.
    """

    name: Final = "pam"

    def __init__(
        self,
        domains: Collection[str],
        *,
        service: str = SERVICE,
        folder: str | os.PathLike[str] = FOLDER,
        seconds: float = 20.0,
        at_once: int = 8,
        allows_root: bool = False,
    ) -> None:
        if isinstance(domains, str) or not domains or not all(domains):
            raise InvalidRequestError(
                "domains are named one by one", advice='write `PamAuthority(["HOST"])`'
            )
        if not 1 <= at_once <= MOST_LANES or not seconds > 0:
            raise InvalidRequestError(f"1 to {MOST_LANES} at once, for some seconds")
        self._domains = tuple(domains)
        self._service = service
        self._folder = Path(folder)
        self._seconds = seconds
        self._allows_root = allows_root
        _require_safe(self._folder / service)
        self._workers = PamProcess(seconds, at_once, self._folder / service)
        try:
            self._require_sound()
        except BaseException:
            self.close()
            raise

    @property
    def domains(self) -> tuple[str, ...]:
        """Whose accounts these are."""
        return self._domains

    def log_on(
        self,
        name: str,
        domain: str,
        secret: Secret,
        *,
        keep: bool,  # noqa: ARG002 - a password of the host's reaches nobody else
    ) -> Authenticated:
        """Tell who an account is, to whoever knows its password.

        1. PAM is asked, whether or not there is such an account.
        2. The account may come, by PAM's word: not expired, no new password due.
        3. Its ids are those of the name that PAM knows it by at last, from all of the
           host's sources.

        Raises:
            PasswordMismatchError, UnknownAccountError, AccountDisabledError,
            AccountExpiredError, AccountLockedOutError, LogonTypeNotGrantedError,
            PasswordExpiredError, PasswordMustChangeError: for the trail.
            DirectoryUnavailableError: PAM, or a source of the host's users, does not
                answer.
        """
        _require_possible(name, secret)
        with secret.revealed() as content:
            said = self._ask(name, content)
        error = error_of(said, name)
        if error is not None:
            raise error
        identity = _identity_of(said)
        if identity.uid == 0 and not self._allows_root:
            raise LogonTypeNotGrantedError(
                "root does not log on with its password here",
                advice="`PamAuthority(allows_root=True)` if it should",
            )
        return Authenticated(
            package=self.name,
            issuer=domain,
            name=said["user"],
            host=identity,
            details=(("pam service", self._service),),
        )

    def close(self) -> None:
        """End the process; again does nothing."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _require_sound(self) -> None:
        """Refuse a service that lets in whoever comes."""
        nobody, word = f"nobody-{secrets.token_hex(8)}", secrets.token_hex(16)
        said = self._ask(nobody, word.encode())
        if said.get("was_authenticated"):
            raise UnsafeConfigurationError(
                f"pam's service `{self._service}` lets in whoever comes",
                advice="it may let root pass (`pam_rootok`), or permit all: write one "
                "that asks for the password",
            )
        if "unavailable" in said:
            raise unavailable(said["unavailable"])

    def _ask(self, name: str, secret: bytes) -> dict[str, Any]:
        asked = {"name": name}
        said: dict[str, Any] = json.loads(
            self._workers.ask(json.dumps(asked).encode() + b"\0" + secret)
        )
        return said


def _require_safe(file: Path) -> None:
    """Refuse a service file that others may write: it names code that root loads."""
    try:
        places = [file.resolve(strict=True)]
    except OSError as error:
        raise UnsafeConfigurationError(
            f"pam's service file `{file}` is not there: {error.strerror}",
            advice="write it, or leave out `service` and `folder`: then ours is taken",
        ) from error
    for each in (*places, *places[0].parents):
        status = each.stat()
        is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        is_open = status.st_mode & _OTHERS and not is_sticky
        if status.st_uid not in {0, os.geteuid()} or is_open:
            raise UnsafeConfigurationError(
                f"others may write `{each}`, which says what code root loads",
                advice=f"`chown root {each}`, `chmod go-w {each}`",
            )


def _require_possible(name: str, secret: Secret) -> None:
    """Refuse what cannot be shown to PAM, whoever it would be."""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise UnknownAccountError("no account of the host has such a name")
    with secret.revealed() as content:
        is_possible = 0 < len(content) <= LONGEST_SECRET and b"\0" not in content
    if not is_possible:
        raise PasswordMismatchError("no account of the host has such a password")


def _identity_of(said: dict[str, Any]) -> PosixIdentity:
    uid, gid, groups = said["ids"]
    return PosixIdentity(uid, gid, tuple(groups))
