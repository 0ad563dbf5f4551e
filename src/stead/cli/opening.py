"""A server over a store, and who is asking: what most verbs begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stead.errors import StoreUnavailableError, UnknownObjectError
from stead.model.posix_identity import PosixIdentity
from stead.server.client_context import ClientContext
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

NAME = "stead-cli"


@contextmanager
def opened(store: str) -> Iterator[tuple[ProtectedServer, ClientContext]]:
    """Open a store that exists, and whoever runs this command as its client.

    Nothing is opened as anybody else by these verbs, so tokens suffice.

    Raises:
        UnknownObjectError: there is no such store; verbs do not make one by mistake.
        StoreUnavailableError: whoever runs this may not even look for it.
        LogonFailureError: whoever runs this is not admitted.
    """
    if not _is_there(store):
        raise UnknownObjectError(
            f"there is no store `{store}`",
            advice="name it with --store or STEAD_STORE; `stead serve` makes one",
        )
    with (
        ProtectedServer(
            NAME, store=store, enforcement=Enforcement.TOKEN, kernel_threads=1
        ) as server,
        this_user(server) as client,
    ):
        yield server, client


def this_user(server: ProtectedServer) -> ClientContext:
    """Return whoever runs this process as a client of the server."""
    uid, gid = os.getuid(), os.getgid()
    peer = PosixIdentity(uid, gid, tuple(os.getgroups()))
    return server.client_for_peer(peer, description=f"uid {uid} pid {os.getpid()}")


def _is_there(store: str) -> bool:
    try:
        return Path(store).exists()
    except PermissionError as error:
        raise StoreUnavailableError(
            f"the store `{store}` is in a folder that you may not enter",
            advice="run this as the store's own user, or as root",
        ) from error
