"""A server of an ordinary uid, a broker, and clients whom the kernel judges.

Nothing in the server's process is root: it is forked from the test and drops to its own
uid before it opens anything. The broker is the real one, as root.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from datetime import timedelta
from functools import partial

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    NOTES,
    SECONDS,
    Stage,
    begin,
    ids_of,
    is_alive,
    poll,
)
from tests.privileged.test_broker_passwords import has_pam, started

from stead.errors import ImpersonationRefusedError, RemoteError, SteadError
from stead.gates.dde.client import DdeClient
from stead.gates.dde.server import DdeGate
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate
from stead.model.access_mask import FileRights
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.limits import FileRoot
from stead.model.token import ImpersonationLevel
from stead.privileged.late_imports import preload
from stead.server.dde import DdeDesk, DdeRights
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

pytestmark = [pytest.mark.root, pytest.mark.slow]
__all__ = ["begin"]  # a fixture

on_own_machine = partial(started, limits="")

CAROL = 70_003
DENIED = "refused: access is denied"


@pytest.fixture
def stage(world):
    """Give a broker, a store for the service's uid, and a home for each client."""
    # The interpreter may lie where only root may look: what the server's process needs
    # is loaded before it drops to its uid.
    preload()
    with ProtectedServer("rehearsal", enforcement=Enforcement.TOKEN):
        made = Stage(world.folder)
    os.chown(world.store.parent, NOTES, NOTES)
    for uid in (ALICE, BOB):
        home = made.open / str(uid)
        home.mkdir()
        note = home / "note.txt"
        note.write_text(f"{uid}'s own\n")
        for place in (home, note):
            os.chown(place, uid, uid)
            place.chmod(0o700)
    yield made.start()
    if made.process.poll() is None:
        assert made.stop() == 0, made.said()


@pytest.fixture
def server(stage, world, begin):
    """Give the running server, once it is ready."""
    return start(stage, world, begin)


def start(stage, world, begin, before=None, **options):
    child = begin(NOTES, lambda talk: serve(stage, world, talk, options), before=before)
    assert child.hear() == ["kernel", str(stage.socket), [NOTES] * 3]
    return child


def serve(stage, world, talk, options):
    server = ProtectedServer("notes", store=world.store, broker=stage.socket, **options)
    left = {}

    @server.operation("who", level=ImpersonationLevel.IMPERSONATION)
    def who(client):
        with client.start(["id", "-u"], stdout=subprocess.PIPE) as process:
            out, _ = process.communicate(timeout=SECONDS)
        return [
            list(client.run(os.getresuid)),
            list(client.run(os.getgroups)),
            int(out),
        ]

    @server.operation("read", level=ImpersonationLevel.IMPERSONATION)
    def read(client, path: str):
        with client.open(path) as file:
            return file.read()

    @server.operation("write", level=ImpersonationLevel.IMPERSONATION)
    def write(client, path: str, text: str):
        with client.open(path, "w") as file:
            file.write(text)

    @server.operation("leaves", level=ImpersonationLevel.IMPERSONATION)
    def leaves(client):
        """Start something that goes on, and wait for nothing."""
        process = left[client.name] = client.start(["sleep", "600"])
        return process.pid

    @server.operation("reads_in_a_block", level=ImpersonationLevel.IMPERSONATION)
    def reads_in_a_block(client, path: str):
        with client.impersonate():
            return open(path).read()  # noqa: PTH123 - the tripwire is meant

    offer_evidence(server, stage)
    offer_grants(server, stage)
    gate = PipeGate(stage.gate, name="notes", entrance=server.entrance(stage.gate))
    dde = DdeGate(
        stage.second_gate, a_desk(server), entrance=server.entrance(stage.second_gate)
    )
    with server:
        ready = [server.enforcement.value, server.broker, list(os.getresuid())]
        asyncio.run(server.serve(gate, dde, ready=lambda: talk.say(ready)))
    return "stopped"


def a_desk(server):
    """Give a desk whose commands write a file as whoever executes them."""
    desk = DdeDesk(server)
    entries = [allow("Everyone", DdeRights.CONNECT | DdeRights.EXECUTE)]
    service = desk.register("files", entries=entries)
    topic = service.topic("notes", {}, entries=entries)

    @topic.on_execute
    def write(conversation, command):
        with conversation.client.open(command, "w") as file:
            file.write("by dde")

    return desk


