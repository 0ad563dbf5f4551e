"""A server that somebody took over speaks to the broker by hand, and gains nothing.

Where it can be shown, the naive variant falls in the same test: a helper that believes
the kernel's word on *any* socket, a process number, an order's own identity, or a
document that may still change.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
from pathlib import Path

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    FILES,
    NOTES,
    SECONDS,
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
    unsealed,
)

from stead.errors import RemoteProtocolError
from stead.privileged import orders, trees
from stead.privileged.broker_wire import LARGEST_ORDER, hear, say
from stead.privileged.peers import peer_credentials
from stead.privileged.stated_level import state_level

pytestmark = pytest.mark.root
__all__ = ["begin", "broker", "connect", "stage"]  # fixtures

SO_PASSCRED = 16
CLONE3 = 435

kept = []  # what a child must not close yet; it ends with the child


class Foothold:
    """A server in an attacker's hands: one client, a process of hers, and the wire."""

    def __init__(self, stage, talk):
        self.stage = stage
        self.raw = Raw(stage.socket)
        self.raw.hello()
        self.arrivals = self.raw.listen()
        talk.say("listens")
        self.index, self.client = accept(self.arrivals)
        self.channel = self.raw.start(self.index, "sleep", "600")
        self.pid = told(self.channel)["started"]
        talk.say(self.pid)

    def is_heard(self):
        """Say whether the connection still serves: a program runs by it to its end."""
        try:
            channel = self.raw.start(self.index, "true")
        except OSError:
            return False
        said = told(channel)
        return said is not None and "started" in said


def attack(stage, begin, connect, act, uid=ALICE):
    """Have a server that holds a client do something; return its process and hers."""
    attacker = begin(NOTES, lambda talk: act(Foothold(stage, talk), talk))
    assert attacker.hear() == "listens"
    client = connect(uid, stage.gate)
    return attacker, client, attacker.hear()


def assert_cut_off(stage, begin, connect, act):
    """Assert that what is asked ends the connection and all that was started by it.

    And that the broker serves others, and this service again, as if nothing was.
    """

    def then_waits(foothold, talk):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            act(foothold)
        talk.say(foothold.raw.is_cut_off())
        talk.hear()

    attacker, client, pid = attack(stage, begin, connect, then_waits)
    assert attacker.hear()
    poll(lambda: not is_alive(pid))
    client.tell()
    assert "left" == client.hear()
    assert "is cut off" in stage.said()
    assert_serves(stage, begin, connect)


def assert_serves(stage, begin, connect, uid=NOTES, gate=None):
    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        index, _client = accept(arrivals)
        channel = raw.start(index, "sleep", "600")
        talk.say(told(channel)["started"])
        talk.hear()

    server = begin(uid, serves)
    assert server.hear() == "listens"
    client = connect(BOB, gate or stage.gate)
    assert [BOB] * 3 == ids_of(server.hear())[0]
    # Clients go to whichever server of a service takes them: this one would not.
    before = stage.monitors()
    server.end()
    client.end()
    # Its place is free when its monitor has ended: a service has a few.
    poll(lambda: len(stage.monitors()) < len(before))


# --- evidence: sockets that the server made itself ------------------------------------


def naive_identity(descriptor):
    """Say who a client is, as a helper does that believes any socket it is handed."""
    with socket.socket(fileno=os.dup(descriptor)) as given:
        assert given.family == socket.AF_UNIX
        assert given.type == socket.SOCK_STREAM
        given.getpeername()  # it is connected
        return peer_credentials(given)[1]


def listening(path, mode=0o666):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    Path(path).chmod(mode)
    listener.listen()
    return listener


def own_pair(_stage):
    return socket.socketpair()[0]


def to_a_daemon_of_root(stage):
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(stage.folder / "daemon"))
    return made


def to_a_daemon_of_somebody(stage):
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(stage.folder / "hers" / "agent"))
    return made


