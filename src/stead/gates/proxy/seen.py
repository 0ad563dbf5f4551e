"""A request as its web server shows it: headers, and who connected if it says so."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]

EXTENSION: Final = "stead.peer"
"""Where `uvicorn_peer` says who connected, among an ASGI scope's extensions."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request.

    Attributes:
        headers: each in its turn, names in small letters.
        is_told: whether the web server says who connected.
        uid: of a local socket's peer, as the kernel says; None of others.
        chain: of its certificate, as a handshake here verified it; empty without one.
        peer: its address, for the trail.
    """

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    is_told: bool = False
    uid: int | None = None
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    peer: str = ""

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of all headers of a name."""
        return tuple(value for key, value in self.headers if key == name.lower())

    @property
    def by_name(self) -> Mapping[str, tuple[str, ...]]:
        """The values of all headers, by their names."""
        return {name: self.values(name) for name in self.names}

    @property
    def names(self) -> frozenset[str]:
        """The names of all headers."""
        return frozenset(key for key, _ in self.headers)


def seen_in(scope: Mapping[str, Any]) -> Seen:
    """Return a request of ASGI."""
    headers = tuple(
        (bytes(key).decode("latin-1").lower(), bytes(value).decode("latin-1"))
        for key, value in scope.get("headers", ())
    )
    told: Mapping[str, Any] | None = (scope.get("extensions") or {}).get(EXTENSION)
    return Seen(
        headers,
        is_told=told is not None,
        uid=None if told is None else told["uid"],
        chain=() if told is None else tuple(told["chain"]),
        peer=_address(scope.get("client"), None if told is None else told["uid"]),
    )


def _address(client: Any, uid: int | None) -> str:
    if uid is not None:
        return f"uid {uid}"
    if not client:
        return ""
    host, port = client[0], client[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def without_header(scope: Scope, name: str) -> None:
    """Take a header out of a request, so that nobody behind sees it."""
    wanted = name.lower().encode("latin-1")
    scope["headers"] = [
        (key, value)
        for key, value in scope.get("headers", ())
        if bytes(key).lower() != wanted
    ]
