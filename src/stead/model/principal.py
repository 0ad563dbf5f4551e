r"""Kerberos principals as the library writes them down (RFC 1964 2.1.1).

>>> name_and_realm("alice@EXAMPLE.COM")
('alice', 'EXAMPLE.COM')
>>> name_and_realm(r"alice@evil\@EXAMPLE.COM")
('alice', 'evil\\@EXAMPLE.COM')
"""

from __future__ import annotations

import re
from typing import Final

_WHOLE: Final = re.compile(r"((?:[^@\\]|\\.)*)@((?:[^@\\]|\\.)*)", re.DOTALL)


def name_and_realm(principal: str) -> tuple[str, str]:
    r"""Return a principal's name and its realm, each as it is written.

    What stands after the last `@` is not yet the realm: a realm is what its KDC calls
    it, and may have an `@` of its own, which the library writes as `\@`.

    Args:
        principal: with its realm; of text that is no principal the realm is empty.
    """
    found = _WHOLE.fullmatch(principal)
    return (principal, "") if found is None else (found[1], found[2])
