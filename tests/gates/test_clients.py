"""Both clients: who listens is checked first, and every failure has a name."""

import asyncio
import os
import socket
import threading

import pytest

from stead.errors import (
    InvalidMessageError,
    InvalidNameError,
    KernelRefusedError,
    RemoteError,
    RemoteProtocolError,
    RequestTimeoutError,
    ServerClosedError,
    ServerUnavailableError,
    WrongServerError,
)
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.calling import value_of
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.messages import Welcome
from stead.model.token import ImpersonationLevel

WELCOME = write_frame(
    b'{"type":"welcome","version":1,"server":"s","account":"a",'
    b'"level":"impersonation"}',
    4096,
)


def blocking(path, operation=None, *, arguments=None, **options):
    with PipeClient.connect(path, **options) as server:
        return server.call(operation, **(arguments or {})) if operation else None


def from_asyncio(path, operation=None, *, arguments=None, **options):
    async def visit():
        async with await AsyncPipeClient.connect(path, **options) as server:
            if operation:
                return await server.call(operation, **(arguments or {}))
            return None

    return asyncio.run(visit())


both = pytest.mark.parametrize("visit", [blocking, from_asyncio])


class Impostor:
    """A listener that sends fixed bytes and keeps what it hears."""

    def __init__(self, path, *answers, hang_up=True):
        self.heard = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answers = answers
        self._hang_up = hang_up
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        # A client that gave up before it came leaves the thread waiting for one.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listener.close()

    def _serve(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client:
            client.settimeout(60)
            for answer in self._answers:
                self.heard += client.recv(1 << 16)
                client.sendall(answer)
            if not self._hang_up:
                self._done.wait(60)
            elif not self._answers:
                self.heard += client.recv(1 << 16)


@both
@pytest.mark.parametrize("trusted", [{70_009}, 70_009, ()])
def test_a_wrong_servers_uid_is_refused_before_a_byte_is_sent(folder, visit, trusted):
    with Impostor(folder / "pipe") as impostor:
        with pytest.raises(WrongServerError, match=r"uid \d+ listens") as caught:
            visit(folder / "pipe", server_uid=trusted)
        assert os.geteuid() == caught.value.uid
    assert b"" == impostor.heard


@pytest.mark.root
@both
def test_by_default_a_stranger_who_listens_is_refused(folder, in_child, visit):
    path = str(folder / "pipe")

    async def scenario():
        listening, told = os.pipe()
        with socket.socket(socket.AF_UNIX) as squatter:

            def squat():
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(path)
                    listener.listen()
                    os.write(told, b"x")
                    client, _ = listener.accept()
                    with client:
                        return len(client.recv(4096))

            folder.chmod(0o1777)
            heard = asyncio.create_task(in_child(squat, uid=70_001))
            await asyncio.sleep(0)
            await asyncio.to_thread(os.read, listening, 1)
            with pytest.raises(WrongServerError, match="uid 70001 listens"):
                await asyncio.to_thread(visit, path)
            squatter.close()
            return await heard

    assert 0 == asyncio.run(scenario())


@both
def test_a_server_that_is_named_is_trusted(folder, visit):
    with Impostor(folder / "pipe", WELCOME) as impostor:
        visit(folder / "pipe", server_uid=os.geteuid())
    assert b"hello" in impostor.heard


@both
def test_a_pipe_that_is_not_there_or_dead_is_unavailable(folder, visit):
    with pytest.raises(ServerUnavailableError, match="no server answers"):
        visit(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "pipe"))
    with pytest.raises(ServerUnavailableError, match="refused"):
        visit(folder / "pipe")


@both
@pytest.mark.parametrize(
    "path", ["", "\0abstract", "/tmp/nul\0pipe", f"/tmp/{'x' * 200}"]
)
def test_a_path_that_cannot_be_a_pipes_is_refused(visit, path):
    with pytest.raises(InvalidNameError):
        visit(path)


