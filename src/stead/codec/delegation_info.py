"""The buffer of a PAC that says whom its client came through ([MS-PAC] 2.9).

It stands by itself: whoever needs nothing else of a PAC loads nothing else.
"""

from __future__ import annotations

import struct
from typing import Final

from stead.codec.ndr import UNICODE_HEADER_SIZE, NdrReader
from stead.model.delegation_info import DelegationInfo

_NAME: Final = struct.Struct(f"<{UNICODE_HEADER_SIZE}s")


def read_delegation_info(binary: bytes) -> DelegationInfo:
    """Read a serialized S4U_DELEGATION_INFO ([MS-PAC] 2.9).

    Raises:
        InvalidPacError: it contradicts itself.
    """
    reader = NdrReader.of_pointer(binary)
    (target_name,), services = reader.fixed(_NAME), reader.array_header()
    target = reader.unicode_text(target_name)
    names = reader.elements(services, _NAME)
    transited = tuple(reader.unicode_text(name) for (name,) in names)
    reader.finish()
    return DelegationInfo(target, transited)
