"""Negotiate with NTLM beside Kerberos, where an operator says so ([MS-SPNG]).

    package = NegotiatePackage(KerberosPackage(service), NtlmPackage("EXAMPLE"))

A client that offers Kerberos has to succeed with it: NTLM is for those that cannot, and
nobody is talked into it by having Kerberos fail. Without NTLM, the Kerberos package by
itself is all of Negotiate.
"""

from __future__ import annotations

from typing import Final

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.ntlm import SIGNATURE, NtlmPackage
from stead.authority.guesses import Counting
from stead.authority.packages import (
    ChannelBinding,
    Counted,
    CountingExchange,
    Exchange,
    Step,
)
from stead.errors import EvidenceRefusedError, InvalidRequestError

# Kerberos as clients offer it: RFC 4121's number, and Windows 2000's slip of it.
_KERBEROS: Final = (
    bytes.fromhex("06092a864886f712010202"),
    bytes.fromhex("06092a864882f712010202"),
)
_NTLM: Final = bytes.fromhex("060a2b06010401823702020a")  # [MS-SPNG] 1.9


class NegotiatePackage:
    """Kerberos first; NTLM for clients that offer no Kerberos."""

    def __init__(self, kerberos: KerberosPackage, ntlm: NtlmPackage) -> None:
        """Put the two together.

        Args:
            kerberos: one that negotiates.
            ntlm: for clients that offer no Kerberos.

        Raises:
            InvalidRequestError: the first takes no SPNEGO.
        """
        if kerberos.name != self.name:
            raise InvalidRequestError("the kerberos package does not negotiate")
        self._kerberos: Final = kerberos
        self._ntlm: Final = ntlm

    @property
    def name(self) -> str:
        """What gates and records call it."""
        return "negotiate"

    def counted_by(self, counting: Counting) -> NegotiatePackage:
        """Return the same, where guesses of NTLM's passwords are counted."""
        return NegotiatePackage(self._kerberos, self._ntlm.counted_by(counting))

    def begin(self, binding: ChannelBinding | None) -> NegotiateExchange:
        """Begin with a client."""
        return NegotiateExchange(self._kerberos, self._ntlm, binding)


class NegotiateExchange:
    """One client; its first message says by which mechanism."""

    def __init__(
        self,
        kerberos: KerberosPackage,
        ntlm: NtlmPackage,
        binding: ChannelBinding | None,
    ) -> None:
        self._kerberos: Final = kerberos
        self._ntlm: Final = ntlm
        self._binding: Final = binding
        self._chosen: Exchange | None = None
        self._is_closed = False

    @property
    def counted(self) -> Counted:
        """What it has counted by now; a ticket is no guess."""
        chosen = self._chosen
        return chosen.counted if isinstance(chosen, CountingExchange) else Counted()

    def step(self, blob: bytes) -> Step:
        """Take the client's next blob.

        Raises:
            EvidenceRefusedError: it proves nothing; the exchange is over.
        """
        if self._is_closed:
            raise EvidenceRefusedError("the exchange is over")
        if self._chosen is None:
            package = self._ntlm if _is_ntlm_alone(blob) else self._kerberos
            self._chosen = package.begin(self._binding)
        return self._chosen.step(blob)

    def close(self) -> None:
        """Forget it; again does nothing."""
        self._is_closed = True
        if self._chosen is not None:
            self._chosen.close()


def _is_ntlm_alone(blob: bytes) -> bool:
    """Whether a first message offers NTLM and no Kerberos.

    Bytes that look like an offer of Kerberos by accident only keep NTLM out.
    """
    if any(number in blob for number in _KERBEROS):
        return False
    return blob.startswith(SIGNATURE) or _NTLM in blob
