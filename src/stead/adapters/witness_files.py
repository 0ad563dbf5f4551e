"""What a witness has, in a folder of its own: leaves, notes, and one lock.

`leaves` holds 32 bytes for each record, in order. `notes` holds every note that was
signed, one after another. Both only grow, and each growth is flushed before anybody is
told. `edge` spares a start from reading all leaves again; it is believed only if it has
the root that was signed.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from stead.errors import (
    InvalidCheckpointError,
    InvalidRequestError,
    LedgerCorruptError,
    UnsafeConfigurationError,
)
from stead.ledger.checkpoint import (
    LONGEST_NOTE,
    Checkpoint,
    Note,
    each_note,
    notes_in,
    thinned_out,
)
from stead.ledger.tree import HASH_SIZE

LEAVES: Final = "leaves"
NOTES: Final = "notes"
MOST_NOTES: Final = 100_000
"""How many notes of a file are compared with a trail."""

_EDGE: Final = "edge"
_LOCK: Final = "lock"
_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_TAIL: Final = 4 * LONGEST_NOTE
_LOCK_SECONDS: Final = 5.0
_LOOK_AGAIN: Final = 0.05
_BEGINNING: Final = b"stead/S-1-"
_LINES: Final = 5
"""Of a note with one signature: a torn one has not all of them."""

_ADVICE: Final = (
    "keep the file as evidence; put back what is lost of the witness's notes from "
    "where they were kept too"
)


class WitnessFolder:
    """The folder of one witness; nobody else may write it, one process has it."""

    def __init__(self, folder: Path, elsewhere: Path | None = None) -> None:
        """Take the folder, and make it if need be.

        Args:
            folder: where it is.
            elsewhere: a file to which every note is appended too; on another disk or
                machine it tells of what was signed when the folder is lost.

        Raises:
            UnsafeConfigurationError: others may write it.
            InvalidRequestError: another witness has it; or a file holds what is no
                note, and is left as it is.
            LedgerCorruptError: the notes elsewhere tell of more than it has.
            OSError: it cannot be made or read.
        """
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        _require_private(folder)
        self._folder = folder
        with ExitStack() as undo:

            def opened(path: Path) -> int:
                descriptor = _opened(path)
                undo.callback(os.close, descriptor)
                return descriptor

            undo.callback(os.close, _locked(folder / _LOCK))
            self._leaves = opened(folder / LEAVES)
            self._notes = opened(folder / NOTES)
            self._elsewhere = None if elsewhere is None else opened(elsewhere)
            _flush_folder(folder)
            self._last = _recover_notes(self._notes)
            if self._elsewhere is not None:
                _require_notes_of(self._elsewhere, self._last)
            self._undo = undo.pop_all()

    def leaves(self, start: int, stop: int) -> bytes:
        """Return leaves, one after another; fewer if there are fewer."""
        wanted = (stop - start) * HASH_SIZE
        return os.pread(self._leaves, wanted, start * HASH_SIZE)

    def count(self) -> int:
        """Return how many whole leaves there are."""
        return os.fstat(self._leaves).st_size // HASH_SIZE

    def append_leaves(self, leaves: bytes) -> None:
        """Keep more leaves; durable when this returns."""
        _append(self._leaves, leaves)

    def cut_leaves(self, count: int) -> None:
        """Forget the leaves behind so many, and a torn one."""
        if os.fstat(self._leaves).st_size != count * HASH_SIZE:
            os.ftruncate(self._leaves, count * HASH_SIZE)
            os.fsync(self._leaves)

    def last_note(self) -> str:
        """Return the note that was kept last, read anew; empty if there is none."""
        self._last = _recover_notes(self._notes)
        if self._last:
            # After a flush that failed the file reads as if it had not: written again,
            # it is flushed again.
            last = self._last.encode()
            at = os.fstat(self._notes).st_size - len(last)
            _write(self._notes, last, at)
        return self._last

    def keep_note(self, note: str) -> None:
        """Keep a note; durable when this returns."""
        _append(self._notes, note.encode())
        self._last = note

    def keep_edge(self, edge: bytes) -> None:
        """Keep the edge."""
        draft = self._folder / f".{_EDGE}"
        draft.write_bytes(edge)
        draft.replace(self._folder / _EDGE)

    def publish(self) -> None:
        """See to it that the last note is at the end of the file elsewhere."""
        if self._elsewhere is None or not self._last:
            return
        if _recover_notes(self._elsewhere) != self._last:
            _append(self._elsewhere, self._last.encode())

    def edge(self) -> bytes:
        """Return the edge that was kept last."""
        try:
            return (self._folder / _EDGE).read_bytes()
        except FileNotFoundError:
            return b""

    def close(self) -> None:
        """Give the folder back."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the folder back."""
        self.close()


