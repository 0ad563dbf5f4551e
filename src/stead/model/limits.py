"""Limits: what a token may reach at most, whatever its user may (a bounded grant).

A limited token is one that somebody was lent: an agent, a job, a plug-in. Its limits
say until when, which rights, to what, with which privileges, and what for. They only
narrow: what is asked of a limited token is granted if it is granted without limits
*and* lies within them. A token that is limited again carries both: each `TokenLimits`
lies within another, and all of them must agree.

Win32 has no such thing: CreateRestrictedToken takes SIDs and privileges from a token,
and knows neither objects, nor rights, nor a time.

Names are exact unless they say otherwise: a name that came from a stranger is never
read as a pattern.

>>> from stead.model.access_mask import FILE_MAPPING, FileRights
>>> lent = TokenLimits(
...     expires=1_000, rights=(KindRights("Doc", 1),), objects=(NamePattern("plan"),)
... )
>>> lent.rights_to(Circumstances("Doc", "plan", 999), FILE_MAPPING)
1
>>> lent.rights_to(Circumstances("Doc", "plan", 1_000), FILE_MAPPING)
0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from stead.errors import InvalidRequestError
from stead.model.access_mask import (
    FILE_MAPPING,
    AccessMask,
    FileRights,
    GenericMapping,
    name_rights,
    require_mask,
)
from stead.model.arguments import require_kind, require_text
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege

EVERY_KIND: Final = ""
"""The kind whose rights are meant on objects of every kind."""
FILES: Final = "file system"
"""The kind of what lies beneath file roots; no `Rights` class is called that."""
MOST_LAYERS: Final = 8
"""How often a token can be limited: each layer is looked at for each question."""
MOST_NAMED: Final = 256
"""How much of each sort one layer names."""
LONGEST_PURPOSE: Final = 200

_EVERY_FILE_RIGHT: Final = int(FileRights.ALL_ACCESS)
_LATEST: Final = 1 << 63  # the year 2262
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a question is about, and when it is asked.

    The judge has no clock and knows no names; whoever has both says so with the
    question. Of a limited token nothing is granted to who does not.

    Attributes:
        kind: the object's kind, such as `Doc`.
        name: the object's name.
        time: nanoseconds since the epoch, UTC.
    """

    kind: str
    name: str
    time: int


