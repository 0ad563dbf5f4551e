"""Passwords of the host's accounts by PAM, with services of the test's own."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.adapters.pam_stage import (
    DAEMON,
    MODULE,
    RIGHT,
    Services,
    built,
    children_of,
    eventually,
    log_on,
)
from tests.name_sources import NameSourceOfTests

from stead.adapters.pam.attempt import identity_by_name
from stead.adapters.pam.authority import PamAuthority
from stead.adapters.pam.worker import Worker
from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    AccountLockedOutError,
    DirectoryUnavailableError,
    InvalidRequestError,
    LogonTypeNotGrantedError,
    PasswordExpiredError,
    PasswordMismatchError,
    PasswordMustChangeError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged.name_service import NameService, open_host_names


@pytest.fixture
def services(tmp_path):
    tmp_path.chmod(0o755)
    return Services(tmp_path)


@pytest.fixture
def authority():
    opened = []

    def make(services, **how):
        how = {"service": "stead-test", "folder": services.folder, **how}
        opened.append(PamAuthority(["HOST"], **how))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_one_that_was_closed_says_so_at_once(services, authority):
    host = authority(services.usual(), seconds=30)
    host.close()
    began = time.monotonic()
    with pytest.raises(DirectoryUnavailableError, match="pam was closed"):
        log_on(host)
    assert time.monotonic() - began < 30  # it waits for nobody's turn


def test_whoever_knows_the_password_is_who_the_host_says(services, authority):
    host = authority(services.usual())
    assert ("pam", ("HOST",)) == (host.name, host.domains)
    client = log_on(host)
    names = open_host_names()
    user = names.user_by_name(DAEMON)
    assert PosixIdentity(user.uid, user.gid, names.groups_of(user)) == client.host
    assert (DAEMON, "HOST", "pam") == (client.name, client.issuer, client.package)
    assert (("pam service", "stead-test"),) == client.details
    assert client.credentials is None


@pytest.mark.parametrize(
    ("name", "secret", "error"),
    [
        (DAEMON, "lion", PasswordMismatchError),
        ("mallory", RIGHT, PasswordMismatchError),
        ("carol", RIGHT, UnknownAccountError),  # pam knows her, and the host does not
        ("root", RIGHT, LogonTypeNotGrantedError),
        ("", RIGHT, UnknownAccountError),
        ("a\0b", RIGHT, UnknownAccountError),
        ("x" * 300, RIGHT, UnknownAccountError),
        (DAEMON, "", PasswordMismatchError),
        (DAEMON, "ti\0ger", PasswordMismatchError),
        (DAEMON, "x" * 600, PasswordMismatchError),
    ],
)
def test_who_is_not_let_in_is_told_apart_here(services, authority, name, secret, error):
    host = authority(services.usual())
    with pytest.raises(error) as refused:
        log_on(host, name, secret)
    assert type(refused.value) is error
    assert DAEMON == log_on(host).name  # and nothing of it is left


def test_root_logs_on_where_that_is_said(services, authority):
    host = authority(services.usual(), allows_root=True)
    assert 0 == log_on(host, "root").host.uid


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("acct_expired", AccountExpiredError),
        ("authtok_expired", PasswordExpiredError),
        ("new_authtok_reqd", PasswordMustChangeError),
        ("perm_denied", LogonTypeNotGrantedError),
        ("user_unknown", UnknownAccountError),
        ("auth_err", AccountDisabledError),
        ("system_err", DirectoryUnavailableError),
        ("authinfo_unavail", DirectoryUnavailableError),
    ],
)
def test_an_account_that_may_not_come_is_told_why(services, authority, status, error):
    host = authority(services.usual(f"required pam_debug.so acct={status}"))
    with pytest.raises(error) as refused:
        log_on(host)
    assert type(refused.value) is error
    with pytest.raises(PasswordMismatchError):
        log_on(host, secret="lion")  # who does not know the password hears only that


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("auth_err", PasswordMismatchError),
        ("cred_insufficient", PasswordMismatchError),
        ("perm_denied", PasswordMismatchError),
        ("user_unknown", UnknownAccountError),
        ("maxtries", AccountLockedOutError),
        ("conv_err", LogonTypeNotGrantedError),
        ("authinfo_unavail", DirectoryUnavailableError),
        ("module_unknown", DirectoryUnavailableError),
    ],
)
def test_a_refusal_of_pam_is_one_of_ours(services, authority, status, error):
    host = authority(services.saying(status))
    with pytest.raises(error) as refused:
        log_on(host, "carol")
    assert type(refused.value) is error


def test_a_module_that_asks_for_more_than_a_password_gets_no_answer(
    services, authority
):
    """Not the password again, and nothing for a question that shows what is typed."""
    ask = "auth required pam_exec.so quiet expose_authtok "
    lines = services.usual().folder / "stead-test"
    words = lines.read_text().replace("expose_authtok", "expose_authtok", 1)
    # The second module prompts by itself: it does not use what the first one got.
    lines.write_text(words.replace("account", f"{ask}/bin/true\naccount", 1))
    assert DAEMON == log_on(authority(services)).name  # pam hands on what it has
    module = built(services.folder.parent, PROMPTS)
    services.write(f"auth required {module}", "account required pam_permit.so")
    with pytest.raises(LogonTypeNotGrantedError, match="more than a password"):
        log_on(authority(services))


PROMPTS = """
#include <stdlib.h>
struct message { int style; const char *text; };
struct response { char *text; int code; };
struct conversation {
    int (*ask)(int, const struct message **, struct response **, void *);
    void *data;
};
int pam_get_item(const void *, int, const void **);
int pam_get_user(void *, const char **, const char *);
static int ask(void *handle, int style) {
    const struct conversation *talk;
    struct message said = {style, "?"};
    const struct message *asked = &said;
    struct response *got = 0;
    pam_get_item(handle, 5, (const void **)&talk);
    int status = talk->ask(1, &asked, &got, talk->data);
    if (got && style == 4 && got->text) abort();  /* an answer to no question */
    return status;
}
int pam_sm_authenticate(void *handle, int flags, int number, const char **words) {
    const char *user = 0;
    pam_get_user(handle, &user, 0);
    if (user[0] == 'n') return 7;
    if (ask(handle, 4) || ask(handle, 1)) abort();
    return ask(handle, 1) == 19 && ask(handle, 2) == 19 ? 19 : 0;
}
int pam_sm_setcred(void *handle, int flags, int number, const char **words) {
    return 0;
}
"""


# --- modules that hang or crash -------------------------------------------------------


def test_a_module_that_hangs_or_crashes_hurts_nobody(services, authority):
    module = built(services.folder.parent, MODULE)
    services.write(
        f"auth [success=ok user_unknown=ignore default=die] {module}", name="wild"
    )
    host = authority(services, service="wild", seconds=8, at_once=2)
    worker = host._workers._process.pid
    for name, why in (
        ("hangs", "in time"), ("crashes", "without an answer"),
        ("exits", "without an answer"),
    ):  # fmt: skip
        with pytest.raises(DirectoryUnavailableError, match=why):
            log_on(host, name)
    with pytest.raises(PasswordMismatchError):
        log_on(host, "other")
    assert worker == host._workers._process.pid  # it stands
    # What hung is gone, and what it had started; two wait for the next request.
    eventually(lambda: len(children_of(worker)) == 2)


def test_the_naive_way_hangs_and_falls_with_its_modules(services):
    """PAM in the server itself: a module's crash is the server's."""
    module = built(services.folder.parent, MODULE)
    services.write(f"auth required {module}", name="wild")
    naive = (
        "from stead.adapters.pam.conversation import ask_pam; import sys\n"
        f"print(ask_pam('wild', {str(services.folder)!r}, sys.argv[1], b'x').status)\n"
    )

    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}

    def outcome(name):
        process = subprocess.Popen(
            [sys.executable, "-c", naive, name],
            env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            # The module that hangs has begun by then: its child is there.
            eventually(lambda: process.poll() is not None or children_of(process.pid))
            return process.wait(0.5 if process.poll() is None else 60)
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    assert -signal.SIGSEGV == outcome("crashes")
    assert "hangs" == outcome("hangs")


# --- memory ---------------------------------------------------------------------------

_MEMLOCK = "--memlock=8388608:8388608"  # as systemd leaves it


def kept_by(pid):
    """Return how many bytes of a process stay in memory whatever happens."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmLck:")[2].split()[0]) << 10


