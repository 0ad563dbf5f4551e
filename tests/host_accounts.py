"""Accounts of the host that only one thread sees, and what it starts; needs root.

The thread is in mounts of its own, where `/etc/passwd`, `/etc/group` and `/etc/shadow`
are copies with more lines. `/etc/nsswitch.conf` is one that may be written to. They go
with the thread, or when `own_accounts` is left.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

FIRST_UID: Final = 70_123
SWITCH: Final = Path("/etc/nsswitch.conf")
_NEW_MOUNTS: Final = 0x0002_0000  # CLONE_NEWNS of unshare(2)
# As `passwd` has it made on Debian: yescrypt, at its usual strength.
_SALT: Final = b"$y$j9T$steadsteadstead1$"
_DAY: Final = 86_400


class HostAccount(NamedTuple):
    """What the host keeps of an account (shadow(5)); days count from today.

    Attributes:
        password: None for none, with which anybody may come that a service lets.
        locked: whether there is a mark before the password that no password fits.
        changed: when the password was changed; None for one that must be now.
        most: for how many days it is good.
        inactive: for how many more it can be changed.
        expires: when the account ends.
        groups: of the host, which it is in.
    """

    password: str | None = None
    locked: bool = False
    changed: int | None = -100
    most: int = 99_999
    inactive: int | None = None
    expires: int | None = None
    groups: tuple[str, ...] = ()

    def line(self, name: str) -> str:
        """Return its line in `/etc/shadow`."""
        today = int(time.time()) // _DAY
        kept = "" if self.password is None else hashed(self.password)
        changed = 0 if self.changed is None else today + self.changed
        inactive = "" if self.inactive is None else self.inactive
        expires = "" if self.expires is None else today + self.expires
        mark = "!" if self.locked else ""
        return f"{name}:{mark}{kept}:{changed}:0:{self.most}:7:{inactive}:{expires}:"


@contextmanager
def own_accounts(folder: Path, accounts: Mapping[str, HostAccount]) -> Iterator[None]:
    """Have this thread see accounts that the host does not have."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "no mounts of its own")
    _run("mount", "--make-rprivate", "/")
    numbered = list(enumerate(accounts.items(), FIRST_UID))
    users = [f"{name}:x:{uid}:{uid}::/:/bin/sh" for uid, (name, _) in numbered]
    groups = [f"{name}:x:{uid}:" for uid, (name, _) in numbered]
    shadows = [account.line(name) for name, account in accounts.items()]
    with ExitStack() as mounted:
        for place, text in (
            (Path("/etc/passwd"), _with(Path("/etc/passwd"), users)),
            (Path("/etc/shadow"), _with(Path("/etc/shadow"), shadows)),
            (Path("/etc/group"), _joined(_with(Path("/etc/group"), groups), accounts)),
            (SWITCH, SWITCH.read_text()),
        ):
            ours = folder / place.name
            ours.touch(mode=place.stat().st_mode & 0o777)
            ours.write_text(text)
            _run("mount", "--bind", ours, place)
            mounted.callback(_run, "umount", "--lazy", place)
        yield


def hashed(password: str) -> str:
    """Return what `/etc/shadow` keeps of a password."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    made: bytes = crypt(password.encode(), _SALT)
    return made.decode()


def _with(place: Path, lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in (*place.read_text().splitlines(), *lines))


def _joined(text: str, accounts: Mapping[str, HostAccount]) -> str:
    """Return the text of `/etc/group` with accounts in the groups that they are in."""
    lines = [line.split(":") for line in text.splitlines()]
    for line in lines:
        members = [name for name, one in accounts.items() if line[0] in one.groups]
        line[3] = ",".join(filter(None, [line[3], *members]))
    return "".join(":".join(line) + "\n" for line in lines)


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
