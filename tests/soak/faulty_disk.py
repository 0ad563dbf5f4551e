"""A disk that fails as it is told: one folder of files, in memory, by way of FUSE.

It speaks the kernel's protocol itself (Linux, include/uapi/linux/fuse.h, version 7.31
and later), so that nothing has to be installed. What it can do:

- refuse to write with an error of one's choice, always or now and then;
- refuse to flush, and then forget what was to be flushed, as Linux itself does;
- lose power: of what was written and not flushed, only some writes remain, cut off
  anywhere. Names are kept at once: no check here depends on them.

It runs in a process of its own, which must not touch its own files. Needs root.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import select
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

_LOOKUP, _FORGET, _GETATTR, _SETATTR, _UNLINK, _LINK = 1, 2, 3, 4, 10, 13
_OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = 14, 15, 16, 17, 18, 20
_FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _FSYNCDIR = 25, 26, 27, 28, 29, 30
_ACCESS, _CREATE, _INTERRUPT, _DESTROY, _BATCH_FORGET = 34, 35, 36, 38, 42

_IN: Final = struct.Struct("<IIQQIIII")
_OUT: Final = struct.Struct("<IiQ")
_ATTRIBUTES: Final = struct.Struct("<6Q10I")
_ENTRY: Final = struct.Struct("<4Q2I")
_INIT_OUT: Final = struct.Struct("<4I2H2I2H8I")
_OPEN_OUT: Final = struct.Struct("<QIi")
_SETATTR_IN: Final = struct.Struct("<2I6Q8I")
_IO_IN: Final = struct.Struct("<QQIIQII")
_STATFS_OUT: Final = struct.Struct("<5Q4I24x")

_SET_MODE, _SET_UID, _SET_GID, _SET_SIZE = 1, 2, 4, 8
_ROOT, _LARGEST_WRITE, _BUFFER = 1, 1 << 17, (1 << 17) + 4096
_LAZY: Final = 2  # MNT_DETACH of umount2(2)
_SIZE: Final = 1 << 28
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass
class File:
    """A file: what readers see, and what would be there without power.

    Attributes:
        data: what readers see.
        durable: what was flushed.
        unflushed: what was written since: where, and what; or the size, and None.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unflushed: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, new: bytes | None) -> None:
        """Write, or set the size; not durably."""
        _apply(self.data, offset, new)
        self.unflushed.append((offset, new))

    def flush(self) -> None:
        """Make everything durable."""
        for offset, new in self.unflushed:
            _apply(self.durable, offset, new)
        self.unflushed.clear()

    def lose(self, chance: random.Random) -> int:
        """Make durable what chance wants, cut off anywhere; return how much is not."""
        gone, odds = 0, chance.choice((0.0, 0.5))
        for offset, new in self.unflushed:
            if chance.random() >= odds:
                gone += 1
            elif new is None:
                _apply(self.durable, offset, None)
            else:
                _apply(self.durable, offset, new[: chance.randrange(len(new) + 1)])
        self.unflushed.clear()
        return gone


def _apply(data: bytearray, offset: int, new: bytes | None) -> None:
    end = offset if new is None else offset + len(new)
    if end > len(data):
        data.extend(bytes(end - len(data)))
    if new is None:
        del data[offset:]
    else:
        data[offset:end] = new


