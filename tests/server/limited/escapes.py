"""What an agent tries that was lent a client's limited token: each is one way out.

They are loaded before a worker is the client, and run in it. Each returns what it got
there, or raises. `told` is where things are: see `World` in `test_escapes`.
"""

# ruff: noqa: PTH101, PTH104, PTH115, PTH116, PTH123, PTH211 - the calls are tried
import array
import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from stead.gates.pipe.client import PipeClient

_CALLS = ctypes.CDLL(None, use_errno=True)
_KEPT = []
CLONE_NEWUSER = 0x1000_0000
CHANNEL = 3


def _call(number, *arguments):
    result = _CALLS.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# --- files --------------------------------------------------------------------------


def read_another_file(told):
    return Path(told["secret"]).read_text()


def write_another_file(told):
    return Path(told["other"]).write_text("changed")


def follow_a_symbolic_link_out(told):
    return Path(told["link"]).read_text()


def climb_out_with_dots(told):
    return Path(told["work"], "..", "secret.txt").read_text()


def link_another_file_in(told):
    os.link(told["secret"], told["work"] + "/linked")
    return Path(told["work"], "linked").read_text()


def move_another_file_in(told):
    os.rename(told["moved"], told["work"] + "/moved")
    return Path(told["work"], "moved").read_text()


def move_a_file_out(told):
    Path(told["work"], "mine").write_text("x")
    os.rename(told["work"] + "/mine", told["home"] + "/mine")
    return Path(told["home"], "mine").exists()


def make_a_symbolic_link(told):
    os.symlink(told["secret"], told["work"] + "/trap")
    return Path(told["work"], "trap").is_symlink()


def make_a_fifo(told):
    os.mkfifo(told["work"] + "/fifo")
    return True


def open_another_file_to_all(told):
    os.chmod(told["secret"], 0o604)
    return oct(os.stat(told["secret"]).st_mode)


def change_permissions_of_what_may_be_read(told):
    with open(told["readable"]) as file:
        os.fchmod(file.fileno(), 0o666)
    return True


def set_times_of_another_file(told):
    os.utime(told["secret"], (1, 1))
    return os.stat(told["secret"]).st_mtime


def set_an_attribute_of_another_file(told):
    os.setxattr(told["secret"], "user.mark", b"x")
    return True


def read_an_attribute_of_another_file(told):
    return os.getxattr(told["other"], "user.origin").decode()


def truncate_another_file(told):
    os.truncate(told["other"], 0)
    return True


def truncate_what_may_be_read(told):
    os.close(os.open(told["readable"], os.O_RDONLY | os.O_TRUNC))
    return True


def write_what_may_be_read(told):
    return Path(told["readable"]).write_text("x")


def look_into_shared_memory(told):
    return Path(told["shm"]).read_text()


def watch_another_folder(told):
    descriptor = _CALLS.inotify_init1(0)
    watch = _CALLS.inotify_add_watch(descriptor, told["home"].encode(), 0xFFF)
    if watch < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    return watch > 0


def run_another_program(told):
    return subprocess.run(["/bin/echo", "out"], capture_output=True, check=True).stdout


# --- other processes of the client's ------------------------------------------------


def read_memory_of_another_process(told):
    maps = Path(f"/proc/{told['victim']}/maps").read_text().splitlines()
    start = int(maps[0].split("-")[0], 16)
    with open(f"/proc/{told['victim']}/mem", "rb") as memory:
        memory.seek(start)
        return len(memory.read(64))


def read_environment_of_another_process(told):
    return Path(f"/proc/{told['victim']}/environ").read_bytes().decode()


def go_through_the_root_of_another_process(told):
    return Path(f"/proc/{told['victim']}/root{told['secret']}").read_text()


def open_a_descriptor_of_another_process(told):
    return os.readlink(f"/proc/{told['victim']}/fd/0")


def trace_another_process(told):
    attach, detach = 16, 17
    _call(101, attach, told["victim"], 0, 0)
    os.waitpid(told["victim"], 0x4000_0000)
    _call(101, detach, told["victim"], 0, 0)
    return True


def signal_another_process(told):
    os.kill(told["victim"], signal.SIGCONT)
    return True


def signal_another_process_by_descriptor(told):
    descriptor = os.pidfd_open(told["victim"])
    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
    return True


def signal_everybody(told):
    os.kill(-1, signal.SIGCONT)
    os.kill(told["victim"], 0)
    return True


def have_the_kernel_signal_another_process(told):
    """A readable pipe sends SIGURG, which nobody minds; the victim counts none."""
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, told["victim"])
    fcntl.fcntl(reading, 10, signal.SIGTERM)  # F_SETSIG
    flags = fcntl.fcntl(reading, fcntl.F_GETFL)
    fcntl.fcntl(reading, fcntl.F_SETFL, flags | os.O_ASYNC)
    os.write(writing, b"x")
    time.sleep(0.5)
    # It is the test that looks whether it still lives: `dies` stands for that.
    return True