class LeafFile:
    """A witness's leaves, or a copy of them, to be compared with a trail."""

    def __init__(self, path: Path) -> None:
        """Open the file, or the one of a witness's folder; raises `OSError`."""
        place = path / LEAVES if path.is_dir() else path
        self._descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, stop: int) -> bytes:
        """Return leaves, one after another; fewer if there are fewer."""
        wanted = (stop - start) * HASH_SIZE
        return os.pread(self._descriptor, wanted, start * HASH_SIZE)

    def count(self) -> int:
        """Return how many whole leaves there are."""
        return os.fstat(self._descriptor).st_size // HASH_SIZE

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def notes_of(path: Path) -> list[str]:
    """Return the notes of a file, or of a witness's folder; raises `OSError`.

    Of more than fit in memory, some, evenly, and the last one.
    """
    place = path / NOTES if path.is_dir() else path
    with place.open(encoding="utf-8", errors="replace", newline="\n") as file:
        return thinned_out(each_note(file), MOST_NOTES)


def _require_private(folder: Path) -> None:
    status = folder.stat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if status.st_uid not in {0, os.geteuid()} or others_write:
        raise UnsafeConfigurationError(
            f"others may write the witness's folder `{folder}`",
            advice=f"a folder of the witness's own uid: chmod 0700 {folder}",
        )


def _locked(path: Path) -> int:
    descriptor = _opened(path)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                # One that a server has just left needs a moment to end.
                time.sleep(_LOOK_AGAIN)
                continue
            os.close(descriptor)
            raise InvalidRequestError(
                f"another witness has `{path.parent}`",
                advice="one witness is enough for all servers of a store",
            ) from None
        else:
            return descriptor


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, _MODE)


def _append(descriptor: int, data: bytes) -> None:
    """Write at the end and flush; a failure in the middle is cut off next time."""
    _write(descriptor, data, os.lseek(descriptor, 0, os.SEEK_END))


def _write(descriptor: int, data: bytes, at: int) -> None:
    """Write there and flush."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        at += written
        view = view[written:]
    os.fsync(descriptor)


def _recover_notes(descriptor: int) -> str:
    """Return the last whole note of a file, and cut off a torn one behind it.

    Raises:
        InvalidRequestError: something else stands there. It is left as it is.
    """
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(descriptor, _TAIL, start)
    found = notes_in(tail.decode(errors="replace"))
    # The first lines of a tail may be the end of a note; the last note is whole.
    last = found[-1] if found else ""
    end = tail.rfind(last.encode()) + len(last.encode()) if last else 0
    is_odd = (start and len(found) < 2) or end < len(last)  # noqa: PLR2004 - as said
    if is_odd or not _is_torn(tail[end:]):
        raise InvalidRequestError(
            "the file of notes does not end with notes", advice=_ADVICE
        )
    if start + end != size:
        os.ftruncate(descriptor, start + end)
        os.fsync(descriptor)
    return last


def _is_torn(data: bytes) -> bool:
    """Tell whether this is nothing, or the beginning of a note that was not finished.

    Behind it a crash may leave zeros.
    """
    text = data.rstrip(b"\0")
    is_begun = text.startswith(_BEGINNING) or _BEGINNING.startswith(text)
    is_whole = text.count(b"\n") >= _LINES
    return is_begun and not is_whole and len(data) < LONGEST_NOTE


def _require_notes_of(elsewhere: int, last: str) -> None:
    """Refuse a file elsewhere that is no file of notes, or tells of more than we do."""
    head = os.pread(elsewhere, LONGEST_NOTE, 0)
    begun = notes_in(head.decode(errors="replace"))
    is_torn = head.startswith(_BEGINNING) and _is_torn(head)
    try:
        is_ours = _size_of(begun[0]) > 0 if begun else is_torn
    except InvalidCheckpointError:
        is_ours = False
    if head and not is_ours:
        raise InvalidRequestError(
            "the file for notes elsewhere holds something else: it is left as it is",
            advice="name a file that is not there yet, or one of this witness's notes",
        )
    known, told = _size_of(last), _size_of(_recover_notes(elsewhere))
    if told > known:
        raise LedgerCorruptError(
            f"the notes elsewhere tell of {told} leaves, the witness's own of {known}: "
            "notes are lost",
            sequence=known + 1,
            advice=_ADVICE,
        )


def _size_of(note: str) -> int:
    """Return of how many leaves a note is; 0 if there is none."""
    return Checkpoint.from_string(Note.from_string(note).text).size if note else 0


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
