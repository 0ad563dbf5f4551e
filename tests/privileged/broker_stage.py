"""A real broker, and processes of ordinary uids that speak to it."""

import contextlib
import encodings.idna  # noqa: F401 - sockets look it up when a child cannot import it
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from stead.privileged import sealing, trees
from stead.privileged.broker_wire import VERSION, hear, say

SECONDS = 180.0
"""How long anything may take before it counts as hung; never how long it should."""

NOTES = 70_900  # the uids of two services
FILES = 70_901
ALICE = 70_001
BOB = 70_002
CAROL = 70_003


class Stage:
    """A folder with a broker in it: its file, its sockets, its log."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "etc" / "broker.toml"
        self.socket = folder / "run" / "broker"
        self.gate = folder / "run" / "notes"
        self.second_gate = folder / "run" / "notes-dde"
        self.other_gate = folder / "run" / "files"
        self.ticket_gate = folder / "run" / "notes-tickets"
        self.open = folder / "srv"
        self.log = folder / "broker.log"
        for each in ("etc", "run", "srv"):
            (folder / each).mkdir()
            (folder / each).chmod(0o755)
        self.process = None
        self.write()

    def write(
        self, limits="", top="", more="", may='["start", "worker", "open", "log_on"]'
    ):
        self.config.write_text(
            f'socket = "{self.socket}"\n{top}\n'
            f"[services.notes]\nuid = {NOTES}\n"
            f'gates = ["{self.gate}", "{self.second_gate}"]\n'
            f'may = {may}\nopen_roots = ["{self.open}"]\n{more}\n'
            f"[services.files]\nuid = {FILES}\n"
            f'gates = ["{self.other_gate}"]\nmay = {may}\n'
            f"[limits]\n{limits}\n"
        )
        self.config.chmod(0o600)

    def start(self, *before):
        """Start it, by way of another program if one is named."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-I", "-m", "stead.privileged.broker",
                 "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )  # fmt: skip
        poll(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self):
        self.process.terminate()
        return self.process.wait(SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS)

    def monitors(self):
        """Return the pids of the broker's monitors."""
        return [
            each.pid for each in trees._processes() if each.parent == self.process.pid
        ]

    def said(self):
        return self.log.read_text()


@pytest.fixture
def stage(world):
    made = Stage(world)
    yield made
    if made.process is not None and made.process.poll() is None:
        assert made.stop() == 0, made.said()


@pytest.fixture
def broker(stage):
    return stage.start()


class Child:
    """A process of another uid, forked after its imports, that runs one function.

    It and the test talk by lines of JSON.
    """

    def __init__(self, uid, act, groups=(), gid=None, before=None):
        ours, theirs = socket.socketpair()
        self.is_over = False  # its number may be another's by now
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            if before is not None:
                before()
            be(uid, uid if gid is None else gid, groups, theirs, act)
        theirs.close()
        ours.settimeout(SECONDS)
        self._socket = ours
        self._file = ours.makefile("rw")

    def hear(self):
        """Return what it says next; fail if it failed."""
        try:
            line = self._file.readline()
        except TimeoutError:
            line = ""
        said = json.loads(line or '{"failed": "it died or hangs, and said nothing"}')
        if "failed" in said:
            pytest.fail(f"a process failed:\n{said['failed']}")
        return said["value"]

    def tell(self, value=None):
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)  # not reaped yet, so its number is its own

    def end(self):
        if not self.is_over:
            self.kill()
            os.waitpid(self.pid, 0)
            self.is_over = True
        self._file.close()
        self._socket.close()


class Talk:
    """The child's side of it."""

    def __init__(self, channel):
        self._file = channel.makefile("rw")

    def say(self, value=None):
        self._file.write(json.dumps({"value": value}) + "\n")
        self._file.flush()

    def hear(self):
        line = self._file.readline()
        if not line:
            os._exit(0)
        return json.loads(line)


def be(uid, gid, groups, channel, act):
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        talk = Talk(channel)
        told = {"value": act(talk)}
    except BaseException:
        told = {"failed": traceback.format_exc()}
    with contextlib.suppress(OSError):
        channel.sendall((json.dumps(told) + "\n").encode())
    os._exit(0)  # nothing of the parent's clean-up runs here


