"""Ways in which a process must end at once: `stop.py CASE`. Nothing may be printed."""

import dataclasses
import os
import sys
import threading

import naive

from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials, seccomp, thread_credentials
from stead.privileged.credentials import ServerIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock
from stead.privileged.syscalls import architecture

ALICE, BOB = PosixIdentity(70001, 70001), PosixIdentity(70002, 70002)
GUARD = 65530


def server():
    return ServerIdentity(thread_credentials.read(), GUARD, 0)


def switched_behind_the_back():
    """Somebody else's call made the thread the server in the middle of its block."""
    own = server()
    credentials.enter(ALICE, own)
    os.seteuid(0)
    credentials.leave(ALICE, own)


def no_way_back():
    """The saved uid is gone while the thread is the client."""
    own = server()
    credentials.enter(ALICE, own)
    naive.raw(naive.SETRESUID, -1, -1, ALICE.uid)
    credentials.restore(own)


def not_the_server_again():
    """What the thread comes back to is not what the server was."""
    own = server()
    credentials.enter(ALICE, own)
    other = dataclasses.replace(own.credentials, effective=0)
    credentials.leave(ALICE, ServerIdentity(other, GUARD, 0))


def half_entered_and_no_way_back():
    """The kernel refuses the last step in, and then the way out."""
    own = server()
    deny("setresuid")
    credentials.enter(ALICE, own)


def server_block_was_switched():
    """A block that is the server's own is left as somebody else."""
    own = server()
    credentials.enter(ALICE, own)
    credentials.leave(None, own)


def no_nobody():
    """The thread cannot become nobody when blocks contradict each other."""
    own = server()
    deny("setresgid")
    credentials.become_nobody(own)


def outer_client_is_refused():
    """The outer client cannot be entered again after the inner block."""

    def work():
        thread = threading.current_thread()
        with KernelBlock(ALICE):
            inner = KernelBlock(BOB)
            inner.enter()
            # The filter passes no other guard, so whoever enters next is refused.
            own = thread.server
            thread._blocks[0].identity = PosixIdentity(0, 0)
            assert own.guard == GUARD
            inner.leave()
            print("ran on as the server", flush=True)

    with KernelExecutor(1) as executor:
        executor.submit(work).result()


def stderr_is_full():
    """Nobody reads what is said last."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    os.dup2(writer, 2)
    assert reader
    no_way_back()


def stderr_is_closed():
    os.close(2)
    no_way_back()


def deny(name):
    """Take a call away from this thread, as a stranger's filter would."""
    machine = architecture(os.uname().machine)
    seccomp.install(seccomp.assemble((seccomp.Rule(name),), machine))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("the process goes on")
