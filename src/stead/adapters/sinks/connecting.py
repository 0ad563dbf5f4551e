"""How sinks trust the far end, and show it who they are."""

from __future__ import annotations

import os
import re
import ssl
import stat
from pathlib import Path

from stead.adapters.tls_terms import verifying
from stead.errors import SinkUnavailableError, UnsafeConfigurationError

_WORD = re.compile(r"[\x21-\x7e]+")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def tls_context(
    authorities: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> ssl.SSLContext:
    """Return the terms on which a far end is trusted: TLS 1.2 or newer, verified.

    Args:
        authorities: certificates in PEM that may sign the far end's; None for the
            machine's own.
        certificate: one's own certificate in PEM, where the far end asks for one.
        key: its private key, a file that only its owner may read.

    Raises:
        SinkUnavailableError: a file cannot be read, or holds no such thing.
        UnsafeConfigurationError: somebody else may read the key.
    """
    try:
        context = verifying(authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            private = certificate if key is None else key
            require_private(private)
            # A password would have to be typed: refused instead of asked for.
            context.load_cert_chain(certificate, private, password="")
    except (OSError, ValueError) as error:  # `SSLError` is an `OSError`
        raise SinkUnavailableError(
            f"the certificates of a sink cannot be used: {error}",
            advice="name files in PEM; a private key without a password",
        ) from error
    return context


def read_private(path: Path) -> str:
    """Return the one word in a file that only its owner may read.

    Its errors never name what the file holds.

    Raises:
        UnsafeConfigurationError: somebody else may read it.
        SinkUnavailableError: it cannot be read.
    """
    require_private(path)
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise SinkUnavailableError(f"`{path}` cannot be read: {error}") from error
    except ValueError:
        text = ""
    if _WORD.fullmatch(text) is None:
        raise SinkUnavailableError(
            f"`{path}` holds no token", advice="a token is one line of visible ASCII"
        )
    return text


def require_private(path: Path) -> None:
    """Return if only the owner may read a file, and the owner is us or root.

    Raises:
        UnsafeConfigurationError: somebody else may.
        SinkUnavailableError: there is no such file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise SinkUnavailableError(f"`{path}` cannot be read: {error}") from error
    if stat.S_IMODE(found.st_mode) & _OTHERS or found.st_uid not in {0, os.geteuid()}:
        raise UnsafeConfigurationError(
            f"`{path}` holds a secret, and somebody else may read it",
            advice=f"chmod 600 {path}",
        )
