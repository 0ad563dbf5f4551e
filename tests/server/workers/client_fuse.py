"""A FUSE file system of one file, whose server answers what it likes to answer.

The layouts are those of linux/fuse.h, version 7.31.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading

import pytest

_REQUEST = struct.Struct("=IIQQIIII")
_ANSWER = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_NAMES = {
    1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 14: "OPEN", 17: "STATFS", 18: "RELEASE",
    25: "FLUSH", 26: "INIT", 34: "ACCESS", 36: "INTERRUPT", 38: "DESTROY",
}  # fmt: skip
_UNANSWERED = {"FORGET", "INTERRUPT", "DESTROY"}
_ROOT = 1
_FILE = 2
_FORCE_AND_DETACH = 3


class FileSystem:
    """Mounted by the constructor; unmounted by `close`.

    Attributes:
        folder: where.
        asked: the names of the requests that its server has taken.
    """

    def __init__(self, folder, uid, answered, options, *, own=()):
        """Mount it.

        Args:
            folder: where.
            uid: whose.
            answered: the names of the requests that are answered at all.
            options: of the mount.
            own: the names of those that are answered to `uid` alone.
        """
        self.folder = folder
        self.asked = []
        self._uid = uid
        self._answered = answered
        self._own = own
        self._validity = 0 if own else 60  # in seconds, until the kernel asks again
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        owner = f"fd={self._device},rootmode=40000,user_id={uid},group_id={uid}"
        data = f"{owner}{options}".encode()
        if self._libc.mount(b"stead", os.fsencode(folder), b"fuse", 6, data):
            number = ctypes.get_errno()
            os.close(self._device)
            pytest.skip(f"no FUSE here: {os.strerror(number)}")
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._answer()  # it says hello
        self._thread = threading.Thread(target=self._serve)
        if answered:
            self._thread.start()
        self._is_open = True

    def is_asked(self):
        return bool(select.select([self._device], [], [], 0)[0])

    def close(self):
        """Unmount it; whoever waits for it hears an error."""
        if not self._is_open:
            return
        self._is_open = False
        os.eventfd_write(self._stop, 1)
        if self._answered:
            self._thread.join()
        os.close(self._device)
        self._libc.umount2(os.fsencode(self.folder), _FORCE_AND_DETACH)
        os.close(self._stop)

    def _serve(self):
        while True:
            ready, _, _ = select.select([self._device, self._stop], [], [])
            if self._stop in ready:
                return
            self._answer()

    def _answer(self):
        request = os.read(self._device, 1 << 20)
        _, code, unique, node, asker, *_ = _REQUEST.unpack_from(request)
        name = _NAMES.get(code, str(code))
        self.asked.append(name)
        if name in _UNANSWERED or name not in {"INIT", *self._answered}:
            return
        if name in self._own and asker != self._uid:
            return
        body = self._body(name, node)
        head = _ANSWER.pack(_ANSWER.size + len(body), 0, unique)
        os.write(self._device, head + body)

    def _body(self, name, node):
        if name == "INIT":
            body = struct.pack("=5I", 7, 31, 0, 0, 0) + struct.pack("=I", 4096)
            return body.ljust(64, b"\0")
        if name == "LOOKUP":
            known = struct.pack("=4Q2I", _FILE, 0, 60, self._validity, 0, 0)
            return known + self._found(_FILE)
        if name == "GETATTR":
            return struct.pack("=QII", self._validity, 0, 0) + self._found(node)
        return {"OPEN": bytes(16), "STATFS": bytes(80)}.get(name, b"")

    def _found(self, node):
        mode = 0o040755 if node == _ROOT else 0o100644
        owner = (self._uid, self._uid)
        return _ATTRIBUTES.pack(node, *[0] * 8, mode, 1, *owner, 0, 4096, 0)