@pytest.mark.root
def test_a_pipe_one_may_not_open_is_the_kernels_refusal(folder, in_child):
    def visit():
        try:
            PipeClient.connect(folder / "pipe")
        except KernelRefusedError as error:
            return error.errno

    async def scenario():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "pipe"))
            (folder / "pipe").chmod(0o600)
            listener.listen()
            return await in_child(visit, uid=70_001)

    assert 13 == asyncio.run(scenario())


@both
def test_a_full_queue_is_waited_for_and_then_given_up(folder, visit):
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as filler,
    ):
        listener.bind(str(folder / "pipe"))
        listener.listen(0)
        filler.connect(str(folder / "pipe"))
        with pytest.raises(RequestTimeoutError):
            visit(folder / "pipe", timeout=0.05)


@both
def test_a_server_that_does_not_answer_is_given_up(folder, visit):
    with (
        Impostor(folder / "pipe", b"", hang_up=False),
        pytest.raises(RequestTimeoutError),
    ):
        visit(folder / "pipe", timeout=0.05)


@both
@pytest.mark.parametrize("answer", [b"\0\0\0\2{}", b"\xff" * 9, WELCOME[:9]])
def test_a_server_that_talks_nonsense_is_left(folder, visit, answer):
    with (
        Impostor(folder / "pipe", answer),
        pytest.raises((RemoteProtocolError, ServerUnavailableError)),
    ):
        visit(folder / "pipe")


@both
def test_a_server_that_hangs_up_in_mid_call_is_unavailable(folder, visit):
    with (
        Impostor(folder / "pipe", WELCOME, b""),
        pytest.raises(ServerUnavailableError, match="closed the connection"),
    ):
        visit(folder / "pipe", "echo")


@both
def test_a_goodbye_in_mid_call_says_why(folder, visit):
    goodbye = write_frame(b'{"type":"goodbye","reason":"tea time"}', 4096)
    with (
        Impostor(folder / "pipe", WELCOME, goodbye),
        pytest.raises(ServerClosedError, match="tea time"),
    ):
        visit(folder / "pipe", "echo")


@both
def test_a_raised_level_is_refused(folder, visit):
    with (
        Impostor(folder / "pipe", WELCOME),
        pytest.raises(RemoteProtocolError, match="raised"),
    ):
        visit(folder / "pipe", level=ImpersonationLevel.ANONYMOUS)


@both
def test_a_call_that_cannot_be_written_is_our_mistake_and_harms_nothing(folder, visit):
    for arguments in ({"a": object()}, {"a": float("nan")}, {"a": "x" * (1 << 20)}):
        path = folder / f"pipe{len(list(folder.iterdir()))}"
        with (
            Impostor(path, WELCOME, hang_up=False),
            pytest.raises(InvalidMessageError),
        ):
            visit(path, "echo", arguments=arguments)


def test_a_blocking_client_goes_on_after_refusals_and_mistakes(opened):
    def visit(path):
        with PipeClient.connect(path) as server:
            with pytest.raises(RemoteError):
                server.call("denied")
            with pytest.raises(InvalidMessageError):
                server.call("echo", a=object())
            assert ("desk", f"uid-{os.geteuid()}") == (server.server, server.account)
            assert ImpersonationLevel.IMPERSONATION is server.level
            assert {"operation": 1, "self": 2} == server.call(
                "echo", operation=1, self=2
            )
            assert {"b": "/w=="} == server.call("echo", b=b"\xff")
        with pytest.raises(ServerClosedError):
            server.call("echo")
        server.close()

    async def scenario():
        async with opened() as (gate, _):
            await asyncio.to_thread(visit, gate.path)

    asyncio.run(scenario())


def test_threads_may_share_a_blocking_client(opened):
    async def scenario():
        async with opened() as (gate, _):
            server = await asyncio.to_thread(PipeClient.connect, gate.path)
            answers = await asyncio.gather(
                *(asyncio.to_thread(server.call, "echo", n=n) for n in range(50))
            )
            server.close()
            return [answer["n"] for answer in answers]

    assert list(range(50)) == asyncio.run(scenario())