def offer_evidence(server, stage):
    """Offer what acts for clients who did not come through the gate."""

    @server.operation("asserted")
    def asserted(client):
        """Act for somebody for whom there is nothing but this server's word."""
        server.accounts.add("carol", uid=CAROL, gid=CAROL)
        with server.client_for("carol", authenticated_by="nobody") as carol:
            refusals = []
            for act in (
                lambda: carol.run(os.getuid),
                lambda: carol.start(["id"]),
                lambda: carol.open(path_of(stage, ALICE)),
            ):
                try:
                    act()
                except ImpersonationRefusedError as error:
                    refusals.append(f"{error}: {error.advice}")
            return refusals

    @server.operation("logs_on")
    def logs_on(client, password: str):
        server.accounts.add("alice", uid=ALICE, gid=ALICE, exist_ok=True)
        server.accounts.set_password("alice", "tiger")
        with server.log_on("alice", password, via=client) as session:
            try:
                with session.start(["id", "-u"], stdout=subprocess.PIPE) as process:
                    return process.communicate(timeout=SECONDS)[0].decode()
            except ImpersonationRefusedError as error:
                return str(error)


def offer_grants(server, stage):
    """Offer what acts with less than the client has, or with a little more."""

    @server.operation("limited", level=ImpersonationLevel.IMPERSONATION)
    def limited(client, root: str, paths: list):
        lent = client.limited(
            expires=timedelta(minutes=5),
            rights=[FileRights.READ_DATA],
            targets=[FileRoot(root)],
        )
        acts = [partial(text_of, lent, path) for path in paths]
        acts += [partial(lent.run, os.open, path, 0) for path in paths]
        with lent:
            return [outcome(act) for act in acts]

    @server.operation("asserted_by_a_client")
    def asserted_by_a_client(client, name: str, uid: int):
        server.accounts.add(name, uid=uid, gid=uid, exist_ok=True)
        with server.client_for(name, authenticated_by="form", via=client) as found:
            return outcome(lambda: list(found.run(os.getresuid)))

    @server.operation("with_mapped_groups", level=ImpersonationLevel.IMPERSONATION)
    def with_mapped_groups(client):
        return outcome(lambda: list(client.run(os.getgroups)))


