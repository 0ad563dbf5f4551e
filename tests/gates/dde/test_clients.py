"""Both clients: who listens is checked first, and every failure has a name."""

import asyncio
import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from stead.errors import (
    DdeBusyError,
    InvalidMessageError,
    InvalidNameError,
    InvalidRequestError,
    NoConversationError,
    QuotaExceededError,
    RemoteError,
    RemoteProtocolError,
    RequestTimeoutError,
    ServerClosedError,
    ServerUnavailableError,
    WrongServerError,
)
from stead.gates.dde.async_client import AsyncDdeClient
from stead.gates.dde.client import DdeClient
from stead.gates.dde.messages import Goodbye, Hello, Welcome, write_message
from stead.gates.dde.ports import AdviseKind
from stead.gates.pipe.frames import write_frame
from stead.model.quality_of_service import QualityOfService
from stead.model.token import ImpersonationLevel

MODEST = QualityOfService(level=ImpersonationLevel.IDENTIFICATION)


def framed(message):
    return write_frame(write_message(message), 1 << 20)


WELCOME = framed(
    Welcome(version=1, server="s", conversations=2, advises=2, transactions=2)
)


class Served:
    """A gate on a loop of its own thread."""

    def __init__(self, opened, limits):
        self._opened = opened
        self._limits = limits
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _serve(self):
        self._stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        async with self._opened(**self._limits) as (self.gate, self.host):
            self._ready.set()
            await self._stop.wait()

    def do(self, function, *args):
        """Do something on the loop and return what came of it."""

        async def act():
            return function(*args)

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(60)

    def until(self, claim):
        asyncio.run_coroutine_threadsafe(self.host.until(claim), self.loop).result(60)

    def publish(self, item, value):
        self.do(self.host.publish, item, value)

    def connect(self, **options):
        return DdeClient.connect(self.gate.path, **options)


@pytest.fixture
def served(opened):
    return lambda **limits: Served(opened, limits)


@contextmanager
def impostor(path, *answers):
    """A listener that answers with fixed bytes, hears all, and hangs up."""
    heard = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                for answer in answers:
                    heard.append(client.recv(1 << 16))
                    if answer is None:
                        done.wait(60)
                    else:
                        client.sendall(answer)
                done.wait(60) if not answers else None

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            done.set()
            # A client that gave up before it came leaves the thread waiting for one.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def blocking(path, **options):
    with (
        DdeClient.connect(path, **options) as client,
        client.conversation("prices", "stocks") as stocks,
    ):
        return stocks.request("acme")


def from_asyncio(path, **options):
    async def visit():
        async with (
            await AsyncDdeClient.connect(path, **options) as client,
            await client.conversation("prices", "stocks") as stocks,
        ):
            return await stocks.request("acme")

    return asyncio.run(visit())


both = pytest.mark.parametrize("visit", [blocking, from_asyncio])


@both
def test_nothing_is_said_to_a_wrong_server(folder, visit):
    path = folder / "dde"
    with impostor(path) as heard:
        with pytest.raises(WrongServerError):
            visit(path, server_uid=os.geteuid() + 1)
        assert [] == heard


@both
def test_a_server_that_is_not_there_is_named(folder, visit):
    with pytest.raises(ServerUnavailableError):
        visit(folder / "nothing")
    with pytest.raises(InvalidNameError):
        visit("x\0y")


@both
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([framed(Goodbye(reason="full"))], ServerClosedError),
        ([b"\xff\xff\xff\xff"], RemoteProtocolError),
        ([framed(Hello(version=1))], RemoteProtocolError),
        ([b""], ServerUnavailableError),
        ([WELCOME, b""], ServerUnavailableError),
        ([WELCOME, WELCOME], RemoteProtocolError),
        ([WELCOME, framed(Goodbye())], ServerClosedError),
    ],
)
def test_a_server_that_goes_wrong_has_a_name_for_it(folder, visit, answers, expected):
    path = folder / "dde"
    with impostor(path, *answers), pytest.raises(expected):
        visit(path, timeout=60)


@both
@pytest.mark.parametrize("answers", [[None], [WELCOME, None]])
def test_a_server_that_says_nothing_is_given_up_in_time(folder, visit, answers):
    path = folder / "dde"
    with impostor(path, *answers), pytest.raises(RequestTimeoutError):
        visit(path, timeout=0.2)


def test_a_queue_that_is_full_is_waited_for_and_given_up(folder):
    path = folder / "dde"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            for visit in (blocking, from_asyncio):
                with pytest.raises(RequestTimeoutError):
                    visit(path, timeout=0.2)