def test_a_blocking_call_that_times_out_closes_the_client(opened):
    def visit(path):
        with PipeClient.connect(path) as server:
            server.timeout = 0.1
            with pytest.raises(RequestTimeoutError):
                server.call("wait")
            with pytest.raises(ServerClosedError):
                server.call("echo")

    async def scenario():
        async with opened() as (gate, _):
            await asyncio.to_thread(visit, gate.path)

    asyncio.run(scenario())


def test_calls_of_an_asyncio_client_overlap_and_a_late_answer_is_thrown_away(opened):
    async def scenario():
        async with (
            opened() as (gate, house),
            await AsyncPipeClient.connect(gate.path, timeout=60) as server,
        ):
            waiting = asyncio.create_task(server.call("wait", a=1))
            given_up = asyncio.create_task(server.call("wait", a=2))
            await house.until(lambda: len(house.calls) == 2)
            given_up.cancel()
            assert {"a": 3} == await server.call("echo", a=3)
            server.timeout = 0.05
            with pytest.raises(RequestTimeoutError):
                await server.call("wait")
            server.timeout = 60
            house.gate_open.set()
            assert {"a": 1} == await waiting
            assert {"a": 4} == await server.call("echo", a=4)

    asyncio.run(scenario())


def test_more_calls_than_the_server_takes_at_a_time_are_all_answered(opened):
    async def scenario():
        async with (
            opened(in_flight=3) as (gate, _),
            await AsyncPipeClient.connect(gate.path) as server,
        ):
            answers = await asyncio.gather(
                *(server.call("echo", n=n, pad="x" * 30_000) for n in range(100))
            )
            return [answer["n"] for answer in answers]

    assert list(range(100)) == asyncio.run(scenario())


def test_waiting_calls_of_an_asyncio_client_hear_of_its_end(opened):
    async def scenario():
        async with opened() as (gate, house):
            server = await AsyncPipeClient.connect(gate.path)
            waiting = asyncio.create_task(server.call("wait"))
            await house.until(lambda: len(house.calls) == 1)
            await server.close()
            with pytest.raises(ServerClosedError):
                await waiting
            with pytest.raises(ServerClosedError):
                await server.call("echo")
            await server.close()

    asyncio.run(scenario())


def test_a_client_hears_that_the_server_stops(opened):
    async def scenario():
        async with opened() as (gate, _):
            server = await AsyncPipeClient.connect(gate.path)
            also = await asyncio.to_thread(PipeClient.connect, gate.path)
            await gate.stop()
            with pytest.raises(ServerClosedError, match="shutting down"):
                await asyncio.to_thread(also.call, "echo")
            with pytest.raises(ServerClosedError, match="shutting down"):
                await server.call("echo")
            await server.close()
            also.close()

    asyncio.run(scenario())


def test_a_call_that_is_given_up_half_sent_ends_the_connection(folder):
    async def scenario():
        server = await AsyncPipeClient.connect(folder / "pipe")
        other = asyncio.create_task(server.call("echo"))
        # More than the socket's buffer: nobody reads it, so it stays half-sent.
        pads = {f"a{n}": "x" * 60_000 for n in range(16)}
        big = asyncio.create_task(server.call("echo", **pads))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(big, 0.1)
        with pytest.raises(ServerUnavailableError):
            await other
        await server.close()

    with Impostor(folder / "pipe", WELCOME, hang_up=False):
        asyncio.run(scenario())


def test_a_client_that_was_never_admitted_knows_nobody():
    async def scenario():
        with socket.socket(socket.AF_UNIX) as lonely:
            for client in (PipeClient(lonely, 1.0), AsyncPipeClient(lonely, 1.0)):
                with pytest.raises(ServerClosedError, match="not admitted"):
                    _ = client.account

    asyncio.run(scenario())


def test_an_answer_that_was_not_asked_for_is_a_protocol_error():
    with pytest.raises(RemoteProtocolError):
        value_of(Welcome(version=1, server="s", account="a", level="anonymous"))


@both
def test_a_client_may_wait_for_ever(folder, visit):
    answer = write_frame(b'{"type":"result","id":1,"value":7}', 4096)
    with Impostor(folder / "pipe", WELCOME, answer):
        assert 7 == visit(folder / "pipe", "echo", timeout=None)
