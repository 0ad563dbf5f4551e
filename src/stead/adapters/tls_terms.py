"""On which terms this machine's programs believe a TLS server, and nothing beside.

Python has every such context write the keys of its connections to a file, if the
environment names one (`SSLKEYLOGFILE`): whoever reads it reads what clients are shown.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def verifying(authorities: Path | None = None) -> ssl.SSLContext:
    """Return a context for clients: the certificate is verified, its keys are secret.

    Args:
        authorities: certificates in PEM of whom is believed; None for this machine's
            own, of which `SSL_CERT_FILE` is one.

    Raises:
        OSError: they cannot be read.
    """
    context = ssl.create_default_context(cafile=authorities)
    # Typed as text; None is what closes it (`ssl`'s own documentation has it so).
    context.keylog_filename = None  # type: ignore[assignment]
    return context


def resume_nothing(context: ssl.SSLContext) -> None:
    """Have each handshake of a server verify its client anew.

    A resumed session would bring back a client that was verified long ago, and not say
    by whom. Clients of TLS 1.2 that ask for one by its number still get it.
    """
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
