"""What to start for a client, as it is asked for: checked, and said in one value."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypedDict

from stead.errors import InvalidRequestError
from stead.model.arguments import require_kind, require_seconds
from stead.model.posix_identity import PosixIdentity
from stead.monitor.process_acts import Deed
from stead.privileged.orders import Order
from stead.server.acting.environments import NOWHERE, Household, Text, changed


class HasDescriptor(Protocol):
    """An open file or socket."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


Argument: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Stream: TypeAlias = int | HasDescriptor | None
Limits: TypeAlias = Mapping[int, tuple[int, int]]

_UMASK: Final = 0o022


class Options(TypedDict, total=False):
    """How a program is started, beside what it is called with.

    stdin, stdout, stderr: None or DEVNULL for the null device, never the server's own;
        PIPE; a descriptor or an open file; for stderr also STDOUT.
    environment: variables to set beside what a logon of the client begins with, or
        (None) to leave out; nothing of the server's own is there.
    directory: where it starts, entered as the client; its home, or `/` where it may
        not enter that, if not given.
    umask: permissions that files it makes do not get; 0o022 if not given.
    limits: soft and hard limit by ``resource.RLIMIT_*``.
    terminal: whether it gets a terminal of its own, in place of stdin, stdout and
        stderr.
    no_new_privileges: whether set-uid programs and the like give it nothing.
    pam: whether a PAM session is opened around it.
    timeout: seconds after its beginning when it is killed, with its whole tree.
    """

    stdin: Stream
    stdout: Stream
    stderr: Stream
    environment: Mapping[str, Text | None] | None
    directory: str | os.PathLike[str] | None
    umask: int
    limits: Limits | None
    terminal: bool
    no_new_privileges: bool
    pam: bool
    timeout: float | None


_CALLED_HERE: Final = {
    "cwd": "`directory` says where it starts",
    "env": "`environment` adds to the client's own",
    "text": "its streams are bytes: decode what comes",
    "encoding": "its streams are bytes: decode what comes",
    "shell": 'name the shell: `["/bin/sh", "-c", ...]`',
    "user": "it is started as the client, and as nobody else",
    "preexec_fn": "nothing of the server's runs in a client's process",
}
"""What `subprocess` knows, and how it is said here."""

_NONE: Final = type(None)
_KINDS: Final[tuple[tuple[str, tuple[type, ...], str], ...]] = (
    ("environment", (Mapping, _NONE), 'write `environment={"NAME": "value"}`'),
    ("directory", (str, os.PathLike, _NONE), "name a folder"),
    ("umask", (int,), "write `umask=0o077`"),
    ("limits", (Mapping, _NONE), "write `limits={resource.RLIMIT_NPROC: (9, 9)}`"),
)


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """A program to start; see `Options`. Its repr shows neither argument nor variable.

    Attributes:
        argv: the program and its arguments; no shell reads them.
    """

    argv: tuple[bytes, ...]
    stdin: Stream = None
    stdout: Stream = None
    stderr: Stream = None
    environment: Mapping[str, Text | None] | None = None
    directory: str | os.PathLike[str] | None = None
    umask: int = _UMASK
    limits: Limits | None = None
    terminal: bool = False
    no_new_privileges: bool = False
    pam: bool = False
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InvalidRequestError: it says why.
        """
        for what, kinds, advice in _KINDS:
            require_kind(what, getattr(self, what), kinds, advice)
        streams = (self.stdin, self.stdout, self.stderr)
        if self.terminal and any(stream is not None for stream in streams):
            raise InvalidRequestError(
                "a process with a terminal has it for stdin, stdout and stderr"
            )
        require_seconds("timeout", self.timeout)

    @classmethod
    def of(cls, argv: Sequence[Argument], options: Options) -> Plan:
        """Return the plan for a command line.

        Raises:
            InvalidRequestError: it is no list of words, there is no such option, or the
                options exclude one another.
        """
        for name in options.keys() - Options.__annotations__.keys():
            raise InvalidRequestError(
                f"a process has no option `{name}`",
                advice=_CALLED_HERE.get(
                    name, "the options are " + ", ".join(Options.__annotations__)
                ),
            )
        return cls(_words(argv), **options)

    @property
    def program(self) -> str:
        """The program, as it is named."""
        return os.fsdecode(self.argv[0])

    @property
    def deed(self) -> Deed:
        """The program, as records print it."""
        return Deed("Process", self.program, len(self.argv) - 1)

    def order(self, identity: PosixIdentity, household: Household) -> Order:
        """Return the launcher's order for a client.

        Raises:
            InvalidRequestError: no kernel could take it literally.
        """
        begun = household.environment()
        if self.pam and not household.is_known:
            raise InvalidRequestError(
                f"uid {identity.uid} has no name on this host, so PAM knows no session "
                "for it"
            )
        home = os.fsencode(household.home if self.directory is None else self.directory)
        return Order(
            identity=identity,
            argv=self.argv,
            environment=changed(begun, self.environment or {}),
            directory=home,
            fallback_directory=os.fsencode(NOWHERE) if self.directory is None else b"",
            umask=self.umask,
            limits=tuple((k, *pair) for k, pair in (self.limits or {}).items()),
            terminal=self.terminal,
            no_new_privileges=self.no_new_privileges,
            pam_user=household.name if self.pam else "",
        )

    def __repr__(self) -> str:
        return f"Plan({self.program!r}, {len(self.argv) - 1} arguments)"


def _words(argv: Any) -> tuple[bytes, ...]:
    """Return a command line as bytes; one text is none, since no shell splits it."""
    if isinstance(argv, str | bytes | os.PathLike) or not isinstance(argv, Sequence):
        raise InvalidRequestError(
            "a command line is a list of words, read by no shell",
            advice='write `["/usr/bin/report", "--quarter", "3"]`',
        )
    try:
        words = tuple(os.fsencode(word) for word in argv)
    except (TypeError, UnicodeEncodeError):
        raise InvalidRequestError("a word of a command line is no text") from None
    if not words or not words[0]:
        raise InvalidRequestError("a command line names a program")
    return words
