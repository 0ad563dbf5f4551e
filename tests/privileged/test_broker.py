"""The broker: it accepts a server's clients, and starts processes as them alone."""

import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    FILES,
    NOTES,
    Raw,
    accept,
    begin,
    broker,
    connect,
    ids_of,
    is_alive,
    pair,
    poll,
    sealed,
    server_part,
    stage,
    told,
)

from stead.cli.asking import _broker_lines
from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    KernelRefusedError,
    LauncherUnavailableError,
    NotARegularFileError,
)
from stead.privileged import broker_opening, trees
from stead.privileged.broker_link import BrokerLink, ask_broker

pytestmark = pytest.mark.root
GUARD = 65_531
__all__ = ["begin", "broker", "connect", "stage"]  # fixtures


def serving(stage, talk, *acts):
    """Be a server that takes one client and does something as it; then wait."""
    raw = Raw(stage.socket)
    raw.hello()
    arrivals = raw.listen()
    talk.say("listens")
    index, client = accept(arrivals)
    for act in acts:
        talk.say(act(raw, index, client))
        talk.hear()


def starts(*argv, **order):
    def act(raw, index, _client):
        channel = raw.start(index, order=sealed(server_part(argv, **order)))
        kept.append(channel)
        return told(channel)

    return act


kept = []  # channels of a child's processes: they end with the child


def begun(stage, begin, connect, *acts, uid=ALICE):
    """Begin a server with these acts and a client at its gate; return both."""
    server = begin(NOTES, lambda talk: serving(stage, talk, *acts))
    assert server.hear() == "listens"
    return server, connect(uid, stage.gate)


# --- who a process is -----------------------------------------------------------------


def test_a_program_is_the_client_whose_connection_the_broker_accepted(
    broker, begin, connect
):
    def serves(talk):
        raw = Raw(broker.socket)
        talk.say(raw.hello())
        arrivals = raw.listen()
        for _ in range(2):
            index, client = accept(arrivals)
            channel = raw.start(index, "sleep", "600")
            talk.say([index, told(channel)["started"], client.fileno() > 0])
            talk.hear()
        talk.hear()

    server = begin(NOTES, serves)
    hello = server.hear()
    assert "notes" == hello["service"]
    assert [str(broker.gate), str(broker.second_gate)] == hello["gates"]
    connect(ALICE, broker.gate, groups=(70_005,))
    index, pid, _ = server.hear()
    assert [[ALICE] * 3, [ALICE] * 3, [70_005]] == ids_of(pid)
    server.tell()
    connect(BOB, broker.gate)
    other, other_pid, _ = server.hear()
    assert index != other
    assert [[BOB] * 3, [BOB] * 3, []] == ids_of(other_pid)
    server.kill()
    poll(lambda: not is_alive(pid) and not is_alive(other_pid))


def test_a_client_of_very_many_groups_keeps_all_of_them(broker, begin, connect):
    groups = tuple(range(100_000, 101_000))
    act = starts("sleep", "600")
    server = begin(NOTES, lambda talk: serving(broker, talk, act))
    server.hear()
    connect(ALICE, broker.gate, groups=groups)
    assert list(groups) == ids_of(server.hear()["started"])[2]


def test_a_program_has_nothing_of_the_brokers(broker, begin, connect):
    script = "ls /proc/self/fd; env; ulimit -Sn; id -G"

    def runs(raw, index, _client):
        reading, writing = os.pipe()
        channel = raw.start(index, "sh", "-c", script, out=writing)
        os.close(writing)
        with os.fdopen(reading) as file:
            said = file.read()
        return [told(channel), said, told(channel)]

    server, _ = begun(broker, begin, connect, runs)
    _, said, ended = server.hear()
    assert {"ended": 0} == ended
    words = said.split()
    # Three, and the one by which `ls` looks.
    assert ["0", "1", "2", "3"] == words[:4]
    assert {"PATH=/usr/bin:/bin"} == {
        word for word in words if word.startswith("P") and not word.startswith("PWD")
    }
    assert str(ALICE) == words[-1]


def test_a_refusal_of_the_kernel_is_told_as_by_a_launcher(broker, begin, connect):
    server, _ = begun(broker, begin, connect, starts("/no/such/program"))
    said = server.hear()
    assert ("exec", 2) == (said["refused"], said["errno"])


# --- when a client is gone ------------------------------------------------------------


def test_a_process_ends_when_its_clients_connection_does(broker, begin, connect):
    server, client = begun(broker, begin, connect, starts("sleep", "600"))
    pid = server.hear()["started"]
    client.tell()
    assert "left" == client.hear()
    poll(lambda: not is_alive(pid))