def accepted_by_itself(stage):
    """A client's socket, accepted elsewhere than at a gate: from a look-alike."""
    with listening(stage.folder / "hers" / "notes") as listener:
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(stage.folder / "hers" / "notes"))
        accepted, _ = listener.accept()
        return accepted


def bound_like_the_gate(stage):
    """A socket whose own name ends as the gate's does, connected to root's daemon."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(f"\0{stage.gate}")
    made.connect(str(stage.folder / "daemon"))
    return made


@pytest.mark.parametrize(
    ("make", "naive"),
    [
        (own_pair, NOTES),
        (to_a_daemon_of_root, 0),
        (to_a_daemon_of_somebody, BOB),
        (accepted_by_itself, NOTES),
        (bound_like_the_gate, 0),
    ],
)
@pytest.mark.parametrize("request_name", ["adopt", "client", "start", "listen"])
def test_no_socket_of_a_servers_own_is_a_client(
    broker, begin, connect, make, naive, request_name
):
    def agent(talk):
        with listening(broker.folder / "hers" / "agent"):
            talk.say("listens")
            talk.hear()

    (broker.folder / "hers").mkdir()
    (broker.folder / "hers").chmod(0o777)
    begin(BOB, agent).hear()

    def act(foothold):
        with make(broker) as made:
            # Naive: root's own word says that this is uid 0, or somebody else.
            assert naive_identity(made.fileno()) == naive
            rest = [] if request_name != "start" else stdio()
            fields = {"start": {"client": foothold.index, "session": False},
                      "listen": {"gate": 0}}.get(request_name, {})  # fmt: skip
            foothold.raw.ask(request_name, [made.fileno(), *rest], **fields)

    with listening(broker.folder / "daemon"):
        assert_cut_off(broker, begin, connect, act)


def stdio():
    null = os.open(os.devnull, os.O_RDWR)
    kept.append(sealed(server_part(["id"])))
    return [kept[-1].fileno(), null, null, null]


def test_a_clients_own_socket_handed_in_again_is_nothing(broker, begin, connect):
    def act(foothold):
        foothold.raw.ask("adopt", [foothold.client.fileno()])

    assert_cut_off(broker, begin, connect, act)


def test_a_server_that_connects_to_a_gate_is_itself(broker, begin, connect):
    """Its own, or another service's: there it is one more client, of its own uid."""

    def serves(talk):
        raw = Raw(broker.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        talk.say([accept(arrivals)[0] for _ in range(2)])

    server = begin(FILES, serves)
    server.hear()
    connect(NOTES, broker.other_gate)
    connect(FILES, broker.other_gate)
    assert [None, None] == server.hear()


def test_root_writes_for_no_server_to_somebody_elses_daemon(broker, begin, connect):
    """The keeper speaks on a process's channel, as root: never to a daemon.

    The naive variant does, and a daemon that asks the kernel who wrote is told: root.
    """
    place = broker.folder / "journal"
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon.bind(str(place))
    place.chmod(0o666)
    daemon.listen()
    daemon.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)

    def act(foothold):
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.connect(str(place))
        foothold.raw.start(foothold.index, "id", channel=channel.fileno())

    with daemon:
        assert_cut_off(broker, begin, connect, act)
        heard, _ = daemon.accept()
        heard.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        heard.setblocking(False)
        with heard, pytest.raises(BlockingIOError):
            heard.recv(4096)
        naive = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        naive.connect(str(place))
        heard, _ = daemon.accept()
        heard.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        with naive, heard:
            say(naive, {"started": 1})
            _, control, _, _ = heard.recvmsg(4096, 100)
            (credentials,) = [data for _, kind, data in control if kind == 2]
            assert 0 == struct.unpack("=iII", credentials)[1]


