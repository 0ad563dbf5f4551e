"""A server that forks while it acts for a client, and goes on when the fork has ended.

usage: forking_server.py WAY

The fork leaves in that WAY:

- ``naive`` closes as somebody would who forgets that sockets are shared;
- ``close`` closes the server;
- ``exit`` leaves the blocks of server, session and process by ``sys.exit``;
- ``asks`` asks for what only the server's own process can give;
- ``multiprocessing`` ends as a process of that library does.

It prints what the fork said, and then, as JSON: the fork's exit code; whether the
client's process still answers, or how it ended; whose a function and a new process are;
and whether it all went by the launchers that were there before.
"""

import json
import multiprocessing
import os
import select
import signal
import socket
import sys
from contextlib import contextmanager
from subprocess import PIPE

from stead.errors import SteadError
from stead.model.privilege import LogonRight
from stead.model.secret import Secret
from stead.server.protected_server import ProtectedServer

UID = 70001
WAIT = 60


def naive(server, session, process):
    for launcher in launchers(server):
        launcher._control.shutdown(socket.SHUT_RDWR)


def close(server, session, process):
    server.close()
    server.close()


def asks(server, session, process):
    means, child = server._house.acting._means, process._life.child
    for act in (
        means.programs.open,
        lambda: means.programs.start(None, (0, 1, 2), on_end=print),
        lambda: means.watch.add(child._channel, print),
        lambda: means.errands.run(print),
        lambda: means.errands.submit(print),
        process.wait,
        child.started.exception,
        process.terminate,
        lambda: session.run(os.getuid),
        lambda: session.start(["/bin/true"]),
    ):
        try:
            act()
        except SteadError as error:
            print(type(error).__name__, flush=True)
    means.watch.remove(child._channel)
    process.kill()
    means.deadlines.soon(print)
    means.close()


def fork(way, *world):
    """Return the number of a process that was forked and leaves in that way."""
    if way is not None:
        made = multiprocessing.get_context("fork").Process(target=way, args=world)
        made.start()
        return made.pid
    pid = os.fork()
    if not pid:
        sys.exit(7)
    return pid


def end_of(pid):
    """Return the exit code; one that hangs is killed."""
    held = os.pidfd_open(pid)
    if not select.select([held], [], [], WAIT)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(held)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def opened():
    with ProtectedServer("forking") as server:
        server.accounts.add("alice", uid=UID)
        server.accounts.set_password("alice", Secret("right horse"))
        server.accounts.grant("alice", LogonRight.INTERACTIVE)
        with server.log_on("alice", "right horse") as session:
            yield server, session


def target(server, session, process):
    print("the target returns", flush=True)


def launchers(server):
    means = server._house.acting._means
    return [means.programs._processes[-1], means.functions._processes[-1]]


def is_as_before(server, session, process):
    """Use everything once, and tell what comes of it."""
    before = [each._process.pid for each in launchers(server)]
    told = {
        "function": session.run(os.getuid),
        "program": session.start(["/bin/true"]).wait(WAIT),
    }
    told["launchers"] = before == [each._process.pid for each in launchers(server)]
    process.stdin.write(b"still here\n")
    process.stdin.flush()
    told["process"] = process.stdout.readline().decode().strip()
    process.kill()
    return told | {"killed": process.wait(WAIT)}


WAYS = {
    "naive": naive, "close": close, "exit": None, "asks": asks,
    "multiprocessing": target,
}  # fmt: skip


def main():
    with (
        opened() as (server, session),
        session.start(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process,
    ):
        session.run(os.getuid)
        told = {"fork": end_of(fork(WAYS[sys.argv[1]], server, session, process))}
        if sys.argv[1] == "naive":
            told |= {"process": process.wait(WAIT)}
        else:
            told |= is_as_before(server, session, process)
    print(json.dumps(told))


main()
