"""Which ids there are here: a container may have a user namespace with few of them.

Root of a user namespace is root over the ids that are mapped there, and over no others
(user_namespaces(7)). It cannot become somebody who is not mapped; the kernel shows such
a peer as 65534. Where `setgroups` is denied it can become nobody at all: groups that
cannot be taken away would grant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ALL: Final = 0xFFFF_FFFF
_OWN: Final = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class IdRanges:
    """Ids that are mapped, as first ones and how many.

    Attributes:
        ranges: those.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def is_whole(self) -> bool:
        """Whether there is every id."""
        return self.ranges == ((0, _ALL),)

    def __contains__(self, number: int) -> bool:
        """Say whether there is an id."""
        return any(first <= number < first + count for first, count in self.ranges)

    def __str__(self) -> str:
        return ", ".join(
            f"{first}" if count == 1 else f"{first} to {first + count - 1}"
            for first, count in self.ranges
        )


@dataclass(frozen=True, slots=True)
class Namespace:
    """A user namespace, as a process in it sees it.

    Attributes:
        uids: those there are.
        gids: likewise.
        may_set_groups: whether root there may set groups.
    """

    uids: IdRanges
    gids: IdRanges
    may_set_groups: bool

    def reasons(
        self, needed: Iterable[tuple[str, int]], peers: Iterable[tuple[str, int]] = ()
    ) -> Iterator[str]:
        """Say why nobody can be acted as here, and what to do.

        Args:
            needed: ids that processes here become, each with whose it is.
            peers: uids of those who come here, likewise.
        """
        if not self.may_set_groups:
            yield (
                "this user namespace lets nobody set groups, so nobody can be acted "
                "as: have its ids mapped by root or newuidmap(1), as container "
                "managers do"
            )
        for whose, number in needed:
            if number not in self.uids or number not in self.gids:
                yield (
                    f"{whose} {number} does not exist in this user namespace: map it, "
                    "as uid and gid, or choose another"
                )
        for whose, number in peers:
            if number not in self.uids:
                yield (
                    f"{whose} {number} does not exist in this user namespace, so "
                    "nobody connects as it: map it"
                )

    def warnings(self) -> Iterator[str]:
        """Say whom it leaves out."""
        if not self.uids.is_whole:
            yield (
                f"this user namespace has the uids {self.uids} and no others, who "
                "cannot be clients"
            )


def own_namespace(process: Path = _OWN) -> Namespace:
    """Return this process's own user namespace.

    Args:
        process: its folder on a procfs. Where none is mounted, every id counts as
            there: what is not will be refused when it is needed.
    """
    return Namespace(
        _ranges(process / "uid_map"),
        _ranges(process / "gid_map"),
        _read(process / "setgroups").strip() != b"deny",
    )


def _ranges(file: Path) -> IdRanges:
    lines = [line.split() for line in _read(file).splitlines()]
    found = [(int(first), int(count)) for first, _, count in lines]
    return IdRanges(tuple(found) or ((0, _ALL),))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()  # no codec: it may be too late to import one
    except OSError:
        return b""