def test_a_number_that_comes_again_names_nobody_else(broker, begin, connect):
    """A client's process ends and its number becomes root's, while its socket lives.

    Naive: who has the number. Ours: who connected, by the kernel's own word then.
    """

    def gives_its_socket_away(talk):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(broker.gate))
            if os.fork():
                os._exit(0)
            talk.hear()
            talk.hear()

    def act(foothold, talk):
        pid = peer_credentials(foothold.client)[0]
        talk.say(pid)
        talk.hear()
        naive = Path(f"/proc/{pid}").stat().st_uid
        channel = foothold.raw.start(foothold.index, "sleep", "600")
        talk.say([naive, told(channel)["started"]])
        talk.hear()

    attacker = begin(NOTES, lambda talk: act(Foothold(broker, talk), talk))
    attacker.hear()
    client = begin(ALICE, gives_its_socket_away)
    attacker.hear()
    pid = attacker.hear()
    os.waitpid(client.pid, 0)
    client.is_over = True
    again = become_number(pid)
    try:
        attacker.tell()
        naive, started = attacker.hear()
    finally:
        os.kill(again, signal.SIGKILL)
        os.waitpid(again, 0)
    assert 0 == naive
    assert [ALICE] * 3 == ids_of(started)[0]


def become_number(pid):
    """Fork a process of root's that has the number; return it.

    By clone3(2), which is asked for this very number: whoever else forks meanwhile does
    not take it, and no other number comes again.
    """
    library = ctypes.PyDLL(None, use_errno=True)  # the child has Python's lock
    wanted = (ctypes.c_int32 * 1)(pid)
    asked = (ctypes.c_uint64 * 10)()
    asked[4], asked[8], asked[9] = signal.SIGCHLD, ctypes.addressof(wanted), 1
    made = library.syscall(CLONE3, asked, ctypes.sizeof(asked))
    if not made:
        signal.pause()
        os._exit(0)
    assert pid == made, os.strerror(ctypes.get_errno())
    return made


# --- what a client allows -------------------------------------------------------------


@pytest.mark.parametrize("level", ["anonymous", "identification", "nonsense"])
def test_a_client_that_allows_less_has_no_index_whatever_its_server_says(
    broker, begin, level
):
    """Naive: the client tells the server, which is asked to remember it."""

    def comes(talk):
        with socket.socket(socket.AF_UNIX) as client:
            if level == "nonsense":
                client.bind(b"\0stead/everything")
            else:
                state_level(client, level)
            client.connect(str(broker.gate))
            # To the server it says something else, and that is all the server hears.
            client.sendall(b'{"type":"hello","version":1,"level":"delegation"}')
            talk.say("connected")
            talk.hear()

    def act(talk):
        raw = Raw(broker.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        message, (descriptor,) = hear(arrivals, 8192, 1)
        client = socket.socket(fileno=descriptor)
        talk.say([message, client.recv(100).decode()])
        raw.start(1, "id")
        talk.say(raw.is_cut_off())

    server = begin(NOTES, act)
    server.hear()
    begin(ALICE, comes).hear()
    message, heard = server.hear()
    assert message["client"] is None
    assert "and no more" in message["why"]
    assert "delegation" in heard
    assert server.hear()


# --- indexes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", [0, -1, 2, 999, 2**70, True, 1.0, "1", None, [1], {"index": 1}]
)
@pytest.mark.parametrize("request_name", ["start", "log_off", "renew"])
def test_an_index_that_was_never_given_ends_the_connection(
    broker, begin, connect, index, request_name
):
    def act(foothold):
        if request_name == "start":
            foothold.raw.start(index, "id")
        else:
            foothold.raw.ask(request_name, client=index)

    assert_cut_off(broker, begin, connect, act)


