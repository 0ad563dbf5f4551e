"""Names that somebody else gives: the host's users, a directory's accounts.

A source is asked by a name of one of its domains, or by a SID of one of its
authorities, and is not believed about any other SID. What it answers is kept for a
stated time, that it knows nothing for a shorter one. That it does not answer is an
error each time, and never "nobody".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, Protocol

from stead.authority.names import name_key
from stead.errors import AmbiguousNameError, WrongIdentityError
from stead.model.sid import Sid

LIFETIME: Final = 60.0
NEGATIVE_LIFETIME: Final = 5.0
MOST_KEPT: Final = 10_000
LONGEST_NAME: Final = 1024
"""Letters, as of the longest that a directory has. Whoever may ask for names chooses
those that nobody has, and they are kept as well."""
_SECOND: Final = 1_000_000_000


class NameKind(Enum):
    """What a name is the name of (Win32 SID_NAME_USE)."""

    USER = "user"
    GROUP = "group"
    WELL_KNOWN_GROUP = "well-known group"


@dataclass(frozen=True, slots=True)
class SourceName:
    """A name as its source knows it.

    Attributes:
        sid: whose.
        kind: of what.
        name: without its domain.
        domain: as it is printed before the name.
        unix_id: the uid of a user or the gid of a group, where it has one.
    """

    sid: Sid
    kind: NameKind
    name: str
    domain: str
    unix_id: int | None = None


class NameSource(Protocol):
    """Somebody who knows names."""

    @property
    def name(self) -> str:
        """What answers and errors call it: `host`, `corp.example`."""
        ...

    @property
    def domains(self) -> Collection[str]:
        """Whose names it knows, by any name of the domain; compared without case."""
        ...

    @property
    def authorities(self) -> Collection[Sid]:
        """Within which SIDs all that it names lies, such as S-1-5-21-a-b-c."""
        ...

    def find(self, name: str, domain: str) -> SourceName | None:
        """Return whom a name means; None for nobody.

        Args:
            name: without its domain.
            domain: one of `domains`, as it was written; empty if none was.

        Raises:
            DirectoryUnavailableError: it cannot answer now.
        """
        ...

    def name_of(self, sid: Sid) -> SourceName | None:
        """Return the name of a SID within `authorities`; raises as `find`."""
        ...


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What a source said, and how long that counts.

    Attributes:
        found: who; None for nobody.
        source: who said so; None if there is nobody to ask.
        lifetime: seconds for which it counts from now.
    """

    found: SourceName | None
    source: str | None
    lifetime: float


_Ask = Callable[[], SourceName | None]


class _Kept(NamedTuple):
    """What a source said: whom, as of when, and until when that counts; nanoseconds.

    It is of when it was asked for: what comes late may be older than what came before.
    """

    found: SourceName | None
    asked: int
    until: int


class NameSources:
    """All sources of a server, with what they said lately.

    Args:
        sources: who is asked, in order.
        monotonic: nanoseconds that never step.
        lifetime: seconds for which a name counts.
        negative_lifetime: seconds for which "nobody" counts.
    """

    __slots__ = ("_kept", "_lifetime", "_monotonic", "_negative", "_sources")

    def __init__(
        self,
        sources: Collection[NameSource],
        *,
        monotonic: Callable[[], int],
        lifetime: float = LIFETIME,
        negative_lifetime: float = NEGATIVE_LIFETIME,
    ) -> None:
        self._sources = tuple(sources)
        self._monotonic = monotonic
        self._lifetime = int(lifetime * _SECOND)
        self._negative = int(negative_lifetime * _SECOND)
        self._kept: dict[tuple[str, ...], _Kept] = {}

    def find(self, name: str, domain: str) -> SourceAnswer:
        """Return whom a name means to those who know its domain.

        Args:
            name: without its domain.
            domain: whose; empty for every source's.

        Raises:
            AmbiguousNameError: two of them mean different ones.
            DirectoryUnavailableError: one of them does not answer: the name might be
                its.
            WrongIdentityError: a source names somebody that is not its to name.
        """
        if len(name) > LONGEST_NAME:
            return _one([], name)  # nobody's; a domain that is as long is nobody's, too
        answers = [
            self._ask(each, ("name", domain, name), partial(each.find, name, domain))
            for each in self._sources
            if not domain or _knows(each, domain)
        ]
        return _one(answers, name)

    def name_of(self, sid: Sid) -> SourceAnswer:
        """Return the name of a SID; raises as `find`."""
        answers = [
            self._ask(each, ("sid", str(sid)), partial(each.name_of, sid))
            for each in self._sources
            if _may_name(each, sid)
        ]
        return _one(answers, str(sid))

    def _ask(
        self, source: NameSource, question: tuple[str, ...], ask: _Ask
    ) -> SourceAnswer:
        key, began = (source.name, *question), self._monotonic()
        kept = self._kept.get(key)
        if kept is None or kept.until <= began:
            found = _believed(source, ask())  # what is raised is kept by nobody
            lasts = self._negative if found is None else self._lifetime
            kept = self._keep(key, _Kept(found, began, began + lasts))
        left = max(0, kept.until - self._monotonic())
        return SourceAnswer(kept.found, source.name, left / _SECOND)

    def _keep(self, key: tuple[str, ...], heard: _Kept) -> _Kept:
        """Keep an answer; return it, or the one to a question that was asked later."""
        known = self._kept.pop(key, heard)
        newer = known if known.asked > heard.asked else heard
        while len(self._kept) >= MOST_KEPT:
            oldest = next(iter(self._kept))
            self._kept.pop(oldest, None)  # another thread may be quicker
        self._kept[key] = newer
        return newer


def _knows(source: NameSource, domain: str) -> bool:
    return name_key(domain) in map(name_key, source.domains)


def _may_name(source: NameSource, sid: Sid) -> bool:
    return any(sid.is_within(each) for each in source.authorities)


def _believed(source: NameSource, found: SourceName | None) -> SourceName | None:
    if found is not None and not _may_name(source, found.sid):
        raise WrongIdentityError(
            f"source `{source.name}` calls `{found.sid}` `{found.name[:80]}`, which is "
            "not its to name",
            advice="ask whoever runs it; nothing of this answer is used",
        )
    return found


def _one(answers: list[SourceAnswer], what: str) -> SourceAnswer:
    """Return the one answer that there is; of "nobody" the one that ends first."""
    found = [each for each in answers if each.found is not None]
    if len({each.found.sid for each in found if each.found is not None}) > 1:
        spelled = ", ".join(
            f"{each.found.domain}\\{each.found.name}" for each in found if each.found
        )
        raise AmbiguousNameError(
            f"`{what[:80]}` may be one of several", advice=f"say which: {spelled}"
        )
    if found:
        return found[0]
    soonest = min(answers, key=lambda each: each.lifetime, default=None)
    return soonest or SourceAnswer(None, None, 0.0)
