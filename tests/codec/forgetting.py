"""Forgets what the codec keeps of what it read, so that reading is work again."""

from stead.codec import (
    ace_binary,
    binary,
    condition_binary,
    pac,
    sddl,
    sddl_entries,
    validation_info,
)


def forget():
    """Empty the codec's tables: the next reader is the first one."""
    for module in (ace_binary, binary, pac, sddl, sddl_entries, validation_info):
        for name, table in vars(module).items():
            if hasattr(table, "clear") and name.startswith("_known_"):
                table.clear()
    condition_binary._read_remembered.cache_clear()


def forget_wholes():
    """Forget descriptors, and keep what is known of their parts."""
    binary._known_descriptors.clear()
    sddl._known_texts.clear()
