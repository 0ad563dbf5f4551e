"""One attack on one server: `attack.py naive-WAY|ours ATTACK FOLDER`.

The server is this process. It impersonates uid 70001 on a thread, and the attack does
there what a mistake or a client's input could make it do. Printed: what came of it.
"""

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import naive

from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock

CLIENT = 70001
OTHER = 70002
WAY, ATTACK, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
SECRET = FOLDER / "secret"
OWN = FOLDER / "own"


def block(uid=CLIENT):
    if WAY == "ours":
        return KernelBlock(PosixIdentity(uid, uid))
    return naive.as_uid(uid, WAY.removeprefix("naive-"))


def tried(act):
    """Say what the act gave, or which error of the kernel or of ours stopped it."""
    try:
        result = act()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except Exception as error:
        return type(error).__name__
    return "done" if result is None else result


def read_secret():
    return SECRET.read_text()


def on_a_thread(act):
    """Run the act on a thread as each kind of server has it."""
    if WAY == "ours":
        with KernelExecutor(1) as executor:
            return executor.submit(act).result()
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(act).result()


def in_block(act):
    def work():
        with block():
            return tried(act)

    return on_a_thread(work)


def capset():
    def act():
        naive.regain_capabilities()
        return read_secret()

    return in_block(act)


def setfsuid():
    def act():
        naive.raw(naive.SETFSUID, 0)
        return read_secret()

    return in_block(act)


def setresuid():
    def act():
        naive.raw(naive.SETRESUID, 0, 0, -1)
        return read_secret()

    return in_block(act)


