"""Who asks, and about what: what the verbs of a server are handed."""

from __future__ import annotations

from stead.errors import UnknownObjectError
from stead.model.arguments import require_kind
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.house import House

_CLIENT = "give what `client_for` or a gate handed you, or a session's `client`"
_OBJECT = "give what `protect` or `find_object` returned, or the object's name"


def subject_of(client: ClientContext) -> Subject:
    """Return whom checks and records are about; raises `InvalidRequestError`."""
    require_kind("client", client, ClientContext, _CLIENT)
    return client.subject


def object_for(
    house: House, subject: Subject, securable: SecurableObject | str
) -> SecurableObject:
    """Return an object that somebody asks about, by itself or by its name.

    Raises:
        AccessDeniedError: no object has this name. That is recorded, and is no other
            answer than that of a closed one: nobody learns here which names there are.
        InvalidRequestError: it is no object, and no name.
    """
    if isinstance(securable, SecurableObject):
        return securable
    require_kind("securable", securable, str, _OBJECT)
    try:
        return house.objects.find(securable)
    except UnknownObjectError:
        house.guard.refuse_unknown(subject, securable)
