"""How a database is connected to with a password that it knows itself.

TLS with the server's certificate verified by name, and a proof that is tied to it; or,
where the operator names that (`postgres+scram://localhost`), this machine itself: over
the loopback, if the connection string says `sslmode=disable`, or by a local socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import Final

from psycopg import pq

from stead.adapters.outbound import libpq
from stead.adapters.outbound.libpq_channel import Patience, PlainChannel, TlsChannel
from stead.adapters.outbound.passage import Passage, not_taken, recorded
from stead.adapters.outbound.passwords import MachinePassword, ShownPassword
from stead.adapters.outbound.postgres_scram import end_point, show_password
from stead.errors import (
    CredentialsExpiredError,
    InvalidRequestError,
    WrongIdentityError,
)
from stead.model.delegation_policy import NetworkTarget, PasswordWay

_SSL_MODES: Final = frozenset({"disable", "verify-full"})


class PasswordConnector:
    """Makes a session's connections to one database by one password."""

    def __init__(self, held: MachinePassword, read: Mapping[str, str]) -> None:
        """Read how; nothing is sent.

        Args:
            held: the account and its password.
            read: the connection string.

        Raises:
            InvalidRequestError: it names somebody else, or a channel that does not
                protect.
        """
        self._held: Final = held
        self._to: Final = libpq.target(read)
        if read.get("user", held.principal) != held.principal:
            raise InvalidRequestError(
                f"the credentials are those of `{held.principal}`, and the connection "
                "string names another user",
                advice="leave `user` out",
            )
        # libpq speaks no TLS over a local socket, whatever it is told.
        is_local = libpq.is_local(read)
        mode = "disable" if is_local else read.get("sslmode", "verify-full")
        if mode not in _SSL_MODES:
            raise InvalidRequestError(
                f"`sslmode={mode[:20]}` believes whoever answers",
                advice="leave it out: `verify-full` is demanded for passwords",
            )
        self._is_clear: Final = mode == "disable"
        # We take nothing but SCRAM-SHA-256 ourselves, and libpq sees none of it.
        others = {name: each for name, each in read.items() if name != "require_auth"}
        self.parameters: Final = {
            **others,
            "user": held.principal,
            "sslmode": mode,
            "gssencmode": "disable",
            "channel_binding": "disable",
        }
        # Whether there are any is known before anything is recorded.
        libpq.conninfo(self.parameters)

    @property
    def shown(self) -> ShownPassword:
        """What is about to be shown, for policy and records."""
        return ShownPassword(PasswordWay.SCRAM, self._held.principal, self._is_clear)

    def require_role(self, passage: Passage) -> None:
        r"""Return if the account's name is a role's.

        Raises:
            NoCredentialsError: it is a domain's, `CORP\alice`; recorded.
        """
        if "\\" in self._held.principal:
            why = f"`{self._held.principal}` is no role of a database's"
            advice = (
                "name the credentials as the role is named, or `alice@EXAMPLE.COM`, "
                "with the realm, whose tickets it takes"
            )
            passage.refuse(self._to, not_taken(self._to, why, advice))

    def require_open(self) -> None:
        """Return if the password was not wiped; raises `CredentialsExpiredError`."""
        self._held.renew_for(0)

    def explain(self, cause: BaseException | None) -> None:
        """Return if the password was not wiped, which cuts connections.

        Args:
            cause: what failed.

        Raises:
            CredentialsExpiredError: it was.
        """
        try:
            self.require_open()
        except CredentialsExpiredError as error:
            raise error from cause

    def connect(
        self, passage: Passage, conninfo: str
    ) -> tuple[pq.abc.PGconn, Callable[[], None]]:
        """Connect, show the password's proof, and ask who the database thinks we are.

        Returns:
            the connection, and what is to be called when it closes. It is cut when the
            session ends, and when the password is wiped.

        Raises:
            SteadError: as `PostgresHop.connect` says; what is refused is recorded.
        """
        line, to, account = passage.line, self._to, self._held.principal
        with recorded(passage, to):
            connected = libpq.connect(conninfo, to, line, self._prove)
            undo: list[Callable[[], None]] = []
            try:
                undo.append(line.keep_copy(connected.socket))
                undo.append(_cut_with(self._held, connected.socket))
                libpq.require_user(connected, to, line, account)
            except BaseException:
                connected.finish()
                _forget(undo)
                raise
        return connected, lambda: _forget(undo)

    def _prove(self, made: pq.abc.PGconn, patience: Patience) -> None:
        if not self._is_clear:
            secure = TlsChannel(made, patience)
            binding = end_point(secure.certificate(), self._to)
            show_password(secure, binding, self._held, self._to)
            return
        with closing(PlainChannel(made, patience)) as plain:
            if (address := plain.peer()) is not None:
                _require_here(address, self._to)
            show_password(plain, None, self._held, self._to)


def _require_here(address: str, to: NetworkTarget) -> None:
    if not ip_address(address).is_loopback:
        raise WrongIdentityError(
            f"`{to}` is at {address}, which is not this machine",
            advice="see what that name means here; nothing was shown there",
        )


def _cut_with(held: MachinePassword, descriptor: int) -> Callable[[], None]:
    """Have a connection cut when its password is wiped; return what forgets it."""
    copy = socket.socket(fileno=os.dup(descriptor))

    def cut() -> None:
        with suppress(OSError), copy:
            copy.shutdown(socket.SHUT_RDWR)

    stop = held.at_close(cut)

    def forget() -> None:
        stop()
        copy.close()

    return forget


def _forget(undo: list[Callable[[], None]]) -> None:
    while undo:
        undo.pop()()
