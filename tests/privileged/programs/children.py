"""One attack by a started child: `children.py naive-WAY|ours ATTACK SECRET`.

The server is this process: root, with a secret in its environment, a secret file open,
a group of its own, signals that it ignores, a terminal and much else that a child could
inherit. It starts a child for uid 70001 and the attack is made there. Printed: what
came of it.

The module is also what our launcher preloads: the attack is the same code.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pty
import resource
import signal
import socket
import sys
import termios
from pathlib import Path

import naive

from stead.model.posix_identity import PosixIdentity

CLIENT = 70001
GROUP = 4711
PTRACE_ATTACH = 16
PTRACE_DETACH = 17
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
KEEP_CAPABILITIES = 1 << 4
PRCTL = 167 if naive._ARM else 157


def tried(act):
    """Say what the act gave, or which error of the kernel stopped it."""
    try:
        result = act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done" if result is None else result


def read_secret():
    return Path(os.environ["SECRET_FILE"]).read_text()


# --- attacks: each runs in the child ------------------------------------------------


def saved_uid():
    def act():
        naive.raw(naive.SETRESUID, 0, 0, 0)
        return read_secret()

    return tried(act)


def kept_capabilities():
    def act():
        naive.regain_capabilities()
        return read_secret()

    return tried(act)


def left_over_group():
    return "group" if GROUP in os.getgroups() else "none"


def descriptors():
    """Give every number that may be an open descriptor, but the answer's own."""
    return (number for number in range(3, 64) if number != int(os.environ["WORK"]))


def inherited_descriptor():
    for number in descriptors():
        with contextlib.suppress(OSError):
            return os.pread(number, 64, 0).decode()
    return "none"


def inherited_socket():
    for number in descriptors():
        with contextlib.suppress(OSError):
            socket.socket(fileno=number).detach()
            return "socket"
    return "none"


def environment():
    return os.environ.get("SERVER_SECRET", "none")


def memory():
    """Search the child's own memory for what only the server knew.

    The whole is never put together here: it would be found.
    """
    maps = Path("/proc/self/maps").read_text().splitlines()
    for line in maps:
        place, mode, *_ = line.split()
        first, last = (int(each, 16) for each in place.split("-"))
        content = ctypes.string_at(first, last - first) if mode == "rw-p" else b""
        at = -1
        while (at := content.find(b"the-secret-", at + 1)) >= 0:
            if content[at + 11 : at + 24][::-1] == b"ecafrus-rednu":
                return "found"
    return "none"


def terminal_injection():
    def act():
        terminal = os.open("/dev/tty", os.O_RDWR)
        fcntl.ioctl(terminal, termios.TIOCSTI, b"x")

    return tried(act)


def ignored_signal():
    status = Path("/proc/self/status").read_text().splitlines()
    ignored = next(line for line in status if line.startswith("SigIgn"))
    return "ignored" if int(ignored.split()[1], 16) >> signal.SIGUSR1 - 1 & 1 else "no"


def session_keyring():
    """Find, in the session's keyring, the key that the server put there."""
    texts = [ctypes.create_string_buffer(text) for text in (b"user", b"stead-child")]
    at = [ctypes.addressof(text) for text in texts]

    def act():
        key = naive.raw(naive.KEYCTL, 10, -3, at[0], at[1], 0)
        found = ctypes.create_string_buffer(64)
        length = naive.raw(naive.KEYCTL, 11, key, ctypes.addressof(found), 64)
        return found.raw[:length].decode()

    return tried(act)


def raised_limit():
    def act():
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1001, 1001))
        except ValueError as error:
            raise PermissionError(errno.EPERM, str(error)) from error

    return tried(act)


def signal_the_parent():
    return tried(lambda: os.kill(os.getppid(), 0))


def working_directory():
    def act():
        return Path("note").read_text()

    return tried(act)


def umask():
    return f"{os.umask(0o077):03o}"