@dataclass(frozen=True, slots=True)
class KindRights:
    """Rights to objects of one kind.

    Attributes:
        kind: the kind's name; `EVERY_KIND` for all, `FILES` for files.
        mask: the rights; generic ones mean what each object's kind says.
        words: how records print them; by their bits if not given.
    """

    kind: str
    mask: int
    words: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what means nothing: MAXIMUM_ALLOWED is a request, not a right."""
        if require_mask(self.mask) & AccessMask.MAXIMUM_ALLOWED:
            raise InvalidRequestError("`MAXIMUM_ALLOWED` is no right to be limited to")


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A name, or all names that begin with a text.

    Attributes:
        text: the name, or how it begins.
        is_prefix: whether it is a beginning; with no text, that of every name.
    """

    text: str
    is_prefix: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no name.

        Raises:
            InvalidRequestError: it is empty, or holds what no name holds.
        """
        require_text("name", self.text)
        if not self.text.isprintable() or not (self.text or self.is_prefix):
            raise InvalidRequestError("a name that limits a token is printable text")

    def matches(self, name: str) -> bool:
        """Tell whether a name is meant; letters are compared as they are."""
        return name.startswith(self.text) if self.is_prefix else name == self.text

    def __str__(self) -> str:
        return f"{self.text}..." if self.is_prefix else self.text


ANY_NAME: Final = NamePattern("", is_prefix=True)
"""Every name: limits that are about rights and time alone."""


@dataclass(frozen=True, slots=True)
class FileRoot:
    """A directory with all beneath it, or one file.

    Attributes:
        path: absolute, without `.` and `..`, and none of it a symbolic link.
        rights: `FileRights` at most, beside what the limits' own rights say of `FILES`.
    """

    path: str
    rights: int = _EVERY_FILE_RIGHT

    def __post_init__(self) -> None:
        """Refuse a path that does not say by itself where it leads.

        Raises:
            InvalidRequestError: it does not.
        """
        parts = self.path.split("/")
        is_plain = not {"", ".", ".."}.intersection(parts[1:])
        if not self.path.startswith("/") or not is_plain or "\0" in self.path:
            raise InvalidRequestError(
                f"`{self.path[:80]!a}` is no file root",
                advice="name an absolute path other than `/`, without `.` and `..`",
            )
        object.__setattr__(self, "rights", FILE_MAPPING.map(require_mask(self.rights)))

    def holds(self, path: str) -> bool:
        """Tell whether a plain absolute path is this one, or lies beneath it."""
        return path == self.path or path.startswith(f"{self.path}/")


@dataclass(frozen=True, slots=True)
class Host:
    """Another machine's port, for gates that reach out.

    Attributes:
        name: as it is called; compared without regard to case.
        port: 1 to 65535.
    """

    name: str
    port: int

    def __post_init__(self) -> None:
        """Refuse what is no address; raises `InvalidRequestError`."""
        require_text("host", self.name)
        require_kind("port", self.port, int, "a port is a number")
        is_name = (
            self.name.isascii() and self.name.isprintable() and " " not in self.name
        )
        if not (self.name and is_name and 0 < self.port <= _HIGHEST_PORT):
            raise InvalidRequestError(
                f"`{self.name[:80]!a}:{self.port}` is no host",
                advice="give a name or an address, and a port from 1 to 65535",
            )
        object.__setattr__(self, "name", self.name.lower())

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What a token may reach at most.

    Attributes:
        expires: when it ends; nanoseconds since the epoch, UTC.
        rights: which rights, by kind of object; those of a kind and of every kind add
            up. A kind that is not named has none of its own.
        objects: which objects of the server's.
        operations: which of the server's operations may be asked for.
        files: beneath which paths files may be reached.
        hosts: which other machines; nothing here reaches any by itself.
        privileges: which privileges stay.
        purpose: what for, as records print it.
        grant: the number of the grant, which is also that of its logon session.
        within: the limits that the token had already.
    """

    expires: int
    rights: tuple[KindRights, ...] = ()
    objects: tuple[NamePattern, ...] = ()
    operations: tuple[NamePattern, ...] = ()
    files: tuple[FileRoot, ...] = ()
    hosts: tuple[Host, ...] = ()
    privileges: frozenset[Privilege] = frozenset()
    purpose: str = ""
    grant: Luid = NO_LUID
    within: TokenLimits | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be meant, or costs too much to look at.

        Raises:
            InvalidRequestError: it says why.
        """
        for name in _TUPLES:
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) > MOST_NAMED:
                raise InvalidRequestError(f"a grant names up to {MOST_NAMED} {name}")
        object.__setattr__(self, "privileges", frozenset(self.privileges))
        if not 0 < self.expires < _LATEST:
            raise InvalidRequestError(f"`{self.expires}` is no time to expire at")
        require_text("purpose", self.purpose)
        if len(self.purpose) > LONGEST_PURPOSE or not self.purpose.isprintable():
            raise InvalidRequestError(
                f"a purpose is up to {LONGEST_PURPOSE} printable characters"
            )
        if sum(1 for _ in self.layers()) > MOST_LAYERS:
            raise InvalidRequestError(f"a token is limited up to {MOST_LAYERS} times")

    # --- one layer --------------------------------------------------------------------

    def rights_to(self, about: Circumstances, mapping: GenericMapping) -> int:
        """Return what this layer leaves of all rights to one object at one time."""
        if self.is_over(about.time) or not self.names(about):
            return 0
        return self.rights_of(about.kind, mapping)

    def is_over(self, time: int) -> bool:
        """Tell whether this layer has expired."""
        return time >= self.expires

    def names(self, about: Circumstances) -> bool:
        """Tell whether the object is among the targets."""
        return any(pattern.matches(about.name) for pattern in self.objects)

    def rights_of(self, kind: str, mapping: GenericMapping) -> int:
        """Return which rights to objects of a kind are left."""
        left = 0
        for entry in self.rights:
            if entry.kind in (EVERY_KIND, kind):
                left |= mapping.map(entry.mask)
        return left

    # --- all of them ------------------------------------------------------------------

    def layers(self) -> Iterator[TokenLimits]:
        """Yield this layer and those that it lies within, the narrowest first."""
        layer: TokenLimits | None = self
        while layer is not None:
            yield layer
            layer = layer.within

    @property
    def ends(self) -> int:
        """When the first of all layers expires."""
        return min(layer.expires for layer in self.layers())

    @property
    def kept_privileges(self) -> frozenset[Privilege]:
        """The privileges that every layer leaves."""
        return frozenset.intersection(*(layer.privileges for layer in self.layers()))

    def may_ask_for(self, operation: str) -> bool:
        """Tell whether every layer names an operation of the server's."""
        return all(
            any(pattern.matches(operation) for pattern in layer.operations)
            for layer in self.layers()
        )

    def may_reach(self, host: Host) -> bool:
        """Tell whether every layer names another machine's port."""
        return all(host in layer.hosts for layer in self.layers())

    def file_roots(self) -> tuple[FileRoot, ...]:
        """Return the file roots that every layer leaves, with the rights left there.

        Where two layers name a directory and one beneath it, the one beneath is left.
        """
        found: dict[str, int] | None = None
        for layer in self.layers():
            most = layer.rights_of(FILES, FILE_MAPPING)
            own = {root.path: 0 for root in layer.files}
            for root in layer.files:
                own[root.path] |= root.rights & most
            found = own if found is None else _both(found, own)
        return tuple(FileRoot(p, r) for p, r in sorted((found or {}).items()) if r)

    def rights_at(self, path: str) -> int:
        """Return the file rights that every layer leaves at a plain absolute path."""
        left = 0
        for root in self.file_roots():
            left |= root.rights if root.holds(path) else 0
        return left

    def keeping(self, privilege: Privilege) -> TokenLimits:
        """Return the same limits with one more privilege left by each layer.

        For the judge's reasons, which ask what the answer would be; nothing hands such
        limits out.
        """
        within = None if self.within is None else self.within.keeping(privilege)
        return replace(self, privileges=self.privileges | {privilege}, within=within)

    def without(self, layer: TokenLimits) -> TokenLimits | None:
        """Return the limits that are left when one layer is lifted; see `keeping`."""
        if self is layer or self == layer:
            return self.within
        within = None if self.within is None else self.within.without(layer)
        return replace(self, within=within)

    # --- in words -----------------------------------------------------------------

    def __str__(self) -> str:
        """Name the grant: its number, and what it is for."""
        return f"{self.grant} ({self.purpose})" if self.purpose else str(self.grant)

    def in_words(self) -> dict[str, str]:
        """Say what this layer leaves, as records print it."""
        said = {
            "expires": when(self.expires),
            "rights": "; ".join(map(_spelled, self.rights)),
            "objects": ", ".join(map(str, self.objects)),
            "operations": ", ".join(map(str, self.operations)),
            "files": ", ".join(map(_root_spelled, self.files)),
            "hosts": ", ".join(map(str, self.hosts)),
            "kept privileges": ", ".join(sorted(p.value for p in self.privileges)),
        }
        return {name: text or "none" for name, text in said.items()}


_TUPLES: Final = ("rights", "objects", "operations", "files", "hosts")


def when(time: int) -> str:
    """Print a time of nanoseconds since the epoch, UTC, to the second."""
    return datetime.fromtimestamp(time // 1_000_000_000, UTC).isoformat()


def _both(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Return the roots that lie within both, with the rights that both leave."""
    found: dict[str, int] = {}
    for a, a_rights in one.items():
        for b, b_rights in other.items():
            if FileRoot(a).holds(b):
                found[b] = found.get(b, 0) | a_rights & b_rights
            elif FileRoot(b).holds(a):
                found[a] = found.get(a, 0) | a_rights & b_rights
    return found


def _spelled(entry: KindRights) -> str:
    names: dict[str, int] = {}
    if entry.kind == FILES:
        names = {m.name: int(m) for m in FileRights if m.name}
    kind = entry.kind or "every kind"
    return f"{kind}: {entry.words or name_rights(entry.mask, names)}"


def _root_spelled(root: FileRoot) -> str:
    if root.rights == _EVERY_FILE_RIGHT:
        return root.path
    names = {m.name: int(m) for m in FileRights if m.name}
    return f"{root.path} ({name_rights(root.rights, names)})"
