"""The chain by which OpenSSL verified a peer: what it says, and who verified it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final

_DER: Final = 2  # _ssl.ENCODING_DER


def verified_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the chain by which OpenSSL verified the peer, in DER; empty without one.

    The leaf is first and the anchor last: by it one knows who verified the peer, and
    not by what a certificate calls its issuer. Python has this in public since 3.13;
    before, its own wrapper has it without a promise.

    Of a session that was resumed nobody has verified the peer by now: then it is the
    leaf alone, which is no chain of anybody's.

    Raises:
        OSError: this Python has it nowhere.
    """
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        return ()
    public: Callable[[], list[bytes]] | None = getattr(tls, "get_verified_chain", None)
    if public is not None:
        return tuple(public() or (leaf,))
    inner: Any = getattr(tls, "_sslobj", None)
    get = getattr(inner, "get_verified_chain", None)
    if get is None:
        raise OSError("this Python does not tell which chain was verified")
    return tuple(one.public_bytes(_DER) for one in get() or ()) or (leaf,)