class Disk:
    """What the kernel asks for, answered; see the module."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.files: dict[int, File] = {}
        self.names: dict[bytes, int] = {}
        self.error = 0
        self.what = ""
        self.odds = 1.0
        self.refused = 0
        self._last = _ROOT
        self._handlers = {
            _LOOKUP: self._lookup, _GETATTR: self._getattr, _SETATTR: self._setattr,
            _UNLINK: self._unlink, _LINK: self._link, _OPEN: _opened, _READ: self._read,
            _WRITE: self._write, _STATFS: self._statfs, _RELEASE: _nothing,
            _FSYNC: self._fsync, _FLUSH: _nothing, _INIT: _init, _OPENDIR: _opened,
            _READDIR: self._readdir, _RELEASEDIR: _nothing, _FSYNCDIR: _nothing,
            _ACCESS: _nothing, _CREATE: self._create, _DESTROY: _nothing,
        }  # fmt: skip

    def answer(self, request: bytes) -> bytes | None:
        """Return what is answered to one request; None for what has no answer."""
        _, kind, unique, node, *_ = _IN.unpack_from(request)
        if kind in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return None
        handler = self._handlers.get(kind, _not_offered)
        try:
            body = handler(node, request[_IN.size :])
        except OSError as error:
            return _OUT.pack(_OUT.size, -(error.errno or errno.EIO), unique)
        return _OUT.pack(_OUT.size + len(body), 0, unique) + body

    def _fail(self, what: str, node: int) -> None:
        """Raise what was told, if this is meant; what SQLite maps to memory is not."""
        is_meant = what in self.what and not self._name_of(node).endswith(b"-shm")
        if is_meant and self.error and self.chance.random() < self.odds:
            self.refused += 1
            raise OSError(self.error, os.strerror(self.error))

    def _name_of(self, node: int) -> bytes:
        return next((name for name, other in self.names.items() if other == node), b"")

    def _file(self, node: int) -> File:
        try:
            return self.files[node]
        except KeyError:
            raise OSError(errno.ENOENT, "no such file") from None

    def _lookup(self, _: int, body: bytes) -> bytes:
        node = self.names.get(body.rstrip(b"\0"))
        if node is None:
            raise OSError(errno.ENOENT, "no such name")
        return self._entry(node)

    def _entry(self, node: int) -> bytes:
        return _ENTRY.pack(node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _attributes(self, node: int) -> bytes:
        if node == _ROOT:
            mode, size, uid, gid = 0o040700, 0, 0, 0
        else:
            file = self._file(node)
            mode, size, uid, gid = file.mode, len(file.data), file.uid, file.gid
        blocks = (size + 511) // 512
        return _ATTRIBUTES.pack(
            node, size, blocks, 0, 0, 0, 0, 0, 0, mode, 1, uid, gid, 0, 4096, 0
        )

    def _getattr(self, node: int, _: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attributes(node)

    def _setattr(self, node: int, body: bytes) -> bytes:
        fields = _SETATTR_IN.unpack_from(body)
        what, size, mode, uid, gid = (fields[n] for n in (0, 3, 11, 13, 14))
        if node != _ROOT:
            file = self._file(node)
            if what & _SET_SIZE:
                self._fail("write", node)
                file.change(size, None)
            if what & _SET_MODE:
                file.mode = mode
            file.uid = uid if what & _SET_UID else file.uid
            file.gid = gid if what & _SET_GID else file.gid
        return self._getattr(node, b"")

    def _create(self, _: int, body: bytes) -> bytes:
        name = body[16:].rstrip(b"\0")
        self._fail("write", _ROOT)
        self._last += 1
        mode = struct.unpack_from("<4I", body)[1]
        self.files[self._last] = File(mode)
        self.names[name] = self._last
        return self._entry(self._last) + _opened(0, b"")

    def _unlink(self, _: int, body: bytes) -> bytes:
        if self.names.pop(body.rstrip(b"\0"), None) is None:
            raise OSError(errno.ENOENT, "no such name")
        return b""  # the file itself stays, for whoever has it open

    def _link(self, _: int, body: bytes) -> bytes:
        (node,), name = struct.unpack_from("<Q", body), body[8:].rstrip(b"\0")
        if name in self.names:
            raise OSError(errno.EEXIST, "there already")
        self._fail("write", node)
        self.names[name] = node
        return self._entry(node)

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = _IO_IN.unpack_from(body)
        return bytes(self._file(node).data[offset : offset + size])

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = _IO_IN.unpack_from(body)
        self._fail("write", node)
        self._file(node).change(offset, body[_IO_IN.size : _IO_IN.size + size])
        return struct.pack("<II", size, 0)

    def _fsync(self, node: int, _: bytes) -> bytes:
        file = self._file(node)
        try:
            self._fail("flush", node)
        except OSError:
            # Readers still see what could not be flushed, and no flush tries it again.
            file.lose(self.chance)
            raise
        file.flush()
        return b""

    def _statfs(self, _: int, __: bytes) -> bytes:
        blocks = _SIZE // 4096
        return _STATFS_OUT.pack(blocks, blocks, blocks, 1000, 1000, 4096, 255, 4096, 0)

    def _readdir(self, _: int, body: bytes) -> bytes:
        offset = _IO_IN.unpack_from(body)[1]
        listed = b""
        for number, (name, node) in enumerate(self.names.items(), 1):
            if number > offset:
                entry = struct.pack("<QQII", node, number, len(name), 8) + name
                listed += entry + bytes(-len(entry) % 8)
        return listed

    def cut(self) -> int:
        """Lose power; return how many writes are gone."""
        there = set(self.names.values())
        self.files = {node: self.files[node] for node in there}
        gone = sum(file.lose(self.chance) for file in self.files.values())
        for file in self.files.values():
            file.data[:] = file.durable
        return gone


def _nothing(_: int, __: bytes) -> bytes:
    return b""


def _not_offered(_: int, __: bytes) -> bytes:
    raise OSError(errno.ENOSYS, "not offered")


def _opened(_: int, __: bytes) -> bytes:
    return _OPEN_OUT.pack(0, 0, 0)


def _init(_: int, body: bytes) -> bytes:
    minor = min(31, struct.unpack_from("<4I", body)[1])
    return _INIT_OUT.pack(7, minor, 0, 0, 16, 12, _LARGEST_WRITE, 1, 32, 0, *[0] * 8)


# --- the process ----------------------------------------------------------------------


def mounted(place: Path) -> int:
    """Mount at a folder; return the descriptor of the kernel's side."""
    kernel = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={kernel},rootmode=40000,user_id=0,group_id=0,default_permissions"
    if _libc.mount(b"faulty", bytes(place), b"fuse", 6, options.encode()):
        raise OSError(ctypes.get_errno(), f"cannot mount at `{place}`")
    return kernel


