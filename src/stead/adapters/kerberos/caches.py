"""Credential caches in memory, by names that nobody can guess (krb5_ccache(3)).

The library wipes what lies in a cache when it is destroyed, and whoever still holds a
handle to it finds it empty.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

import krb5

from stead.adapters.kerberos.causes import new_context
from stead.adapters.kerberos.renewing import renew
from stead.errors import DirectoryUnavailableError, NoCredentialsError

_SETTINGS: Final = "@X-CACHECONF:"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket of a cache.

    Attributes:
        ends: seconds since the epoch.
        renewable_until: seconds since the epoch; 0 if it is not renewable.
        is_granting: whether it is the client's own, to get others with.
    """

    ends: int
    renewable_until: int
    is_granting: bool


def new_name() -> str:
    """Return a name for a cache that nobody has."""
    return f"MEMORY:stead-{token_hex(32)}"


def keep_ticket(
    context: krb5.Context, client: krb5.Principal, ticket: krb5.Creds
) -> str:
    """Return a new cache with one ticket; raises `krb5.Krb5Error`."""
    cache = new_name()
    made = krb5.cc_resolve(context, cache.encode())
    krb5.cc_initialize(context, made, client)
    krb5.cc_store_cred(context, made, ticket)
    return cache


def principal_of(cache: str) -> str:
    """Return whose a cache is; raises `krb5.Krb5Error`."""
    context = new_context()
    held = krb5.cc_resolve(context, cache.encode())
    return str(krb5.cc_get_principal(context, held))


def has_own_ticket(cache: str) -> bool:
    """Whether a cache has a ticket-granting ticket of its client's own.

    After S4U it has the server's; raises `krb5.Krb5Error`.
    """
    return any(ticket.is_granting for ticket in _tickets(cache))


def ticket_of(cache: str) -> Ticket:
    """Return the ticket on which a cache depends.

    Where the client has none of its own, it is the one that ends first.

    Raises:
        NoCredentialsError: there is none.
    """
    try:
        tickets = _tickets(cache)
    except krb5.Krb5Error as error:
        raise NoCredentialsError("the client's tickets are gone") from error
    if not tickets:
        raise NoCredentialsError("there are no tickets of the client's")
    own = [ticket for ticket in tickets if ticket.is_granting]
    return min(own or tickets, key=lambda ticket: ticket.ends)


def renewed(cache: str) -> str:
    """Return a new cache, with a cache's ticket renewed; raises `krb5.Krb5Error`."""
    made = new_name()
    renew(cache, made)
    return made


def only_for(cache: str, service: str) -> str:
    """Return a new cache, with a cache's good tickets to one service and no others.

    Args:
        cache: that of its client.
        service: the principal; its realm does not count, which the library may leave
            out of what it asked for.

    Raises:
        krb5.Krb5Error: the cache is gone.
        NoCredentialsError: there is none.
    """
    context = new_context()
    held = krb5.cc_resolve(context, cache.encode())
    client, now = krb5.cc_get_principal(context, held), time.time()
    # Those that have ended stay in a cache beside what came after them.
    found = [each for each in _to(service, held) if each.times.endtime > now]
    if not found:
        raise NoCredentialsError(f"there is no ticket to `{service}`")
    made = keep_ticket(context, client, found[0])
    for each in found[1:]:
        krb5.cc_store_cred(context, krb5.cc_resolve(context, made.encode()), each)
    return made


def forget_ended(cache: str, service: str, moment: float) -> bool:
    """Forget a cache's tickets to a service that have ended by then; tell of any.

    The library takes one in the whole second in which it ends, and so gets no other.

    Args:
        cache: that of its client.
        service: the principal; its realm does not count.
        moment: seconds since the epoch.

    Raises:
        krb5.Krb5Error: the cache is gone.
    """
    context = new_context()
    held = krb5.cc_resolve(context, cache.encode())
    ended = [each for each in _to(service, held) if each.times.endtime <= moment]
    for each in ended:
        exactly = krb5.CredentialsRetrieveFlags.match_times_exact
        krb5.cc_remove_cred(context, held, exactly, each)
    return bool(ended)


def destroy(cache: str, context: krb5.Context | None = None) -> None:
    """Wipe a cache for everybody who holds it; never raises.

    Args:
        cache: that.
        context: the library, as it was when it could be had: it cannot while its
            configuration is broken. Nobody else uses it meanwhile.
    """
    with suppress(krb5.Krb5Error, DirectoryUnavailableError):
        library = context or new_context()
        krb5.cc_destroy(library, krb5.cc_resolve(library, cache.encode()))


def _to(service: str, held: krb5.CCache) -> list[krb5.Creds]:
    wanted = service.rpartition("@")[0]
    return [each for each in held if str(each.server).rpartition("@")[0] == wanted]


def _tickets(cache: str) -> list[Ticket]:
    context = new_context()
    held = krb5.cc_resolve(context, cache.encode())
    client = str(krb5.cc_get_principal(context, held))
    realm = client.rpartition("@")[2]
    granting = (client, f"krbtgt/{realm}@{realm}")
    return [
        Ticket(
            each.times.endtime,
            each.times.renew_till,
            (str(each.client), str(each.server)) == granting,
        )
        for each in held
        if not str(each.server).endswith(_SETTINGS)
    ]