def fork():
    def act():
        pid = os.fork()
        if pid == 0:
            naive.raw(naive.SETRESUID, 0, 0, 0)
            os._exit(0 if SECRET.read_text() else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "secret" if status == 0 else "nothing"

    return in_block(act)


def execute():
    def act():
        command = ["/bin/sh", "-c", f"cat {SECRET}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    return in_block(act)


def posix_spawn():
    def act():
        out = FOLDER / "out"
        opened = (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_TRUNC, 0)
        argv = ["/bin/sh", "-c", f"cat {SECRET}"]
        pid = os.posix_spawn("/bin/sh", argv, {}, file_actions=[opened])
        os.waitpid(pid, 0)
        return out.read_text()

    return in_block(act)


def lazy_pool():
    pools = []

    def act():
        pools.append(ThreadPoolExecutor(1))
        pools[0].submit(int).result()

    came = in_block(act)
    # Asked after the block has ended and the server is itself again.
    return came if came != "done" else pools[0].submit(os.geteuid).result()


def new_thread():
    leave, uids = threading.Event(), []

    def life():
        leave.wait()
        uids.append(os.geteuid())

    thread = threading.Thread(target=life)
    came = in_block(thread.start)
    leave.set()
    if came == "done":
        thread.join()
        return uids[0]
    return came


def peer_credentials():
    address = str(FOLDER / "socket")

    def act():
        with socket.socket(socket.AF_UNIX) as ours, socket.socket(socket.AF_UNIX) as it:
            it.bind(address)
            it.listen()
            ours.connect(address)
            peer, _ = it.accept()
            with peer:
                found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.unpack("iII", found)[1]

    FOLDER.chmod(0o777)
    return in_block(act)


def file_capability():
    # VFS_CAP_REVISION_2 and the effective bit; CAP_DAC_READ_SEARCH permitted.
    words = struct.pack("<IIIII", 0x0200_0001, 1 << 2, 0, 0, 0)
    return in_block(lambda: os.setxattr(OWN, "security.capability", words))


def access():
    return in_block(lambda: os.access(SECRET, os.R_OK))


def signal_init():
    return in_block(lambda: os.kill(1, 0))


def session_keyring():
    naive.raw(naive.KEYCTL, 1)  # join an own one, not the session's that runs the test
    kind, name, secret = b"user", b"stead-test", b"secret"
    texts = [ctypes.create_string_buffer(text) for text in (kind, name, secret)]
    at = [ctypes.addressof(text) for text in texts]
    key = naive.raw(naive.ADD_KEY, at[0], at[1], at[2], len(secret), -3)

    def act():
        found = ctypes.create_string_buffer(64)
        length = naive.raw(naive.KEYCTL, 11, key, ctypes.addressof(found), 64)
        return found.raw[:length].decode()

    return in_block(act)


def process_keyring():
    """A key that one client's block leaves behind is there for the next one's."""
    texts = [ctypes.create_string_buffer(t) for t in (b"user", b"left", b"secret")]
    at = [ctypes.addressof(text) for text in texts]

    def work():
        with block():
            left = tried(lambda: naive.raw(naive.ADD_KEY, at[0], at[1], at[2], 6, -1))
        with block(OTHER):
            # KEYCTL_SEARCH in the thread's own keyring, which both blocks share.
            found = tried(lambda: naive.raw(naive.KEYCTL, 10, -1, at[0], at[1], 0))
        return "found" if isinstance(found, int) and found == left else found

    return on_a_thread(work)


def umask():
    os.umask(0o022)
    in_block(lambda: os.umask(0o000))
    found = os.umask(0o022)
    return f"{found:03o}"


def umask_of_the_next():
    def first():
        with block():
            os.umask(0o000)

    def second():
        with block(OTHER):
            path = FOLDER / "made"
            path.touch()
            return f"{path.stat().st_mode & 0o777:03o}"

    os.umask(0o022)
    FOLDER.chmod(0o777)
    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        executor.submit(first).result()
        return executor.submit(second).result()


def working_directory():
    def work():
        with block(OTHER):
            tried(lambda: os.chdir(FOLDER / "private" / "open"))
        with block():
            return tried(lambda: Path("note").read_text())

    return on_a_thread(work)


def io_uring():
    """Open a file with the credentials that were registered as the server."""
    parameters = bytearray(120)
    at = (ctypes.c_char * 120).from_buffer(parameters)
    ring = naive.raw(425, 8, ctypes.addressof(at))
    entries = struct.unpack_from("I", parameters, 0)[0]
    tail, array = (struct.unpack_from("I", parameters, 40 + n)[0] for n in (4, 24))
    cqes = struct.unpack_from("I", parameters, 80 + 20)[0]
    submissions = mmap.mmap(ring, array + 4 * entries, offset=0)
    completions = mmap.mmap(ring, cqes + 16 * 16, offset=0x0800_0000)
    slots = mmap.mmap(ring, 64 * entries, offset=0x1000_0000)
    personality = naive.raw(427, ring, 9)
    path = ctypes.create_string_buffer(str(SECRET).encode())
    entry = struct.pack(
        "BBHiQQIIQHHi", 18, 0, 0, -100, 0, ctypes.addressof(path), 0, 0, 0, 0,
        personality, 0,
    )  # fmt: skip
    slots[: len(entry)] = entry
    struct.pack_into("I", submissions, array, 0)
    struct.pack_into("I", submissions, tail, 1)

    def act():
        naive.raw(426, ring, 1, 1, 1)
        result = struct.unpack_from("i", completions, cqes + 8)[0]
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return os.read(result, 64).decode()

    return in_block(act)


def _while_other_holds_its_note(act):
    """Another thread of the server is the other client, in its private folder."""
    private = FOLDER / "private"
    holding, done, found = threading.Event(), threading.Event(), {}

    def hold():
        with block(OTHER), (private / "note").open() as note:
            tried(lambda: os.chdir(private / "open"))
            found.update(descriptor=note.fileno(), thread=threading.get_native_id())
            holding.set()
            done.wait()

    def work():
        holding.wait()
        with block():
            return tried(lambda: act(found))

    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(2) as executor:
        executor.submit(hold)
        try:
            return executor.submit(work).result()
        finally:
            done.set()


def descriptor_by_procfs():
    return _while_other_holds_its_note(
        lambda found: Path(f"/proc/self/fd/{found['descriptor']}").read_text()
    )


def descriptor_by_dev():
    return _while_other_holds_its_note(
        lambda found: Path(f"/dev/fd/{found['descriptor']}").read_text()
    )


def descriptor_by_link():
    def act(found):
        link = OWN.parent / "home" / "link"
        link.symlink_to(f"/proc/self/fd/{found['descriptor']}")
        return link.read_text()

    return _while_other_holds_its_note(act)


def directory_by_procfs():
    return _while_other_holds_its_note(
        lambda found: Path(f"/proc/self/task/{found['thread']}/cwd/note").read_text()
    )


def memory_map():
    return in_block(lambda: "maps" if Path("/proc/self/maps").read_text() else "")


def late_import():
    sys.path.append(str(FOLDER / "modules"))
    first = in_block(lambda: __import__("late_module").VALUE)
    return [first, tried(lambda: __import__("late_module").VALUE)]


def generator_left_open():
    def hold():
        with block():
            yield

    kept = []

    def first():
        kept.append(hold())
        next(kept[0])

    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        came = executor.submit(lambda: tried(first))
        came = type(came.exception()).__name__ if came.exception() else came.result()
        return [came, executor.submit(os.geteuid).result()]


def signal_by_thread_id():
    return _attacked_by_client(lambda thread: f"os.kill({thread}, {signal.SIGKILL:d})")


def slow_down():
    def act(thread):
        idle = f"os.sched_setscheduler({thread}, {os.SCHED_IDLE}, os.sched_param(0))"
        return f"os.setpriority(os.PRIO_PROCESS, {thread}, 19); {idle}"

    return _attacked_by_client(act)


def _everything_asked():
    """Give everything that one process may ask of another, to ask of the thread."""

    def act(thread):
        own = os.getpid()
        reads = [f"/proc/{own}/task/{thread}/{n}" for n in ("mem", "maps", "environ")]
        links = [f"/proc/{own}/task/{thread}/{n}" for n in ("cwd", "root", "fd/0")]
        writes = [f"/proc/{own}/task/{thread}/{n}" for n in ("comm", "oom_score_adj")]
        return f"""
call = ctypes.CDLL(None, use_errno=True).syscall
got = []
def tried(name, act):
    try:
        act()
    except PermissionError:
        return
    except OSError:
        pass
    got.append(name)
def asked(name, *arguments):
    refused = call(*(ctypes.c_long(n) for n in arguments)) < 0
    if not (refused and ctypes.get_errno() in (1, 13)):
        got.append(name)
for path in {reads}: tried(path, lambda: open(path, "rb").read(1))
for path in {links}: tried(path, lambda: os.readlink(path))
for path in {writes}: tried(path, lambda: open(path, "w").write("1"))
seize, attach, buffer = 0x4206, 16, ctypes.create_string_buffer(64)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
at = ctypes.addressof(vector)
asked("seize", {naive.PTRACE}, seize, {thread}, 0, 0)
asked("attach", {naive.PTRACE}, attach, {thread}, 0, 0)
asked("process_vm_readv", {naive.PROCESS_VM_READV}, {thread}, at, 1, at, 1, 0)
asked("prlimit", {naive.PRLIMIT}, {thread}, 7, 0, at)
asked("tgkill", {naive.TGKILL}, {own}, {thread}, 9)
holder = os.pidfd_open({own})
asked("pidfd_getfd", 438, holder, 0, 0)
asked("pidfd_send_signal", 424, holder, 9, 0, 0)
if got:
    raise SystemExit(" ".join(name.rpartition("/")[2] for name in got))
"""

    return act


def look_inside():
    return _attacked_by_client(_everything_asked())


def look_inside_dumpable():
    """Something made the process dumpable again, so procfs shows it as the client's."""
    set_dumpable = ctypes.CDLL(None).prctl
    return _attacked_by_client(_everything_asked(), lambda: set_dumpable(4, 1, 0, 0, 0))


def _attacked_by_client(command, prepare=lambda: None):
    """A process of the client's own attacks the server's thread while it is it."""
    become = f"os.setgroups([]); os.setresgid(*3*({CLIENT},)); "
    become += f"os.setresuid(*3*({CLIENT},)); "
    ready, done = threading.Event(), threading.Event()
    native = []

    def work():
        with block():
            native.append(threading.get_native_id())
            ready.set()
            done.wait()
        return "alive"

    def schedule():
        return [os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]

    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        result = executor.submit(work)
        ready.wait()
        prepare()
        code = "import ctypes, os; " + become + command(native[0])
        client = [sys.executable, "-c", code]
        attack = subprocess.run(
            client, capture_output=True, text=True, check=False, env={}
        )
        done.set()
        failed = attack.stderr.strip().rpartition("\n")[2].partition(":")[0]
        return [result.result(), failed, executor.submit(schedule).result()]


def _elsewhere(call):
    """Another thread of the server makes a call of libc's, which spreads."""
    ready, done = threading.Event(), threading.Event()

    def work():
        with block():
            ready.set()
            done.wait()
            found = [os.geteuid(), os.getgroups(), tried(read_secret)]
            print(json.dumps(found), flush=True)
            if WAY != "ours":
                os._exit(0)  # its leaving would fail now, or spread further

    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        result = executor.submit(work)
        ready.wait()
        call()
        done.set()
        result.result()
    os._exit(0)


def seteuid_elsewhere():
    _elsewhere(lambda: os.seteuid(0))


def setresuid_elsewhere():
    _elsewhere(lambda: os.setresuid(0, 0, -1 & 0xFFFF_FFFF))


def setgroups_elsewhere():
    # Raised while some thread has no capability: libc stops a process that disagrees.
    _elsewhere(lambda: os.setgroups([4711]))


def setgroups_while_idle():
    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        executor.submit(int).result()
        os.setgroups([4711])
        return executor.submit(os.getgroups).result()


def initgroups_while_idle():
    pool = ThreadPoolExecutor if WAY != "ours" else KernelExecutor
    with pool(1) as executor:
        executor.submit(int).result()
        os.initgroups("root", 4711)
        return executor.submit(os.getgroups).result()


if __name__ == "__main__":
    assert platform.system() == "Linux"
    print(json.dumps(globals()[ATTACK]()))
