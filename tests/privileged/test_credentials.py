"""Entering and leaving, each read back from the kernel."""

import threading
from concurrent.futures import Future
from dataclasses import replace

import pytest

from stead.errors import ImpersonationRefusedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials, thread_credentials
from stead.privileged.credentials import ServerIdentity
from stead.privileged.syscalls import call
from stead.privileged.thread_credentials import ThreadCredentials

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("switching")]

GUARD = 65530
ALICE = PosixIdentity(70001, 70002, (70010, 70020))


@pytest.fixture
def on_thread():
    """Give what runs a call on a plain thread of its own, which then ends."""

    def run(act):
        outcome = Future()

        def life():
            try:
                outcome.set_result(
                    act(ServerIdentity(thread_credentials.read(), GUARD, 0))
                )
            except BaseException as error:
                outcome.set_exception(error)

        thread = threading.Thread(target=life)
        thread.start()
        thread.join()
        return outcome.result()

    return run


def test_inside_everything_is_the_clients_but_the_way_back(on_thread):
    def act(server):
        credentials.enter(ALICE, server)
        inside = thread_credentials.read()
        credentials.leave(ALICE, server)
        return inside, thread_credentials.read() == server.credentials

    inside, back = on_thread(act)
    expected = ThreadCredentials(
        uids=(GUARD, 70001, 0),
        gids=(GUARD, 70002, 0),
        groups=(70010, 70020),
        effective=0,
    )
    assert expected == inside
    assert back


def test_only_the_calling_thread_switches(on_thread):
    entered, done = threading.Event(), threading.Event()
    uids = []

    def other():
        entered.wait()
        uids.append(thread_credentials.read().uids)
        done.set()

    def act(server):
        credentials.enter(ALICE, server)
        entered.set()
        done.wait()
        credentials.leave(ALICE, server)

    watcher = threading.Thread(target=other)
    watcher.start()
    on_thread(act)
    watcher.join()
    assert [(0, 0, 0)] == uids


def test_entering_twice_is_refused_and_changes_nothing(on_thread):
    def act(server):
        credentials.enter(ALICE, server)
        before = thread_credentials.read()
        with pytest.raises(ImpersonationRefusedError, match="not the server now"):
            credentials.enter(PosixIdentity(70003, 70003), server)
        after = thread_credentials.read()
        credentials.leave(ALICE, server)
        return before, after

    before, after = on_thread(act)
    assert before == after


@pytest.mark.parametrize("uid", [0, GUARD])
def test_nobody_becomes_root_or_the_guard(uid, on_thread):
    def act(server):
        with pytest.raises(ImpersonationRefusedError, match=f"uid {uid}"):
            credentials.enter(PosixIdentity(uid, 70001), server)
        return thread_credentials.read() == server.credentials

    assert on_thread(act)


def test_capabilities_that_stay_refuse_the_entry(on_thread):
    keep_them, no_setuid_fixup = 28, 1 << 2

    def act(server):
        # With this bit the kernel leaves capabilities alone when uids change.
        call("prctl", keep_them, no_setuid_fixup)
        with pytest.raises(ImpersonationRefusedError, match="something else"):
            credentials.enter(ALICE, server)
        return thread_credentials.read() == server.credentials

    assert on_thread(act)


def test_an_entry_that_fails_half_way_is_undone(executor):
    # The filter of a hardened thread knows another guard: the groups change, and then
    # the kernel refuses the gids.
    def act():
        server = threading.current_thread().server
        other = ServerIdentity(server.credentials, GUARD - 1, server.seal)
        with pytest.raises(ImpersonationRefusedError, match="not permitted"):
            credentials.enter(ALICE, other)
        return thread_credentials.read() == server.credentials

    assert executor.submit(act).result()


def test_an_exception_in_the_middle_of_an_entry_undoes_it(on_thread):
    """An asynchronous exception can strike between any two of its calls."""

    class Striking:
        uid = 70001
        groups = (70010,)

        @property
        def gid(self):  # read when the groups are the client's already
            raise KeyboardInterrupt

    def act(server):
        with pytest.raises(KeyboardInterrupt):
            credentials.enter(Striking(), server)
        return thread_credentials.read() == server.credentials

    assert on_thread(act)


def test_nobody_has_no_groups_and_no_capabilities(on_thread):
    def act(server):
        credentials.enter(ALICE, server)
        credentials.become_nobody(server)
        nobody = thread_credentials.read()
        credentials.restore(server)
        return nobody, thread_credentials.read() == server.credentials

    nobody, back = on_thread(act)
    assert ThreadCredentials((GUARD, GUARD, 0), (GUARD, GUARD, 0), (), 0) == nobody
    assert back


def test_the_seal_is_not_printed():
    server = ServerIdentity(thread_credentials.read(), GUARD, 0x5EA1)
    assert str(0x5EA1) not in repr(server)


def test_supplementary_groups_of_the_server_come_back(on_thread):
    def act(_server):
        groups = (4711, 4712)
        call("setgroups", *credentials._array_of(groups), 0, 0)
        server = ServerIdentity(thread_credentials.read(), GUARD, 0)
        credentials.enter(ALICE, server)
        credentials.leave(ALICE, server)
        return thread_credentials.read().groups

    assert (4711, 4712) == on_thread(act)