def test_what_a_module_asks_for_is_there_and_stays(services, authority):
    module = built(services.folder.parent, MODULE)
    services.write(
        f"auth [success=ok user_unknown=ignore default=die] {module}", name="wild"
    )
    host = authority(services, service="wild", seconds=5)
    worker = host._workers._process.pid

    def hang():
        with pytest.raises(DirectoryUnavailableError):
            log_on(host, "memory")

    attempt = threading.Thread(target=hang)
    attempt.start()
    least = 16 << 20 if _may_keep_memory() else 0
    eventually(lambda: any(kept_by(pid) >= least for pid in children_of(worker)))
    attempt.join()
    # It is the attempt's own, and none of the server's.
    assert 0 == kept_by(os.getpid()) == kept_by(worker)


def _may_keep_memory():
    """Whether this root may: one in a container may not."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16) >> 14 & 1  # CAP_IPC_LOCK


@pytest.mark.parametrize(("how", "status"), [("naive", 5), ("ours", 7)])
def test_where_no_memory_may_be_kept_a_module_has_it_all_the_same(
    services, how, status
):
    """A container's root, say: what is kept without a right to it soon is refused."""
    code = MODULE.replace("for (;;) { room[1] = 1; pause(); }", "return 7;")
    module = built(services.folder.parent, code)
    services.write(f"auth required {module}", name="wild")
    program = (
        "import ctypes, sys\n"
        "from stead.adapters.pam.conversation import ask_pam\n"
        "from stead.adapters.pam.attempt import keep_in_memory\n"
        "naive = lambda: ctypes.CDLL(None).mlockall(2)\n"
        f"{{'naive': naive, 'ours': keep_in_memory}}[{how!r}]()\n"
        f"sys.exit(ask_pam('wild', {str(services.folder)!r}, 'memory', b'x').status)\n"
    )
    done = subprocess.run(
        [
            "setpriv", "--bounding-set=-ipc_lock,-sys_resource", "--",
            "prlimit", _MEMLOCK, "--", sys.executable, "-c", program,
        ],
        check=False, env={k: v for k, v in os.environ.items() if "COVERAGE" not in k},
    )  # fmt: skip
    assert status == done.returncode


