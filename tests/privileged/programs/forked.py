"""A child forked from a server uses the executor it finds."""

import os
import sys

from stead.errors import ServerClosedError
from stead.privileged.executor import KernelExecutor

with KernelExecutor(1) as executor:
    pid = os.fork()
    if pid == 0:
        try:
            executor.submit(int)
        except ServerClosedError as error:
            os.write(1, f"{error}\n".encode())
        sys.exit()  # an ordinary end, so that coverage is measured
    os.waitpid(pid, 0)
