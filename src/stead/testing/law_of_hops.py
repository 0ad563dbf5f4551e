"""The law of the second hop: nobody is reached as a client before it is on record.

It is part of `stead.testing.law`, and watches below the verbs of a server's clients:

- a connection that Stead's own code makes to another machine, unless the module that
  makes it is one of those which connect for the server itself (`FOR_ITSELF`). A
  `DELEGATED` to that host and port must be durable by then;
- a connection that a session keeps: one such record of that very client's, from before
  the connection was begun, which no other connection has used up;
- whatever brings a session's credentials into use: a Kerberos context or ticket, a
  token, a password (`_USES`). A `DELEGATED` of its client's must be durable, to that
  host where the use names one; for a password `EXPLICIT_CREDENTIALS` will do.

What a program does itself with credentials that it asked for is its own.
"""

from __future__ import annotations

import socket
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, Final
from weakref import WeakKeyDictionary

from stead.adapters.outbound.by_password import TicketsByPassword
from stead.adapters.outbound.lifeline import Lifeline
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.errors import InvalidRequestError
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome
from stead.model.delegation_policy import NetworkTarget
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.server import second_hop
from stead.server.explicit_hop import ExplicitHop

Wrap = Callable[[Any, str, Callable[..., Any]], None]
"""Puts a function around another one, until the law is in force no more."""

FOR_ITSELF: Final = (
    "stead.adapters.oidc",  # issuers; what is exchanged there is watched as a use
    "stead.adapters.sinks",
    "stead.adapters.witness_link",
    "stead.cli",
    "stead.gates",
    "stead.privileged",
    "stead.testing",
)
"""Modules that connect as the server, a client of it, or a test."""

_USES: Final[Mapping[str, bool]] = MappingProxyType({
    "initiate": False, "on_this_thread": False, "bearer": False, "revealed": True,
})  # fmt: skip
"""What brings credentials into use, and whether it is a password's."""

_ANNOUNCING: Final = (AuditEvent.DELEGATED, AuditEvent.EXPLICIT_CREDENTIALS)
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
_STEAD: Final = str(Path(__file__).parents[1])
_LIBRARIES: Final = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")
)
_KEPT: Final = 256

