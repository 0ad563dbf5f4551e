"""What the pipe's frames over the network are protected by: TLS 1.3, by OpenSSL.

    shown = TlsIdentity("server.pem", "server.key")
    gate = TlsGate("0.0.0.0", 7443, shown, clients=TlsClients(Certificates([corp])))

One protocol version, no resumption: each handshake verifies the client anew, so what
was revoked meanwhile counts.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead.adapters.tls_terms import resume_nothing
from stead.authority.packages import ChannelBinding
from stead.errors import (
    InvalidRequestError,
    SteadError,
    UnsafeConfigurationError,
)

logger = logging.getLogger(__name__)

ALPN: Final = "stead-pipe/1"
"""What both ends say they speak (RFC 7301): nobody is sent to another protocol."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What one end shows of itself.

    Attributes:
        certificate: a file in PEM: its certificate, then those between it and an
            anchor of the other end.
        key: the file of its private key; the same file if it is None.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str] | None = None

    def load(self, context: ssl.SSLContext) -> None:
        """Have a context show it.

        Raises:
            UnsafeConfigurationError: others may read the key.
            InvalidRequestError: the files cannot be used.
        """
        key = Path(self.certificate if self.key is None else self.key)
        try:
            _require_kept(key)
            # A password would have to be typed: refused instead of asked for.
            context.load_cert_chain(self.certificate, key, password="")
        except (OSError, ValueError) as error:  # `SSLError` is an `OSError`
            raise InvalidRequestError(
                f"the certificate `{self.certificate}` cannot be used: {error}",
                advice="name files in PEM; a private key without a password",
            ) from error

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is put in the place of one of them.

        Raises:
            OSError: one is not there.
        """
        files = [Path(one) for one in (self.certificate, self.key) if one is not None]
        found = [file.stat() for file in files]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def binding(self) -> ChannelBinding:
        """Return what an exchange is tied to a server's channel by (RFC 5929 4).

        Raises:
            InvalidRequestError: the file holds no certificate.
        """
        from stead.adapters.end_point import server_end_point  # noqa: PLC0415 - an extra's

        try:
            text = Path(self.certificate).read_text("ascii", errors="replace")
            return server_end_point(text, is_between_ours=True)
        except (OSError, InvalidRequestError) as error:
            raise InvalidRequestError(
                f"`{self.certificate}` holds no certificate: {error}"
            ) from error


@dataclass(frozen=True, slots=True)
class ServerEnd:
    """What one handshake follows at the server's end.

    Attributes:
        context: certificates, and whom clients are verified by.
        binding: what exchanges over it are tied to.
        stamp: the files that it was made of.
    """

    context: ssl.SSLContext
    binding: ChannelBinding
    stamp: tuple[tuple[int, int, int], ...]


class ServerEnds:
    """Makes a server's end anew when its certificate has been renewed."""

    def __init__(self, shown: TlsIdentity, anchors: bytes, *, demands: bool) -> None:
        """Make the first; arguments and errors are those of `server_context`."""
        self._shown = shown
        self._anchors = anchors
        self._demands = demands
        self._unfit: object = None
        self._current = self._made()

    def current(self) -> ServerEnd:
        """Return what the next handshake follows.

        Files that cannot be used change nothing: the certificate before is shown for as
        long as clients take it, and the log says why.
        """
        try:
            stamp = self._shown.stamp()
        except OSError:
            return self._current  # between two files, perhaps
        if stamp not in (self._current.stamp, self._unfit):
            try:
                self._current = self._made()
            except SteadError as error:
                self._unfit = stamp
                logger.error("the renewed certificate is not used: %s", error)  # noqa: TRY400 - its words suffice
        return self._current

    def _made(self) -> ServerEnd:
        try:
            stamp = self._shown.stamp()
        except OSError:
            stamp = ()
        context = server_context(self._shown, self._anchors, demands=self._demands)
        return ServerEnd(context, self._shown.binding(), stamp)


def server_context(
    shown: TlsIdentity, anchors: bytes = b"", *, demands: bool = False
) -> ssl.SSLContext:
    """Return what a server's handshakes follow.

    Args:
        shown: the server's certificate.
        anchors: in PEM, by whom clients are verified; none are asked for a certificate
            if it is empty.
        demands: whether a client without a certificate is refused.

    Raises:
        UnsafeConfigurationError, InvalidRequestError: as `TlsIdentity.load`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    resume_nothing(context)
    if anchors:
        context.load_verify_locations(cadata=anchors.decode("ascii"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    elif demands:
        raise InvalidRequestError(
            "clients' certificates are demanded, and no issuer is named",
            advice="give `certificates=`",
        )
    shown.load(context)
    return context


def client_context(
    ca: str | os.PathLike[str] | None, shown: TlsIdentity | None
) -> ssl.SSLContext:
    """Return what a client's handshakes follow; the server's name is checked.

    Args:
        ca: a file in PEM: who certifies the server; None for whom the system trusts.
        shown: the client's own certificate, if it has one.

    Raises:
        UnsafeConfigurationError, InvalidRequestError: as `TlsIdentity.load`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(ca)
        except (OSError, ValueError) as error:
            raise InvalidRequestError(
                f"the authorities in `{ca}` cannot be used: {error}",
                advice="name a file of certificates in PEM",
            ) from error
    if shown is not None:
        shown.load(context)
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])


def _require_kept(key: Path) -> None:
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise UnsafeConfigurationError(
            f"others may read, or change, the private key `{key}`",
            advice=f"`chmod 600 {key}`",
        )
