"""The kernel's own audit trail (audit(8)), by way of its netlink socket.

A message is sent as AUDIT_TRUSTED_APP, the type for text of programs' own, and each is
acknowledged by the kernel. Needs CAP_AUDIT_WRITE in the first user and process
namespaces. While auditing is switched off, the kernel acknowledges messages and drops
them: where it can be asked (CAP_AUDIT_CONTROL), that counts as down, so that records
wait. The `id` in each message is the record's identity.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from stead.errors import SinkUnavailableError
from stead.ledger.export_linux_audit import linux_audit_message
from stead.ledger.exporting import Numbered, Origin

_NETLINK_AUDIT: Final = 9
_AUDIT_GET: Final = 1000
_AUDIT_TRUSTED_APP: Final = 1121
_NLMSG_ERROR: Final = 2
_REQUEST_WITH_ANSWER: Final = 0x1 | 0x4
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_STATUS: Final = struct.Struct("=II")  # of which: mask, enabled
_ERROR: Final = struct.Struct("=i")
_LARGEST_ANSWER: Final = 16_384

_CAUSES: Final = {
    errno.EPERM: "give the server CAP_AUDIT_WRITE",
    errno.ECONNREFUSED: "the kernel takes no audit messages from a container",
    errno.EPROTONOSUPPORT: "this kernel has no audit",
}


class LinuxAuditSink:
    """Sends records to the kernel's audit."""

    window = 1

    def __init__(
        self, *, origin: Origin, name: str = "", timeout: float = 10.0
    ) -> None:
        """Describe it; `send` opens the socket.

        Args:
            origin: where the trail is.
            name: what its cursor is kept under.
            timeout: seconds after which a kernel that does not answer is down.
        """
        self.name = name or "linux-audit"
        self._origin = origin
        self._timeout = timeout
        self._link: socket.socket | None = None
        self._sequence = 0

    def send(self, batch: Sequence[Numbered]) -> Sequence[int]:
        """Send records, one by one; see `stead.ledger.sinks.Sink`."""
        try:
            link = self._link or self._open()
            self._require_enabled(link)
            for numbered in batch:
                text = linux_audit_message(numbered, self._origin) + b"\0"
                self._ask(link, _AUDIT_TRUSTED_APP, text)
            self._require_enabled(link)
        except OSError as error:
            raise SinkUnavailableError(
                f"the kernel's audit does not take records: {error.strerror or error}",
                advice=_CAUSES.get(error.errno or 0, ""),
            ) from error
        return ()

    def confirm(self) -> None:
        """Return: the kernel has acknowledged each record."""

    def reset(self) -> None:
        """Close the socket; never raises."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(OSError):
                link.close()

    def interrupt(self) -> None:
        """Do nothing: no call waits longer than the timeout."""

    def _open(self) -> socket.socket:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_AUDIT)
        link.settimeout(self._timeout)
        self._link = link
        return link

    def _require_enabled(self, link: socket.socket) -> None:
        """Refuse while auditing is switched off, where that can be known."""
        try:
            answer = self._ask(link, _AUDIT_GET, b"")
        except PermissionError:
            return  # without CAP_AUDIT_CONTROL nobody is told
        if len(answer) >= _STATUS.size and not _STATUS.unpack_from(answer)[1]:
            raise SinkUnavailableError(
                "auditing is switched off in the kernel, which drops all messages",
                advice="switch it on: `auditctl -e 1`, or boot with audit=1",
            )

    def _ask(self, link: socket.socket, kind: int, body: bytes) -> bytes:
        """Send a message, wait for the kernel's answer, and return what it says.

        An error is the last answer to a message; one of number 0 says that it went
        well. What the kernel says beside that is told before or after it.
        """
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        length = _HEADER.size + len(body)
        head = _HEADER.pack(length, kind, _REQUEST_WITH_ANSWER, self._sequence, 0)
        link.sendto(head + body, (0, 0))
        said, is_done = b"", False
        while not is_done or (kind == _AUDIT_GET and not said):
            for answer, payload in self._answers(link):
                if answer == _NLMSG_ERROR:
                    _require_success(payload)
                    is_done = True
                elif answer == kind:
                    said = payload
        return said

    def _answers(self, link: socket.socket) -> Iterator[tuple[int, bytes]]:
        packet, (port, _) = link.recvfrom(_LARGEST_ANSWER)
        if port != 0:
            return  # not from the kernel
        while len(packet) >= _HEADER.size:
            length, kind, _, sequence, _ = _HEADER.unpack_from(packet)
            if sequence == self._sequence:
                yield kind, packet[_HEADER.size : max(length, _HEADER.size)]
            packet = packet[max(length + 3 & ~3, _HEADER.size) :]


def _require_success(payload: bytes) -> None:
    number = -_ERROR.unpack_from(payload)[0]
    if number:
        raise OSError(number, os.strerror(number))
