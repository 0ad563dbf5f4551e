"""Securable objects and handles (Win32: securable objects, handles).

An object is a name, a kind and a descriptor; what it protects is the server's business.
A handle remembers what was granted when it was opened, and grants nothing more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NoReturn, Self

from stead.errors import AccessDeniedError, HandleClosedError, InvalidRequestError
from stead.model.access_mask import AccessMask, GenericMapping, Rights, name_rights
from stead.model.arguments import require_kind, wrong_kind
from stead.model.security_descriptor import SecurityDescriptor

_RIGHTS: Final = "such as `Doc.READ`, or `AccessMask.READ_CONTROL`"
_CLASS: Final = "write a class that lists them: `class Doc(Rights): READ = 1`"


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of object.

    Attributes:
        name: such as `Doc`.
        rights: its own rights' names and bits.
        mapping: what generic rights mean on it.
    """

    name: str
    rights: Mapping[str, int]
    mapping: GenericMapping

    @classmethod
    def of(cls, rights: type[Rights]) -> Self:
        """Return the kind that a `Rights` class describes.

        Raises:
            InvalidRequestError: it is none.
        """
        require_kind("rights", rights, type(Rights), _CLASS)
        if not issubclass(rights, Rights):
            raise InvalidRequestError(
                f"`{rights.__name__}` is no class of rights", advice=_CLASS
            )
        names = {name: int(member) for name, member in rights.__members__.items()}
        return cls(rights.__name__, names, rights.generic_mapping())

    def mask_of(self, rights: int) -> int:
        """Return rights to an object of this kind as a number.

        Raises:
            InvalidRequestError: they are no rights, or those of another kind, whose
                bits mean something else here.
        """
        # What most are comes first: each question passes here.
        given = type(rights)
        if given is int:
            return rights
        if not isinstance(rights, int):
            raise wrong_kind("rights", rights, _RIGHTS)
        if given.__name__ != self.name and isinstance(rights, Rights):
            raise InvalidRequestError(
                f"`{rights!r}` is no right of `{self.name}`",
                advice=f"name rights of `{self.name}`, or of `AccessMask`",
            )
        return int(rights)

    def spell(self, mask: int) -> str:
        """Print a mask with this kind's names."""
        return name_rights(mask, dict(self.rights))


class SecurableObject:
    """A named object that a descriptor guards.

    Attributes:
        name: unique in the server.
        kind: its kind.
        descriptor: the descriptor as it was last read; replaced as a whole.
        version: the store's version of it.
    """

    __slots__ = ("_renew", "descriptor", "kind", "name", "version")

    def __init__(
        self,
        name: str,
        kind: ObjectKind,
        descriptor: SecurityDescriptor,
        *,
        version: int = 1,
        renew: Callable[[SecurableObject], None] | None = None,
    ) -> None:
        """Make one; `renew` reads it again if what is known of it is too old."""
        self.name: Final = name
        self.kind: Final = kind
        self.descriptor = descriptor
        self.version = version
        self._renew = renew

    def in_force(self) -> SecurityDescriptor:
        """Return the descriptor to judge by: another process may have changed it.

        Raises:
            SteadError: it cannot be read again, so nothing is judged.
        """
        if self._renew is not None:
            self._renew(self)
        return self.descriptor

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError(
            "an object is neither pickled nor copied",
            advice="hand on its name: `find_object` finds it there",
        )

    def __repr__(self) -> str:
        return f"SecurableObject({self.name!r}, {self.kind.name})"


class Handle:
    """An opened object: what was granted, for as long as it is open.

    Attributes:
        object: what it opens.
        granted: the rights granted at opening.
        number: the audit record that opened it; it is the handle's number in the trail.
    """

    __slots__ = (
        "_close", "_lock", "_require_live", "_to_tell", "_use", "granted", "number",
        "object",
    )  # fmt: skip

    def __init__(
        self,
        securable: SecurableObject,
        granted: int,
        *,
        number: int,
        require_live: Callable[[], None],
        close: Callable[[Handle], None],
        use: Callable[[Handle, int], None] | None = None,
        audited: int = 0,
    ) -> None:
        """Make one.

        Args:
            securable: what it opens.
            granted: what was granted.
            number: the record that says so.
            require_live: raises once the client's session has ended.
            close: is told when it is closed.
            use: records rights that are used for the first time.
            audited: the rights whose first use is recorded.
        """
        self.object: Final = securable
        self.granted: Final = granted
        self.number: Final = number
        self._require_live = require_live
        self._close: Callable[[Handle], None] | None = close
        self._use = use
        self._to_tell = audited
        self._lock = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether it grants nothing any more."""
        return self._close is None

    def require(self, rights: int) -> None:
        """Return if the handle was granted all of `rights`; opens decide, this reads.

        The first use of each right that the object's SACL asks about is recorded before
        (Windows event 4663).

        Raises:
            LedgerUnavailableError: that could not be recorded; do nothing then.
            HandleClosedError: the handle is closed.
            AccessDeniedError: it was opened with less.
            LogonSessionEndedError: the client's session has ended.
        """
        if self._close is None:
            raise HandleClosedError(f"the handle to `{self.object.name}` is closed")
        self._require_live()
        kind = self.object.kind
        wanted = kind.mapping.map(kind.mask_of(rights))
        if not wanted or wanted & int(AccessMask.MAXIMUM_ALLOWED):
            raise AccessDeniedError(object_name=self.object.name)
        if wanted & ~self.granted:
            granted = kind.spell(self.granted)
            raise AccessDeniedError(
                object_name=self.object.name,
                advice=f"the handle was opened with {granted}",
            )
        if wanted & self._to_tell and self._use is not None:
            self._use(self, wanted & self._to_tell)
            self._to_tell &= ~wanted

    def close(self) -> None:
        """Close it; closing again does nothing."""
        with self._lock:
            close, self._close = self._close, None
        if close is not None:
            close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError(
            "a handle is neither pickled nor copied",
            advice="open the object where it is used",
        )

    def __repr__(self) -> str:
        granted = "closed" if self.is_closed else self.object.kind.spell(self.granted)
        return f"Handle({self.object.name!r}, {granted})"