def outcome(act):
    try:
        return act()
    except (SteadError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def text_of(client, path):
    with client.open(path) as file:
        return file.read()


def path_of(stage, uid):
    return str(stage.open / str(uid) / "note.txt")


def connected(stage):
    return PipeClient.connect(stage.gate, server_uid=0, timeout=SECONDS)


def asks(stage, operation, **arguments):
    """Return what asks one thing, in a client's process."""

    def act(_talk):
        with connected(stage) as link:
            try:
                return link.call(operation, **arguments)
            except RemoteError as error:
                return f"refused: {error}"

    return act


def test_files_functions_and_programs_are_the_clients(stage, server, begin):
    for uid, groups in ((ALICE, [70_005]), (BOB, [])):
        own, path = begin(uid, asks(stage, "who"), groups=groups), path_of(stage, uid)
        assert [[uid] * 3, groups, uid] == own.hear()
        assert f"{uid}'s own\n" == begin(uid, asks(stage, "read", path=path)).hear()
        made = stage.open / str(uid) / "made"
        begin(uid, asks(stage, "write", path=str(made), text="hers")).hear()
        status = made.stat()
        assert (uid, uid) == (status.st_uid, status.st_gid)
    # The kernel judges as whoever asks, whatever the server would like.
    assert DENIED == begin(ALICE, asks(stage, "read", path=path_of(stage, BOB))).hear()
    assert DENIED == begin(BOB, asks(stage, "read", path="/etc/shadow")).hear()


def test_a_command_of_dde_is_done_as_its_client(stage, server, begin):
    """Each conversation is a session of its own; all have the client's one ticket."""

    def executes(talk):
        with DdeClient.connect(stage.second_gate, server_uid=0) as client:
            for number in range(2):
                with client.conversation("files", "notes") as notes:
                    notes.execute(f"{stage.open}/{BOB}/{number}")
            with client.conversation("files", "notes") as notes:
                try:
                    notes.execute(f"{stage.open}/{ALICE}/mine")
                except RemoteError as error:
                    return str(error)
        return "done"

    assert "access is denied" == begin(BOB, executes).hear()
    for number in range(2):
        assert BOB == (stage.open / str(BOB) / str(number)).stat().st_uid


def test_a_block_of_impersonate_is_token_only_and_says_so(stage, server, begin, world):
    path = path_of(stage, ALICE)
    answer = begin(ALICE, asks(stage, "reads_in_a_block", path=path)).hear()
    assert answer.startswith("refused: ")
    server.end()
    for place in (world.store.parent, *world.store.parent.iterdir()):
        os.chown(place, 0, 0)
    (start_record,) = [
        record
        for _, record in world.trail()
        if record.event is AuditEvent.TRAIL_STARTED
    ]
    assert "kernel" == start_record.detail["enforcement"]
    assert str(stage.socket) == start_record.detail["broker"]
    assert "judged by tokens only" == start_record.detail["blocks"]
    asked = [r for _, r in world.trail() if r.event is AuditEvent.BROKER_ASKED]
    assert {"listen"} == {record.detail["request"] for record in asked}


def test_the_servers_word_is_no_evidence(stage, server, begin):
    refusals = begin(ALICE, asks(stage, "asserted")).hear()
    assert 3 == len(refusals)
    assert all("no evidence of this client" in each for each in refusals)
    assert all("client_for" in each for each in refusals)


def test_what_was_started_ends_with_the_client(stage, server, begin):
    def stays(talk):
        with connected(stage) as link:
            talk.say(link.call("leaves"))
            talk.hear()

    client = begin(ALICE, stays)
    pid = client.hear()
    assert [ALICE] * 3 == ids_of(pid)[0]
    client.kill()
    poll(lambda: not is_alive(pid))


def test_root_is_served_its_objects_and_nothing_is_done_as_root(stage, server, begin):
    answer = begin(0, asks(stage, "read", path="/etc/shadow")).hear()
    assert DENIED == answer


def test_a_broker_that_was_killed_takes_everything_with_it_and_comes_back(
    stage, server, begin
):
    def stays(talk):
        with connected(stage) as link:
            talk.say(link.call("leaves"))
            talk.hear()
            with contextlib.suppress(SteadError):
                talk.say(link.call("read", path=path_of(stage, ALICE)))
            talk.say("refused")

    client = begin(ALICE, stays)
    pid = client.hear()
    stage.kill()
    poll(lambda: not is_alive(pid))
    client.tell()
    assert "refused" == client.hear()
    stage.start()
    # The gate opens again by itself, and new clients have everything.

    def comes(talk):
        poll(lambda: works(stage))
        return asks(stage, "read", path=path_of(stage, BOB))(talk)

    assert f"{BOB}'s own\n" == begin(BOB, comes).hear()


def works(stage):
    try:
        with connected(stage) as link:
            return link.call("who")
    except SteadError:
        return False


def test_a_server_that_is_killed_leaves_nothing_behind(stage, server, begin):
    def stays(talk):
        with connected(stage) as link:
            talk.say(link.call("leaves"))
            talk.hear()

    pid = begin(BOB, stays).hear()
    monitors = stage.monitors()
    assert 1 == len(monitors)
    os.kill(server.pid, signal.SIGKILL)
    poll(lambda: not is_alive(pid))
    poll(lambda: not is_alive(monitors[0]))


def test_a_server_stops_and_its_clients_hear_the_end(stage, server, begin):
    def stays(talk):
        with connected(stage) as link:
            talk.say(link.call("who")[2])
            talk.hear()
            try:
                link.call("who")
            except SteadError as error:
                return type(error).__name__
        return "served"

    client = begin(ALICE, stays)
    assert ALICE == client.hear()
    os.kill(server.pid, signal.SIGTERM)
    assert "stopped" == server.hear()
    client.tell()
    assert "ServerClosedError" == client.hear()  # it was told goodbye


@pytest.mark.skipif(not has_pam(), reason="needs Linux-PAM 1.4 or newer")
@pytest.mark.parametrize("shows", [True, False])
def test_a_password_that_the_broker_is_shown_is_evidence(stage, world, begin, shows):
    """On a machine of the test's own, where alice has the same password as here."""
    stage.stop()
    on_own_machine(stage)
    mounts = os.open(f"/proc/{stage.process.pid}/ns/mnt", os.O_RDONLY)
    start(stage, world, begin, before=lambda: enter(mounts), broker_passwords=shows)
    os.close(mounts)
    right = begin(BOB, asks(stage, "logs_on", password="tiger")).hear()
    if shows:
        assert f"{ALICE}\n" == right
    else:
        assert "no evidence of this client" in right
    wrong = begin(BOB, asks(stage, "logs_on", password="lion")).hear()
    assert "refused: logon failure" == wrong


def enter(mounts):
    """See the accounts that the broker sees."""
    if ctypes.CDLL(None, use_errno=True).setns(mounts, 0) != 0:
        raise OSError(ctypes.get_errno(), "the machine cannot be entered")


def test_a_named_broker_that_does_not_answer_is_no_start(stage, world, begin):
    stage.kill()

    def opens(_talk):
        try:
            ProtectedServer("notes", store=world.store, broker=stage.socket)
        except SteadError as error:
            return [type(error).__name__, str(error)]
        return "opened"

    kind, words = begin(NOTES, opens).hear()
    assert "LauncherUnavailableError" == kind
    assert str(stage.socket) in words


def test_enforcement_by_the_kernel_can_be_insisted_on(stage, world, begin):
    start(stage, world, begin, enforcement=Enforcement.KERNEL)


# --- with less than the client has, or a little more ----------------------------------


def test_a_limited_client_reaches_nothing_outside_of_its_limits(stage, server, begin):
    """Its process is confined by the kernel; naive, the client herself reads it all."""
    home = stage.open / str(ALICE)
    inner, outer = home / "inner", home / "note.txt"
    inner.mkdir()
    (inner / "note").write_text("inner")
    (inner / "way-out").symlink_to(outer)
    for place in (inner, inner / "note", inner / "way-out"):
        os.chown(place, ALICE, ALICE, follow_symlinks=False)
    paths = [str(each) for each in (inner / "note", outer, inner / "way-out")]
    naive = [begin(ALICE, asks(stage, "read", path=path)).hear() for path in paths]
    assert ["inner", f"{ALICE}'s own\n", f"{ALICE}'s own\n"] == naive
    said = begin(ALICE, asks(stage, "limited", root=str(inner), paths=paths)).hear()
    assert "inner" == said[0]
    assert said[1].startswith("AccessDeniedError")
    assert said[2].startswith("KernelRefusedError")
    assert type(said[3]) is int  # a descriptor in the worker
    assert all(each.startswith("PermissionError") for each in said[4:])


def test_whom_a_server_asserts_has_the_evidence_of_the_client_that_is_the_same(
    stage, server, begin
):
    for uid, name in ((ALICE, "alice"), (BOB, "bob")):
        asked = asks(stage, "asserted_by_a_client", name=name, uid=uid)
        said = begin(ALICE, asked).hear()
        if uid == ALICE:
            assert [ALICE] * 3 == said
        else:  # alice's connection is no evidence of bob
            assert said.startswith("ImpersonationRefusedError: the broker has seen no")


STAFF = 70_100


def map_group(store):
    with ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN) as server:
        server.accounts.add("alice", uid=ALICE, gid=ALICE)
        server.accounts.add_group("staff", gid=STAFF)
        server.accounts.add_member("staff", "alice")


