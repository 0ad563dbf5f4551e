"""How a domain controller of a test's own is kept, asked and ended.

The controller runs in a mount namespace of its own, because Samba's libraries look for
their sockets under /run/samba whatever the configuration says, and in a pid namespace
of its own, because that is what ends whole: its first process waits for the end of its
input, which is a pipe of the test's, and with it the kernel kills everything else.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stead.errors import EnforcementUnavailableError
from stead.testing.private_server import answers, end, keep

PROGRAM: Final = Path(__file__).with_name("samba_program.py")
PYTHON: Final = "/usr/bin/python3"
_PORTS: Final = (88, 135, 389, 445)
_SECONDS_TO_START: Final = 120.0
_SECONDS_TO_END: Final = 60.0
_PAUSE: Final = 0.02
_END: Final = b"end\nend\n"  # for the inside, and then for the outside
_TRIES: Final = 50
_LOOPBACK: Final = (64, 127)
"""The second number of an address: far from those that people give by hand."""

# Outside the namespaces: it waits until the folder is furnished, and removes it once
# the inside has ended whole, and whoever started it has read why or is gone.
_OUTER: Final = """\
read -r word
[ "$word" = go ] || { rm -rf "$2" ; exit ; }
exec 2>"$2/log/outside"
unshare --mount --pid --fork --kill-child=KILL sh -c "$1" sh "$2"
: >"$2/log/ended"
read -r word
rm -rf "$2"
"""
INSIDE: Final = "/run/stead"
"""How the controller calls its folder: local sockets have short names (unix(7))."""

# Inside: the first process, with whose end the kernel ends all others.
_INNER: Final = f"""\
exec 2>"$1/log/inside"
set -e
mkdir "$1/mount"
mount -t tmpfs -o mode=755 tmpfs "$1/mount"
mkdir "$1/mount/samba" "$1/mount/stead"
mount --bind "$1" "$1/mount/stead"
mount --rbind "$1/mount" /run
cd /
( samba --foreground --no-process-group -M single -s {INSIDE}/smb.conf \\
    </dev/null >{INSIDE}/log/out 2>&1 ; : >{INSIDE}/log/ended ) &
read -r _
"""


class Controller:
    """A domain controller, from before its folder is furnished to its end."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        """Look after the folder; `start` starts it.

        Args:
            folder: its own, with `smb.conf` and what that names, as `INSIDE` calls it;
                it is removed with this object, and if this process dies.
            variables: its environment.
        """
        self._folder = folder
        marked = {**variables, "STEAD_DOMAIN": str(folder)}  # `ps e` tells whose it is
        self._process = keep(_OUTER, _INNER, str(folder), variables=marked)

    def start(self, address: str) -> None:
        """Start it, and wait until it answers.

        Raises:
            EnforcementUnavailableError: it does not start.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        deadline = time.monotonic() + _SECONDS_TO_START
        ended = self._folder / "log" / "ended"
        asked = self._folder / "state" / "winbindd_privileged" / "pipe"
        while time.monotonic() < deadline:
            if ended.exists():
                break
            if asked.exists() and all(answers(port, address) for port in _PORTS):
                return
            time.sleep(_PAUSE)
        raise EnforcementUnavailableError(
            f"the domain controller at {address} does not start: {self._said()}",
            advice="it needs root, and may not be in a sandbox without namespaces",
        )

    def _said(self) -> str:
        """Return the last that each of its parts said."""
        logs = sorted(path for path in self._folder.glob("log/*") if path.is_file())
        lasts = [path.read_text("utf-8", "replace").splitlines()[-2:] for path in logs]
        return " ".join(line.strip() for last in lasts for line in last)

    def close(self) -> None:
        """End it and all that it started, and remove its folder."""
        end(self._process, _END)


class Administration:
    """The child that changes the domain's database, as `samba_program` says."""

    def __init__(self, configuration: Path, variables: Mapping[str, str]) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [PYTHON, "-I", str(PROGRAM), str(configuration)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Samba remarks on what is no fault
            text=True,
            env=dict(variables),
        )

    def ask(self, verb: str, **words: Any) -> Any:
        """Have it do something; return what comes of it.

        Raises:
            EnforcementUnavailableError: Samba refuses, or the child is gone.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise EnforcementUnavailableError("nobody can be asked")
        request = json.dumps({"do": verb, **words}) + "\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        answer = json.loads(line) if line else {"fault": "it has ended"}
        if "fault" in answer:
            raise EnforcementUnavailableError(f"samba refuses: {answer['fault']}")
        return answer["is"]

    def close(self) -> None:
        """End it; again does nothing."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.communicate("\n", timeout=_SECONDS_TO_END)


def can_administer() -> bool:
    """Tell whether the system's Python has Samba's bindings."""
    asked = [PYTHON, "-I", "-c", "import samba.provision, samba.dckeytab"]
    try:
        done = subprocess.run(asked, capture_output=True, check=False, timeout=60)
    except OSError:
        return False
    return done.returncode == 0


def free_address() -> str:
    """Return a loopback address on which nobody serves a domain.

    It is chosen at random of some four million, so that tests that run side by side do
    not choose the same one; what a domain listens on is tried as well.
    """
    for _ in range(_TRIES):
        second = random.randrange(*_LOOPBACK)  # noqa: S311 - to avoid others
        third, fourth = random.randrange(256), random.randrange(1, 255)  # noqa: S311
        address = f"127.{second}.{third}.{fourth}"
        if all(_is_free(address, port) for port in _PORTS):
            return address
    raise EnforcementUnavailableError("no loopback address is free for a domain")


def lay_out(folder: Path) -> None:
    """Make the folders that `smb.conf` names."""
    for name in ("bind-dns", "cache", "lock", "log", "ncalrpc", "private", "run"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "state" / "sysvol").mkdir(parents=True, exist_ok=True)
    (folder / "private").chmod(0o700)


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except PermissionError as error:
            raise EnforcementUnavailableError(
                "a domain controller listens on ports that take root", advice="sudo"
            ) from error
        except OSError:
            return False
    return True


def kept_in(cache: Path | None) -> Path | None:
    """Return the folder in which finished domains are kept; None where it cannot be.

    Args:
        cache: what the caller says; the user's cache folder if nothing.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    home = Path(named) if named else Path.home() / ".cache"
    folder = cache or home / "stead"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    status = folder.stat()
    is_ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return folder if is_ours and os.access(folder, os.W_OK) else None
