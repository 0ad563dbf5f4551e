"""A FIFO's opener is interrupted by a signal while it waits; prints what came of it."""

import ctypes
import os
import signal
import struct
import tempfile
import threading
from pathlib import Path

from stead.privileged.syscalls import call_waiting

AT_FDCWD = 2**64 - 100
OPENAT2 = "437 "


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fifo")
        os.mkfifo(path)
        came = []
        interrupted = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: interrupted.set())

        def opener():
            name = ctypes.create_string_buffer(bytes(path))
            how = ctypes.create_string_buffer(struct.pack("=QQQ", 0, 0, 0), 24)
            at = ctypes.addressof(name), ctypes.addressof(how)
            came.append(call_waiting("openat2", AT_FDCWD, *at, 24))

        thread = threading.Thread(target=opener)
        thread.start()
        status = Path(f"/proc/self/task/{thread.native_id}/syscall")
        while not status.read_text().startswith(OPENAT2):
            os.sched_yield()
        signal.pthread_kill(thread.ident, signal.SIGUSR1)
        while not interrupted.is_set():
            os.sched_yield()
        os.close(os.open(path, os.O_WRONLY))
        thread.join()
        print(f"opened {len(came)} time after the signal")


main()
