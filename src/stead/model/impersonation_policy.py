"""Rules about who may act as whom, for what, and where they came from, as values.

Beyond Windows, where a server that holds SeImpersonatePrivilege may act as everybody.
The first rule that is about a question answers it; what no rule is about is answered by
the policy's last word. `stead.decision.impersonation` applies them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stead.errors import InvalidRequestError
from stead.model.sid import Sid

_LONGEST_NAME: Final = 80


class Act(Enum):
    """What a server does as a client."""

    IMPERSONATE = "impersonate"
    """A thread of the server becomes the client."""
    OPEN = "open"
    """A file is opened as the client."""
    RUN = "run"
    """A function runs in a process of the client's."""
    START = "start"
    """A program is started as the client."""


@dataclass(frozen=True, slots=True)
class ImpersonationRule:
    """One rule; what is None in it is about everything of its kind.

    Attributes:
        name: what a refusal and the trail call it.
        allows: whether it allows what it is about; else it forbids it.
        servers: names of the servers that it is about.
        clients: SIDs of users and groups. Like an allow entry of a list, a rule that
            allows is about clients that hold one of them enabled; one that forbids,
            about those that hold one for deny entries alone as well.
        acts: what for.
        gates: how the client came: `pipe`, `http`, `local`, ...
        authenticated_by: who vouches for the client: `kernel`, `password`, ...
    """

    name: str
    allows: bool
    servers: frozenset[str] | None = None
    clients: frozenset[Sid] | None = None
    acts: frozenset[Act] | None = None
    gates: frozenset[str] | None = None
    authenticated_by: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Freeze what was given, and refuse what could not be meant.

        Raises:
            InvalidRequestError: it has no name that fits a line; one word stands in
                place of several, or none; a word has space around; or what allows is
                neither true nor false.
        """
        name = self.name
        _require_bool(self.allows, f"rule `{name}` allows")
        if not (name.strip() == name and name.isprintable()):
            raise InvalidRequestError("a rule's name is one line of printable letters")
        if not 0 < len(name) <= _LONGEST_NAME:
            raise InvalidRequestError(f"a rule's name has 1 to {_LONGEST_NAME} letters")
        for field, kind in _KINDS.items():
            values = getattr(self, field)
            if values is None:
                continue
            if isinstance(values, str | bytes):
                raise InvalidRequestError(f"rule `{name}` names its {field} one by one")
            frozen = frozenset(values)
            if not all(isinstance(value, kind) for value in frozen):
                raise InvalidRequestError(f"rule `{name}` has {field} of another kind")
            if not frozen:
                raise InvalidRequestError(
                    f"rule `{name}` is about no {field}", advice="None is everything"
                )
            for word in frozen:
                if isinstance(word, str) and (not word or word != word.strip()):
                    raise InvalidRequestError(f"rule `{name}`: `{word}` is no word")
            object.__setattr__(self, field, frozen)


_KINDS: Final[dict[str, type]] = {
    "servers": str,
    "clients": Sid,
    "acts": Act,
    "gates": str,
    "authenticated_by": str,
}


@dataclass(frozen=True, slots=True)
class ImpersonationPolicy:
    """Rules in the order in which they are asked, and the last word.

    Attributes:
        rules: the first that is about a question answers it.
        otherwise_allows: what is answered where none is.
    """

    rules: tuple[ImpersonationRule, ...] = ()
    otherwise_allows: bool = False

    def __post_init__(self) -> None:
        """Freeze the rules.

        Raises:
            InvalidRequestError: two have one name, or the last word is neither true nor
                false.
        """
        _require_bool(self.otherwise_allows, "what is so otherwise")
        object.__setattr__(self, "rules", tuple(self.rules))
        names = Counter(rule.name for rule in self.rules)
        for name, times in names.items():
            if times > 1:
                raise InvalidRequestError(f"{times} rules are called `{name}`")


def _require_bool(value: object, what: str) -> None:
    # A word in its place would be true, whatever it says.
    if type(value) is not bool:
        raise InvalidRequestError(f"{what}: that is True or False")


AS_WINDOWS: Final = ImpersonationPolicy((), otherwise_allows=True)
"""No rules: whoever may impersonate may act as everybody."""
