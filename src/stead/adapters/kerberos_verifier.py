"""The broker's verifier of Kerberos tickets: one process for one client.

It gets the client's connection, which the broker accepted, and speaks with the client
itself (`stead.privileged.ticket_exchange`). Whoever it is, by a ticket for a key of the
broker's own, is told to the broker; otherwise nothing is said, whatever failed.

1. Read the keys, as root, into memory.
2. Become a uid that is nobody's: what parses a stranger's message is not root.
3. Check the ticket: MIT's library, the Kerberos mechanism alone, bound to this very
   connection. A ticket that is not bound is refused, which the library does not do, and
   so is one that came through a realm beside the client's and the broker's.
4. Refuse a principal that is not what the domain calls its client's account.
5. Map it to an account by the rule in the broker's file: its realm is listed there; and
   it is a plain name, or what `auth_to_local` makes of it.

No replay cache is kept: the binding holds a nonce of this process's own, so a message
that was ever seen before verifies nowhere.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from stead.adapters.extras import require_extra

require_extra("kerberos", "gssapi")

import gssapi
from gssapi.raw import ChannelBindings, get_name_attribute, inquire_name
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos_way import realms_between
from stead.codec.delegation_info import read_delegation_info
from stead.codec.logon_name import read_account_name
from stead.errors import (
    EnforcementUnavailableError,
    InvalidPacError,
    LogonFailureError,
    RemoteProtocolError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.model.principal import name_and_realm
from stead.privileged import ticket_exchange as exchange
from stead.privileged.broker_wire import LONGEST_ANSWER, hear, say
from stead.privileged.name_service import identity_of, open_host_names
from stead.privileged.peers import peer_credentials

_KEYS: Final = "MEMORY:stead"
_VARIABLES: Final = {
    "KRB5CCNAME": "MEMORY:none",
    "KRB5_CLIENT_KTNAME": "FILE:/nonexistent",
    "KRB5_KTNAME": "FILE:/nonexistent",
    "KRB5RCACHENAME": "none:",
}
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z", re.ASCII)
_MOST_GROUPS: Final = 4096
_CHANNEL_BOUND: Final = 0x800
_LONGEST_NAME: Final = 256
_PAC: Final = b"urn:mspac:"
_LOGON: Final = b"urn:mspac:logon-info"
_DELEGATION: Final = b"urn:mspac:delegation-info"
_ENTRY: Final = 512  # more than any krb5_keytab_entry has
_DUMPABLE, _NO_NEW_PRIVILEGES = 4, 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which principals are which accounts.

    Attributes:
        realms: those that count.
        mapping: `name`, or `auth_to_local`.
    """

    realms: Sequence[str]
    mapping: str

    def account_of(self, principal: str) -> str:
        """Return a principal's account.

        Raises:
            LogonFailureError: it has none.
        """
        name, realm = name_and_realm(principal)
        # What the library would escape (`\\@`, `\\/`) is no part of a plain name.
        if not realm or realm not in self.realms:
            raise LogonFailureError
        if self.mapping == "auth_to_local":
            name = _local_name(principal)
        if not _PLAIN.match(name):
            raise LogonFailureError
        return name


def serve(control: socket.socket, document: dict[str, Any]) -> None:
    """Look at one client's ticket, and answer who it is; otherwise say nothing."""
    with suppress(SteadError, GSSError, OSError, ValueError, KeyError, TypeError):
        heard = hear(control, LONGEST_ANSWER, 1)
        if heard is None or len(heard[1]) != 1:
            raise RemoteProtocolError("there is no client")
        # Closed by hand and never shut down: the broker has a copy.
        with socket.socket(fileno=heard[1][0]) as client:
            say(control, _word(client, document))


def _word(client: socket.socket, document: dict[str, Any]) -> dict[str, Any]:
    """Take the steps; return what the broker is told."""
    os.environ.update(_VARIABLES, KRB5_CONFIG=document["configuration"])
    _keep_keys(document["keytab"])
    become_nobody(document["uid"])
    rule = Rule(realms=document["realms"], mapping=document["mapping"])
    context = verify(client, document["principal"], document["seconds"])
    principal, seconds = str(context.initiator_name), int(context.lifetime)
    require_own_name(context, must_be_told=document["requires_pac"])
    through = services_between(context)
    identity = account(rule.account_of(principal))
    if seconds <= 0 or len(principal) > _LONGEST_NAME:
        raise LogonFailureError
    return {
        "uid": identity.uid,
        "gid": identity.gid,
        "groups": identity.groups,
        "principal": principal,
        "through": through,
        "seconds": seconds,
    }