def test_a_process_ends_when_its_client_is_killed_and_so_does_its_tree(
    broker, begin, connect
):
    script = "setsid sh -c 'sleep 601 & sleep 601' & sleep 601"
    server, client = begun(broker, begin, connect, starts("sh", "-c", script))
    pid = server.hear()["started"]
    keeper = trees._read(pid).parent
    poll(lambda: len(below(keeper)) >= 4)
    family = below(keeper)
    client.kill()
    poll(lambda: not any(map(is_alive, family)))


def test_a_process_ends_when_its_client_is_logged_off(broker, begin, connect):
    def logs_off(raw, index, client):
        raw.ask("log_off", client=index)
        client.close()
        return told(raw.start(index, "true"))

    server, client = begun(broker, begin, connect, starts("sleep", "600"), logs_off)
    pid = server.hear()["started"]
    server.tell()
    assert "client" == server.hear()["refused"]
    poll(lambda: not is_alive(pid))
    # The broker's own copy of its connection is closed, too.
    client.tell()
    assert "left" == client.hear()


def test_a_half_closed_connection_is_no_end(broker, begin):
    def waits(talk):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(broker.gate))
            client.shutdown(socket.SHUT_WR)
            talk.say("half")
            talk.hear()

    act = starts("sleep", "600")
    server = begin(NOTES, lambda talk: serving(broker, talk, act, act))
    server.hear()
    begin(ALICE, waits).hear()
    first = server.hear()["started"]
    server.tell()
    assert "started" in server.hear()
    assert is_alive(first)


def below(pid):
    """Return every process below one."""
    found, parents = [], {pid}
    while True:
        more = [
            each.pid
            for each in trees._processes()
            if each.parent in parents and each.pid not in found
        ]
        if not more:
            return found
        found += more
        parents |= set(more)


# --- what there may be ----------------------------------------------------------------


def test_what_a_client_has_is_bounded_and_its_place_is_free_again(
    stage, begin, connect
):
    stage.write(limits="processes_per_client = 2")
    stage.start()

    def many(raw, index, _client):
        channels = [raw.start(index, "sleep", "600") for _ in range(3)]
        said = [told(each) for each in channels]
        channels[0].shutdown(socket.SHUT_WR)
        ended = told(channels[0])
        return [*said, ended, told(raw.start(index, "true"))]

    server, _ = begun(stage, begin, connect, many)
    one, two, three, ended, four = server.hear()
    assert {"started"} == {*one, *two, *four}
    assert "quota" == three["refused"]
    assert {"ended": -signal.SIGKILL} == ended


def test_clients_beyond_the_bound_wait_outside(stage, begin, connect):
    stage.write(limits="clients = 1")
    stage.start()

    def next_one(raw, index, client):
        raw.ask("log_off", client=index)

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        index, _client = accept(arrivals)
        arrivals.setblocking(False)
        talk.hear()
        with pytest.raises(BlockingIOError):
            accept(arrivals)
        arrivals.setblocking(True)
        raw.ask("log_off", client=index)
        talk.say(accept(arrivals)[0])

    server = begin(NOTES, serves)
    server.hear()
    connect(ALICE, stage.gate)
    connect(BOB, stage.gate)
    server.tell()
    assert 2 == server.hear()


def test_one_uid_has_so_many_connections_and_the_next_has_no_index(
    stage, begin, connect
):
    stage.write(limits="connections_per_client = 1")
    stage.start()

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        talk.say([accept(arrivals)[0] for _ in range(3)])

    server = begin(NOTES, serves)
    server.hear()
    connect(ALICE, stage.gate)
    connect(ALICE, stage.gate)
    connect(BOB, stage.gate)
    assert [1, None, 2] == server.hear()


@pytest.mark.parametrize(
    ("limits", "heard"),
    [
        ("servers_per_service = 2", 2),
        ("connections_per_minute = 3", 3),
        ("servers = 1", 1),
    ],
)
def test_servers_beyond_the_bound_are_not_heard(stage, begin, limits, heard):
    stage.write(limits=limits)
    stage.start()

    def connects(talk):
        raws = []
        for _ in range(4):
            raws.append(Raw(stage.socket))
            try:
                talk.say(raws[-1].hello() is not None)
            except OSError:
                talk.say(False)

    server = begin(NOTES, connects)
    assert [True] * heard + [False] * (4 - heard) == [server.hear() for _ in range(4)]