def test_another_connections_index_names_ones_own_client_or_nobody(
    broker, begin, connect
):
    """Each connection has a table of its own, whoever sits at the next one."""

    def act(foothold, talk):
        talk.hear()  # the other service has clients 1 and 2 by now
        channel = foothold.raw.start(1, "sleep", "600")
        talk.say(told(channel)["started"])
        foothold.raw.start(2, "id")
        talk.say(foothold.raw.is_cut_off())

    attacker, _, _ = attack(broker, begin, connect, act)

    def serves(talk):
        raw = Raw(broker.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        talk.say([accept(arrivals)[0] for _ in range(2)])
        talk.hear()

    other = begin(FILES, serves)
    other.hear()
    connect(BOB, broker.other_gate)
    connect(BOB, broker.other_gate)
    assert [1, 2] == other.hear()
    attacker.tell()
    assert [ALICE] * 3 == ids_of(attacker.hear())[0]
    assert attacker.hear()


def test_a_stale_index_is_refused_and_never_somebody_else(broker, begin, connect):
    def act(foothold, talk):
        assert foothold.client.recv(10) == b""  # she left
        said = told(foothold.raw.start(foothold.index, "id"))
        talk.say(said)
        index, _client = accept(foothold.arrivals)
        again = told(foothold.raw.start(foothold.index, "id"))
        talk.say([index, again, told(foothold.raw.start(index, "true"))])

    attacker, client, pid = attack(broker, begin, connect, act)
    client.tell()
    client.hear()
    assert "client" == attacker.hear()["refused"]
    poll(lambda: not is_alive(pid))
    connect(BOB, broker.gate)
    index, again, own = attacker.hear()
    assert 2 == index
    assert "client" == again["refused"]
    assert "started" in own


# --- what an order may say ------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"identity": [0, 0, []]},
        {"identity": [BOB, BOB, []]},
        {"body": "os:system"},
        {"body": "stead.server.workers.start:run_functions"},
        {"preload": ["attacker"]},
        {"argv": []},
        {"umask": "0"},
        {"environment": [["A", "1"], ["A", "2"]]},
    ],
)
def test_an_order_says_neither_whom_nor_what_else(broker, begin, connect, said):
    document = server_part(["sleep", "600"], **said)
    if "identity" in said:
        # Naive: an order's own identity, as a launcher of a root server believes it.
        whole = orders.Order.from_bytes(server_part(["sleep"], **said, body=""))
        assert said["identity"][0] == whole.identity.uid

    def act(foothold, talk):
        channel = foothold.raw.start(foothold.index, order=sealed(document))
        talk.say([told(channel), foothold.is_heard()])

    attacker, _, _ = attack(broker, begin, connect, act)
    refused, is_heard = attacker.hear()
    assert "order" == refused["refused"]
    assert is_heard


@pytest.mark.parametrize(
    "groups", [[0], [42], [70_101], [70_100, 0], ["70100"], [True], [[70_100]], [{}]]
)
def test_a_server_adds_no_group_but_those_that_are_named(stage, begin, connect, groups):
    """Naive: a server says which groups its client has, as one that is root does."""
    stage.write(more="mapped_groups = [70100]")
    stage.start()

    def act(foothold):
        kept.append(foothold.raw.start(foothold.index, "id", groups=groups))

    assert_cut_off(stage, begin, connect, act)


def test_a_group_that_is_named_is_added_to_the_clients_own(stage, begin, connect):
    stage.write(more="mapped_groups = [70100, 70101]")
    stage.start()

    def act(foothold, talk):
        channel = foothold.raw.start(foothold.index, "sleep", "600", groups=[70_100])
        talk.say(told(channel)["started"])
        talk.hear()

    attacker, _, first = attack(stage, begin, connect, act)
    assert [] == ids_of(first)[2]
    assert [[ALICE] * 3, [ALICE] * 3, [70_100]] == ids_of(attacker.hear())


