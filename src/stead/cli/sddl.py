"""`stead sddl`: read a security descriptor, say what it says, and convert it.

It needs no server and no store. What is given may be SDDL, or the self-relative bytes
as hexadecimal or base64; which of them it is, it says itself: only SDDL holds a colon,
and bytes begin with the revision 1.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from dataclasses import replace
from enum import Enum
from typing import Annotated, Final, NoReturn

import typer

from stead.cli.descriptor_words import data_of_descriptor, in_order, lines_of
from stead.cli.output import (
    REFUSED,
    JsonFlag,
    errors_are_lines,
    printable,
    read_text,
    show,
    show_exactly,
)
from stead.cli.right_names import RightsKind
from stead.decision.ace_order import canonical_order
from stead.errors import InvalidRequestError, InvalidSddlError
from stead.model.acl import NoAcl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid

_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-f]{2})+)", re.IGNORECASE | re.ASCII)
_BASE64_OF_REVISION_1: Final = "AQ"
_BEFORE: Final = 60
_AFTER: Final = 15
_STDIN: Final = "-"


class Form(Enum):
    """What a descriptor is written as."""

    SDDL = "sddl"
    HEX = "hex"
    BASE64 = "base64"
    JSON = "json"


class Order(Enum):
    """What becomes of the DACL's order."""

    CHECK = "check"
    REORDER = "reorder"


def sddl(
    descriptor: Annotated[
        str, typer.Argument(help="SDDL, hexadecimal or base64; - reads it from stdin.")
    ],
    *,
    kind: Annotated[
        RightsKind,
        typer.Option(help="Whose rights they are: file, key, ds, token or none."),
    ] = RightsKind.NONE,
    to: Annotated[
        Form | None, typer.Option(help="Convert it: sddl, hex, base64 or json.")
    ] = None,
    canonical: Annotated[
        Order | None,
        typer.Option(
            help="check whether the DACL is in the preferred order (status 1 if it is "
            "not), or reorder it."
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="The SID of the domain of aliases such as DA.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a security descriptor says, entry by entry, or convert it."""
    if as_json and to not in (None, Form.JSON):
        raise typer.BadParameter("`--json` goes with no other form")
    with errors_are_lines():
        text = read_text(_STDIN) if descriptor == _STDIN else descriptor
        if not text.strip():
            raise InvalidRequestError("there is no descriptor in an empty text")
        within = None if domain is None else Sid.from_string(domain)
        try:
            read = read_descriptor(text.rstrip(), within)
        except InvalidSddlError as error:
            fail_at(error)
        if canonical is Order.REORDER and not isinstance(read.dacl, NoAcl):
            read = replace(read, dacl=canonical_order(read.dacl))
        if to is None or to is Form.JSON:
            show(
                data_of_descriptor(read, kind, within),
                as_json=as_json or to is Form.JSON,
                lines=lambda: lines_of(read, kind, within),
            )
        else:
            show_exactly(written(read, to, within))
    if canonical is Order.CHECK and not in_order(read):
        raise typer.Exit(REFUSED)


def read_descriptor(text: str, domain: Sid | None) -> SecurityDescriptor:
    """Read a descriptor from any of its forms.

    Raises:
        InvalidSddlError: the text is wrong; it says where and why.
        SteadError: the bytes are no descriptor.
        InvalidRequestError: what looks like base64 is none.
    """
    compact = "".join(text.split())
    found = _HEX.fullmatch(compact)
    if found is not None:
        return SecurityDescriptor.from_bytes(bytes.fromhex(found[1]))
    if ":" not in text and compact.startswith(_BASE64_OF_REVISION_1):
        try:
            return SecurityDescriptor.from_bytes(
                base64.b64decode(compact, validate=True)
            )
        except binascii.Error:
            raise InvalidRequestError(
                f"`{compact[:24]}` is neither sddl, hexadecimal nor base64"
            ) from None
    return SecurityDescriptor.from_sddl(text, domain=domain)


def written(sd: SecurityDescriptor, form: Form, domain: Sid | None) -> str:
    """Return a descriptor in one of the forms that are one line."""
    if form is Form.HEX:
        return sd.to_bytes().hex()
    if form is Form.BASE64:
        return base64.b64encode(sd.to_bytes()).decode("ascii")
    return sd.to_sddl(domain=domain)


def pointed_at(error: InvalidSddlError) -> tuple[str, str]:
    """Return the text around a mistake, and a line with a caret below it."""
    start = max(0, error.position - _BEFORE)
    before = "..." * bool(start) + printable(error.text[start : error.position])
    end = error.position + _AFTER
    after = printable(error.text[error.position : end])
    rest = "..." * (end < len(error.text))
    return f"  {before}{after}{rest}", f"  {' ' * len(before)}^"


def fail_at(error: InvalidSddlError) -> NoReturn:
    """Say what is wrong and show where; end with status 1."""
    for line in (f"stead: {printable(str(error))}", *pointed_at(error)):
        sys.stderr.write(f"{line}\n")
    raise typer.Exit(REFUSED)