def test_a_blocking_client_does_all_there_is(served):
    with served() as house, house.connect(qos=MODEST) as client:
        assert "desk" == client.server
        with client.conversation("prices", "stocks") as stocks:
            assert MODEST == stocks.quality_of_service
            for value in ("text", b"\x00\xff", [1, 2.5, None, True], {"a": {"b": []}}):
                stocks.poke("acme", value)
                assert value == stocks.request("acme")
            stocks.poke("acme", "a;b", "csv")
            [side] = house.host.sides
            assert "csv" == side.calls[-1][2].format
            assert "text" == stocks.request_data("acme").format
            stocks.execute("[sort]")
            with pytest.raises(DdeBusyError):
                stocks.request("busy")
            with pytest.raises(RemoteError) as refused:
                stocks.request("denied")
            assert 7 == refused.value.record
            with stocks.advise("acme", "globex", acknowledged=True) as news:
                house.publish("globex", "8")
                assert ("globex", "8") == next(news)
                with pytest.raises(InvalidRequestError, match="advised already"):
                    stocks.advise("acme")
            assert [] == list(news)
            assert {} == side.news
            with stocks.advise("acme", kind=AdviseKind.WARM) as news:
                house.publish("acme", "14")
                assert ("acme", None) == next(news)
        house.until(lambda: side.is_closed)
        assert MODEST == client.set_quality_of_service(QualityOfService())
        with pytest.raises(NoConversationError):
            stocks.request("acme")
        client.close()
        with pytest.raises(ServerClosedError):
            client.conversation("prices", "stocks")


def test_a_call_that_is_given_up_leaves_the_connection_whole(served):
    with served() as house, house.connect() as client:
        stocks = client.conversation("prices", "stocks")
        stocks.timeout = 0.1
        with pytest.raises(RequestTimeoutError):
            stocks.request("slow")
        with pytest.raises(RequestTimeoutError):
            stocks.advise("slow")
        stocks.timeout = 60
        assert "12" == stocks.request("acme")
        house.do(house.host.may_go.set)
        # The advise that nobody waits for is undone as soon as it is granted.
        [side] = house.host.sides
        while ("unadvise", "slow") not in side.calls:
            assert "12" == stocks.request("acme")
        assert "1" == stocks.request("slow")


def test_a_conversation_that_is_given_up_is_left(served):
    with served() as house, house.connect() as client:
        house.do(house.host.may_connect.clear)
        client.timeout = 0.1
        with pytest.raises(RequestTimeoutError):
            client.conversation("prices", "stocks")
        house.do(house.host.may_connect.set)
        client.timeout = 60
        assert "12" == client.conversation("prices", "stocks").request("acme")
        house.until(lambda: house.host.sides[0].is_closed)


def test_an_iteration_that_is_given_up_goes_on_when_asked(served):
    with served() as house, house.connect() as client:
        stocks = client.conversation("prices", "stocks")
        news = stocks.advise("acme", timeout=0.05)
        with pytest.raises(RequestTimeoutError):
            next(news)
        house.publish("acme", "13")
        news.timeout = 60
        assert ("acme", "13") == next(news)
        # Without a wait: what is there is taken, else there is nothing.
        news.timeout = 0
        house.publish("acme", "14")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert ("acme", "14") == next(news)
                break
            except RequestTimeoutError:
                continue
        else:
            raise AssertionError("the value never came")


def test_threads_share_a_blocking_client(served):
    with served() as house, house.connect() as client:
        stocks = client.conversation("prices", "stocks")
        found = []

        def ask():
            found.extend(stocks.request("acme") for _ in range(50))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert 200 * ["12"] == found
        stocks.timeout = 0.05
        with client._wire.held(1), pytest.raises(RequestTimeoutError, match="another"):
            stocks.request("acme")


@pytest.mark.parametrize("rounds", [30])
def test_two_that_both_send_much_do_not_wait_for_one_another(served, rounds):
    with served() as house, house.connect(timeout=120) as client:
        stocks = client.conversation("prices", "stocks")
        large = "\x01" * 65_000  # six bytes each, as JSON spells it
        items = [f"item {number}" for number in range(8)]
        house.do(house.host.values.update, dict.fromkeys(items, large))
        news = stocks.advise(*items)
        for _ in range(rounds):
            for item in items:
                house.do(house.host.ring, item)
            stocks.poke("globex", large)
        news.timeout = 120
        assert large == next(news)[1]


