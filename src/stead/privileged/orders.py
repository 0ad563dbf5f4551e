"""What the server tells the launcher: whom to become, and what to start as them.

An order travels as one datagram on a SOCK_SEQPACKET pair. The datagram itself says only
whether a PAM session is needed; with it go descriptors (unix(7), SCM_RIGHTS):

1. the *channel* on which the one process is spoken of from then on;
2. the order, as JSON in a sealed file that lies in memory (memfd_create(2)): it may
   hold a whole environment, and a datagram may not;
3. the process's stdin, stdout and stderr, and whatever else it is to inherit.

An order that comes by way of a broker carries two more after the second: the *warrant*,
a sealed document of the broker's own that says whom the process becomes, which the
server's document then must not; and the *hold*, a socket of the broker's at whose end
the tree ends, and whose other side ends with the keeper.

JSON has no bytes: each byte stands as the character of its number (Latin-1).
"""

from __future__ import annotations

import array
import dataclasses
import json
import os
import socket
import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from stead.errors import InvalidRequestError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.confinement import Confinement

if sys.platform == "linux":  # nobody sends an order elsewhere
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAXIMUM_EXTRA: Final = 64
"""How many descriptors a process may inherit beside its stdio."""

_STDIO: Final = 3
_FIXED: Final = 2 + _STDIO  # the channel and the document before it
_MAXIMUM_DESCRIPTORS: Final = _FIXED + 2 + MAXIMUM_EXTRA
MAXIMUM_DOCUMENT: Final = 16 << 20
"""How many bytes an order may have: an environment of the kernel's 6 MB, and JSON."""

# Whether a session is needed, and whether a broker has added its warrant.
_KINDS: Final[Mapping[bytes, tuple[bool, bool]]] = MappingProxyType(
    {
        b"order": (False, False),
        b"order with a session": (True, False),
        b"warranted order": (False, True),
        b"warranted order with a session": (True, True),
    }
)
_DATAGRAMS: Final = MappingProxyType({kind: text for text, kind in _KINDS.items()})
_LONGEST_DATAGRAM: Final = max(len(text) for text in _KINDS)
_PERMISSION_BITS: Final = 0o777


@dataclass(frozen=True, slots=True)
class Order:
    """One process to start.

    Its arguments and environment may hold secrets, and are not shown.

    Attributes:
        identity: whom it becomes, for good.
        argv: the program and its arguments; empty with a `body`. Without a slash the
            program is looked for in the PATH of `environment`, and nowhere else.
        environment: names and values, all there are.
        directory: where it starts; entered as the client.
        fallback_directory: where it starts if the client may not enter the first;
            empty to refuse then.
        umask: permissions that files it makes do not get.
        limits: resource, soft and hard limit, as of ``resource.setrlimit``.
        no_new_privileges: whether set-uid programs and the like give it nothing.
        terminal: whether its stdin is a terminal that becomes its controlling one.
        pam_user: for whom a PAM session is opened around it; empty for none.
        body: ``module:function``, to be called instead of executing a program.
        confinement: what it reaches at most; None for whatever the client may.
    """

    identity: PosixIdentity
    argv: tuple[bytes, ...] = field(default=(), repr=False)
    environment: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    directory: bytes = b"/"
    fallback_directory: bytes = b""
    umask: int = 0o022
    limits: tuple[tuple[int, int, int], ...] = ()
    no_new_privileges: bool = False
    terminal: bool = False
    pam_user: str = ""
    body: str = ""
    confinement: Confinement | None = None

    def __post_init__(self) -> None:
        """Refuse what no kernel could take literally.

        Raises:
            InvalidRequestError: it is no order.
        """
        for problem in self._problems():
            raise InvalidRequestError(f"no process can be started: {problem}")

    def to_bytes(self) -> bytes:
        """Return the document."""
        fields = {name: getattr(self, name) for name in _NAMES}
        return json.dumps(fields, default=_plain).encode()

    def to_server_part(self) -> bytes:
        """Return what a server says of it where a broker says the rest."""
        names = [name for name in _NAMES if name not in _WARRANTED]
        fields = {name: getattr(self, name) for name in names}
        return json.dumps(fields, default=_plain).encode()

    @classmethod
    def from_bytes(cls, document: bytes, warrant: bytes | None = None) -> Self:
        """Read a document; what it lacks, or holds beside, is an error.

        Args:
            document: as `to_bytes` wrote it; with a warrant, as `to_server_part` did.
            warrant: as `Warrant.to_bytes` wrote it.

        Raises:
            InvalidRequestError: it is none, or says what its warrant says.
        """
        try:
            fields = dict(json.loads(document))
            if warrant is not None:
                if not _WARRANTED.isdisjoint(fields):
                    raise InvalidRequestError("the server says whom a process becomes")
                fields |= json.loads(warrant)
            return cls(**_fields_of(fields))
        except (
            *(AttributeError, KeyError, TypeError, ValueError),
            *(OverflowError, RecursionError),
        ) as error:
            raise InvalidRequestError("the order cannot be read") from error

    def _problems(self) -> Iterable[str]:
        names = [name for name, _ in self.environment]
        values = [value for _, value in self.environment]
        texts = (*self.argv, *names, *values, self.directory, self.fallback_directory)
        if bool(self.argv) == bool(self.body):
            yield "it is either a program or a function"
        if self.argv and not self.argv[0]:
            yield "the program has no name"
        if any(b"\0" in text for text in texts) or "\0" in self.pam_user:
            yield "a text holds a NUL"
        if any(not name or b"=" in name for name in names):
            yield "a variable's name is empty or holds `=`"
        if len(set(names)) < len(names):
            yield "a variable has two values"
        if not self.directory.startswith(b"/"):
            yield "its directory is not absolute"
        if self.fallback_directory and not self.fallback_directory.startswith(b"/"):
            yield "its other directory is not absolute"
        if self.umask & ~_PERMISSION_BITS:
            yield f"`{self.umask}` is no umask"
        if self.confinement is not None:
            yield from self._problems_of_confinement()

    def _problems_of_confinement(self) -> Iterable[str]:
        if not self.no_new_privileges:
            yield "a confined process gains no new privileges"
        if self.pam_user:
            yield "a session of PAM is opened for no confined process"


