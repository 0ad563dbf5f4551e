"""Which uids and gids belong to the machine and not to people.

The ranges are those of systemd's "Users, Groups, UIDs and GIDs on systemd Systems"
(https://systemd.io/UIDS-GIDS) and of the kernel: people have 1000 to 60000, directory
services map people above 65536, and what lies between belongs to the machine.
"""

from __future__ import annotations

from typing import Final

SYSTEM_RANGES: Final = (
    (0, 0, "root"),
    (1, 999, "a system account"),
    (60001, 60513, "a home managed by systemd-homed"),
    (60514, 61183, "reserved by systemd"),
    (61184, 65519, "a dynamic service user"),
    (65520, 65533, "reserved for guards"),
    (65534, 65534, "nobody"),
    (65535, 65535, "the 16-bit uid that means none"),
    (0xFFFF_FFFF, 0xFFFF_FFFF, "the uid that means none"),
)
"""First id, last id, and whose they are."""


def owner_of(number: int) -> str | None:
    """Say whose a system uid or gid is; None if it may be a person's."""
    for first, last, whose in SYSTEM_RANGES:
        if first <= number <= last:
            return whose
    return None
