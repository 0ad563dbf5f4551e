"""Who asks, and about what: what the verbs of a server are handed."""

from __future__ import annotations

from stead.errors import UnknownObjectError
from stead.model.arguments import wrong_kind
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.house import House

_CLIENT = "give what `client_for` or a gate handed you, or a session's `client`"
_OBJECT = "give what `protect` or `find_object` returned, or the object's name"


def subject_of(client: object) -> Subject:
    """Return whom checks and records are about; raises `InvalidRequestError`."""
    # Each question passes here: no call more than it takes.
    if isinstance(client, ClientContext):
        return client.subject
    raise wrong_kind("client", client, _CLIENT)


def object_for(house: House, subject: Subject, securable: object) -> SecurableObject:
    """Return an object that somebody asks about, by itself or by its name.

    Raises:
        AccessDeniedError: no object has this name. That is recorded, and is no other
            answer than that of a closed one: nobody learns here which names there are.
        InvalidRequestError: it is no object, and no name.
    """
    if isinstance(securable, SecurableObject):
        return securable
    if not isinstance(securable, str):
        raise wrong_kind("securable", securable, _OBJECT)
    try:
        return house.objects.find(securable)
    except UnknownObjectError:
        house.guard.refuse_unknown(subject, securable)
