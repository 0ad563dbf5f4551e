"""A file server of a test's own: Samba's, outside of any domain, and gone afterwards.

    with FileServer() as files:
        files.add_account("alice", "a password")
        files.port, files.share

Its accounts are its own, and take passwords (NTLMv2). It listens on a free port of
127.0.0.1, keeps everything in a folder of its own, and is stopped with the `with`
statement, and also if this process dies. In a mount namespace of its own it has its own
/etc/passwd, so the machine gets no users.

It needs root and Debian's samba.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from stead.errors import EnforcementUnavailableError
from stead.testing.private_server import (
    PATH,
    PrivateServer,
    answers,
    end,
    free_port,
    keep,
)

_SECONDS: Final = 60.0
_SECONDS_TO_START: Final = 60.0
_PAUSE: Final = 0.02
_FIRST_UID: Final = 61_400
_FOLDERS: Final = (
    "cache", "lock", "log", "ncalrpc", "private", "run", "shares/data", "state",
)  # fmt: skip
_USERS: Final = """\
root:x:0:0:root:/:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
"""
_GROUPS: Final = "root:x:0:\nnogroup:x:65534:\n"
_CONFIGURATION: Final = """\
[global]
 server role = standalone server
 netbios name = NAS
 workgroup = NASGROUP
 smb ports = {port}
 interfaces = 127.0.0.1/8
 bind interfaces only = yes
 disable netbios = yes
 passdb backend = tdbsam:{folder}/private/passdb.tdb
 private dir = {folder}/private
 state directory = {folder}/state
 cache directory = {folder}/cache
 lock directory = {folder}/lock
 pid directory = {folder}/run
 ncalrpc dir = {folder}/ncalrpc
 usershare path =
 logging = file
 log file = {folder}/log/log.%m
 load printers = no
 printing = bsd
 printcap name = /dev/null
 disable spoolss = yes
 panic action =
{more}
[data]
 path = {folder}/shares/data
 read only = no
 guest ok = yes
"""
# Outside: removes the folder once the inside has ended, and whoever started it has read
# why, or is gone.
_RUN: Final = """\
inside=$1
shift
unshare --mount --pid --fork --kill-child=KILL sh -c "$inside" sh "$@"
read -r _
rm -rf "$1"
"""
# Inside: its own accounts, seen by it alone; and its end with that of its input.
_SERVE: Final = """\
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 1
smbd -F --no-process-group -s "$1/smb.conf" </dev/null &
read -r _
"""
_ONCE: Final = 'inside=$1; shift; exec unshare --mount sh -c "$inside" sh "$@"'
_ADD: Final = """\
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 1
exec pdbedit -a -t -u "$2" -s "$1/smb.conf"
"""
_END: Final = b"end\nend\n"  # for the inside, and then for the outside


class FileServer(PrivateServer):
    """A file server, from `with` to its end.

    Attributes:
        folder: everything of it.
        port: where it listens on 127.0.0.1.
        share: the folder that it shares as `data`.
    """

    _prefix = "stead-files-"

    def __init__(self, *settings: str) -> None:
        """Describe it; nothing is made before `with`.

        Args:
            settings: more of smb.conf(5), such as `map to guest = bad password`.
        """
        super().__init__()
        self.port = 0
        self._settings: Final = settings
        self._uids: Final[dict[str, int]] = {}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def share(self) -> Path:
        """The folder that it shares as `data`."""
        return self.folder / "shares" / "data"

    def add_account(self, name: str, password: str) -> int:
        """Add an account; return the uid that its files have."""
        uid = self._uids[name] = _FIRST_UID + len(self._uids)
        with (self.folder / "passwd").open("a", encoding="utf-8") as passwd:
            passwd.write(f"{name}:x:{uid}:{uid}::/:/usr/sbin/nologin\n")
        with (self.folder / "group").open("a", encoding="utf-8") as group:
            group.write(f"{name}:x:{uid}:\n")
        done = subprocess.run(
            ["/bin/sh", "-c", _ONCE, "sh", _ADD, str(self.folder), name],
            input=f"{password}\n{password}\n", text=True, capture_output=True,
            check=False, timeout=_SECONDS, env={"PATH": PATH},
        )  # fmt: skip
        if done.returncode:
            raise EnforcementUnavailableError(f"`pdbedit` fails: {done.stderr}")
        return uid

    # --- how it is made -----------------------------------------------------------

    def _make(self) -> None:
        """Make its folder and start it."""
        if os.geteuid() or not shutil.which("smbd", path=PATH):
            raise EnforcementUnavailableError(
                "a file server needs root, and `smbd`", advice="apt-get install samba"
            )
        for name in _FOLDERS:
            (self.folder / name).mkdir(mode=0o755, parents=True)
        self.folder.chmod(0o711)  # its clients go through to what it shares
        (self.folder / "private").chmod(0o700)
        (self.folder / "ncalrpc").chmod(0o755)
        self.share.chmod(0o1777)
        (self.folder / "passwd").write_text(_USERS, encoding="utf-8")
        (self.folder / "group").write_text(_GROUPS, encoding="utf-8")
        self.port = free_port()
        more = "\n".join(f" {line}" for line in self._settings)
        said = _CONFIGURATION.format(port=self.port, folder=self.folder, more=more)
        (self.folder / "smb.conf").write_text(said, encoding="utf-8")
        self._server = keep(_RUN, _SERVE, str(self.folder), variables={"PATH": PATH})
        deadline = time.monotonic() + _SECONDS_TO_START
        while not answers(self.port):
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise EnforcementUnavailableError(
                    f"the file server does not start: {self._said()}"
                )
            time.sleep(_PAUSE)

    def _stop(self) -> None:
        server, self._server = self._server, None
        end(server, _END)

    def _said(self) -> str:
        logs = sorted(self.folder.glob("log/*"))
        lasts = [log.read_text("utf-8", "replace").splitlines()[-2:] for log in logs]
        return " ".join(line.strip() for last in lasts for line in last)
