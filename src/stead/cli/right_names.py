"""What rights are called on the kinds of object that Windows has.

A mask does not say which kind of object it is about; whoever reads it does. Objects of
a server name their own rights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from stead.decision.token_access import TOKEN_MAPPING
from stead.errors import InvalidRequestError
from stead.model.access_mask import (
    FILE_MAPPING,
    STANDARD_RIGHTS_ALL,
    VALID_MASK,
    AccessMask,
    FileRights,
    GenericMapping,
    TokenRights,
    mapping_of,
    name_rights,
)


class RightsKind(Enum):
    """The kind of object whose names are given to rights."""

    NONE = "none"
    FILE = "file"
    KEY = "key"
    DS = "ds"
    TOKEN = "token"  # noqa: S105 - a kind of object, no password


_Names = Mapping[str, int]
# Rights of registry keys ([MS-RRP] 2.2.3), of directory objects ([MS-ADTS] 5.1.3.2).
_KEY: Final = {
    "QUERY_VALUE": 0x01,
    "SET_VALUE": 0x02,
    "CREATE_SUB_KEY": 0x04,
    "ENUMERATE_SUB_KEYS": 0x08,
    "NOTIFY": 0x10,
    "CREATE_LINK": 0x20,
}
_DS: Final = {
    "CREATE_CHILD": 0x001,
    "DELETE_CHILD": 0x002,
    "LIST": 0x004,
    "SELF": 0x008,
    "READ_PROP": 0x010,
    "WRITE_PROP": 0x020,
    "DELETE_TREE": 0x040,
    "LIST_OBJECT": 0x080,
    "CONTROL_ACCESS": 0x100,
}
_LARGEST_OWN: Final = 0xFFFF


def _own(rights: type[FileRights | TokenRights]) -> _Names:
    return {m.name: int(m) for m in rights if m.name and m <= _LARGEST_OWN}


_WHOLE: Final[dict[RightsKind, _Names]] = {
    RightsKind.FILE: {
        "FILE_ALL_ACCESS": int(FileRights.ALL_ACCESS),
        "FILE_GENERIC_READ": int(FileRights.GENERIC_READ),
        "FILE_GENERIC_WRITE": int(FileRights.GENERIC_WRITE),
        "FILE_GENERIC_EXECUTE": int(FileRights.GENERIC_EXECUTE),
    },
    RightsKind.KEY: {
        "KEY_ALL_ACCESS": 0xF003F,
        "KEY_READ": 0x20019,
        "KEY_WRITE": 0x20006,
    },
    RightsKind.DS: {"DS_ALL_ACCESS": 0xF01FF},
    RightsKind.TOKEN: {"TOKEN_ALL_ACCESS": int(TokenRights.ALL_ACCESS)},
}
_SINGLE: Final[dict[RightsKind, _Names]] = {
    RightsKind.FILE: _own(FileRights),
    RightsKind.KEY: _KEY,
    RightsKind.DS: _DS,
    RightsKind.TOKEN: _own(TokenRights),
}


def names_of_rights(kind: RightsKind) -> Mapping[str, int]:
    """Return the names and bits of a kind's own rights."""
    return _SINGLE.get(kind, {})


def spell_rights(mask: int, kind: RightsKind) -> str:
    """Return a mask's names on a kind of object; several for one where they fit."""
    words, left = [], mask
    for name, bits in _WHOLE.get(kind, {}).items():
        if mask & bits == bits and left & bits:
            words.append(name)
            left &= ~bits
    if left or not words:
        words.append(name_rights(left, dict(_SINGLE.get(kind, {}))))
    return " | ".join(words)


def mapping_of_kind(kind: RightsKind) -> GenericMapping:
    """Return what generic rights mean on a kind of object."""
    return _MAPPINGS[kind]


def meaningful_rights(kind: RightsKind) -> int:
    """Return the rights that mean something on a kind of object."""
    if kind is RightsKind.NONE:
        return VALID_MASK  # nobody knows which
    mapping = _MAPPINGS[kind]
    mapped = mapping.read | mapping.write | mapping.execute | mapping.all
    standard = STANDARD_RIGHTS_ALL | int(AccessMask.ACCESS_SYSTEM_SECURITY)
    return mapped | sum(_SINGLE[kind].values()) | standard


def mask_of_names(names: Iterable[str], kind: RightsKind) -> int:
    """Return the mask of rights by name or number, generic ones mapped.

    Args:
        names: `READ_DATA`, `FILE_GENERIC_READ`, `GENERIC_READ`, `WRITE_DAC`, `0x3`.
        kind: the kind of object that has them.

    Raises:
        InvalidRequestError: there is no such right.
    """
    known = {**_SINGLE.get(kind, {}), **_WHOLE.get(kind, {})}
    known |= {str(right.name): int(right) for right in AccessMask}
    mask = 0
    for name in names:
        bits = known.get(name.upper()) or _number(name)
        if bits is None:
            raise InvalidRequestError(
                f"`{name[:80]}` is no right of this kind of object",
                advice=f"there are {', '.join(known)}, and numbers such as 0x3",
            )
        mask |= bits
    return _MAPPINGS[kind].map(mask)


def _number(text: str) -> int | None:
    """Read a mask in hexadecimal."""
    found = _HEXADECIMAL.fullmatch(text)
    return None if found is None else int(found[1], 16)


_HEXADECIMAL: Final = re.compile(r"0x([0-9a-f]{1,8})", re.IGNORECASE | re.ASCII)
_MAPPINGS: Final = {
    RightsKind.NONE: mapping_of({}),
    RightsKind.FILE: FILE_MAPPING,
    RightsKind.KEY: GenericMapping(0x2_0019, 0x2_0006, 0x2_0019, 0xF_003F),
    RightsKind.DS: GenericMapping(0x2_0094, 0x2_0028, 0x2_0004, 0xF_01FF),
    RightsKind.TOKEN: TOKEN_MAPPING,
}