# --- the two servers ----------------------------------------------------------------


def attack(work):
    """Make the attack that the environment names; what the launcher calls."""
    os.environ["WORK"] = str(work)
    os.write(work, json.dumps(globals()[os.environ["ATTACK"]]()).encode())
    return 0


def naive_server(way, name, path):
    """Start the child as people write it, in one of several ways."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.environ.update({"ATTACK": name, "SECRET_FILE": path})
        if way == "effective":
            os.setgroups([])
            os.setegid(CLIENT)
            os.seteuid(CLIENT)
        else:
            if way != "groups":
                os.setgroups([])
            os.setresgid(CLIENT, CLIENT, CLIENT)
            os.setresuid(CLIENT, CLIENT, CLIENT)
        os._exit(attack(writing))
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.wait()
    return json.loads(text)


def our_server(name, path):
    # Not at the top: what the launcher preloads is this module.
    from stead.privileged.launching import Launcher
    from stead.privileged.orders import Order
    from stead.privileged.system_uids import DEFAULT_GUARD_UID
    from stead.privileged.watch import Watch

    watch = Watch("watch")
    launcher = Launcher("ours", watch, guard=DEFAULT_GUARD_UID, preload=("children",))
    order = Order(
        PosixIdentity(CLIENT, CLIENT),
        environment=((b"ATTACK", name.encode()), (b"SECRET_FILE", path.encode())),
        body="children:attack",
        limits=((resource.RLIMIT_NOFILE, 1000, 1000),),
    )
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open("r+b") as null:
        number = null.fileno()
        child = launcher.start(
            order,
            (number, number, number),
            extra=[theirs.fileno()],
            on_end=lambda _: None,
        )
        theirs.close()
        child.started.result(60)
        text = b""
        while part := ours.recv(4096):
            text += part
    child.ended.result(60)
    launcher.close()
    watch.close()
    return json.loads(text)


def be_a_server(path):
    """Have what a child must not get."""
    os.environ["SERVER_SECRET"] = "secret"
    held = [bytearray(reversed(b"ecafrus-rednu-terces-eht")) for _ in range(1000)]
    os.set_inheritable(os.open(path, os.O_RDONLY), True)
    held.extend(socket.socketpair())
    for each in held[-2:]:
        each.set_inheritable(True)
    os.setgroups([GROUP])
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    naive.raw(naive.KEYCTL, 1)
    texts = [
        ctypes.create_string_buffer(t) for t in (b"user", b"stead-child", b"secret")
    ]
    at = [ctypes.addressof(text) for text in texts]
    key = naive.raw(naive.ADD_KEY, at[0], at[1], at[2], 6, -3)
    # Possessor and others may all do all: what is asked is whether it is reachable.
    naive.raw(naive.KEYCTL, 5, key, 0x3F3F3F3F)
    os.chdir(Path(path).parent / "private" / "open")
    os.umask(0)
    return held


def with_a_terminal(act):
    """Run `act` in a session whose terminal is held by whoever started this."""
    pid, terminal = pty.fork()
    if pid == 0:
        print(json.dumps(act()), flush=True)
        os._exit(0)
    text = b""
    with contextlib.suppress(OSError):  # how a terminal says that it has ended
        while part := os.read(terminal, 4096):
            text += part
    os.waitpid(pid, 0)
    return json.loads(text.splitlines()[-1].lstrip(b"x"))


def main():
    way, name, path = sys.argv[1:]

    def serve():
        held = be_a_server(path)
        if name == "kept_capabilities":
            naive.raw(PRCTL, PR_SET_SECUREBITS, KEEP_CAPABILITIES)
        if way == "ours":
            came = our_server(name, path)
        else:
            came = naive_server(way.removeprefix("naive-"), name, path)
        del held
        return came

    print(json.dumps(with_a_terminal(serve)))


if __name__ == "__main__":
    main()
