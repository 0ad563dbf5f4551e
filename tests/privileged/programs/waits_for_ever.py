"""A client's FIFO holds a thread while the process ends: `waits_for_ever.py FIFO`."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stead.errors import ServerClosedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock


def read():
    with KernelBlock(PosixIdentity(0xFFFE, 0xFFFE)):
        return Path(sys.argv[1]).read_text()


def handler(executor):
    """What waits for it, on a thread that Python joins at its end."""
    try:
        executor.submit(read).result()
    except ServerClosedError as error:
        print(type(error).__name__)


with ThreadPoolExecutor(1) as handlers, KernelExecutor(1, grace=0.01) as executor:
    waiting = handlers.submit(handler, executor)
    while not any(future.running() for future in tuple(executor._unfinished)):
        time.sleep(0.001)
