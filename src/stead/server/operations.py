"""Operations: what clients may ask a server to do, by name.

A handler is an ordinary function whose first parameter is the client and whose others,
keyword-able and annotated, are the request's arguments. A request's arguments are
checked against those annotations before anything else happens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec

from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    SteadError,
    UnknownOperationError,
)
from stead.model.arguments import require_callable, require_kind, require_text
from stead.model.privilege import Privilege
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.server.client_context import ClientContext

_TOLD: Final = 200
_NAME: Final = re.compile(r"[!-~]{1,64}")
Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: what clients ask for.
        handler: what runs.
        privileges: what the client's token must hold, all of them, enabled.
        level: the least level at which it may be asked for.
        arguments: the shape its arguments must have.
    """

    name: str
    handler: Handler
    privileges: tuple[Privilege, ...]
    level: ImpersonationLevel
    arguments: type[msgspec.Struct]

    def bind(self, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Return the arguments as the handler wants them.

        Raises:
            InvalidRequestError: one is missing, unknown or of another type.
        """
        try:
            bound = msgspec.convert(
                dict(arguments), self.arguments, strict=True, dec_hook=_made
            )
        except (msgspec.ValidationError, RecursionError) as error:
            # Escaped: an unknown field's name is whatever the client made up.
            told = ascii(str(error))[1:-1][:_TOLD]
            raise InvalidRequestError(
                f"arguments of `{self.name}` do not fit: {told}"
            ) from error
        return {name: getattr(bound, name) for name in bound.__struct_fields__}


class Operations:
    """The table of a server's operations."""

    def __init__(self) -> None:
        self._table: dict[str, Operation] = {}

    def add(
        self,
        name: str,
        handler: Handler,
        *,
        privileges: tuple[Privilege, ...],
        level: ImpersonationLevel,
    ) -> None:
        """Add one.

        Raises:
            InvalidNameError: the name is taken, or is none.
            SteadError: the handler is asynchronous or a generator, or its annotations
                are missing or none that a request can be checked against.
        """
        require_text("name", name)
        require_callable("handler", handler, "a function")
        require_kind("level", level, ImpersonationLevel, "such as `.IMPERSONATION`")
        if _NAME.fullmatch(name) is None:
            raise InvalidNameError(
                f"`{name[:80]}` is no operation's name: 1 to 64 visible ASCII letters"
            )
        if name in self._table:
            raise InvalidNameError(f"operation `{name}` exists already")
        if not all(isinstance(privilege, Privilege) for privilege in privileges):
            raise InvalidNameError(
                f"operation `{name}` names a privilege that is none",
                advice="name members, such as `Privilege.BACKUP`",
            )
        require_plain(name, handler)
        shape = _shape(name, handler)
        self._table[name] = Operation(name, handler, privileges, level, shape)

    def find(self, name: str) -> Operation:
        """Return an operation; raises `UnknownOperationError`."""
        found = self._table.get(name)
        if found is None:
            raise UnknownOperationError(f"no operation is called `{name[:80]}`")
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of all operations, sorted."""
        return tuple(sorted(self._table))


def _made(kind: type, given: object) -> object:
    """Make what no message holds as it is: a secret, of text."""
    if kind is Secret and isinstance(given, str | Secret):
        return Secret.of(given)
    # Not the text that was given: it may be the secret of somebody who erred.
    raise ValueError(f"no `{kind.__name__}`")


def require_plain(name: str, handler: Handler) -> None:
    """Refuse a handler of which calling it runs nothing yet.

    Raises:
        SteadError: it is asynchronous or a generator.
    """
    if (
        inspect.iscoroutinefunction(handler)
        or inspect.isasyncgenfunction(handler)
        or inspect.isgeneratorfunction(handler)
    ):
        raise SteadError(
            f"the handler of `{name}` is asynchronous or a generator",
            advice="write it as a plain function: handlers run on threads of their "
            "own, where a client may be impersonated",
        )


def _shape(name: str, handler: Handler) -> type[msgspec.Struct]:
    """Make the shape of a handler's arguments of its signature."""
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters:
        raise SteadError(f"the handler of `{name}` takes no client")
    hints = get_type_hints(handler, localns={"ClientContext": ClientContext})
    fields = [_field(name, parameter, hints) for parameter in parameters[1:]]
    shape = msgspec.defstruct(
        "Arguments", fields, forbid_unknown_fields=True, kw_only=True
    )
    try:
        msgspec.json.Decoder(shape)
    except TypeError as error:
        raise SteadError(f"arguments of `{name}` cannot be checked: {error}") from error
    return shape


def _field(
    operation: str, parameter: inspect.Parameter, hints: Mapping[str, Any]
) -> tuple[str, Any] | tuple[str, Any, Any]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if parameter.kind not in kinds or parameter.name not in hints:
        raise SteadError(
            f"parameter `{parameter.name}` of operation `{operation}` needs a name and "
            "an annotation, which its requests are checked against"
        )
    hint = hints[parameter.name]
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, hint
    return parameter.name, hint, parameter.default