@dataclass(frozen=True, slots=True)
class Warrant:
    """What a broker says of a process, in the server's place.

    Attributes:
        identity: whom it becomes.
        body: the function to be called; empty where the server names a program.
    """

    identity: PosixIdentity
    body: str = ""

    def to_bytes(self) -> bytes:
        """Return the document."""
        fields = {"identity": self.identity, "body": self.body}
        return json.dumps(fields, default=_plain).encode()


@dataclass(frozen=True, slots=True)
class Parcel:
    """An order on its way, with the descriptors that go with it.

    Attributes:
        channel: where the process is spoken of.
        document: where the order lies.
        inherited: what becomes 0, 1, 2 and so on.
        needs_session: whether a PAM session is to be opened around the process.
        warrant: where the broker's part lies; None if there is no broker.
        hold: the keeper's side of what the broker ends the tree by; likewise.
    """

    channel: int
    document: int
    inherited: tuple[int, ...]
    needs_session: bool = False
    warrant: int | None = None
    hold: int | None = None

    def order(self) -> Order:
        """Read the order.

        Raises:
            InvalidRequestError: there is none, or somebody may still change it.
        """
        warrant = None if self.warrant is None else read_sealed(self.warrant)
        return Order.from_bytes(read_sealed(self.document), warrant)

    @property
    def is_warranted(self) -> bool:
        """Whether a broker says whom the process becomes."""
        return self.warrant is not None

    def descriptors(self) -> tuple[int, ...]:
        """Return what travels, in its order."""
        added: tuple[int, ...] = ()
        if self.warrant is not None:
            if self.hold is None:
                raise InvalidRequestError("a warrant comes with a hold")
            added = (self.warrant, self.hold)
        return (self.channel, self.document, *added, *self.inherited)

    def let_go(self) -> None:
        """Close every descriptor but the channel and the hold."""
        for descriptor in (self.document, *self.inherited):
            os.close(descriptor)
        if self.warrant is not None:
            os.close(self.warrant)


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every order of one launcher, told to it once.

    Attributes:
        server: the process whose launcher it is.
        guard: the uid that is nobody.
        allowed: system uids that may be clients.
        preload: modules that bodies need.
    """

    server: int
    guard: int
    allowed: frozenset[int]
    preload: tuple[str, ...]

    def to_document(self, path: Sequence[str]) -> bytes:
        """Return the first datagram, with where to import from.

        Entries that are not absolute mean the working directory, and are left out.
        """
        found = [entry for entry in path if entry.startswith("/")]
        return json.dumps(
            {"path": found, **dataclasses.asdict(self)}, default=list
        ).encode()

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Read what `to_document` wrote, once the path is taken care of."""
        return cls(
            server=document["server"],
            guard=document["guard"],
            allowed=frozenset(document["allowed"]),
            preload=tuple(document["preload"]),
        )