def test_a_server_without_root_raises_no_limit(broker, begin, connect):
    """The naive variant is the launcher of a server that is root: it may."""
    real_time = [[int(resource.RLIMIT_RTPRIO), 50, 50]]
    lower = [[int(resource.RLIMIT_NOFILE), 64, 64]]
    server, _ = begun(
        broker, begin, connect,
        starts("true", limits=real_time), starts("true", limits=lower),
    )  # fmt: skip
    assert "limits" == server.hear()["refused"]
    server.tell()
    assert "started" in server.hear()


# --- opening --------------------------------------------------------------------------


@pytest.fixture
def files(stage):
    """Give a folder of the configured one, which holds what a client may open."""
    home = stage.open / "alice"
    home.mkdir()
    outside = stage.folder / "outside"
    outside.write_text("outside")
    for name, owner in (("hers", ALICE), ("his", BOB)):
        (home / name).write_text(name)
        os.chown(home / name, owner, owner)
        (home / name).chmod(0o600)
    (home / "out").symlink_to(outside)
    (home / "in").symlink_to("hers")
    (home / "magic").symlink_to("/proc/self/root")
    os.mkfifo(home / "fifo")
    for place in (home, home / "fifo", outside):
        os.chown(place, ALICE, ALICE)
    return home


def opens(path, flags=os.O_RDONLY, **options):
    """Return what opens by the link, and says what came of it."""

    def act(link, client):
        try:
            descriptor = link.open_beneath(client, str(path), flags, **options)
        except (KernelRefusedError, NotARegularFileError, InvalidRequestError) as error:
            return [type(error).__name__, getattr(error, "errno", None)]
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            return [file.read().decode(), status.st_uid]

    return act


def linked(stage, talk, *acts):
    """Be a server that uses the link, takes one client and does something as it."""
    link = BrokerLink(stage.socket)
    entrance = link.entrance(stage.gate)
    entrance.open()
    talk.say("listens")
    entrance._channel.setblocking(True)
    client, ticket = entrance.accept()
    with client:
        for act in acts:
            talk.say(act(link, ticket))


def test_a_file_is_opened_beneath_a_named_folder_and_as_the_client_alone(
    stage, files, begin, connect
):
    stage.start()
    acts = (
        opens(files / "hers"),
        opens(files / "in"),
        opens(files / "his"),
        opens(files / "out"),
        opens(files / "magic" / "etc" / "passwd"),
        opens(files / "fifo"),
        opens(f"{files}/../../outside"),
        opens(stage.folder / "outside"),
        opens("/etc/passwd"),
        opens(files / "hers", os.O_PATH),
    )
    server = begin(NOTES, lambda talk: linked(stage, talk, *acts))
    server.hear()
    connect(ALICE, stage.gate)
    # The naive variant looks at the path's beginning and follows links: as the client
    # itself it would get what lies outside of the folder.
    assert "outside" == (files / "out").read_text()
    assert str(files / "out").startswith(str(stage.open))
    assert ["hers", ALICE] == server.hear()
    assert ["hers", ALICE] == server.hear()
    assert ["KernelRefusedError", 13] == server.hear()
    assert ["KernelRefusedError", 18] == server.hear()
    assert ["KernelRefusedError", 18] == server.hear()
    assert ["NotARegularFileError", None] == server.hear()
    assert ["KernelRefusedError", 18] == server.hear()
    for _ in range(3):
        assert ["InvalidRequestError", None] == server.hear()


def test_an_opening_within_a_limit_never_leaves_it(stage, files, begin, connect):
    """Whatever links the client puts there; the naive variant compares the path."""
    inner = files / "inner"
    inner.mkdir()
    (inner / "note").write_text("note")
    (inner / "near").symlink_to("note")
    (inner / "far").symlink_to("../hers")
    (files / "turned").symlink_to("inner")
    (files / "alias").symlink_to("hers")
    for place in (inner, inner / "note"):
        os.chown(place, ALICE, ALICE)
    stage.start()
    beneath = [(inner / name, inner) for name in ("note", "near", "far")]
    acts = [
        opens(path, within=str(limit))
        for path, limit in (
            *beneath,
            (files / "turned" / "note", files / "turned"),
            (files / "hers", files / "hers"),
            (files / "alias", files / "alias"),
            (files / "hers", files.parent.parent),
            (files, files),
        )
    ]
    server = begin(NOTES, lambda talk: linked(stage, talk, *acts))
    server.hear()
    connect(ALICE, stage.gate)
    said = [server.hear() for _ in acts]
    assert str(inner / "far").startswith(str(inner))
    assert "hers" == (inner / "far").read_text()
    assert [["note", ALICE]] * 2 == said[:2]
    assert ["KernelRefusedError", 18] == said[2]
    assert ["KernelRefusedError", 40] == said[3]
    assert ["hers", ALICE] == said[4]
    assert ["KernelRefusedError", 40] == said[5]
    assert ["hers", ALICE] == said[6]  # the limit lies above the folder
    assert ["NotARegularFileError", None] == said[7]