def verify(
    client: socket.socket, principal: str, seconds: float
) -> gssapi.SecurityContext:
    """Let a client prove who it is; return the established context.

    Args:
        client: its connection, accepted and not read from.
        principal: the broker's own, whose key must have been used; empty for whichever
            the keys are of.
        seconds: how long all of it may take.

    Raises:
        LogonFailureError: whatever the client's message is, it is no proof.
        OSError, RemoteProtocolError: the client is gone, slow or breaks the protocol.
    """
    deadline = time.monotonic() + seconds
    nonce = secrets.token_bytes(exchange.NONCE_SIZE)
    _, uid, _ = peer_credentials(client)
    bound = exchange.binding(nonce, client.getsockname(), client.getpeername(), uid)
    exchange.send_frame(client, exchange.frame(exchange.NONCE, nonce), deadline)
    try:
        context = _acceptor(principal, bound)
        shown: list[bytes] = []
        for _ in range(exchange.MOST_ROUNDS):
            kind, blob = exchange.read_frame(client, deadline)
            if kind != exchange.BLOB:
                raise RemoteProtocolError("a client shows something else")
            answer = context.step(blob)
            if answer:
                told = exchange.frame(exchange.BLOB, answer)
                exchange.send_frame(client, told, deadline)
            shown.append(blob)
            if context.complete:
                _require_proof(context)
                _require_direct(shown)
                return context
    except (GSSError, UnicodeError) as error:
        raise LogonFailureError from error
    raise LogonFailureError


def _acceptor(principal: str, bound: bytes) -> gssapi.SecurityContext:
    name = None
    if principal:
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
    mechanism = gssapi.MechType.kerberos
    credentials = gssapi.Credentials(
        name=name, usage="accept", mechs=[mechanism], store={"keytab": _KEYS}
    )
    context = gssapi.SecurityContext(
        creds=credentials,
        usage="accept",
        channel_bindings=ChannelBindings(application_data=bound),
    )
    # What failed would be told to the client, in the mechanism's own words.
    context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]  # no stub has it
    return context


def _require_proof(context: gssapi.SecurityContext) -> None:
    """Refuse what the library lets pass: no binding, no name, another mechanism.

    Raises:
        LogonFailureError: it is no proof.
    """
    flags = int(context.actual_flags)
    anonymous = int(gssapi.RequirementFlag.anonymity)
    is_bound = bool(flags & _CHANNEL_BOUND) and not flags & anonymous
    if not is_bound or context.mech != gssapi.MechType.kerberos:
        raise LogonFailureError


def _require_direct(messages: Sequence[bytes]) -> None:
    """Refuse a client whose realm and the broker's do not know each other.

    Raises:
        LogonFailureError: a realm between them says who it is.
        EvidenceRefusedError: its ticket does not tell.
    """
    if realms_between(messages, _KEYS):
        raise LogonFailureError


def require_own_name(context: gssapi.SecurityContext, *, must_be_told: bool) -> None:
    """Refuse a client whose ticket has another name than its account.

    A domain's user asks for tickets by whatever name its account can be found by. One
    of them (`userPrincipalName`) is a text that others may write, and the principal is
    what was asked for; what the account is called, the PAC says (docs/adr/0129).

    Args:
        context: the established one.
        must_be_told: whether a ticket that does not say it is refused.

    Raises:
        LogonFailureError, GSSError, InvalidPacError: the names differ, or what the
            ticket says is not verified, or not told.
    """
    name = context.initiator_name
    if _LOGON in (inquire_name(name, mech_name=False).attrs or ()):
        told = read_account_name(_verified(name, _LOGON))
        if told.casefold() != name_and_realm(str(name))[0].casefold():
            raise LogonFailureError
    elif must_be_told:
        raise LogonFailureError


