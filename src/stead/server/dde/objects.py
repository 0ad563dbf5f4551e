"""Services, topics and items as securable objects: their rights and their names.

The desk itself is the object `dde`; below it stand `dde/prices`, `dde/prices/stocks`
and, for items with a descriptor of their own, `dde/prices/stocks/margin`. DDE compares
names without regard to case: so do objects, whose names are made of what two spellings
have in common.

    >>> object_name("prices", "stocks", "margin")
    'dde/prices/stocks/margin'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

from stead.authority.names import name_key, require_name
from stead.authority.session import LEASE
from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    UnknownObjectError,
)
from stead.model.access_mask import (
    STANDARD_RIGHTS_REQUIRED,
    AccessMask,
    GenericMapping,
    Rights,
)
from stead.model.ace import Ace
from stead.model.arguments import require_text
from stead.model.explicit_access import ExplicitAccess, allow
from stead.model.sid import Sid
from stead.monitor.securable_object import SecurableObject
from stead.server.object_entries import Entries

DESK: Final = "dde"
LONGEST_TOPIC: Final = 64
# With a service and a topic before it, an item still fits an object's name.
LONGEST_ITEM: Final = 96
# Clients may name items that are not there yet; what is forgotten is asked for again.
_MOST_ABSENT: Final = 4096


class DdeRights(Rights):
    """Rights to services, topics and items; REGISTER is asked of the desk as well."""

    CONNECT = 0x1
    REQUEST = 0x2
    POKE = 0x4
    ADVISE = 0x8
    EXECUTE = 0x10
    REGISTER = 0x20

    @classmethod
    def generic_mapping(cls) -> GenericMapping:
        """Return reading as connecting to be told, writing as connecting to poke."""
        connect = int(AccessMask.READ_CONTROL) | cls.CONNECT
        every = 0
        for right in cls:
            every |= int(right)
        return GenericMapping(
            read=int(connect | cls.REQUEST | cls.ADVISE),
            write=int(connect | cls.POKE),
            execute=int(connect | cls.EXECUTE),
            all=STANDARD_RIGHTS_REQUIRED | every,
        )


def object_name(*keys: str) -> str:
    """Return the name of the object that guards a service, topic or item."""
    return "/".join((DESK, *keys))


def require_service(name: str) -> str:
    """Return the key of a service's name, which follows the rules of accounts' names.

    Raises:
        InvalidNameError: it is none.
    """
    return name_key(require_name(name))


def require_topic(name: str) -> str:
    """Return the key of a topic's name; raises `InvalidNameError`."""
    return _require(name, "topic", LONGEST_TOPIC)


def require_item(name: str) -> str:
    """Return the key of an item's name; raises `InvalidNameError`."""
    return _require(name, "item", LONGEST_ITEM)


def key_or_none(name: object, require: Callable[[str], str]) -> str | None:
    """Return the key of a name, or None if nothing can be called that."""
    if not isinstance(name, str):
        return None
    try:
        return require(name)
    except InvalidNameError:
        return None


def _require(name: str, what: str, longest: int) -> str:
    require_text(what, name)
    key = name_key(name) if len(name) <= longest else ""
    kept = unicodedata.normalize("NFC", name[:longest])
    if (
        not 0 < len(key) <= longest
        or kept != kept.strip()
        or not (kept + key).isprintable()
        or "/" in kept + key
    ):
        raise InvalidNameError(
            f"`{name[:80]!a}` is no {what}'s name: 1 to {longest} printable letters, "
            "no `/`, no space around"
        )
    return key


def entries_or_owners(
    entries: Entries | None, owner: Sid | None
) -> list[Ace | ExplicitAccess]:
    """Return the entries given, or those that leave all to the owner alone."""
    if entries is not None:
        return list(entries)
    return [] if owner is None else [allow(owner, int(AccessMask.GENERIC_ALL))]


class OwnDescriptors:
    """Which items have a descriptor of their own.

    One that was given in an earlier run, or by another process over the same store,
    counts too: what is not there is asked for again when a lease is over, as
    descriptors are.

    Args:
        find: finds an object by name; raises `UnknownObjectError`.
        monotonic: nanoseconds that never step.
    """

    def __init__(
        self, find: Callable[[str], SecurableObject], *, monotonic: Callable[[], int]
    ) -> None:
        self._find = find
        self._monotonic = monotonic
        self._absent: dict[str, int] = {}
        self._known: dict[str, SecurableObject] = {}

    def add(self, securable: SecurableObject) -> None:
        """Take note of one.

        Raises:
            InvalidRequestError: its rights are not those of DDE.
        """
        if securable.kind.name != DdeRights.__name__:
            raise InvalidRequestError(f"`{securable.name}` is no object of DDE")
        self._known[securable.name] = securable

    def of(self, name: str) -> SecurableObject | None:
        """Return the object of this name, or None.

        Raises:
            InvalidRequestError: an object of this name has other rights.
            StoreUnavailableError: nobody can say, so nothing is judged.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        now = self._monotonic()
        if now >= self._absent.get(name, now):
            try:
                self.add(self._find(name))
            except UnknownObjectError:
                if len(self._absent) >= _MOST_ABSENT:
                    self._absent.clear()
                self._absent[name] = now + LEASE
        return self._known.get(name)
