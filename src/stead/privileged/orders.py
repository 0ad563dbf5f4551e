"""What the server tells the launcher: whom to become, and what to start as them.

An order is JSON in a sealed file of memory (`stead.privileged.sealing`), and travels
in a parcel (`stead.privileged.parcels`). By way of a broker it has two parts: the
server's, and the broker's *warrant*, which says whom the process becomes.

JSON has no bytes: each byte stands as the character of its number (Latin-1).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from stead.errors import InvalidRequestError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.confinement import Confinement

if sys.platform == "linux":  # nobody sends an order elsewhere
    pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
