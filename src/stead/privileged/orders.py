"""What the server tells the launcher: whom to become, and what to start as them.

An order travels as one datagram on a SOCK_SEQPACKET pair. The datagram itself says only
whether a PAM session is needed; with it go descriptors (unix(7), SCM_RIGHTS):

1. the *channel* on which the one process is spoken of from then on;
2. the order, as JSON in a sealed file that lies in memory (memfd_create(2)): it may
   hold a whole environment, and a datagram may not;
3. the process's stdin, stdout and stderr, and whatever else it is to inherit.

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
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from stead.errors import InvalidRequestError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.confinement import Confinement

if sys.platform == "linux":  # nobody sends an order elsewhere
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAXIMUM_EXTRA: Final = 64
"""How many descriptors a process may inherit beside its stdio."""

_FIXED: Final = 5  # the channel, the document, stdin, stdout, stderr
_MAXIMUM_DESCRIPTORS: Final = _FIXED + MAXIMUM_EXTRA
_PLAIN: Final = b"order"
_WITH_SESSION: Final = b"order with a session"
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

    @classmethod
    def from_bytes(cls, document: bytes) -> Self:
        """Read a document; what it lacks, or holds beside, is an error.

        Raises:
            InvalidRequestError: it is none.
        """
        try:
            return cls(**_fields_of(json.loads(document)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
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
class Parcel:
    """An order on its way, with the descriptors that go with it.

    Attributes:
        channel: where the process is spoken of.
        document: where the order lies.
        inherited: what becomes 0, 1, 2 and so on.
        needs_session: whether a PAM session is to be opened around the process.
    """

    channel: int
    document: int
    inherited: tuple[int, ...]
    needs_session: bool = False

    def order(self) -> Order:
        """Read the order.

        Raises:
            InvalidRequestError: there is none, or somebody may still change it.
        """
        return Order.from_bytes(_read_sealed(self.document))

    def let_go(self) -> None:
        """Close every descriptor but the channel."""
        for descriptor in (self.document, *self.inherited):
            os.close(descriptor)


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
    carried = array.array("i", [parcel.channel, parcel.document, *parcel.inherited])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    datagram = _WITH_SESSION if parcel.needs_session else _PLAIN
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
        len(_WITH_SESSION), room, socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array.array("i")
    for _level, _kind, carried in rights:
        descriptors.frombytes(carried[: len(carried) - len(carried) % 4])
    if not datagram and not descriptors:
        return None
    is_cut = came & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
    is_order = datagram in {_PLAIN, _WITH_SESSION} and not is_cut
    if not is_order or len(descriptors) < _FIXED:
        for descriptor in descriptors:
            os.close(descriptor)
        raise InvalidRequestError("what came is no order")
    return Parcel(
        descriptors[0],
        descriptors[1],
        tuple(descriptors[2:]),
        needs_session=datagram == _WITH_SESSION,
    )


def _read_sealed(descriptor: int) -> bytes:
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise InvalidRequestError("the order lies in no memory") from error
    if seals != _seals():
        raise InvalidRequestError("the order is not sealed")
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


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