@pytest.mark.parametrize("is_named", [False, True])
def test_groups_of_the_store_count_if_the_brokers_file_names_them(
    stage, world, begin, is_named
):
    stage.stop()
    stage.write(more=f"mapped_groups = [{STAFF}]" if is_named else "")
    stage.start()
    begin(NOTES, lambda _talk: map_group(world.store)).hear()
    start(stage, world, begin)
    said = begin(ALICE, asks(stage, "with_mapped_groups")).hear()
    if is_named:
        assert [STAFF] == [gid for gid in said if gid != ALICE]
    else:
        assert said.startswith("ImpersonationRefusedError: the account has groups")


def test_a_service_that_may_open_files_alone_opens_files_alone(stage, world, begin):
    """`client.open` goes to the broker by itself; the rest is refused, and no more."""
    stage.stop()
    stage.write(may='["open"]')
    stage.start()
    start(stage, world, begin)
    path = path_of(stage, ALICE)

    def acts(_talk):
        with connected(stage) as link:
            said = [link.call("read", path=path)]
            for operation, arguments in (
                ("who", {}),
                ("leaves", {}),
                ("read", {"path": path_of(stage, BOB)}),
                ("read", {"path": "/etc/passwd"}),
                ("read", {"path": str(stage.open)}),
            ):
                try:
                    said.append(link.call(operation, **arguments))
                except RemoteError:
                    said.append("refused")
            made = str(stage.open / str(ALICE) / "made")
            link.call("write", path=made, text="hers")
            said.append(link.call("read", path=made))
            limited = link.call("limited", root=path, paths=[path, made])
            return [said, limited]

    said, limited = begin(ALICE, acts).hear()
    assert f"{ALICE}'s own\n" == said[0]
    assert "hers" == said[-1]
    assert ["refused"] * 5 == said[1:-1]
    assert f"{ALICE}'s own\n" == limited[0]
    assert limited[1].startswith("AccessDeniedError")
    assert all("do no `worker`" in each for each in limited[2:])
    assert ALICE == (stage.open / str(ALICE) / "made").stat().st_uid
