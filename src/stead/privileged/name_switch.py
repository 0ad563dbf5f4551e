"""Which sources this host has for users and groups (nsswitch.conf(5)), as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Status(IntEnum):
    """What a source says (`enum nss_status` of nss.h)."""

    TRY_AGAIN = -2
    UNAVAILABLE = -1
    NOT_FOUND = 0
    SUCCESS = 1


class Action(Enum):
    """What follows from a status; merging, of which only members differ, goes on."""

    RETURN = "return"
    CONTINUE = "continue"


_STATUSES: Final[Mapping[str, Status]] = MappingProxyType({
    "success": Status.SUCCESS, "notfound": Status.NOT_FOUND,
    "unavail": Status.UNAVAILABLE, "tryagain": Status.TRY_AGAIN,
})  # fmt: skip
_DEFAULT: Final[Mapping[Status, Action]] = MappingProxyType(
    dict.fromkeys(Status, Action.CONTINUE) | {Status.SUCCESS: Action.RETURN}
)
_WORDS: Final = re.compile(r"\[[^\]]*\]|[^\s\[\]]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_USUAL: Final = "files"


@dataclass(frozen=True, slots=True)
class Source:
    """One source.

    Attributes:
        name: as in `libnss_NAME.so.2`.
        actions: what follows from each status.
    """

    name: str
    actions: Mapping[Status, Action] = field(default_factory=lambda: _DEFAULT)


@dataclass(frozen=True, slots=True)
class NameSwitch:
    """The sources, in the order in which they are asked.

    Attributes:
        users: for `passwd`.
        groups: for `group`.
        memberships: for `initgroups`. Without that line those of `group` count, and
            all of them are asked, whatever one of them finds.
    """

    users: tuple[Source, ...]
    groups: tuple[Source, ...]
    memberships: tuple[Source, ...]


def read_name_switch(text: str) -> NameSwitch:
    """Read nsswitch.conf; lines that are missing are `files`, as in glibc."""
    lines: dict[str, tuple[Source, ...]] = {}
    for line in text.splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon:
            lines[database.strip()] = tuple(_sources(rest))
    usual = (Source(_USUAL),)
    groups = lines.get("group") or usual
    every = tuple(Source(each.name, _unstopped(each)) for each in groups)
    return NameSwitch(
        lines.get("passwd") or usual, groups, lines.get("initgroups") or every
    )


def _unstopped(source: Source) -> Mapping[Status, Action]:
    return MappingProxyType({**source.actions, Status.SUCCESS: Action.CONTINUE})


def _sources(rest: str) -> Iterator[Source]:
    name, actions = "", dict(_DEFAULT)
    for word in _WORDS.findall(rest):
        if word.startswith("["):
            _act(actions, word[1:-1])
            continue
        if name:
            yield Source(name, MappingProxyType(actions))
        # What is no file's name is no source, to glibc either.
        name, actions = word if _NAME.fullmatch(word) else "", dict(_DEFAULT)
    if name:
        yield Source(name, MappingProxyType(actions))


def _act(actions: dict[Status, Action], criteria: str) -> None:
    """Apply `STATUS=action` and `!STATUS=action`, of which there may be several."""
    for criterion in criteria.lower().split():
        which, _, how = criterion.partition("=")
        status = _STATUSES.get(which.removeprefix("!"))
        action = Action.RETURN if how == "return" else Action.CONTINUE
        if status is None:
            continue
        meant = set(Status) - {status} if which.startswith("!") else {status}
        actions.update(dict.fromkeys(meant, action))
