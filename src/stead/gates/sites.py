"""Requests that another site's page has a browser send.

A browser shows tickets and certificates unasked, for whichever page a request is: that
page would act as its reader. What browsers say of a request tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from stead.errors import AccessDeniedError
from stead.model.arguments import several

Headers: TypeAlias = Mapping[str, tuple[str, ...]]
"""A request's headers, by their names in small letters."""

_READING: Final = frozenset({"GET", "HEAD"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})


def origins_of(told: Collection[str]) -> frozenset[str]:
    """Return the origins that an operator names; raises `InvalidRequestError`.

    In one text, parts of it would be found.
    """
    return frozenset(
        several("origins", told, str, 'write `["https://portal.example"]`')
    )


def require_own_site(method: str, headers: Headers, origins: Collection[str]) -> None:
    """Refuse what another site's page has a browser send.

    Args:
        method: the request's; empty for a websocket.
        headers: the request's.
        origins: those that may, beside the server's own.

    Raises:
        AccessDeniedError: another site's page sent it.
    """
    origin = _one(headers, "origin")
    if origin in origins:
        return
    site = _one(headers, "sec-fetch-site")
    if site is not None:
        follows_link = _one(headers, "sec-fetch-mode") == "navigate"
        is_own = site in _OWN_SITE or (follows_link and method in _READING)
    else:
        # Software that is no browser says neither.
        is_own = origin is None or origin.partition("://")[2] == _one(headers, "host")
    if not is_own:
        raise AccessDeniedError(
            "another site's page sent the request",
            advice="name its origin among `origins` if that is meant",
        )


def _one(headers: Headers, name: str) -> str | None:
    """Return a header's value; of several, one that nothing is equal to."""
    found = headers.get(name, ())
    return None if not found else ", ".join(found)