def test_a_server_that_vanishes_is_unavailable_to_all_that_wait(opened):
    async def visit():
        async with opened() as (gate, host):
            client = await AsyncDdeClient.connect(gate.path)
            stocks = await client.conversation("prices", "stocks")
            news = await stocks.advise("acme", "globex")
            waiting = [
                asyncio.create_task(stocks.request("slow")),
                asyncio.create_task(anext(news)),
            ]
            await host.until(lambda: len(host.sides[0].calls) == 3)
            [connection] = gate._door.visits.values()
            connection._transport.abort()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert [ServerUnavailableError] * 2 == [type(error) for error in found]
            with pytest.raises(StopAsyncIteration):
                await anext(news)
            with pytest.raises(ServerClosedError):
                await stocks.request("acme")
            await stocks.close()
            await news.close()
            await client.close()
            await client.close()

    asyncio.run(visit())


def test_what_is_cancelled_is_undone(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            [side] = host.sides
            wanted = asyncio.create_task(stocks.advise("slow"))
            await host.until(lambda: side.calls)
            wanted.cancel()
            await asyncio.wait([wanted])
            host.may_go.set()
            await host.until(lambda: ("unadvise", "slow") in side.calls)
            async with await stocks.advise("slow"):
                assert {"slow"} == set(side.news)

            host.may_connect.clear()
            begun = asyncio.create_task(client.conversation("prices", "stocks"))
            await host.until(lambda: host.connecting == 2)
            begun.cancel()
            await asyncio.wait([begun])
            host.may_connect.set()
            await host.until(lambda: len(host.sides) == 2 and host.sides[1].is_closed)

    asyncio.run(visit())


def test_an_item_that_was_ended_can_be_advised_again_at_once(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            for _ in range(20):
                news = await stocks.advise("acme")
                host.refused["acme"] = RemoteProtocolError("any refusal")
                host.ring("acme")
                with pytest.raises(RemoteError):
                    await anext(news)
                host.refused.clear()
                async with await stocks.advise("acme") as news:
                    host.publish("acme", "13")
                    assert ("acme", "13") == await anext(news)

    asyncio.run(visit())


def test_more_than_the_server_bears_waits_its_turn_or_is_refused(opened):
    async def visit():
        async with (
            opened(transactions=2, conversations=2, advises=2) as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            asked = [asyncio.create_task(stocks.request("slow")) for _ in range(9)]
            await host.until(lambda: len(host.sides[0].calls) == 2)
            asked.pop().cancel()
            host.may_go.set()
            assert 8 * ["1"] == await asyncio.gather(*asked)
            second = await client.conversation("prices", "stocks")
            with pytest.raises(QuotaExceededError):
                await client.conversation("prices", "stocks")
            await second.close()
            await client.conversation("prices", "stocks")
            with pytest.raises(QuotaExceededError, match="advises"):
                await stocks.advise("acme", "globex", "slow")
            assert "12" == await stocks.request("acme")

    asyncio.run(visit())


def test_what_cannot_be_written_is_our_own_mistake_and_costs_nothing(served):
    with served() as house, house.connect() as client:
        stocks = client.conversation("prices", "stocks")
        for wrong in ("", "x" * 300, "\ud800"):
            with pytest.raises(InvalidMessageError):
                stocks.request(wrong)
            with pytest.raises(InvalidMessageError):
                stocks.advise(wrong)
            with pytest.raises(InvalidMessageError):
                client.conversation(wrong, "stocks")
        with pytest.raises(InvalidMessageError):
            stocks.poke("acme", "1", "no name")
        for value in (object(), "x" * 70_000, float("nan"), {1: 2}):
            with pytest.raises(InvalidRequestError):
                stocks.poke("acme", value)
        assert "12" == stocks.request("acme")


def test_a_conversation_that_nobody_ends_in_time_is_left_to_the_server(served):
    with served() as house, house.connect() as client:
        stocks = client.conversation("prices", "stocks")
        stocks.timeout = 0.05
        with pytest.raises(RequestTimeoutError):
            stocks.execute("wait")
        stocks.close()
        [side] = house.host.sides
        assert not house.do(lambda: side.is_closed)
        house.do(house.host.may_go.set)
        house.until(lambda: side.is_closed)


@pytest.mark.root
def test_every_uid_is_seen_as_itself(opened, in_child):
    async def visit():
        async with opened() as (gate, host):
            async with asyncio.timeout(60):
                uids = [70_001, 70_002]
                answers = await asyncio.gather(
                    *(in_child(lambda: blocking(gate.path), uid=uid) for uid in uids)
                )
            assert ["12", "12"] == answers
            assert set(uids) == {side.evidence.uid for side in host.sides}
            assert all(side.is_closed for side in host.sides)

    asyncio.run(visit())
