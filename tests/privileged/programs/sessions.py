"""PAM sessions on a machine of this program's own: `sessions.py FOLDER`.

In a mount namespace of its own the machine has one account more, `stead-client`, and
limits for it. Printed: what came of each order.
"""

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

from stead.model.posix_identity import PosixIdentity
from stead.privileged import pam_session
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

FOLDER = Path(sys.argv[1])
UID = 71234
ACCOUNT = f"stead-client:x:{UID}:{UID}::/nowhere:/bin/sh\n"
NEW_MOUNTS = 0x0002_0000
PRIVATE, BIND = 0x4_4000, 0x1000
REPORT = b"ulimit -Sn; ulimit -Hn; id -u"

libc = ctypes.CDLL(None, use_errno=True)


def done(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "the machine cannot be made")


def put(text, over):
    path = FOLDER / over.replace("/", "-")
    path.write_text(text)
    path.chmod(0o644)
    done(libc.mount(os.fsencode(path), over.encode(), None, BIND, None))


def outcome(launcher, user, uid=UID):
    reading, writing = os.pipe()
    order = Order(
        PosixIdentity(uid, uid),
        (b"sh", b"-c", REPORT),
        environment=((b"PATH", b"/usr/bin:/bin"),),
        limits=((resource.RLIMIT_CORE, 0, 0),),
        pam_user=user,
    )
    null = os.open(os.devnull, os.O_RDWR)
    child = launcher.start(order, (null, writing, writing), on_end=lambda _: None)
    os.close(writing)
    os.close(null)
    with os.fdopen(reading) as file:
        text = file.read()
    refusal = child.started.exception(60)
    child.ended.result(60)
    return text.split() if refusal is None else f"{type(refusal).__name__}: {refusal}"


def authenticated(service, folder):
    """Ask a service, as root, to authenticate the account without a password."""
    pam = pam_session._library()
    handle = ctypes.c_void_p()
    conversation = pam_session._Conversation(
        pam_session._Answer(pam_session._no_answer), None
    )
    arguments = [service, b"stead-client", ctypes.byref(conversation)]
    if folder is None:
        done(pam.pam_start(*arguments, ctypes.byref(handle)))
    else:
        done(pam.pam_start_confdir(*arguments, bytes(folder), ctypes.byref(handle)))
    result = pam.pam_authenticate(handle, 0x8000)
    pam.pam_end(handle, result)
    return result == 0


def main():
    done(libc.unshare(NEW_MOUNTS))
    done(libc.mount(b"none", b"/", None, PRIVATE, None))
    put(Path("/etc/passwd").read_text() + ACCOUNT, "/etc/passwd")
    put("stead-client - nofile 77\n", "/etc/security/limits.conf")
    watch = Watch("watch")
    launcher = Launcher("ours", watch, guard=DEFAULT_GUARD_UID)
    service = pam_session._FOLDER
    said = {
        "plain": outcome(launcher, ""),
        "session": outcome(launcher, "stead-client"),
        "plain again": outcome(launcher, ""),
        "another account": outcome(launcher, "stead-client", 71235),
        "no account": outcome(launcher, "no-such-account"),
        "su": authenticated(b"su", None),
        "ours": authenticated(b"stead", service),
    }
    put("session required pam_no_such_module.so\n", str(service / "stead"))
    said["no module"] = outcome(launcher, "stead-client")
    put("not a library", "/" + next(library_paths()))
    said["no library"] = outcome(launcher, "stead-client")
    said["plain at last"] = outcome(launcher, "")
    launcher.close()
    watch.close()
    print(json.dumps(said))


def library_paths():
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "libpam.so" in line:
            yield line.split("/", 1)[1]


if __name__ == "__main__":
    main()