def test_many_ask_at_once_and_those_who_wait_too_long_are_told(services, authority):
    module = built(services.folder.parent, MODULE)
    services.write(f"auth required {module}", name="wild")
    host = authority(services, service="wild", seconds=2, at_once=2)
    caught = []

    def hang():
        with pytest.raises(DirectoryUnavailableError) as refused:
            log_on(host, "hangs")
        caught.append(str(refused.value))

    threads = [threading.Thread(target=hang) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert 4 == len(caught)


def test_no_process_is_left_of_many_attempts_after_and_beside_each_other(
    services, authority
):
    host = authority(services.usual(), at_once=4)
    worker = host._workers._process.pid
    names = [log_on(host).name for _ in range(5)]
    threads = [
        threading.Thread(target=lambda: names.append(log_on(host).name))
        for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert [DAEMON] * 25 == names
    eventually(lambda: len(children_of(worker)) == 2)
    waiting = children_of(worker)
    assert DAEMON == log_on(host).name  # the other one waits; this one is new, too
    eventually(lambda: len(set(children_of(worker)) & set(waiting)) == 1)
    eventually(lambda: len(children_of(worker)) == 2)


def open_in(pid):
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found.add(each.readlink().name)
    return found


@pytest.mark.root
def test_a_child_that_is_made_ready_leads_to_none_that_rests(services):
    """What a module holds must not lead to a process that has seen a password."""
    ours, control = socket.socketpair()
    worker = Worker(control, (), 5.0, services.usual().folder / "stead-test")
    rests = worker._fork()
    worker._done.append((time.monotonic() + 60, rests))
    worker._make_ready()
    waits = worker._fork()
    try:
        its_end = f"socket:[{os.fstat(rests.answer.fileno()).st_ino}]"
        assert its_end in open_in(os.getpid())
        eventually(lambda: its_end not in open_in(waits.pid))
    finally:
        worker._kill(waits)
        ours.send(b"the end")
        worker.run()  # it ends all that is left
        eventually(lambda: worker._reap() or not worker._ending)
        for each in (ours, control):
            each.close()


def test_a_worker_that_was_killed_is_started_again(services, authority):
    host = authority(services.usual(), at_once=2)
    assert DAEMON == log_on(host).name
    first = host._workers._process.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(DirectoryUnavailableError, match="has ended"):
        log_on(host)
    eventually(lambda: host._workers._process.pid != first)
    assert DAEMON == log_on(host).name


def test_a_process_that_was_forked_takes_no_answer_of_its_parent_s(services):
    """Both would wait on the same sockets, and each take whoever comes first."""
    services.usual()
    program = (
        "import os\n"
        "from stead.adapters.pam.authority import PamAuthority\n"
        "from stead.errors import SteadError\n"
        "from stead.model.secret import Secret\n"
        f"folder = {str(services.folder)!r}\n"
        "a = PamAuthority(['HOST'], service='stead-test', folder=folder)\n"
        "if os.fork() == 0:\n"
        "    try: a.log_on('root', 'HOST', Secret('x'), keep=False)\n"
        "    except SteadError as error: print(error, flush=True)\n"
        "    a.close()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        f"c = a.log_on({DAEMON!r}, 'HOST', Secret({RIGHT!r}), keep=False)\n"
        "print(c.name)\n"
        "a.close()\n"
    )
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "another process" in said
    assert said.endswith(f"{DAEMON}\n")


def test_an_answer_to_another_s_question_is_none(services, authority):
    host = authority(services.usual(), at_once=1)
    lane = host._workers._lanes.get()
    lane.send(b"0123456789abcdef" + b'{"name": "y"}\0z')
    eventually(lambda: select.select([lane], [], [], 0)[0])
    host._workers._lanes.put(lane)
    with pytest.raises(DirectoryUnavailableError):
        log_on(host)


def test_it_ends_with_the_server(services):
    program = (
        "from stead.adapters.pam.authority import PamAuthority\n"
        f"folder = {str(services.folder)!r}\n"
        "a = PamAuthority(['HOST'], service='stead-test', folder=folder)\n"
        "print(a._workers._process.pid, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )  # fmt: skip
    services.usual()
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    eventually(lambda: not _runs(int(said)))


def _runs(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def test_the_password_is_in_no_argument_and_no_environment(services, authority):
    host = authority(services.usual())
    worker = Path(f"/proc/{host._workers._process.pid}")
    log_on(host)
    assert RIGHT.encode() not in (worker / "cmdline").read_bytes()
    if os.geteuid() == 0:
        assert b"" == (worker / "environ").read_bytes()


# --- service files --------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ["auth sufficient pam_permit.so", "account required pam_permit.so"],
        pytest.param(
            ["auth sufficient pam_rootok.so", "auth required pam_deny.so",
             "account required pam_permit.so"],
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="root passes for root"),
        ),
    ],
)  # fmt: skip
def test_a_service_that_lets_in_whoever_comes_is_refused(services, authority, lines):
    """`su`'s lets root pass: asked by a server that is root, it lets in everybody."""
    from stead.adapters.pam.conversation import ask_pam

    services.write(*lines)
    naive = ask_pam("stead-test", str(services.folder), DAEMON, b"any word")
    assert naive.was_authenticated
    with pytest.raises(UnsafeConfigurationError, match="whoever comes"):
        authority(services)


def test_a_service_file_that_others_may_write_is_refused(services, authority):
    services.usual()
    (services.folder / "stead-test").chmod(0o666)
    with pytest.raises(UnsafeConfigurationError, match="others may write"):
        authority(services)
    (services.folder / "stead-test").chmod(0o644)
    services.folder.chmod(0o777)
    with pytest.raises(UnsafeConfigurationError, match="others may write"):
        authority(services)


def test_a_service_file_that_changes_counts_at_once(services, authority):
    """Though children that wait have loaded what it said before."""
    host = authority(services.usual())
    assert DAEMON == log_on(host).name
    services.usual("required pam_debug.so acct=acct_expired")
    for _ in range(3):
        with pytest.raises(AccountExpiredError):
            log_on(host)


def test_a_service_that_is_not_there_is_refused(services, authority):
    with pytest.raises(UnsafeConfigurationError, match="not there"):
        authority(services)
    services.write("auth required pam_is_not_there.so")
    with pytest.raises(DirectoryUnavailableError, match="cannot look at passwords"):
        log_on(authority(services))


@pytest.mark.parametrize(
    "how", [{"seconds": 0}, {"at_once": 0}, {"at_once": 65}, {"seconds": -1}]
)
def test_what_bounds_nothing_is_refused(services, authority, how):
    with pytest.raises(InvalidRequestError):
        authority(services.usual(), **how)
    for domains in ("HOST", [], [""]):
        with pytest.raises(InvalidRequestError, match="one by one"):
            PamAuthority(domains, service="stead-test", folder=services.folder)


def test_a_directory_that_is_down_lets_nobody_in_with_too_few_groups(tmp_path):
    """The password may be right: who cannot be known whole is not known."""
    source = NameSourceOfTests(tmp_path, "steadpam")
    names = NameService.open(source.switch())
    groups = (70500, 70601, 70602)
    assert PosixIdentity(70500, 70500, groups) == identity_by_name("dora", names)
    source.be("down")
    with pytest.raises(DirectoryUnavailableError):
        identity_by_name("dora", names)
