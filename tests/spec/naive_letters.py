"""Strings as Windows compares them: code units, each letter as its capital."""

from __future__ import annotations

from collections.abc import Iterator

# Letters that Windows' table of capitals does not know, by code unit: they came to
# Unicode after 5.1, or have a capital that the table leaves out.
LATE_LETTERS = (
    (0x0131, 0x0131), (0x017F, 0x017F), (0x00B5, 0x00B5),
    (0x025C, 0x025C), (0x0261, 0x0261), (0x0265, 0x0266), (0x026A, 0x026A),
    (0x026C, 0x026C), (0x0282, 0x0282), (0x0287, 0x0287), (0x029D, 0x029E),
    (0x023F, 0x0240), (0x0526, 0x052F), (0x10D0, 0x10FF), (0x13F8, 0x13FD),
    (0x1C80, 0x1C8F), (0x1D8E, 0x1D8E), (0x2CEB, 0x2CF3), (0xA660, 0xA661),
    (0xA698, 0xA69B), (0xA78D, 0xA7FF), (0xAB30, 0xABBF),
)  # fmt: skip


def units(text: str) -> tuple[int, ...]:
    """Return the text's UTF-16 code units, which is what Windows compares."""
    binary = text.encode("utf-16-le", "surrogatepass")
    return tuple(
        int.from_bytes(binary[at : at + 2], "little") for at in range(0, len(binary), 2)
    )


def fold(text: str) -> tuple[int, ...]:
    """Return the code units with each letter that has a capital as its capital."""
    return tuple(_capitals(units(text)))


def _capitals(some: tuple[int, ...]) -> Iterator[int]:
    for unit in some:
        late = any(first <= unit <= last for first, last in LATE_LETTERS)
        if late or 0xD800 <= unit <= 0xDFFF:
            yield unit
            continue
        # A few Greek letters have a capital of one unit as a title only.
        upper = chr(unit).upper()
        capital = upper if len(upper) == 1 else chr(unit).title()
        yield ord(capital) if len(capital) == 1 else unit