def services_between(context: gssapi.SecurityContext) -> list[str]:
    """Return the services through which a client's identity came, the nearest first.

    A service that the domain lets delegate has tickets in its clients' names
    ([MS-PAC] 2.9).

    Raises:
        LogonFailureError, GSSError: what the ticket says is not verified, or not told.
    """
    name = context.initiator_name
    attributes = inquire_name(name, mech_name=False).attrs or ()
    if _PAC not in attributes:
        return []
    _verified(name, _PAC)
    if _DELEGATION not in attributes:
        return []
    try:
        said = read_delegation_info(_verified(name, _DELEGATION))
        return list(said.nearest_first())
    except InvalidPacError as error:
        raise LogonFailureError from error


def _verified(name: gssapi.Name, attribute: bytes) -> bytes:
    """Return what a ticket says of its client; raises `LogonFailureError` and GSSError.

    The library names what it could not verify, and does not give it.
    """
    found = get_name_attribute(name, attribute)
    if not (found.authenticated and found.complete and found.values):
        raise LogonFailureError
    return bytes(found.values[0])


def account(name: str) -> PosixIdentity:
    """Return what this host calls an account.

    Raises:
        LogonFailureError: there is none, or it is in too many groups.
        DirectoryUnavailableError: a source of the host's users does not answer. A group
            that is left out can grant: who cannot be known whole is not known.
    """
    names = open_host_names()
    user = names.user_by_name(name)
    if user is None or user.name != name:
        raise LogonFailureError
    identity = identity_of(user, names)
    if len(identity.groups) > _MOST_GROUPS:
        raise LogonFailureError
    return identity


def become_nobody(uid: int) -> None:
    """Give root up for good; it has no use for what comes next.

    Raises:
        EnforcementUnavailableError: root came back.
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # No file, no core, and no child that would be left when this process is ended.
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    for option, value in ((_DUMPABLE, 0), (_NO_NEW_PRIVILEGES, 1)):
        if libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl is refused")
    with suppress(PermissionError):
        os.setresuid(0, 0, 0)
        raise EnforcementUnavailableError("root came back")


# --- what the library's Python face does not offer ------------------------------------


def _keep_keys(keytab: str) -> None:
    """Copy a file's keys into this process's memory, where the library finds them.

    Raises:
        EnforcementUnavailableError: the file cannot be read.
    """
    library, context = _library()
    source, target = ctypes.c_void_p(), ctypes.c_void_p()
    for name, found in ((f"FILE:{keytab}", source), (_KEYS, target)):
        _check(library.krb5_kt_resolve(context, name.encode(), ctypes.byref(found)))
    cursor, entry = ctypes.c_void_p(), ctypes.create_string_buffer(_ENTRY)
    _check(library.krb5_kt_start_seq_get(context, source, ctypes.byref(cursor)))
    while not library.krb5_kt_next_entry(context, source, entry, ctypes.byref(cursor)):
        _check(library.krb5_kt_add_entry(context, target, entry))
        library.krb5_free_keytab_entry_contents(context, entry)
    library.krb5_kt_end_seq_get(context, source, ctypes.byref(cursor))


def _local_name(principal: str) -> str:
    """Return what `auth_to_local` makes of a principal.

    Raises:
        LogonFailureError: nothing.
    """
    library, context = _library()
    parsed = ctypes.c_void_p()
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    refused = library.krb5_parse_name(
        context, principal.encode(), ctypes.byref(parsed)
    ) or library.krb5_aname_to_localname(context, parsed, len(name), name)
    if refused:
        raise LogonFailureError
    return name.value.decode("utf-8", "replace")


def _library() -> tuple[Any, ctypes.c_void_p]:
    try:
        library = ctypes.CDLL("libkrb5.so.3")
    except OSError as error:
        raise EnforcementUnavailableError("`libkrb5.so.3` is not there") from error
    context = ctypes.c_void_p()
    _check(library.krb5_init_context(ctypes.byref(context)))
    return library, context


def _check(code: int) -> None:
    if code:
        raise EnforcementUnavailableError(f"kerberos refuses: error {code}")
