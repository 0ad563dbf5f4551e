"""Somebody mounts a procfs while the server runs: `later_procfs.py FOLDER`."""

import json
import os
import sys
from pathlib import Path

import mounts

from stead.errors import NotARegularFileError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.opening import open_as

FOLDER = Path(sys.argv[1])
ALICE = PosixIdentity(70001, 70001)

mounts.own_namespace(mounts.SHARED)
with KernelExecutor(1) as executor:
    mounts.mount(FOLDER, "proc")
    assert executor.submit((FOLDER / "self").exists).result(), "it did not arrive"
    try:
        path = FOLDER / "self" / "maps"
        os.close(executor.submit(open_as, ALICE, path, os.O_RDONLY).result())
        print(json.dumps("opened"))
    except NotARegularFileError as error:
        print(json.dumps(type(error).__name__))