def limit_another_process(told):
    return resource.prlimit(told["victim"], resource.RLIMIT_NOFILE, (64, 64)) and True


def bind_another_process_to_a_processor(told):
    os.sched_setaffinity(told["victim"], {0})
    return True


def attach_shared_memory_of_another_process(told):
    _CALLS.shmat.restype = ctypes.c_void_p
    address = _CALLS.shmat(told["segment"], None, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(address, 6).decode()


# --- sockets ------------------------------------------------------------------------


def _greeted(family, kind, address):
    with socket.socket(family, kind) as out:
        out.settimeout(10)
        out.connect(address)
        return out.recv(16).decode()


def reach_a_service_by_its_path(told):
    return _greeted(socket.AF_UNIX, socket.SOCK_STREAM, told["service"])


def reach_an_abstract_service(told):
    return _greeted(socket.AF_UNIX, socket.SOCK_STREAM, told["abstract"])


def reach_a_port(told):
    return _greeted(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", told["port"]))


def send_a_datagram_to_a_path(told):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        return out.sendto(b"x", told["datagrams"])


def turn_a_pair_elsewhere(told):
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        return one.sendto(b"x", told["datagrams"])


def send_a_datagram_over_the_network(told):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        return out.sendto(b"x", ("127.0.0.1", told["port"]))


def listen_on_a_port(told):
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        return own.getsockname()[1] > 0


def ask_the_server_as_the_user(told):
    """SO_PEERCRED says the user: at the pipe it would be the whole client again."""
    with PipeClient.connect(told["pipe"], server_uid=0) as link:
        return link.call("stead.whoami")["name"]


# --- the kernel ---------------------------------------------------------------------


def make_a_user_namespace(told):
    if _CALLS.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    return True


def clone_into_a_user_namespace(told):
    pid = _call(56, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def set_up_io_uring(told):
    parameters = (ctypes.c_char * 256)()
    os.close(_call(425, 4, parameters))
    return True


def open_the_keys_of_the_user(told):
    return _call(248, b"user", b"stead-test", b"x", 1, -4) > 0


# --- what stays ---------------------------------------------------------------------


def leave_something_behind(told):
    _KEPT.append("left")
    return len(_KEPT)


def find_what_was_left(told):
    return _KEPT[0]


def open_descriptors(told):
    found = []
    for number in range(1024):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            continue
        found.append(number)
    return found


def leave_a_daemon(told, name="beat"):
    """Write the time into a file, for ever, from a session of its own."""
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        beat(told, name)
    while not Path(told["work"], name).exists():
        time.sleep(0.05)
    return True


def beat(told, name="beat"):
    while True:
        Path(told["work"], name).write_text(str(time.monotonic()))
        time.sleep(0.05)


def pass_a_descriptor_to_the_server(told):
    with socket.socket(fileno=os.dup(CHANNEL)) as channel:
        rights = array.array("i", [os.open(told["readable"], os.O_RDONLY)])
        channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    return True


def work_as_it_should(told):
    """What an agent may: read, write, make, move and remove within its root."""
    work = Path(told["work"])
    (work / "made").mkdir(exist_ok=True)
    (work / "made" / "a").write_text("text")
    (work / "made" / "a").rename(work / "b")
    text = (work / "b").read_text()
    (work / "b").unlink()
    (work / "made").rmdir()
    threading.Thread(target=int).start()
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
    with open(os.devnull, "w") as null:
        null.write(text)
    return text + Path(told["readable"]).read_text()


ATTACKS = (
    read_another_file,
    write_another_file,
    follow_a_symbolic_link_out,
    climb_out_with_dots,
    link_another_file_in,
    move_another_file_in,
    move_a_file_out,
    make_a_symbolic_link,
    make_a_fifo,
    open_another_file_to_all,
    change_permissions_of_what_may_be_read,
    set_times_of_another_file,
    set_an_attribute_of_another_file,
    read_an_attribute_of_another_file,
    truncate_another_file,
    truncate_what_may_be_read,
    write_what_may_be_read,
    look_into_shared_memory,
    watch_another_folder,
    run_another_program,
    read_memory_of_another_process,
    read_environment_of_another_process,
    go_through_the_root_of_another_process,
    open_a_descriptor_of_another_process,
    trace_another_process,
    signal_another_process,
    signal_another_process_by_descriptor,
    signal_everybody,
    limit_another_process,
    bind_another_process_to_a_processor,
    attach_shared_memory_of_another_process,
    reach_a_service_by_its_path,
    reach_an_abstract_service,
    reach_a_port,
    send_a_datagram_to_a_path,
    turn_a_pair_elsewhere,
    send_a_datagram_over_the_network,
    listen_on_a_port,
    ask_the_server_as_the_user,
    make_a_user_namespace,
    clone_into_a_user_namespace,
    set_up_io_uring,
    open_the_keys_of_the_user,
)
