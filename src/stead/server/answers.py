"""What the questions of `stead.server.questions` are answered with, and its lines."""

from __future__ import annotations

from dataclasses import dataclass

from stead.model.sid import Sid


@dataclass(frozen=True, slots=True)
class EffectiveAccess:
    """Which rights an account has to an object.

    Attributes:
        account: who, by name.
        object_name: the object.
        granted: every right that is granted if it alone is asked for.
        rights: the same by name.
    """

    account: str
    object_name: str
    granted: int
    rights: str

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        return (f"{self.account} may, on {self.object_name}: {self.rights}",)


@dataclass(frozen=True, slots=True)
class Holder:
    """One account that may do what was asked.

    Attributes:
        account: its name.
        sid: its SID.
        granted: every right that it has, those that nobody asked about too.
        rights: the same by name.
        through: what each right asked for comes from, each once: the names from the
            account to the group that the entry is about, a privilege, ownership.
    """

    account: str
    sid: Sid
    granted: int
    rights: str
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holders:
    """Who can do something with an object.

    Attributes:
        object_name: the object.
        asked: the rights asked about, by name.
        found: the accounts that have all of them, by name.
        unjudged: accounts that could not log on as they are, for the groups they are
            in; nothing is said about them.
    """

    object_name: str
    asked: str
    found: tuple[Holder, ...]
    unjudged: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        count = len(self.found)
        head = f"{self.asked} on {self.object_name}: {_counted(count, 'account')}"
        lines = [head]
        for holder in self.found:
            lines.append(f"  {holder.account}: {holder.rights}")
            lines += [f"    by {way}" for way in holder.through]
        lines += [f"  {name}: cannot log on, not judged" for name in self.unjudged]
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class ReachedObject:
    """One object to which an account has what was asked about.

    Attributes:
        name: the object.
        type_name: its kind.
        granted: every right that the account has to it.
        rights: the same by name.
    """

    name: str
    type_name: str
    granted: int
    rights: str


@dataclass(frozen=True, slots=True)
class Reach:
    """What an account can do something with.

    Attributes:
        account: who, by name.
        asked: the rights asked about, by name.
        found: the objects to which it has all of them, by name.
        hidden: how many objects, or names that were asked about, are left out because
            the asker may not read their descriptors or there are no such objects.
    """

    account: str
    asked: str
    found: tuple[ReachedObject, ...]
    hidden: int = 0

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        count = len(self.found)
        lines = [f"{self.account} has {self.asked} to {_counted(count, 'object')}"]
        lines += [f"  {o.name} ({o.type_name}): {o.rights}" for o in self.found]
        if self.hidden:
            lines.append(f"  not looked at: {_counted(self.hidden, 'object')}")
        return tuple(lines)


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