def test_a_pam_session_of_somebody_else_is_none(broker, begin, connect):
    document = server_part(["id"], pam_user="root")

    def act(foothold, talk):
        ours, theirs = pair()
        null = os.open(os.devnull, os.O_RDWR)
        with theirs, sealed(document) as order:
            foothold.raw.ask(
                "start", [theirs.fileno(), order.fileno(), null, null, null],
                client=foothold.index, session=True,
            )  # fmt: skip
        talk.say(told(ours))

    attacker, _, _ = attack(broker, begin, connect, act)
    said = attacker.hear()
    assert "pam" == said["refused"]
    assert f"`root` is not uid {ALICE}" in said["text"]


@pytest.mark.parametrize("kind", ["os:system", "", "start", "run\0", "Run"])
def test_no_worker_but_the_two_is_ever_imported(broker, begin, connect, kind):
    def act(foothold):
        _, theirs = pair()
        null = os.open(os.devnull, os.O_RDWR)
        with sealed(server_part([])) as order:
            foothold.raw.ask(
                "worker",
                [theirs.fileno(), order.fileno(), null, null, null, null],
                client=foothold.index, kind=kind,
            )  # fmt: skip

    assert_cut_off(broker, begin, connect, act)


def test_a_document_that_may_change_is_none(broker, begin, connect):
    """Naive: look at it, then use it; between the two it becomes another."""
    harmless, harmful = server_part(["true"]), server_part(["evil"])
    with unsealed(harmless) as naive:
        looked_at = os.pread(naive.fileno(), 1000, 0)
        os.pwrite(naive.fileno(), harmful, 0)
        used = os.pread(naive.fileno(), 1000, 0)
    assert (harmless, harmful) == (looked_at, used)

    def act(foothold):
        foothold.raw.start(foothold.index, order=unsealed(harmless))

    assert_cut_off(broker, begin, connect, act)


class Folder:
    """An open folder: `open` makes no file of one."""

    def fileno(self):
        return os.open("/", os.O_RDONLY)


@pytest.mark.parametrize("what", ["partly", "file", "pipe", "folder", "large"])
def test_a_document_is_sealed_memory_and_not_too_large(broker, begin, connect, what):
    def make():
        if what == "partly":
            made = unsealed(b"{}")
            ctypes.CDLL(None).fcntl(made.fileno(), 1033, 0x2 | 0x4)  # no writes yet
            return made
        if what == "file":
            return Path(__file__).open("rb")
        if what == "pipe":
            return os.fdopen(os.pipe()[0], "rb")
        if what == "folder":
            return Folder()
        descriptor = os.memfd_create("large", os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, LARGEST_ORDER + 1)
        ctypes.CDLL(None).fcntl(descriptor, 1033, 0x1 | 0x2 | 0x4 | 0x8)
        return os.fdopen(descriptor, "rb")

    def act(foothold):
        kept.append(make())
        _, theirs = pair()
        null = os.open(os.devnull, os.O_RDWR)
        foothold.raw.ask(
            "start", [theirs.fileno(), kept[-1].fileno(), null, null, null],
            client=foothold.index, session=False,
        )  # fmt: skip

    assert_cut_off(broker, begin, connect, act)


# --- requests that are none -----------------------------------------------------------


def raw_bytes(data):
    return lambda foothold: foothold.raw.control.send(data)


def asked(name, count=0, **fields):
    def act(foothold):
        null = os.open(os.devnull, os.O_RDWR)
        foothold.raw.ask(name, [null] * count, **fields)

    return act


