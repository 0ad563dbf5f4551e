"""Certificates that their authority took back: a file of revocation lists (RFC 5280 5).

The file is read again whenever it has changed, so whoever fetches lists only has to put
the new file in the old one's place.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from stead.adapters.certificates.reading import extension_of
from stead.errors import DirectoryUnavailableError, EvidenceRefusedError

_MOST_BYTES: Final = 1 << 26
_PEM: Final = re.compile(
    rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL
)


@dataclass(frozen=True, slots=True, eq=False)
class _List:
    """One list, and of which authorities' keys its signature is known to be."""

    content: x509.CertificateRevocationList
    is_whole: bool
    signed_by: dict[bytes, bool] = field(default_factory=dict)

    def is_of(self, authority: x509.Certificate) -> bool:
        """Whether an authority signed it, which may sign such lists."""
        if self.content.issuer != authority.subject:
            return False
        key = authority.fingerprint(SHA256())
        known = self.signed_by.get(key)
        if known is None:
            known = self.signed_by[key] = self._is_signed_by(authority)
        return known

    def _is_signed_by(self, authority: x509.Certificate) -> bool:
        usage = extension_of(authority, x509.KeyUsage)
        if usage is not None and not usage.crl_sign:
            return False
        try:
            key = authority.public_key()
            return self.content.is_signature_valid(key)  # type: ignore[arg-type]  # of a kind that signs, or TypeError
        except (TypeError, ValueError):
            return False


class RevocationFile:
    """A file of lists, for one issuer's authorities."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        is_demanded: bool,
        clock: Callable[[], int],
    ) -> None:
        """Describe it; it is read when somebody asks.

        Args:
            path: lists in PEM, or one in DER.
            is_demanded: whether every authority of a chain must have a list that is
                not too old.
            clock: nanoseconds since the epoch, UTC.
        """
        self._path = Path(path)
        self._is_demanded = is_demanded
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._lists: tuple[_List, ...] = ()

    def require_readable(self) -> None:
        """Read it now; raises `DirectoryUnavailableError` if that cannot be done."""
        self._current()

    def require_not_revoked(self, chain: Sequence[x509.Certificate]) -> None:
        """Refuse a chain one of whose certificates was taken back.

        Args:
            chain: verified; the leaf first, the anchor last.

        Raises:
            EvidenceRefusedError: one was revoked, or a list is demanded and there is
                none of its authority, or only one that is too old.
            DirectoryUnavailableError: the file cannot be read.
        """
        lists = self._current()
        for certificate, authority in pairwise(chain):
            own = [one for one in lists if one.is_of(authority)]
            for one in own:
                serial = certificate.serial_number
                found = one.content.get_revoked_certificate_by_serial_number(serial)
                if found is not None:
                    raise EvidenceRefusedError(
                        f"the certificate {serial:x} is revoked",
                    )
            if self._is_demanded and not any(map(self._is_current, own)):
                raise EvidenceRefusedError(
                    "no current revocation list covers the certificate",
                    advice=f"put a new list of its authority into `{self._path}`",
                )

    def _is_current(self, one: _List) -> bool:
        now = datetime.fromtimestamp(self._clock() / 1e9, UTC)
        following = one.content.next_update_utc
        if not one.is_whole or following is None:
            return False
        return one.content.last_update_utc <= now < following

    def _current(self) -> tuple[_List, ...]:
        with self._lock:
            try:
                stat = self._path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if stamp != self._stamp:
                    self._lists = _read(self._path)
                    self._stamp = stamp
            except (OSError, ValueError) as error:
                self._stamp = None
                raise DirectoryUnavailableError(
                    f"the revocation lists in `{self._path}` cannot be read: {error}",
                    advice="put a file of lists there, in PEM",
                ) from error
            return self._lists


def _read(path: Path) -> tuple[_List, ...]:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("it is too large")
    parts = _PEM.findall(content)
    if parts:
        _require_words(_PEM.sub(b"", content))
        lists = [x509.load_pem_x509_crl(part) for part in parts]
    else:
        lists = [x509.load_der_x509_crl(content)]
    return tuple(_List(one, _is_whole(one)) for one in lists)


def _require_words(rest: bytes) -> None:
    """Refuse what stands beside lists and is no explanation (RFC 7468 5.2).

    A list that is cut off, or of another form, is not left aside: whom it takes back
    would be back.
    """
    if "-----" in rest.decode():  # a list in DER is no text
        raise ValueError("one of the lists in it is cut off, or no list")


def _is_whole(one: x509.CertificateRevocationList) -> bool:
    """Whether a list speaks of all certificates of its authority.

    One that is only of some, of others' certificates, or of what has changed, says so
    by a critical extension. What such a list revokes is revoked all the same.
    """
    return not any(extension.critical for extension in one.extensions)
