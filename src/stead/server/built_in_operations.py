"""What every server offers to every client: who am I to you, and may I?"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    UnknownObjectError,
)
from stead.model.access_mask import AccessMask
from stead.model.token import ImpersonationLevel
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.questions import mask_of
from stead.server.trail_operation import offer_trail

if TYPE_CHECKING:
    from stead.server.protected_server import ProtectedServer


def offer_built_ins(server: ProtectedServer) -> None:
    """Add `stead.whoami`, `.check`, `.explain`, `.effective` and `.trail`."""
    offer_trail(server)

    @server.operation("stead.whoami", level=ImpersonationLevel.ANONYMOUS)
    def whoami(client: ClientContext) -> dict[str, Any]:
        return describe_client(server, client)

    @server.operation("stead.check")
    def check(client: ClientContext, name: str, rights: list[str]) -> bool:
        # One answer, and one record, for an object that is not there and one that is
        # closed to the client: nobody learns here which names exist.
        try:
            securable = server.find_object(name)
            mask = _mask_for(server, client, securable, rights)
            server.require(client, securable, mask)
        except UnknownObjectError:
            with suppress(AccessDeniedError):
                server.refuse_unknown(client, name)
            return False
        except AccessDeniedError:
            return False
        return True

    @server.operation("stead.explain")
    def explain(
        client: ClientContext, account: str, name: str, rights: list[str]
    ) -> list[str]:
        securable = _find(server, client, name)
        mask = _mask_for(server, client, securable, rights)
        return list(server.explain(client, account, securable, mask).lines())

    # Who can, and what can, cost as much as there are accounts and objects: they are
    # not offered to whoever comes, but asked by the server's own code.
    @server.operation("stead.effective")
    def effective(client: ClientContext, account: str, name: str) -> list[str]:
        securable = _find(server, client, name)
        found = server.questions_for(client).effective(account, securable)
        return list(found.lines())


def _find(server: ProtectedServer, client: ClientContext, name: str) -> SecurableObject:
    """Return the object of a name, for a client that may not know which exist.

    Raises:
        AccessDeniedError: there is none.
    """
    try:
        return server.find_object(name)
    except UnknownObjectError:
        server.refuse_unknown(client, name)


def _mask_for(
    server: ProtectedServer,
    client: ClientContext,
    securable: SecurableObject,
    rights: list[str],
) -> int:
    """Return the mask of rights by name, for a client that may know the names.

    Raises:
        AccessDeniedError: a name is wrong, and the client may not read the descriptor.
        InvalidRequestError: a name is wrong, and the client may know that.
    """
    try:
        return mask_of(securable.kind, rights)
    except InvalidRequestError:
        server.require(client, securable, AccessMask.READ_CONTROL)
        raise


def describe_client(server: ProtectedServer, client: ClientContext) -> dict[str, Any]:
    """Return who the server takes a client for, as plain data."""
    token = client.token
    name_of = server.name_of
    return {
        "name": client.name,
        "sid": str(token.user),
        "level": token.level.name.lower(),
        "integrity": name_of(token.integrity),
        "logon_id": str(token.logon_id),
        "groups": [
            {"name": name_of(group.sid), "sid": str(group.sid)}
            for group in token.groups
        ],
        "privileges": [p.privilege.value for p in token.privileges if p.is_enabled],
        "server": server.name,
        "enforcement": server.enforcement.value,
    }