def test_a_new_file_is_the_clients(stage, files, begin, connect):
    stage.start()
    act = opens(files / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    server = begin(NOTES, lambda talk: linked(stage, talk, act))
    server.hear()
    connect(ALICE, stage.gate)
    assert ["", ALICE] == server.hear()
    assert stat.S_IMODE((files / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "said", [b"x", b"[]", b"[" * 60_000, b'{"path": 1, "flags": 0, "mode": 0}']
)
def test_an_opener_answers_whatever_its_server_says(said):
    answer, theirs = pair()
    with sealed(said) as document, sealed(b'["/srv"]') as folders, answer:
        for number, each in enumerate((theirs, document, folders), 200):
            os.dup2(each.fileno(), number)
        theirs.close()
        assert 0 == broker_opening.open_beneath(200)
        for number in (201, 202):
            os.close(number)
        assert {"refused": "path"} == told(answer)


def test_an_opening_that_takes_too_long_is_ended(stage, files, begin, connect):
    """The process that opens is stopped, as a file system that never answers would."""
    stage.write(limits="open_seconds = 4")
    stage.start()

    def act(raw, index, _client):
        _answer, theirs = pair()
        channel, keepers = pair()
        wanted = broker_opening.request_document(str(files / "hers"), 0, 0o600)
        # The process has a copy of this end, and no room to say anything there.
        fill(theirs)
        with theirs, keepers, sealed(wanted) as document:
            raw.ask(
                "open",
                [keepers.fileno(), document.fileno(), theirs.fileno()],
                client=index,
            )
        return [told(channel), told(channel)]

    server, _ = begun(stage, begin, connect, act)
    first, last = server.hear()
    assert "started" in first
    assert {"ended": -signal.SIGKILL} == last


def fill(end):
    end.setblocking(False)
    try:
        while True:
            end.send(b"x" * 1000)
    except BlockingIOError:
        end.setblocking(True)


# --- the link -------------------------------------------------------------------------


def test_who_is_no_service_is_not_heard(broker, begin):
    def asks(_talk):
        return ask_broker(str(broker.socket))

    for uid in (ALICE, 0):
        assert "does not hear this uid" in begin(uid, asks).hear()["why"]
    said = begin(FILES, asks).hear()
    assert ("files", [str(broker.other_gate)]) == (said["service"], said["gates"])
    # What `stead doctor` makes of it.
    first, *rest = _broker_lines(said)
    assert "this uid is service `files` and may log_on, open, start, worker" in first
    assert any("blocks of impersonate() are judged by tokens" in line for line in rest)
    (line,) = _broker_lines(begin(ALICE, asks).hear())
    assert line.startswith(f"broker: no broker answers at `{broker.socket}`")


def test_a_server_believes_no_broker_that_is_not_root(stage, begin):
    def pretends(talk):
        path = stage.folder / "pretended" / "broker"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen()
            talk.say(str(path))
            talk.hear()

    (stage.folder / "pretended").mkdir()
    os.chown(stage.folder / "pretended", ALICE, ALICE)
    path = begin(ALICE, pretends).hear()
    with pytest.raises(LauncherUnavailableError, match="somebody else than root"):
        BrokerLink(path).open()


def test_a_gate_that_is_not_named_is_none(broker, begin):
    def asks(_talk):
        try:
            BrokerLink(broker.socket).entrance("/elsewhere")
        except InvalidRequestError as error:
            return str(error)
        return "opened"

    assert "accepts no clients at `/elsewhere`" in begin(NOTES, asks).hear()


def test_root_and_services_are_clients_for_whom_nothing_is_done(stage, begin, connect):
    # Not the usual guard: where a process runs as that one, no other server starts.
    stage.write(top=f"guard_uid = {GUARD}")
    broker = stage.start()

    def act(_link, ticket):
        try:
            ticket.ask("start", {"session": False})
        except ImpersonationRefusedError as error:
            return str(error)
        return "asked"

    for uid, why in (
        (0, "uid 0 is never impersonated"),
        (FILES, "is a service's"),
        (NOTES, "is a service's"),
        (33, "no policy names it"),
        (GUARD, f"uid {GUARD} is never impersonated"),
    ):
        server = begin(NOTES, lambda talk: linked(broker, talk, act))
        server.hear()
        connect(uid, broker.gate)
        assert why in server.hear()
        server.end()
        # A service has a few places, and its server's is free when its monitor ended.
        poll(lambda: not broker.monitors())


def test_a_service_that_is_named_may_be_a_client(stage, begin, connect):
    stage.write(top=f"allowed_system_uids = [{FILES}]")
    stage.start()
    server = begin(NOTES, lambda talk: serving(stage, talk, starts("sleep", "600")))
    server.hear()
    connect(FILES, stage.gate)
    assert [FILES] * 3 == ids_of(server.hear()["started"])[0]


# --- the broker's own life ------------------------------------------------------------


def test_the_broker_stops_and_nothing_is_left(stage, begin, connect):
    stage.start()
    server, _ = begun(stage, begin, connect, starts("sleep", "600"))
    pid = server.hear()["started"]
    monitors = stage.monitors()
    assert 0 == stage.stop()
    poll(lambda: not any(map(is_alive, (pid, *monitors))))
    assert not stage.socket.exists()
    assert not stage.gate.exists()


def test_sockets_that_a_service_manager_listens_on_are_used(stage, begin, connect):
    """As systemd hands them over: descriptors from 3, and who they are for."""
    listeners = []
    for path, kind in (
        (stage.socket, socket.SOCK_SEQPACKET),
        (stage.gate, socket.SOCK_STREAM),
    ):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        listeners.append(listener)
    script = (
        "import os, sys\n"
        "for number, given in enumerate(map(int, sys.argv[1:3]), 3):\n"
        "    os.dup2(given, number)\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '2'}\n"
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    numbers = [str(each.fileno() + 100) for each in listeners]
    for each, number in zip(listeners, numbers, strict=True):
        os.dup2(each.fileno(), int(number), inheritable=True)
    stage.process = subprocess.Popen(
        [sys.executable, "-c", script, *numbers,
         sys.executable, "-I", "-m", "stead.privileged.broker",
         "--config", str(stage.config)],
        pass_fds=[int(each) for each in numbers],
    )  # fmt: skip
    for each, number in zip(listeners, numbers, strict=True):
        each.close()
        os.close(int(number))
    server, _ = begun(stage, begin, connect, starts("sleep", "600"))
    assert [ALICE] * 3 == ids_of(server.hear()["started"])[0]
    assert 0 == stage.stop()
    assert stage.gate.exists()  # it is the service manager's


def test_the_broker_is_root_and_starts_from_nowhere(stage, begin):
    command = [sys.executable, "-m", "stead.privileged.broker", "--config"]
    done = subprocess.run(
        [*command, str(stage.config)], capture_output=True, text=True, check=False
    )
    assert (1, True) == (done.returncode, "working directory" in done.stderr)


def test_the_configuration_can_be_looked_at_alone(stage):
    command = [sys.executable, "-I", "-m", "stead.privileged.broker", "--check"]
    done = subprocess.run(
        [*command, "--config", str(stage.config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (0, "the broker would serve notes, files\n") == (
        done.returncode,
        done.stdout,
    )
    stage.config.chmod(0o666)
    done = subprocess.run(
        [*command, "--config", str(stage.config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (1, True) == (done.returncode, "others may write" in done.stderr)


def test_what_runs_as_root_is_this_room_and_nothing_else(broker, begin, connect):
    """Neither the broker nor a monitor has mapped a library or module beside it."""
    program = (
        "import sys, stead.privileged.broker\n"
        "print(*sorted(n for n in sys.modules if n.startswith('stead.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert {"errors", "model", "privileged"} == rooms


def test_peers_are_what_the_kernel_says_they_are(broker, begin, connect):
    """The server sees the same peer on the socket that it is handed."""

    def act(_raw, _index, client):
        answer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.unpack("=iII", answer)[1]

    server, _ = begun(broker, begin, connect, act, uid=BOB)
    assert BOB == server.hear()


def test_workers_are_of_two_fixed_kinds(broker, begin, connect):
    def act(raw, index, _client):
        channel, keepers = pair()
        null = os.open(os.devnull, os.O_RDWR)
        work, worker = socket.socketpair()
        order = sealed(server_part([], no_new_privileges=True))
        with order, worker, keepers:
            raw.ask(
                "worker",
                [keepers.fileno(), order.fileno(), null, null, null, worker.fileno()],
                client=index, kind="run",
            )  # fmt: skip
        said = told(channel)
        work.close()
        return [said, told(channel)]

    server, _ = begun(broker, begin, connect, act)
    started, ended = server.hear()
    assert "started" in started
    assert {"ended": 0} == ended
