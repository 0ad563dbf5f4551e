"""Who the peer is comes from the kernel, from the moment of connecting."""

import asyncio
import errno
import os
import select
import socket
import struct
from collections import Counter

import pytest
from tests.gates.descriptors import open_descriptors

from stead.errors import RemoteProtocolError
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.peer import PeerEvidence, peer_evidence
from stead.privileged.peers import (
    _many_groups,
    peer_credentials,
    peer_groups,
    peer_pidfd,
)

SO_PEERGROUPS = 59


def test_the_peer_of_a_socket_pair_is_this_process():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        evidence = peer_evidence(ours)
        try:
            assert os.geteuid() == evidence.uid
            assert os.getegid() == evidence.gid
            assert os.getpid() == evidence.pid
            assert set(os.getgroups()) == set(evidence.groups)
            assert "pipe" == evidence.gate
            assert f"uid {os.geteuid()} pid {os.getpid()}" == evidence.describe()
        finally:
            evidence.close()


def test_evidence_without_a_pidfd_has_nothing_to_close():
    PeerEvidence(uid=1, gid=1, groups=(), pid=1).close()


def test_a_socket_without_a_peer_is_refused():
    with socket.socket(socket.AF_UNIX) as lonely:
        with pytest.raises(RemoteProtocolError, match="does not know"):
            peer_credentials(lonely)
        assert peer_pidfd(lonely) is None


def test_a_kernel_that_gives_no_pidfd_is_no_obstacle():
    with socket.socket() as tcp:
        assert peer_pidfd(tcp) is None


def test_any_other_failure_to_learn_of_the_peer_is_no_evidence():
    closed = socket.socket(socket.AF_UNIX)
    closed.close()
    for question in (peer_credentials, peer_groups, _many_groups, peer_pidfd):
        with pytest.raises(OSError, match="Bad file descriptor"):
            question(closed)


def test_a_pidfd_names_the_very_process_that_connected(opened, in_child):
    async def scenario():
        async with opened() as (gate, house):
            path = gate.path

            def visit():
                with PipeClient.connect(path) as server:
                    server.call("peer")
                return os.getpid()

            pid = await in_child(visit)
            await house.until(lambda: gate.clients == 0)
            return pid, house.desks[0].evidence

    pid, evidence = asyncio.run(scenario())
    assert pid == evidence.pid
    if evidence.pidfd is None:
        pytest.skip("this kernel has no SO_PEERPIDFD")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(evidence.pidfd)  # the gate closed it with the connection


def test_a_pidfd_tells_when_its_process_has_ended(folder, in_child):
    async def scenario():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "pipe"))
            listener.listen()

            def connect():
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(folder / "pipe"))
                    return client.recv(1).decode()

            visit = asyncio.create_task(in_child(connect))
            await asyncio.sleep(0)
            accepted, _ = await asyncio.to_thread(listener.accept)
            with accepted:
                pidfd = peer_pidfd(accepted)
                if pidfd is None:
                    return None
                alive = select.select([pidfd], [], [], 0)[0]
                accepted.send(b"x")
                await visit
                ended = select.select([pidfd], [], [], 60)[0]
                os.close(pidfd)
                return alive, ended == [pidfd]

    found = asyncio.run(scenario())
    if found is None:
        pytest.skip("this kernel has no SO_PEERPIDFD")
    assert ([], True) == found


def pythons_own_call_stops() -> bool:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
        except OSError as error:
            return error.errno == errno.ERANGE
    return False


@pytest.mark.root
@pytest.mark.parametrize("count", [0, 1, 256, 257, 300, 4000])
def test_all_groups_of_a_peer_are_read_where_pythons_own_call_stops(
    opened, in_child, count
):
    groups = list(range(80_000, 80_000 + count))

    async def scenario():
        async with opened() as (gate, _):
            path = gate.path

            def visit():
                with PipeClient.connect(path) as server:
                    return [pythons_own_call_stops(), server.call("peer")]

            return await in_child(visit, uid=70_001, groups=groups)

    naive_fell, peer = asyncio.run(scenario())
    assert (count > 256) == naive_fell
    assert [70_001, 70_001, *groups] == peer


@pytest.mark.root
def test_a_writer_that_inherited_the_socket_does_not_become_the_peer(opened, in_child):
    """A set-uid program whose output is a client's socket writes there as root.

    The naive server believes the credentials that ride on the message.
    """
    hello = b'{"type":"hello","version":1}'

    async def scenario():
        async with opened() as (gate, house):
            path, naive_path = str(gate.path), str(gate.path.with_name("naive"))
            ours, theirs = socket.socketpair()
            with socket.socket(socket.AF_UNIX) as naive, ours, theirs:
                naive.bind(naive_path)
                gate.path.with_name("naive").chmod(0o666)
                naive.listen()

                def connect_and_hand_over():
                    for name in (path, naive_path):
                        with socket.socket(socket.AF_UNIX) as made:
                            made.connect(name)
                            socket.send_fds(theirs, [b"x"], [made.fileno()])

                await in_child(connect_and_hand_over, uid=70_002)
                inherited = [
                    socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0])
                    for _ in range(2)
                ]
                accepted, _ = naive.accept()
            with inherited[0], inherited[1], accepted:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                inherited[0].sendall(len(hello).to_bytes(4, "big") + hello)
                inherited[1].sendall(hello)
                _, control, _, _ = accepted.recvmsg(100, 100)
                believed = struct.unpack("iII", control[0][2][:12])[1]
                await house.until(lambda: len(house.desks) == 1)
                return believed, house.desks[0].evidence.uid

    believed, found = asyncio.run(scenario())
    assert 0 == believed
    assert 70_002 == found


def test_descriptors_that_a_client_sends_along_do_not_stay_open(opened):
    async def scenario():
        async with opened() as (gate, house):
            loop = asyncio.get_running_loop()
            hello = b'{"type":"hello","version":1}'
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(gate.path))
                await house.until(lambda: gate.clients == 1)
                before = open_descriptors()
                data = len(hello).to_bytes(4, "big") + hello
                socket.send_fds(client, [data], [0, 1, 2])
                client.settimeout(0.0)
                assert b"welcome" in await loop.sock_recv(client, 4096)
                return before, open_descriptors()

    before, after = asyncio.run(scenario())
    assert Counter() == after - before
