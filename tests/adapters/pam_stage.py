"""Service files of PAM's, and modules, of a test's own."""

from __future__ import annotations

import pwd
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from stead.model.secret import Secret

RIGHT = "tiger"
DAEMON = pwd.getpwuid(1).pw_name  # every host has it
CHECK = """#!/bin/sh
# The password comes on standard input and ends with a NUL.
read -r word
case "$PAM_USER" in root|{daemon}|carol) ;; *) exit 1 ;; esac
[ "$word" = {right} ]
"""
MODULE = """
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int pam_sm_authenticate(void *handle, int flags, int number, const char **words) {
    const char *user = 0;
    int pam_get_user(void *, const char **, const char *);
    pam_get_user(handle, &user, 0);
    if (user[0] == 'n') return 7;  /* nobody-... of the first look */
    if (user[0] == 'h') { if (!fork()) for (;;) pause(); for (;;) pause(); }
    if (user[0] == 'c') raise(SIGSEGV);
    if (user[0] == 'e') _exit(0);
    if (user[0] == 'm') {  /* as much as yescrypt asks for */
        char *room = malloc(16 << 20);
        if (!room) return 5;
        for (;;) { room[1] = 1; pause(); }
    }
    return 7;
}
int pam_sm_setcred(void *handle, int flags, int number, const char **words) {
    return 0;
}
"""


class Services:
    """A folder of service files."""

    def __init__(self, folder):
        self.folder = folder / "pam.d"
        self.folder.mkdir(mode=0o755)
        self.script = folder / "check"
        self.script.write_text(CHECK.format(daemon=DAEMON, right=RIGHT))
        self.script.chmod(0o755)

    def write(self, *lines, name="stead-test"):
        (self.folder / name).write_text("\n".join(lines) + "\n")
        return self

    def usual(self, account="required pam_permit.so"):
        """Let in whoever the script knows, if `account` does."""
        return self.write(
            "auth [success=1 default=ignore] pam_exec.so quiet expose_authtok "
            f"{self.script}",
            "auth requisite pam_deny.so",
            "auth required pam_permit.so",
            f"account {account}",
        )

    def saying(self, status):
        """Refuse with a status, but who comes for the first look."""
        return self.write(
            "auth [success=1 default=ignore] pam_succeed_if.so quiet user = carol",
            "auth requisite pam_deny.so",
            f"auth required pam_debug.so auth={status}",
        )


def built(folder, code):
    source, module = folder / "module.c", folder / "module.so"
    source.write_text(code)
    subprocess.run(
        [
            "cc", "-shared", "-fPIC", "-w", "-o", str(module), str(source),
            "-l:libpam.so.0",
        ],
        check=True,
    )  # fmt: skip
    return module


def children_of(pid):
    """Return the numbers of a process's children; none if it has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def eventually(claim, seconds=60):
    until = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.02)


def log_on(authority, name=DAEMON, secret=RIGHT):
    return authority.log_on(name, "HOST", Secret(secret), keep=False)
