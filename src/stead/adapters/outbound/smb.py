"""SMB as a client: files of another machine, over `smbprotocol`.

    files = session.smb("files.example")
    with files.open("data/plan.txt", "w") as file:
        file.write("...")

One connection for each session and server, kept where no other session finds it: the
library's own pool hands its first session to whoever names no user. Where the library
would go to another machine, or connect again by itself, it is refused: a link or a
referral (DFS) that leads elsewhere is an error. After connecting, the server is asked
who it thinks we are (`stead.adapters.outbound.lsarpc`). It is shown a ticket, or where
it was named for that, a password's proof (`stead.adapters.outbound.smb_ntlm`).
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import IO, Any, Final, Literal, TypeVar, cast

import smbclient
from smbprotocol.connection import Connection
from smbprotocol.exceptions import (
    AccessDenied,
    NotSupported,
    ObjectNameNotFound,
    SMBAuthenticationError,
    SMBConnectionClosed,
    SMBException,
    SMBOSError,
    SMBResponseException,
)
from smbprotocol.header import NtStatus
from smbprotocol.session import Session

from stead.adapters.outbound.aside import require_may_wait
from stead.adapters.outbound.gss import kerberos_of, lent_cache
from stead.adapters.outbound.lsarpc import user_name
from stead.adapters.outbound.passage import (
    Passage,
    Use,
    as_said,
    mistaken,
    not_taken,
    recorded,
)
from stead.adapters.outbound.passwords import (
    NOT_KNOWN,
    MachinePassword,
    machine_password,
)
from stead.adapters.outbound.smb_connection import (
    OwnConnection,
    ProtectedConnection,
    cut,
    give_up_sending,
    socket_of,
    watch_any_number,
)
from stead.adapters.outbound.smb_ntlm import (
    account_of,
    hash_of,
    require_version_2,
    shown_by_ntlm,
)
from stead.adapters.outbound.smb_pool import SmbPool
from stead.adapters.outbound.smb_shown import Mark, Tickets, forget, unlogged
from stead.errors import (
    InvalidRequestError,
    ServerUnavailableError,
    SteadError,
    WrongIdentityError,
)
from stead.model.delegation_policy import NetworkTarget

_T = TypeVar("_T")
_SECONDS: Final = 30
_LARGEST: Final = 4280


class SmbHop:
    """One file server, as the client. Paths begin with the share: `data/plan.txt`."""

    __slots__ = ("_held", "_passage", "_pool", "_protocol", "_target", "_use")

    def __init__(self, passage: Passage, pool: SmbPool, target: NetworkTarget) -> None:
        """Judge and record; nothing is sent.

        Args:
            passage: whose way out.
            pool: the session's.
            target: the server.

        Raises:
            SteadError: as `Passage.begin` raises.
        """
        self._held: MachinePassword | None = machine_password(passage)
        if self._held is None:
            self._use = Use(passage, target)
            kerberos_of(passage, target)
        else:
            account_of(self._held)
            shown = shown_by_ntlm(self._held)
            self._use = Use(passage, target, shown.way.mechanism, shown)
        self._protocol: Literal["kerberos", "ntlm"] = (
            "kerberos" if self._held is None else "ntlm"
        )
        self._passage = passage
        self._pool = pool
        self._target = target

    @property
    def target(self) -> NetworkTarget:
        """The server."""
        return self._target

    def open(
        self, path: str, mode: str = "r", *, encoding: str | None = None
    ) -> IO[Any]:
        """Open a file; others may read, write and delete it meanwhile.

        Args:
            path: share, folders and file, between slashes of either kind.
            mode: as of `open`: `r`, `w`, `a` or `x`, with `b` and `+`.
            encoding: of text; UTF-8 if not given.

        Raises:
            OSError: the server refuses: `PermissionError`, `FileNotFoundError`, ...
            InvalidRequestError: it is no path.
            LogonSessionEndedError: the session has ended.
            NoCredentialsError, CredentialsExpiredError: there is no ticket; recorded.
            WrongIdentityError: the server takes us for somebody else, or the path leads
                to another server; recorded.
            ServerUnavailableError: it cannot be reached.
        """
        text = None if "b" in mode else encoding or "utf-8"
        opener: Any = smbclient.open_file
        call = partial(opener, mode=mode, encoding=text, share_access="rwd")
        return cast("IO[Any]", self._ask(call, path))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a folder; raises as `open`."""
        return self._ask(smbclient.listdir, path)

    def stat(self, path: str) -> os.stat_result:
        """Return what is known of a file or folder; raises as `open`."""
        return cast("os.stat_result", self._ask(smbclient.stat, path))

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file or folder; raises as `open`."""
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def mkdir(self, path: str) -> None:
        """Make a folder; raises as `open`."""
        self._ask(smbclient.mkdir, path)

    def remove(self, path: str) -> None:
        """Delete a file; raises as `open`."""
        self._ask(smbclient.remove, path)

    def rmdir(self, path: str) -> None:
        """Delete an empty folder; raises as `open`."""
        self._ask(smbclient.rmdir, path)

    def rename(self, old: str, new: str) -> None:
        """Give a file or folder another name, on the same share; raises as `open`."""
        self._ask(
            lambda path, **way: smbclient.rename(path, self._unc(new), **way), old
        )

    # --- within -------------------------------------------------------------------

    def _ask(self, call: Callable[..., _T], path: str) -> _T:
        """Have the library do something, by the session's own connection."""
        require_may_wait("smb")
        line, unc = self._passage.line, self._unc(path)
        line.require_live()
        if self._held is not None:
            self._held.renew_for(0)  # it is not wiped
        with self._working():
            connections, mark = self._pool.take(self._target, self._connect)
            self._use.connected()
            try:
                return connections.ask(
                    call,
                    unc,
                    username=mark,
                    port=self._target.port,
                    auth_protocol=self._protocol,
                )
            except SMBOSError as error:
                if error.ntstatus not in _LOGGED_OFF:
                    raise
                self._pool.drop(self._target, connections)
                raise ServerUnavailableError(
                    f"`{self._target}` has ended the client's session there",
                    advice="ask again: it is connected anew. What was under way may be "
                    "half done",
                ) from error
            except ServerUnavailableError:
                # Lost, or silent: whoever comes next waits for another.
                self._pool.drop(self._target, connections)
                raise

    def _unc(self, path: str) -> str:
        """Return the name that the library knows a path by."""
        parts = path.replace("/", "\\").split("\\")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in path:
            raise InvalidRequestError(
                f"`{path[:80]!a}` is no path of a share",
                advice="write `share/folder/file`",
            )
        return "\\\\" + "\\".join([self._target.host, *parts])

    def _connect(self) -> tuple[OwnConnection, Mark]:
        """Connect, log on as the client, and ask who the server thinks we are."""
        self._use.connecting()
        if self._held is not None:
            with recorded(self._passage, self._target):
                return self._connect_by_password(self._held)
        target = self._target
        tickets = kerberos_of(self._passage, target)
        with recorded(self._passage, target):
            with lent_cache(tickets, f"cifs@{target.host}") as (cache, expires):
                # With its principal: a cache without tickets is not filled from keys.
                shown = Tickets(cache, tickets.principal)
                connection = Context().run(self._logged_on, shown, tickets.principal)
            own, mark = self._known(connection, tickets.principal)
            own.expires = expires
        return own, mark

    def _connect_by_password(self, held: MachinePassword) -> tuple[OwnConnection, Mark]:
        """Do the same by NTLM; the connection is cut when the password is wiped."""
        require_version_2()
        with hash_of(held) as shown:
            connection = Context().run(self._logged_on, shown, held.principal)
        own, mark = self._known(connection, held.principal)
        own.forget = held.at_close(partial(cut, socket_of(connection)))
        return own, mark

    def _known(self, connection: Connection, name: str) -> tuple[OwnConnection, Mark]:
        own = OwnConnection(f"{self._target.host}:{self._target.port}", connection)
        mark = Mark(name)
        for session in connection.session_table.values():
            forget(session, mark)
        try:
            self._require_known_as(own, mark, name)
        except BaseException:
            own.disconnect()
            raise
        return own, mark

    def _logged_on(self, shown: Any, name: str) -> Connection:
        target = self._target
        watch_any_number()
        connection = ProtectedConnection(uuid.uuid4(), target.host, target.port)
        connection.explain = self._passage.line.require_not_over
        # From then on it is cut with the session, though the server says nothing.
        connection.connected = partial(self._keep, connection)
        try:
            connection.connect(timeout=_SECONDS)
        except BaseException as error:
            # Whoever answered, and then not: a thread of the library's reads on.
            connection.disconnect(close=False)
            if isinstance(error, (ValueError, SMBException)):
                raise ServerUnavailableError(
                    f"`{target}` cannot be reached: {error}"
                ) from error
            raise
        session = Session(
            connection,
            username=shown,
            require_encryption=False,
            auth_protocol=self._protocol,
        )
        try:
            with unlogged():
                session.connect()
        except SMBException as error:
            connection.disconnect(close=False)
            self._passage.line.require_not_over(error)
            raise self._refused(error, session, name) from error
        except BaseException:
            connection.disconnect(close=False)
            raise
        return connection

    def _keep(self, connection: Connection) -> None:
        self._passage.line.keep(give_up_sending(socket_of(connection)))

    def _refused(self, error: SMBException, session: Session, name: str) -> SteadError:
        """Return what it means that nobody is logged on."""
        why = as_said(str(error).splitlines()[0])
        if isinstance(error, (SMBAuthenticationError, SMBResponseException)):
            advice = "" if self._held is None else NOT_KNOWN
            return not_taken(self._target, f"the file server refuses: {why}", advice)
        if isinstance(error, SMBConnectionClosed):
            return ServerUnavailableError(f"`{self._target}` hangs up: {why}")
        if session.session_id is None:
            # It let in whoever it does not know: what it does then is nobody's.
            return mistaken(self._target, "a guest", name)
        return WrongIdentityError(
            f"`{self._target}` does not show that it knows `{name}`: {why}",
            advice="what it answers is not signed with the client's key; it may be a "
            "false server",
        )

    def _require_known_as(self, own: OwnConnection, mark: Mark, principal: str) -> None:
        """Ask the server who it thinks we are, where it can be asked.

        Raises:
            WrongIdentityError: somebody else.
        """
        unc = f"\\\\{self._target.host}\\IPC$\\lsarpc"
        try:
            pipe: Any = own.ask(
                smbclient.open_file, unc, mode="rb+", buffering=0, file_type="pipe",
                share_access="rwd", username=mark, port=self._target.port,
                auth_protocol=self._protocol,
            )  # fmt: skip
        except SMBOSError as error:
            if isinstance(error.__context__, _CANNOT_SAY):
                return
            raise
        with pipe:
            name, domain = user_name(partial(_transact, pipe))
        meant = principal.rpartition("\\")[2]  # NTLM's names: a realm's have none
        if self._held is None:
            meant = principal.rpartition("@")[0]
        if name.casefold() != meant.casefold():
            raise mistaken(self._target, f"{domain}\\{name}", principal)

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            yield
        except SMBOSError as error:
            self._passage.line.require_not_over(error)
            raise _as_python(error) from error
        except (SMBException, OSError) as error:
            self._passage.line.require_not_over(error)
            raise

    def __repr__(self) -> str:
        return f"SmbHop({self._target})"


_LOGGED_OFF: Final = frozenset({
    0xC0000203,  # STATUS_USER_SESSION_DELETED
    0xC000035C,  # STATUS_NETWORK_SESSION_EXPIRED, which the library does not know
})  # fmt: skip
"""What servers answer to whom they have ended the session of; nothing was done."""

_CANNOT_SAY: Final = (AccessDenied, NotSupported, ObjectNameNotFound)
"""What servers answer that have no such pipe."""


_ERRNOS: Final = {
    NtStatus.STATUS_ACCESS_DENIED: errno.EACCES,
    NtStatus.STATUS_SHARING_VIOLATION: errno.EBUSY,
    NtStatus.STATUS_BAD_NETWORK_NAME: errno.ENOENT,
}


def _as_python(error: SMBOSError) -> OSError:
    """Return what Python's own functions would raise; the library's is of no kind."""
    number = _ERRNOS.get(error.ntstatus, error.errno or errno.EIO)
    return OSError(number, os.strerror(number), error.filename)


def _transact(pipe: Any, message: bytes) -> bytes:
    pipe.write(message)
    return cast("bytes", pipe.read(_LARGEST))