@pytest.fixture
def begin():
    """Give what begins a process under a uid; all of them end with the test."""
    children = []

    def one(uid, act, **ids):
        children.append(Child(uid, act, **ids))
        return children[-1]

    yield one
    for child in children:
        child.end()


@pytest.fixture
def connect(begin):
    """Give what connects somebody to a gate, and keeps him there."""

    def one(uid, gate, **ids):
        def stays(talk):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(SECONDS)
                client.connect(str(gate))
                talk.say("connected")
                talk.hear()
                client.close()
                talk.say("left")
                talk.hear()

        child = begin(uid, stays, **ids)
        assert child.hear() == "connected"
        return child

    return one


def poll(claim):
    """Ask again and again until the answer is true; return it."""
    deadline = time.monotonic() + SECONDS
    while not (found := claim()):
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.005)
    return found


def attempts(stage, talk):
    """Log on again and again, as the test says; say what came of each."""
    raw = Raw(stage.socket)
    raw.hello()
    while True:
        account, password = talk.hear()
        talk.say(raw.log_on(account, password))


class Raw:
    """A server that speaks to the broker by hand, well or not; used in a child."""

    def __init__(self, path):
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(SECONDS)
        self.control.connect(str(path))

    def ask(self, name, descriptors=(), **fields):
        say(self.control, {"request": name, **fields}, descriptors)

    def hello(self):
        self.ask("hello", version=VERSION)
        heard = hear(self.control, 65536, 0)
        return None if heard is None else heard[0]

    def is_cut_off(self):
        """Wait for the broker to say anything; say whether that was the end."""
        try:
            return not self.control.recv(100)
        except ConnectionResetError:
            return True

    def log_on(self, account, password):
        """Hand a password in; return the answer."""
        answer, theirs = pair()
        name = json.dumps({"account": account}).encode()
        with answer, sealed(name) as document, sealed(password.encode()) as secret:
            with theirs:
                self.ask(
                    "log_on", [theirs.fileno(), document.fileno(), secret.fileno()]
                )
            heard = hear(answer, 1 << 20, 0)
        return None if heard is None else heard[0]

    def listen(self, gate=0):
        ours, theirs = pair()
        with theirs:
            self.ask("listen", [theirs.fileno()], gate=gate)
        return ours

    def start(self, client, *argv, order=None, channel=None, **fields):
        """Order a program; return the channel."""
        ours, theirs = pair()
        null = os.open(os.devnull, os.O_RDWR)
        document = order if order is not None else sealed(server_part(argv))
        number = theirs.fileno() if channel is None else channel
        with theirs, document:
            stdio = [null, fields.pop("out", null), null]
            self.ask(
                "start", [number, document.fileno(), *stdio], client=client,
                session=False, **fields,
            )  # fmt: skip
        os.close(null)
        return ours


def accept(channel):
    """Take a client that the broker accepted: its index, and its socket."""
    message, (descriptor,) = hear(channel, 8192, 1)
    return message["client"], socket.socket(fileno=descriptor)


def told(channel):
    """Return what is said next on a process's channel; None at its end."""
    heard = hear(channel, 65536, 0)
    return None if heard is None else heard[0]


def server_part(words, **fields):
    """Return an order without whom it is for, as a server writes it."""
    made = {
        "argv": [str(word) for word in words],
        "environment": [["PATH", "/usr/bin:/bin"]],
        "directory": "/",
        "fallback_directory": "",
        "umask": 0o022,
        "limits": [],
        "no_new_privileges": False,
        "terminal": False,
        "pam_user": "",
        "confinement": None,
    }
    return json.dumps(made | fields).encode()


def sealed(document):
    return sealing.sealed(document)


def unsealed(document):
    descriptor = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.write(descriptor, document)
    return os.fdopen(descriptor, "r+b", buffering=0)


def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(SECONDS)
    return ours, theirs


def is_alive(pid):
    """Say whether a process is there, and no zombie. Numbers do not come again here."""
    found = trees._read(pid)
    return found is not None and found.state not in "ZX"


def ids_of(pid):
    """Return a process's uids, gids and groups as the kernel shows them."""
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    uids, gids, groups = (
        [int(number) for number in status[name].split()]
        for name in ("Uid", "Gid", "Groups")
    )
    return [uids[:3], gids[:3], groups]
