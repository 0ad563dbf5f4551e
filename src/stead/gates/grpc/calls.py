"""What a gRPC server saw of a call, before anybody admits its client."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_MOST_CERTIFICATES: Final = 16
_PROTECTED: Final = frozenset({b"ssl", b"tls"})


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """One call.

    Attributes:
        method: its full name, such as `/notes.Notes/Read`.
        peer: the address that it came from.
        certificate: the client's, in DER, which the library has verified by whomever
            the server's credentials name; None without one.
        others: what the client sent along with it, in DER.
        authorization: the values of that name in its metadata.
        is_protected: whether nobody else read what came: by TLS, or locally.
        traceparent: the call's own (W3C Trace Context), or None.
    """

    method: str
    peer: str
    certificate: bytes | None = field(default=None, repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)
    authorization: tuple[str, ...] = field(default=(), repr=False)
    is_protected: bool = False
    traceparent: str | None = None


def call_of(method: str, context: Any) -> GrpcCall:
    """Return what is seen of a call.

    Args:
        method: its full name.
        context: the library's own context of it.
    """
    seen: Mapping[str, Sequence[bytes]] = context.auth_context()
    metadata = tuple(context.invocation_metadata() or ())
    leaf = _certificates(seen.get("x509_pem_cert", ()))
    chain = _certificates(seen.get("x509_pem_cert_chain", ()))
    raw_peer = str(context.peer())
    is_tls = bool(_PROTECTED & {*seen.get("transport_security_type", ())})
    traces = _values(metadata, "traceparent")
    return GrpcCall(
        method=method,
        peer=_address(raw_peer),
        certificate=leaf[0] if leaf else None,
        others=tuple(one for one in chain if one not in leaf),
        authorization=_values(metadata, "authorization"),
        is_protected=is_tls or raw_peer.startswith("unix"),
        # Of several, none: nobody knows which counts.
        traceparent=traces[0] if len(traces) == 1 else None,
    )


def _certificates(values: Iterable[bytes]) -> tuple[bytes, ...]:
    found = _PEM.findall(b"".join(values))[:_MOST_CERTIFICATES]
    return tuple(ssl.PEM_cert_to_DER_cert(one.decode("ascii")) for one in found)


def _values(metadata: Iterable[tuple[str, str | bytes]], name: str) -> tuple[str, ...]:
    return tuple(
        value if isinstance(value, str) else value.decode("latin-1")
        for key, value in metadata
        if key.lower() == name
    )


def _address(peer: str) -> str:
    """Return `ipv4:192.0.2.1:50` as `192.0.2.1:50`."""
    kind, _, rest = peer.partition(":")
    return unquote(rest) if kind in {"ipv4", "ipv6"} else peer