_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A connection: after how many records it was begun, and to which port."""

    number: int
    port: int


@dataclass(slots=True, eq=False)
class _Hop:
    """What one durable record announces; a connection uses it up."""

    event: AuditEvent
    user: Sid
    logon_id: Luid
    place: _Place
    number: int
    is_used: bool = False


class HopLaw:
    """Watches this process while it is in force; see the module."""

    def __init__(self, breach: Callable[[str], None]) -> None:
        """Watch nothing yet.

        Args:
            breach: is told of each breach when it happens.
        """
        self._breach = breach
        self._lock = threading.Lock()
        self._count = 0
        self._hops: deque[_Hop] = deque(maxlen=_KEPT)
        self._begun: dict[int, _Begun] = {}
        self._kept: set[tuple[int, int]] = set()
        self._here = threading.local()
        self._owners: WeakKeyDictionary[Any, Sid] = WeakKeyDictionary()
        self._watched: set[type] = set()
        self._wrap: Wrap

    def watch(self, wrap: Wrap) -> None:
        """Be in force, by what `wrap` puts around others' functions."""
        self._wrap = wrap
        self._watched.clear()
        wrap(socket, "create_connection", self._connecting)
        wrap(socket.socket, "connect", self._connecting_socket)
        wrap(second_hop, "_extra", self._loading)
        wrap(Lifeline, "keep", self._keeping)
        wrap(Sessions, "_keep", self._opening)
        wrap(TicketsByPassword, "_keep", self._got)
        wrap(ExplicitHop, "__init__", self._explicit)

    def recorded(self, record: AuditRecord) -> None:
        """Know what a durable record announces."""
        if record.event not in _ANNOUNCING or record.outcome is not Outcome.SUCCESS:
            return
        client = record.client
        if client is None:
            return
        with self._lock:
            self._count += 1
            self._hops.append(
                _Hop(
                    record.event, client.sid, client.logon_id, _place(record),
                    self._count,
                )
            )  # fmt: skip

    # --- connections ------------------------------------------------------------------

    def _connecting(
        self, original: Callable[..., Any], address: _Place, *rest: Any, **named: Any
    ) -> Any:
        """See a connection to a machine by its name; see `_connecting_socket`, too."""
        self._here.by_name = self._begin(address)
        try:
            return original(address, *rest, **named)
        finally:
            del self._here.by_name

    def _connecting_socket(
        self, original: Callable[..., Any], sock: socket.socket, address: Any
    ) -> Any:
        if sock.family in _INTERNET:
            # A loop's tasks have no callers: whose it is shows when a session keeps it.
            begun = getattr(self._here, "by_name", None) or self._begin(address[:2])
            self._begun[sock.fileno()] = begun
        return original(sock, address)

    def _begin(self, address: _Place) -> _Begun:
        maker = _maker()
        if maker and not maker.startswith(FOR_ITSELF):
            self._require_place(maker, (str(address[0]).casefold(), address[1]))
        return _Begun(self._next(), address[1])

    def _next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def _require_place(self, maker: str, place: _Place) -> None:
        with self._lock:
            is_known = any(hop.place == place for hop in self._hops)
        if not is_known:
            self._breach(
                f"{maker} connects to {place}, and no durable DELEGATED announced it"
            )

    def _loading(self, original: Callable[..., Any], verb: str) -> Any:
        """Watch libpq, once it is loaded: it connects in C."""
        loaded = original(verb)
        if verb == "postgres" and loaded not in self._watched:
            self._watched.add(loaded)
            libpq = loaded.libpq
            self._wrap(libpq, "connect", self._connecting_by_libpq)
        return loaded

    def _connecting_by_libpq(
        self,
        original: Callable[..., Any],
        text: str,
        to: NetworkTarget,
        line: Lifeline,
        *how: Any,
    ) -> Any:
        self._here.begun = self._begin((to.host, to.port))
        return original(text, to, line, *how)

    def _keeping(
        self, original: Callable[..., None], line: Lifeline, connected: Any
    ) -> None:
        place = id(line), connected.fileno()
        begun = self._begun.pop(place[1], None)
        begun = self._here.__dict__.pop("begun", begun)
        token = _token_of(line)
        # A connection that TLS is begun on is kept once more, and was used up.
        if token is not None and (begun is not None or place not in self._kept):
            self._use_up(token, begun or _Begun(self._next(), _port_of(connected)))
            self._kept.add(place)
        original(line, connected)

    def _use_up(self, token: AccessToken, begun: _Begun) -> None:
        whose = (token.user, token.logon_id)
        with self._lock:
            # The last that will do: one that was begun earlier may be kept later.
            for hop in reversed(self._hops):
                is_before = hop.number < begun.number and hop.place[1] == begun.port
                is_free = hop.event is AuditEvent.DELEGATED and not hop.is_used
                if is_before and is_free and (hop.user, hop.logon_id) == whose:
                    hop.is_used = True
                    return
        self._breach(
            f"session {token.logon_id} of {token.user} is connected to port "
            f"{begun.port}, and no durable DELEGATED announced it"
        )

    # --- credentials ------------------------------------------------------------------

    def _opening(
        self, original: Callable[..., Session], sessions: Sessions, session: Session
    ) -> Session:
        for held in session.credentials:
            self._own(held, session.token.user)
        return original(sessions, session)

    def _explicit(
        self,
        original: Callable[..., None],
        hop: ExplicitHop,
        credentials: object,
        target: object,
        hops: object,
        subject: Any,
        **named: object,
    ) -> None:
        self._own(credentials, subject.token.user)
        original(hop, credentials, target, hops, subject, **named)

    def _got(
        self,
        original: Callable[..., None],
        tickets: TicketsByPassword,
        principal: str,
        got: object,
    ) -> None:
        token = _token_of(tickets._line)  # noqa: SLF001 - nobody else may ask
        if token is not None:
            self._own(got, token.user)
        original(tickets, principal, got)

    def _own(self, held: Any, user: Sid) -> None:
        """Watch what is a client's from here on."""
        self._owners[held] = user
        kind = type(held)
        if kind not in self._watched:
            self._watched.add(kind)
            for name in _USES:
                if hasattr(kind, name):
                    self._wrap(kind, name, partial(self._using, name))

    def _using(
        self,
        name: str,
        original: Callable[..., Any],
        held: Any,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        user = self._owners.get(held)
        if user is not None and _maker():
            self._require_use(name, user, str(arguments[0]) if arguments else "")
        return original(held, *arguments, **named)

    def _require_use(self, name: str, user: Sid, target: str) -> None:
        events = _ANNOUNCING if _USES[name] else _ANNOUNCING[:1]
        host = _host_of(target)
        with self._lock:
            is_known = any(
                hop.event in events and hop.user == user and host in {"", hop.place[0]}
                for hop in self._hops
            )
        if not is_known:
            awaited = " or ".join(event.name for event in events)
            self._breach(
                f"`{name}` of {user}'s credentials {target}, and no durable {awaited} "
                "announced it"
            )


def _maker() -> str:
    """Return the module of Stead's that asked for what is watched; else nothing.

    What libraries do is done by whoever calls them.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - whose act it is
    while frame is not None:
        module, path = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        # What the monitor watches is done by whoever handed it over.
        is_between = module.startswith(("stead.testing.law", "stead.monitor"))
        if not is_between and not path.startswith("<frozen"):
            if path.startswith(_STEAD):
                return str(module)
            if not path.startswith(_LIBRARIES):
                return ""
        frame = frame.f_back
    return ""


def _token_of(line: Lifeline) -> AccessToken | None:
    """Return whose a lifeline is, as `Hops` makes it."""
    require = line._require  # noqa: SLF001 - nobody else may ask
    found = require.args[0] if isinstance(require, partial) and require.args else None
    return found if isinstance(found, AccessToken) else None


def _place(record: AuditRecord) -> _Place:
    if record.event is AuditEvent.DELEGATED:
        try:
            target = NetworkTarget.read(record.object_name)
        except InvalidRequestError:
            return "", 0  # what names no service announces none
        return target.host, target.port
    host, _, port = record.detail.get("target server", "").rpartition(":")
    return host, int(port or 0)


def _host_of(target: str) -> str:
    """Return the host in `service@host` or a URL; nothing if there is none."""
    if "://" in target:
        return NetworkTarget.read(target).host
    return target.partition("@")[2].partition("@")[0].casefold()


def _port_of(connected: Any) -> int:
    return int(connected.getpeername()[1])