def sealed(document: bytes) -> BinaryIO:
    """Return a file of memory that holds the document and never changes again."""
    descriptor = os.memfd_create("stead-order", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    file = os.fdopen(descriptor, "wb")
    try:
        file.write(document)
        file.flush()
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _seals())
    except BaseException:
        file.close()
        raise
    return file


def send(control: socket.socket, parcel: Parcel) -> None:
    """Send an order, without waiting; its descriptors stay the sender's to close.

    Raises:
        OSError: it was not sent: BlockingIOError if too many are waiting.
    """
    carried = array.array("i", parcel.descriptors())
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    datagram = _DATAGRAMS[parcel.needs_session, parcel.is_warranted]
    control.sendmsg([datagram], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive(control: socket.socket) -> Parcel | None:
    """Take the next order; wait for it, unless the socket does not wait.

    Returns:
        The order; None if no other will come.

    Raises:
        BlockingIOError: there is none now.
        InvalidRequestError: what came is no order; what it carried is closed.
    """
    room = socket.CMSG_SPACE(_MAXIMUM_DESCRIPTORS * array.array("i").itemsize)
    datagram, rights, came, _ = control.recvmsg(
        _LONGEST_DATAGRAM, room, socket.MSG_CMSG_CLOEXEC
    )
    descriptors = carried_by(rights)
    if not datagram and not descriptors:
        return None
    is_cut = came & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
    needs_session, is_warranted = _KINDS.get(datagram, (False, False))
    fewest = _FIXED + 2 * is_warranted
    is_filled = fewest <= len(descriptors) <= fewest + MAXIMUM_EXTRA
    if is_cut or datagram not in _KINDS or not is_filled:
        for descriptor in descriptors:
            os.close(descriptor)
        raise InvalidRequestError("what came is no order")
    channel, document, *rest = descriptors
    warrant, hold = rest[:2] if is_warranted else (None, None)
    return Parcel(
        channel,
        document,
        tuple(rest[2:] if is_warranted else rest),
        needs_session=needs_session,
        warrant=warrant,
        hold=hold,
    )


def carried_by(rights: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message, each of them ours to close."""
    descriptors = array.array("i")
    for level, kind, carried in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(carried[: len(carried) - len(carried) % 4])
    return list(descriptors)


def require_sealed(descriptor: int, most: int = MAXIMUM_DOCUMENT) -> int:
    """Return the size of a document that nobody can change any more.

    Raises:
        InvalidRequestError: it lies in no memory, is not sealed, or is too large.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise InvalidRequestError("the order lies in no memory") from error
    if seals != _seals():
        raise InvalidRequestError("the order is not sealed")
    size = os.fstat(descriptor).st_size
    if size > most:
        raise InvalidRequestError(f"the order has more than {most} bytes")
    return size


def read_sealed(descriptor: int, most: int = MAXIMUM_DOCUMENT) -> bytes:
    """Read a document; raises as `require_sealed`."""
    return os.pread(descriptor, require_sealed(descriptor, most), 0)


def _seals() -> int:
    content = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    return content | fcntl.F_SEAL_SEAL


def _plain(value: bytes | PosixIdentity | Confinement) -> object:
    if isinstance(value, Confinement):
        return value.roots, value.runs_programs
    if isinstance(value, PosixIdentity):
        return value.uid, value.gid, value.groups
    return value.decode("latin-1")


_NAMES: Final = tuple(each.name for each in dataclasses.fields(Order))
_WARRANTED: Final = frozenset({"identity", "body"})


def _fields_of(document: dict[str, Any]) -> dict[str, Any]:
    fields = dict(document)
    uid, gid, groups = fields["identity"]
    fields["identity"] = PosixIdentity(uid, gid, tuple(groups))
    if fields["confinement"] is not None:
        roots, runs_programs = fields["confinement"]
        fields["confinement"] = Confinement(
            tuple((path.encode("latin-1"), rights) for path, rights in roots),
            runs_programs,
        )
    for name in ("directory", "fallback_directory"):
        fields[name] = fields[name].encode("latin-1")
    fields["argv"] = tuple(text.encode("latin-1") for text in fields["argv"])
    fields["environment"] = tuple(
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in fields["environment"]
    )
    fields["limits"] = tuple(
        (name, soft, hard) for name, soft, hard in fields["limits"]
    )
    return fields