@pytest.mark.parametrize(
    "act",
    [
        raw_bytes(b"x"),
        raw_bytes(b"\xff" * 512),
        raw_bytes(b"[]"),
        raw_bytes(b"{}"),
        raw_bytes(b"null"),
        raw_bytes(b'{"request": ["start"]}'),
        raw_bytes(b'{"request": "hello", "version": 1}' + b" " * 512),
        raw_bytes(b"[" * 500),
        raw_bytes(b'{"a":' * 90),
        raw_bytes(b'{"request": "log_off", "client": ' + b"9" * 400 + b"}"),
        raw_bytes(b'{"request": "log_off", "client": NaN}'),
        asked("hello", version=1),
        asked("exec", client=1),
        asked("__init__"),
        asked("log_off"),
        asked("log_off", client=1, identity=[0, 0, []]),
        asked("log_off", 1, client=1),
        asked("renew", client=1),
        asked("listen", gate=0),
        asked("listen", 1, gate=0),
        asked("listen", 1, gate=7),
        asked("listen", 1, gate=-1),
        asked("listen", 1, gate="0"),
        asked("start", 4, client=1, session=False),
        asked("start", 5, client=1),
        asked("start", 5, client=1, session=1),
        asked("start", 70, client=1, session=False),
        asked("start", 253, client=1, session=False),
        asked("worker", 5, client=1, kind="run"),
        asked("worker", 7, client=1, kind="run"),
        asked("open", 2, client=1),
        asked("log_on", 2),
        asked("log_on", 3, account="alice"),
    ],
)  # fmt: skip
def test_what_is_no_request_ends_the_connection(broker, begin, connect, act):
    assert_cut_off(broker, begin, connect, act)


@pytest.mark.parametrize(
    "early",
    [
        {"request": "listen", "gate": 0},
        {"request": "start", "client": 1, "session": False},
        {"request": "log_off", "client": 1},
        {"request": "hello", "version": 2},
        {"request": "hello"},
    ],
)
def test_nothing_is_asked_before_the_hello(broker, begin, connect, early):
    def asks(_talk):
        raw = Raw(broker.socket)
        raw.control.send(json.dumps(early).encode())
        return raw.is_cut_off()

    assert begin(NOTES, asks).hear()
    assert_serves(broker, begin, connect)


def test_a_second_gate_channel_is_out_of_phase(broker, begin, connect):
    assert_cut_off(
        broker, begin, connect, lambda foothold: kept.append(foothold.raw.listen())
    )


def test_what_a_service_may_not_is_no_request(stage, begin, connect):
    stage.write(may='["start"]')
    stage.start()

    def act(foothold):
        answer, theirs = pair()
        with sealed(b"{}") as document, sealed(b"x") as secret:
            foothold.raw.ask(
                "log_on", [theirs.fileno(), document.fileno(), secret.fileno()]
            )
        kept.append(answer)

    assert_cut_off(stage, begin, connect, act)


def test_a_flood_of_descriptors_is_closed_again(broker, begin, connect):
    """Those of refused requests too: they cost the monitor nothing that lasts."""

    def act(foothold, talk):
        foothold.raw.ask("log_off", client=foothold.index)
        for round_number in range(2):
            for _ in range(150):
                null = os.open(os.devnull, os.O_RDWR)
                ours, theirs = pair()
                with sealed(server_part(["id"])) as order:
                    numbers = [theirs.fileno(), order.fileno(), *[null] * 60]
                    fields = {"client": foothold.index, "session": False}
                    foothold.raw.ask("start", numbers, **fields)
                os.close(null)
                theirs.close()
                assert "client" == told(ours)["refused"]
                ours.close()
            talk.say(round_number)
            talk.hear()

    attacker, _, _ = attack(broker, begin, connect, act)
    (monitor,) = broker.monitors()
    most = 39
    for _ in range(2):
        attacker.hear()
        most = fallen_to(most, monitor)
        attacker.tell()


def fallen_to(most, process):
    """Wait until it holds so many descriptors at most; return how many it holds then.

    What was refused last is closed after it was refused.
    """
    place = Path(f"/proc/{process}/fd")
    poll(lambda: len(list(place.iterdir())) <= most)
    return len(list(place.iterdir()))


def test_one_servers_flood_keeps_no_other_waiting(broker, begin, connect):
    def act(foothold, talk):
        talk.say("floods")
        with contextlib.suppress(OSError):
            while True:
                foothold.raw.control.setblocking(True)
                foothold.raw.control.send(
                    b'{"request": "log_off", "client": %d}' % foothold.index
                )

    attacker, _, _ = attack(broker, begin, connect, act)
    attacker.hear()
    for _ in range(3):
        assert_serves(broker, begin, connect, FILES, broker.other_gate)
    assert is_alive(attacker.pid)