def serve(place: Path, control: socket.socket, seed: int) -> None:
    """Answer the kernel, and do what the other end of `control` says, until it ends."""
    disk, kernel = Disk(seed), mounted(place)
    control.sendall(b"{}\n")
    orders = control.makefile("rb", buffering=0)
    is_mounted = True
    while True:
        waits_for = [control, kernel] if is_mounted else [control]
        readable, _, _ = select.select(waits_for, [], [])
        if kernel in readable:
            is_mounted = serve_one(disk, kernel)
            continue
        line = orders.readline()
        if not line:
            return
        kernel, said = obey(disk, place, kernel, json.loads(line))
        control.sendall(json.dumps(said).encode() + b"\n")


def serve_one(disk: Disk, kernel: int) -> bool:
    """Answer one request; say whether the kernel still asks."""
    try:
        request = os.read(kernel, _BUFFER)
    except OSError as error:
        # The request was taken back (ENOENT), or it is mounted no more (ENODEV).
        return error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN)
    answer = disk.answer(request)
    if answer is not None:
        try:
            os.write(kernel, answer)
        except FileNotFoundError:
            return True  # whoever asked was killed
    return True


def obey(
    disk: Disk, place: Path, kernel: int, order: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Do what is ordered; return the descriptor from now on, and the answer."""
    if "cut" not in order:
        disk.error = order["error"]
        disk.what = order["what"]
        disk.odds = order["odds"]
        refused, disk.refused = disk.refused, 0
        return kernel, {"refused": refused}
    _libc.umount2(bytes(place), _LAZY)
    while select.select([kernel], [], [], 0.2)[0] and serve_one(disk, kernel):
        pass  # what the kernel still had to write is lost, too
    os.close(kernel)
    gone = disk.cut()
    return mounted(place), {"gone": gone}


class FaultyDisk:
    """A disk of this kind, in a process of its own, mounted while it is entered."""

    def __init__(self, place: Path, seed: int = 1) -> None:
        self.place = place
        self._seed = seed

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair()
        self._pid = os.fork()
        if not self._pid:
            self._control.close()
            try:
                serve(self.place, theirs, self._seed)
            finally:
                os._exit(0)  # nothing of the parent's clean-up runs here
        theirs.close()
        self._answers = self._control.makefile("rb")
        self._hear()
        return self

    def fail(self, error: int, what: str = "write flush", odds: float = 1.0) -> int:
        """Fail from now on, so often; 0 ends it. Return how often it did before."""
        return int(self._order(error=error, what=what, odds=odds)["refused"])

    def cut(self) -> int:
        """Lose power and have it back; return how many writes are gone."""
        return int(self._order(cut=True)["gone"])

    def _order(self, **order: Any) -> dict[str, Any]:
        self._control.sendall(json.dumps(order).encode() + b"\n")
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise OSError(errno.EIO, "the disk's process is gone")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def __exit__(self, *_: object) -> None:
        _libc.umount2(bytes(self.place), _LAZY)
        self._answers.close()
        self._control.close()
        os.waitpid(self._pid, 0)
