"""What a PAC calls its client's account ([MS-PAC] 2.5, EffectiveName).

It stands by itself: whoever needs nothing else of a PAC loads nothing else.
"""

from __future__ import annotations

import struct
from typing import Final

from stead.codec.ndr import NdrReader

LOGON: Final = struct.Struct(
    "<6Q"  # when: pairs of 32 bits, so that they are aligned as those are
    "8s 8s 8s 8s 8s 8s"  # names: account, full, script, profile, home, drive
    "4x 2I 2I I"  # LogonCount and BadPasswordCount; the RIDs; groups; UserFlags
    "16x 8s 8s I"  # UserSessionKey; LogonServer, LogonDomainName, LogonDomainId
    "8x I 28x"  # Reserved1; UserAccountControl; SubAuthStatus to Reserved3
    "2I I 2I"  # ExtraSids; ResourceGroupDomainSid; resource groups
)
"""The fixed part of KERB_VALIDATION_INFO, read at once: it is most of a PAC."""

_ACCOUNT_NAME: Final = 6


def read_account_name(binary: bytes) -> str:
    """Read the account's name of a serialized KERB_VALIDATION_INFO, and no more.

    Raises:
        InvalidPacError: it contradicts itself.
    """
    reader = NdrReader.of_pointer(binary)
    return reader.unicode_text(reader.fixed(LOGON)[_ACCOUNT_NAME])