# --- keeping what is over -------------------------------------------------------------


def test_a_server_that_reads_nothing_holds_no_process_beyond_its_client(
    broker, begin, connect
):
    """The channel's far end is the server's own make: it may have a copy, and fill it.

    A keeper that waited until there is room would end nothing, ever.
    """

    def act(foothold, talk):
        ours, theirs = pair()
        null = os.open(os.devnull, os.O_RDWR)
        with sealed(server_part(["sleep", "600"])) as order:
            foothold.raw.ask(
                "start", [theirs.fileno(), order.fileno(), null, null, null],
                client=foothold.index, session=False,
            )  # fmt: skip
        pid = told(ours)["started"]
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(b"x" * 512)
        theirs.setblocking(True)  # as the keeper's copy then is, too
        talk.say(pid)
        talk.hear()

    attacker, client, first = attack(broker, begin, connect, act)
    pid = attacker.hear()
    client.tell()
    client.hear()
    poll(lambda: not is_alive(pid) and not is_alive(first))
    assert is_alive(attacker.pid)


def test_a_keeper_that_is_held_holds_no_process_beyond_its_client(
    stage, begin, connect
):
    """A descriptor whose closing never returns holds it; here a signal does.

    Naive: whoever waits for it to end its tree waits for ever.
    """
    stage.write(limits="ending_seconds = 1")
    stage.start()

    def act(_foothold, talk):
        talk.hear()

    attacker, client, pid = attack(stage, begin, connect, act)
    keeper = trees._read(pid).parent
    os.kill(keeper, signal.SIGSTOP)
    poll(lambda: trees._read(keeper).state == "T")
    client.tell()
    assert "left" == client.hear()
    poll(lambda: not is_alive(pid) and not is_alive(keeper))
    assert "does not end a tree" in stage.said()
    attacker.end()
    assert_serves(stage, begin, connect)


def test_a_monitor_that_is_held_holds_nothing_at_all(stage, begin, connect):
    stage.write(limits="silence_seconds = 6")
    stage.start()

    def act(foothold, talk):
        talk.hear()
        talk.say(foothold.raw.is_cut_off())

    attacker, client, pid = attack(stage, begin, connect, act)
    (monitor,) = stage.monitors()
    below = [each.pid for each in trees._descendants(frozenset(), monitor)]
    assert {pid, trees._read(pid).parent} < set(below)
    os.kill(monitor, signal.SIGSTOP)
    client.tell()
    assert "left" == client.hear()
    # Naive, whoever kills parents first leaves their children, stopped, for ever.
    poll(lambda: not any(map(is_alive, [*below, monitor])))
    assert "is silent" in stage.said()
    attacker.tell()
    assert attacker.hear()
    assert_serves(stage, begin, connect)


def test_an_order_whose_client_left_before_it_was_taken_never_begins(
    broker, begin, connect
):
    """Keepers are stopped while it waits; naive, they would begin it afterwards."""
    mark = broker.folder / "mark"
    (broker.folder).chmod(0o777)

    def act(foothold, talk):
        talk.hear()
        kept.append(foothold.raw.start(foothold.index, "touch", mark))
        talk.say("ordered")
        talk.hear()
        talk.say(told(kept[-1]))

    attacker, client, pid = attack(broker, begin, connect, act)
    launcher = trees._read(trees._read(pid).parent).parent
    keepers = [each.pid for each in trees._processes() if each.parent == launcher]
    for each in (launcher, *keepers):
        os.kill(each, signal.SIGSTOP)
    attacker.tell()
    assert "ordered" == attacker.hear()
    client.tell()
    assert "left" == client.hear()
    settle(broker)
    for each in (launcher, *keepers):
        os.kill(each, signal.SIGCONT)
    attacker.tell()
    said = attacker.hear()  # nobody ever began it
    assert said is None or "client" == said["refused"]
    assert not mark.exists()


