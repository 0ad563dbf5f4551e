"""Eight threads as eight users beside two observers: `many_clients.py FOLDER ROUNDS`.

Each round a client reads its own file and fails to read another's and the server's,
and creates a file whose owner the kernel says. The observers are the server all the
time. Printed: what was seen that should not have been.
"""

import json
import os
import random
import sys
import threading
from pathlib import Path

from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock

FOLDER, ROUNDS = Path(sys.argv[1]), int(sys.argv[2])
UIDS = range(70001, 70009)
SHARED = 70100
violations = []
ended = threading.Event()


def lay_out():
    FOLDER.chmod(0o1777)
    for uid in (0, *UIDS):
        path = FOLDER / f"secret{uid}"
        path.write_text(str(uid))
        os.chown(path, uid, uid)
        path.chmod(0o600)
    shared = FOLDER / "shared"
    shared.write_text("shared")
    os.chown(shared, 0, SHARED)
    shared.chmod(0o640)


def reads(name):
    try:
        return (FOLDER / name).read_text()
    except PermissionError:
        return None


def expect(expected, found, what):
    if expected != found:
        violations.append([what, expected, found])


def owner_of_new_file(name):
    path = FOLDER / name
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    owner = os.fstat(descriptor).st_uid
    os.close(descriptor)
    path.unlink()
    return owner


def client(uid, barrier):
    barrier.wait()
    member = uid % 2 == 0
    identity = PosixIdentity(uid, uid, (SHARED,) if member else ())
    choose = random.Random(uid)  # noqa: S311  # which file is tried is no secret
    for _ in range(ROUNDS):
        other = choose.choice(UIDS)
        with KernelBlock(identity):
            expect(str(uid) if other == uid else None, reads(f"secret{other}"), "read")
            expect(None, reads("secret0"), "the server's")
            expect("shared" if member else None, reads("shared"), "group")
            expect(uid, owner_of_new_file(f"new{uid}"), "owner")
        expect("0", reads("secret0"), "back")


def observer(name):
    rounds = 0
    while not ended.is_set():
        for uid in UIDS:
            expect(str(uid), reads(f"secret{uid}"), "observer")
        expect(0, owner_of_new_file(name), "observer's owner")
        rounds += 1
    return rounds


def main():
    lay_out()
    observers = [threading.Thread(target=observer, args=(f"o{n}",)) for n in range(2)]
    barrier = threading.Barrier(len(UIDS))
    with KernelExecutor(len(UIDS)) as executor:
        for thread in observers:
            thread.start()
        try:
            futures = [executor.submit(client, uid, barrier) for uid in UIDS]
            for future in futures:
                future.result()
        finally:
            ended.set()
            for thread in observers:
                thread.join()
    print(json.dumps({"switches": len(UIDS) * ROUNDS, "violations": violations}))


main()