def test_leaving_as_the_server_proves_it_and_changes_nothing(on_thread):
    def act(server):
        credentials.leave(None, server)
        return thread_credentials.read() == server.credentials

    assert on_thread(act)


# --- the twin -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        bytes(35),
        bytes(37),
        bytes(32) + (1).to_bytes(4, "little"),
        bytes(32) + b"\xff\xff\xff\xff" + bytes(8),
    ],
)
def test_what_is_no_packed_credentials_is_refused(packed):
    twin = credentials.load()
    assert twin is not None
    whole = thread_credentials.read().packed
    for one in (lambda: twin.is_now(packed), lambda: twin.enter(packed, whole, 0)):
        with pytest.raises(ValueError, match="no packed credentials"):
            one()
    with pytest.raises(ValueError, match="no packed credentials"):
        twin.leave(whole, packed, 0)


def test_the_twin_reads_what_is_read_one_after_another(on_thread):
    def act(server):
        twin, own = credentials.load(), server.credentials
        others = [
            replace(own, uids=(0, 0, 1)),
            replace(own, gids=(1, 0, 0)),
            replace(own, groups=(*own.groups, 70010)),
            replace(own, effective=own.effective ^ (1 << 40)),
            replace(own, effective=own.effective ^ 1),
        ]
        return twin.is_now(own.packed), [twin.is_now(one.packed) for one in others]

    assert (True, [False] * 5) == on_thread(act)


def test_a_client_is_packed_once_whoever_holds_the_same_value(on_thread):
    def act(server):
        same, other = replace(ALICE), replace(ALICE, groups=(70011,))
        return [server.pack(identity) for identity in (ALICE, same, other, ALICE)]

    first, same, other, again = on_thread(act)
    assert same is first
    assert other != first
    assert again == first


def test_without_a_twin_none_is_loaded():
    assert credentials.load("stead.privileged._not_built") is None


def test_a_block_is_kept_in_the_moment_of_the_switch(on_thread):
    def act(server):
        kept, block = [], object()
        done = credentials.enter_alone(ALICE, server, kept, block)
        if credentials.TWIN is None:
            return not done and not credentials.leave_alone(ALICE, server, [block])
        inside = thread_credentials.read(), kept == [block]
        left = credentials.leave_alone(ALICE, server, kept)
        back = thread_credentials.read() == server.credentials
        expected = credentials.client_credentials(ALICE, server), True
        return done and left and back and inside == expected and kept == []

    assert on_thread(act)


@pytest.mark.parametrize("uid", [0, GUARD])
def test_alone_too_nobody_becomes_the_server_or_the_guard(on_thread, uid):
    def act(server):
        return credentials.enter_alone(PosixIdentity(uid, 7), server, [], "block")

    assert not on_thread(act)


@pytest.mark.parametrize("lacks", ["room", "memory"])
def test_what_cannot_be_kept_is_not_entered(on_thread, lacks):
    import _testcapi

    def act(server):
        twin, kept = credentials.load(), []
        client = credentials.client_credentials(ALICE, server).packed
        calls = 1 << 20 if lacks == "room" else 0
        try:
            if lacks == "memory":
                _testcapi.set_nomemory(0)
            twin.enter(client, server.packed, 0, kept, "block", calls)
        except (RecursionError, MemoryError) as error:
            came = type(error)
        finally:
            if lacks == "memory":
                _testcapi.remove_mem_hooks()
        return came, kept, thread_credentials.read() == server.credentials

    expected = {"room": RecursionError, "memory": MemoryError}[lacks]
    assert (expected, [], True) == on_thread(act)


def test_what_is_packed_is_kept_for_that_very_client_alone():
    server = ServerIdentity(thread_credentials.read(), GUARD, 0)
    bob, again = PosixIdentity(70002, 70002), replace(ALICE)
    for identity in (ALICE, bob, ALICE, again, bob):
        expected = credentials.client_credentials(identity, server).packed
        assert expected == server.pack(identity) == server.pack(identity)
        assert server.kept is not None
        assert server.kept[0] is identity
    other = replace(server, guard=GUARD - 1)
    assert other.kept is None
    assert other.pack(ALICE) != server.pack(ALICE)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda twin, who: twin.enter(who, who),
        lambda twin, who: twin.enter(who, who, 0, [], "block"),
        lambda twin, who: twin.enter(who, who, 0, (), "block", 0),
        lambda twin, who: twin.leave(who, who, 0, ()),
        lambda twin, who: twin.leave(who, who, 0, []),
        lambda twin, who: twin.leave(who, who, 0, [], 1),
        lambda twin, who: twin.enter(who, who, "seal"),
    ],
)
def test_a_switch_that_is_not_asked_for_rightly_is_an_error(on_thread, wrong):
    def act(server):
        with pytest.raises(TypeError):
            wrong(credentials.load(), server.packed)
        return thread_credentials.read() == server.credentials

    assert on_thread(act)