def settle(stage):
    """Wait until the broker's monitor waits again: it has heard what there was."""
    (monitor,) = stage.monitors()
    poll(lambda: trees._read(monitor).state == "S")


@pytest.mark.parametrize(
    "nonsense",
    [b"x", b"[]", b'{"signal": "9"}', b'{"signal": 9999}', b'{"signal": -1}',
     b'{"kill": 1}', b'{"signal": 99999999999999999999}', b"[" * 4_000],
)  # fmt: skip
def test_nonsense_to_a_keeper_ends_its_own_tree_alone(broker, begin, connect, nonsense):
    def act(foothold, talk):
        channel = foothold.raw.start(foothold.index, "sleep", "600")
        pid = told(channel)["started"]
        channel.send(nonsense)
        talk.say([pid, told(channel), foothold.is_heard()])
        talk.hear()

    attacker, _, other = attack(broker, begin, connect, act)
    pid, ended, is_heard = attacker.hear()
    assert {"ended": -signal.SIGKILL} == ended
    assert is_heard
    assert not is_alive(pid)
    assert is_alive(other)


def test_a_client_closes_its_socket_and_a_copy_at_the_server_keeps_nothing(
    broker, begin, connect
):
    def act(foothold, talk):
        copies = [foothold.client.dup() for _ in range(10)]
        talk.say(len(copies))
        talk.hear()

    attacker, client, pid = attack(broker, begin, connect, act)
    attacker.hear()
    client.kill()
    poll(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    "whom", ["monitor", "launcher", "keeper", "process", "client", "server", "broker"]
)
@pytest.mark.parametrize("phase", ["starting", "running"])
def test_whoever_is_killed_nothing_is_left_running(broker, begin, connect, whom, phase):
    """`kill -9` of one of them; what is not its own goes on, or can begin again."""

    def act(foothold, talk):
        talk.hear()
        if phase == "starting":
            kept.extend(
                foothold.raw.start(foothold.index, "sleep", "600") for _ in range(20)
            )
        talk.say("done")
        with contextlib.suppress(OSError, RemoteProtocolError):
            talk.hear()

    attacker, client, pid = attack(broker, begin, connect, act)
    (monitor,) = broker.monitors()
    keeper = trees._read(pid).parent
    launcher = trees._read(keeper).parent
    victim = {
        "monitor": monitor, "launcher": launcher, "keeper": keeper, "process": pid,
        "client": client.pid, "server": attacker.pid, "broker": broker.process.pid,
    }[whom]  # fmt: skip
    attacker.tell()
    os.kill(victim, signal.SIGKILL)
    poll(lambda: not is_alive(pid))
    if whom == "broker":
        broker.process.wait(SECONDS)
        broker.start()
    if whom in {"keeper", "process"}:
        attacker.end()
    poll(lambda: not sleepers(ALICE))
    attacker.end()
    assert_serves(broker, begin, connect)


def sleepers(uid):
    """Return the processes of a uid that were started for it here."""
    found = []
    for each in trees._processes():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{each.pid}/cmdline").read_bytes()
            owner = Path(f"/proc/{each.pid}").stat().st_uid
            if command.startswith(b"sleep\x00600") and owner == uid:
                found.append(each.pid)
    return found


def test_a_document_is_read_by_nobody_who_matters(broker, begin, connect):
    """The monitor hands an order on unread: one that nests for ever harms a child."""
    bomb = b"[" * 100_000

    def act(foothold, talk):
        channel = foothold.raw.start(foothold.index, order=sealed(bomb))
        talk.say([told(channel), foothold.is_heard()])

    attacker, _, _ = attack(broker, begin, connect, act)
    refused, is_heard = attacker.hear()
    assert "order" == refused["refused"]
    assert is_heard
