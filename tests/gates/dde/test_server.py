"""The DDE gate against real sockets: good clients, rude ones, and many."""

import asyncio
import logging
from contextlib import suppress

import pytest

from stead.errors import (
    AccessDeniedError,
    DdeBusyError,
    LogonSessionEndedError,
    NoConversationError,
    RemoteError,
    ServerClosedError,
    ServerUnavailableError,
)
from stead.gates.dde.async_client import AsyncDdeClient
from stead.gates.dde.messages import (
    Ack,
    Advise,
    AdviseData,
    AdviseEnded,
    Connect,
    Connected,
    Data,
    Done,
    Execute,
    Goodbye,
    Hello,
    Qos,
    QosWas,
    Refused,
    Request,
    Terminate,
    Terminated,
    Unadvise,
    Value,
)
from stead.gates.dde.ports import AdviseKind, DdeData
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

HELLO = Hello(version=1)
CONNECT = Connect(conversation=1, service="prices", topic="stocks")
DENIED = AccessDeniedError("it was taken away", record=11)


def advise(item, *, acknowledged=False, transaction=1):
    return Advise(
        conversation=1, transaction=transaction, item=item, acknowledged=acknowledged
    )


def told(item, serial, text):
    return AdviseData(conversation=1, item=item, serial=serial, value=Value(plain=text))


async def begin(raw, *messages):
    """Greet, connect, and say something; return all that was answered to that."""
    await raw.send(HELLO)
    await raw.hear()
    await raw.send(CONNECT)
    assert Connected(conversation=1) == await raw.hear()
    await raw.send(*messages)
    return [await raw.hear() for _ in messages]


# --- conversations --------------------------------------------------------------------


def test_a_conversation_from_its_beginning_to_its_end(opened):
    async def visit():
        async with opened() as (gate, host):
            client = await AsyncDdeClient.connect(gate.path, correlation="me")
            async with client:
                assert "desk" == client.server
                async with await client.conversation("prices", "stocks") as stocks:
                    assert "12" == await stocks.request("acme")
                    await stocks.poke("acme", "13")
                    assert "13" == await stocks.request("acme")
                    await stocks.execute("[open]")
                    async with await stocks.advise("acme", "globex") as news:
                        host.publish("globex", "8")
                        assert ("globex", "8") == await anext(news)
                        host.publish("acme", "14")
                        assert ("acme", "14") == await anext(news)
                    [side] = host.sides
                    assert {} == side.news
                    assert not side.is_closed
                assert side.is_closed
            assert "me" == side.correlation
            assert "dde" == side.evidence.gate

    asyncio.run(visit())


def test_every_refusal_is_told_in_public_words_alone(opened):
    async def visit():
        async with (
            opened() as (gate, _),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            with pytest.raises(RemoteError, match="no conversation") as refused:
                await client.conversation("prices", "secret")
            assert (0x400A, 9) == (refused.value.remote_status, refused.value.record)
            with pytest.raises(RemoteError, match=r"^the request failed$"):
                await client.conversation("broken", "stocks")
            stocks = await client.conversation("prices", "stocks")
            with pytest.raises(RemoteError, match=r"^access is denied$") as denied:
                await stocks.request("denied")
            assert (5, 7) == (denied.value.remote_status, denied.value.record)
            with pytest.raises(RemoteError, match=r"^the request failed$"):
                await stocks.poke("broken", "1")
            with pytest.raises(RemoteError, match="not processed") as unknown:
                await stocks.advise("nothing")
            assert 0x4009 == unknown.value.remote_status
            with pytest.raises(DdeBusyError):
                await stocks.request("busy")
            assert "12" == await stocks.request("acme")

    asyncio.run(visit())


def test_one_connection_carries_many_conversations_that_do_not_wait(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            first = await client.conversation("prices", "stocks")
            second = await client.conversation("prices", "stocks")
            slow = asyncio.create_task(first.request("slow"))
            assert "12" == await second.request("acme")
            assert "12" == await first.request("acme")
            await second.close()
            assert not slow.done()
            host.may_go.set()
            assert "1" == await slow
            assert [False, True] == [side.is_closed for side in host.sides]

    asyncio.run(visit())


def test_the_quality_of_service_is_fixed_when_a_conversation_begins(opened):
    dynamic = QualityOfService(
        ImpersonationLevel.IDENTIFICATION, Tracking.DYNAMIC, effective_only=False
    )

    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            before = await client.conversation("prices", "stocks")
            assert QualityOfService() == await client.set_quality_of_service(dynamic)
            after = await client.conversation("prices", "stocks")
            assert dynamic == await client.set_quality_of_service(QualityOfService())
            assert "12" == await before.request("acme")
            assert QualityOfService() == before.quality_of_service
            # A local peer cannot be followed: static is what is granted, and said.
            granted = QualityOfService(dynamic.level, effective_only=False)
            assert granted == after.quality_of_service
            asked = [side.asked_qos for side in host.sides]
            assert [QualityOfService(), dynamic] == asked

    asyncio.run(visit())


def test_a_vanished_client_ends_its_conversations_at_once(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme"))
                [side] = host.sides
            await host.until(lambda: side.is_closed)
            await host.until(lambda: gate.clients == 0)

    asyncio.run(visit())


def test_what_was_started_finishes_when_its_client_is_gone(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await begin(raw)
                await raw.send(Execute(conversation=1, transaction=1, command="wait"))
                [side] = host.sides
                await host.until(lambda: side.calls)
            await asyncio.sleep(0)
            assert not side.is_closed
            host.may_go.set()
            await host.until(lambda: side.is_closed)

    asyncio.run(visit())


def test_a_client_that_leaves_while_it_is_connected_is_let_go(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            host.may_connect.clear()
            with rude(gate) as raw:
                await raw.send(HELLO)
                await raw.hear()
                await raw.send(CONNECT, Qos())
                assert QosWas() == await raw.hear()
                await host.until(lambda: host.connecting)
                await raw.send(Terminate(conversation=1), Qos())
                assert QosWas() == await raw.hear()
                host.may_connect.set()
                assert isinstance(await raw.hear(), Refused)
                [side] = host.sides
                assert side.is_closed
                await raw.send(CONNECT)
                assert Connected(conversation=1) == await raw.hear()

    asyncio.run(visit())


def test_whoever_left_before_its_turn_is_never_connected(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            host.may_connect.clear()
            second = Connect(conversation=2, service="prices", topic="stocks")
            with rude(gate) as raw:
                await raw.send(HELLO)
                await raw.hear()
                await raw.send(CONNECT, second, Terminate(conversation=2), Qos())
                assert QosWas() == await raw.hear()
                host.may_connect.set()
                found = [await raw.hear(), await raw.hear()]
                assert [Connected(conversation=1)] == found[:1]
                assert 2 == found[1].conversation
                assert 1 == host.connecting

    asyncio.run(visit())


def test_connections_of_one_uid_are_admitted_one_at_a_time(opened):
    async def visit():
        async with opened() as (gate, host):
            host.may_connect.clear()
            clients = [await AsyncDdeClient.connect(gate.path) for _ in range(3)]
            waiting = [
                asyncio.create_task(client.conversation("prices", "stocks"))
                for client in clients
            ]
            await host.until(lambda: host.connecting)
            await clients[0].set_quality_of_service(QualityOfService())
            assert 1 == host.connecting
            host.may_connect.set()
            await asyncio.gather(*waiting)
            assert 3 == host.connecting
            for client in clients:
                await client.close()

    asyncio.run(visit())


def test_the_end_of_the_logon_session_ends_the_conversation(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            news = await stocks.advise("globex")
            with pytest.raises(RemoteError, match="the logon session has ended"):
                await stocks.request("ended")
            with pytest.raises(NoConversationError):
                await anext(news)
            with pytest.raises(NoConversationError):
                await stocks.request("acme")
            await host.until(lambda: host.sides[0].is_closed)
            again = await client.conversation("prices", "stocks")
            assert "12" == await again.request("acme")

    asyncio.run(visit())


# --- advises --------------------------------------------------------------------------


def test_a_slow_client_is_owed_one_value_however_many_there_were(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme", acknowledged=True))
                host.publish("acme", "1")
                assert told("acme", 1, "1") == await raw.hear()
                for number in range(2, 1000):
                    host.publish("acme", str(number))
                await raw.send(Request(conversation=1, transaction=1, item="globex"))
                assert isinstance(await raw.hear(), Data)
                assert 1 == host.asked
                await raw.send(Ack(conversation=1, item="acme", serial=1))
                assert told("acme", 2, "999") == await raw.hear()
                assert 2 == host.asked
                await raw.send(Ack(conversation=1, item="acme", serial=2))
                await raw.send(Request(conversation=1, transaction=1, item="globex"))
                assert isinstance(await raw.hear(), Data)
                assert 2 == host.asked

    asyncio.run(visit())


def test_an_unread_socket_holds_one_value_of_an_item_at_most(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            large = "x" * 60_000
            with rude(gate) as raw:
                await begin(raw, advise("acme"))
                for number in range(300):
                    host.publish("acme", f"{number} {large}")
                    # One turn of the loop for each: they would all be sent if read.
                    for _ in range(5):
                        await asyncio.sleep(0)
                sent = host.asked
                assert sent < 100
                values = []
                while True:
                    message = await raw.hear()
                    values.append(message.value.plain.partition(" ")[0])
                    if values[-1] == "299":
                        break
                assert len(values) <= sent + 2
                assert [*range(1, len(values) + 1)][-1] == message.serial

    asyncio.run(visit())


def test_a_busy_client_is_told_again_and_later_each_time(opened, rude):
    async def visit():
        async with opened(busy_seconds=0.01, busy_longest=0.02) as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme", acknowledged=True))
                host.publish("acme", "1")
                assert told("acme", 1, "1") == await raw.hear()
                for serial in (1, 2, 3):
                    busy = Ack(
                        conversation=1, item="acme", serial=serial, status="busy"
                    )
                    await raw.send(busy)
                    assert told("acme", serial + 1, "1") == await raw.hear()
                host.publish("acme", "2")
                nack = Ack(conversation=1, item="acme", serial=4, status="nack")
                await raw.send(nack)
                assert told("acme", 5, "2") == await raw.hear()

    asyncio.run(visit())


def test_an_advise_that_nobody_acknowledges_ends(opened, rude):
    async def visit():
        async with opened(ack_seconds=0.05) as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme", acknowledged=True))
                host.publish("acme", "1")
                assert told("acme", 1, "1") == await raw.hear()
                ended = await raw.hear()
                assert isinstance(ended, AdviseEnded)
                assert 0x4000 == ended.status
                [side] = host.sides
                await host.until(lambda: not side.news)
                # What crossed the end is let pass, and the item is free again.
                await raw.send(
                    Ack(conversation=1, item="acme", serial=1),
                    Unadvise(conversation=1, transaction=1, item="acme"),
                )
                assert Done(conversation=1, transaction=1) == await raw.hear()
                await raw.send(advise("acme"))
                assert Done(conversation=1, transaction=1) == await raw.hear()
                assert 1 == side.calls.count(("unadvise", "acme"))

    asyncio.run(visit())


def test_a_value_is_judged_when_it_is_sent_and_not_before(opened, rude):
    """A gate that queued values would send the one that was allowed when published."""

    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme", acknowledged=True))
                naive = []
                host.publish("acme", "1")
                assert told("acme", 1, "1") == await raw.hear()
                host.publish("acme", "the last he may see")
                naive.append(host.values["acme"])
                host.publish("acme", "what he may not see")
                host.refused["acme"] = DENIED
                await raw.send(Ack(conversation=1, item="acme", serial=1))
                ended = AdviseEnded(
                    conversation=1,
                    item="acme",
                    status=5,
                    message="access is denied",
                    record=11,
                )
                assert ended == await raw.hear()
                host.publish("acme", "later")
                await raw.send(Qos())
                assert QosWas() == await raw.hear()
                assert ["the last he may see"] == naive

    asyncio.run(visit())


def test_a_value_that_was_judged_waits_for_nothing(opened, rude):
    """The socket fills while the host judges: the value is thrown away, not kept."""

    async def visit():
        async with opened() as (gate, host):
            host.values["globex"] = "x" * 65_000
            with rude(gate) as raw:
                await begin(raw, advise("acme"))
                host.judging = asyncio.Event()
                host.publish("acme", "allowed")
                await host.until(lambda: host.asked == 1)
                asked = [
                    Request(conversation=1, transaction=n, item="globex")
                    for n in range(1, 16)
                ]
                await raw.send(*asked)
                [side] = host.sides
                await host.until(
                    lambda: side.calls.count(("request", "globex")) == len(asked)
                )
                for _ in range(5):
                    await asyncio.sleep(0)
                host.judging.set()
                for _ in range(5):
                    await asyncio.sleep(0)
                host.refused["acme"] = DENIED
                answers = [await raw.hear() for _ in range(len(asked) + 1)]
                kinds = {type(answer) for answer in answers}
                assert {Data, AdviseEnded} == kinds

    asyncio.run(visit())


def test_a_warm_advise_tells_no_value(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            news = await stocks.advise("acme", kind=AdviseKind.WARM)
            host.publish("acme", "13")
            assert ("acme", None) == await anext(news)
            assert "13" == await stocks.request("acme")

    asyncio.run(visit())


def test_news_that_comes_before_the_advise_is_granted_is_not_lost(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            [side] = host.sides
            given = side.advise

            async def eager(item, kind, news):
                await given(item, kind, news)
                news()

            side.advise = eager
            assert ("acme", "12") == await anext(await stocks.advise("acme"))

    asyncio.run(visit())


def test_a_host_that_gives_what_no_message_holds_ends_that_advise(opened, caplog):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            news = await stocks.advise("acme", "globex")
            [side] = host.sides
            given = side.latest

            async def careless(item):
                await given(item)
                return DdeData(object())

            side.latest = careless
            host.publish("acme", "13")
            with pytest.raises(RemoteError, match=r"^the request failed$"):
                await anext(news)
            await host.until(lambda: ("unadvise", "acme") in side.calls)

            async def broken(item):
                raise ZeroDivisionError("the server's secret")

            side.latest = broken
            host.publish("globex", "13")
            with pytest.raises(RemoteError, match=r"^the request failed$"):
                await anext(news)
            with pytest.raises(StopAsyncIteration):
                await anext(news)

    caplog.set_level(logging.ERROR)
    asyncio.run(visit())
    assert 2 == len(caplog.records)


def test_an_advise_that_ends_while_it_is_judged_ends_once(opened, rude):
    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme"))
                host.judging = asyncio.Event()
                host.publish("acme", "1")
                await host.until(lambda: host.asked == 1)
                await raw.send(Unadvise(conversation=1, transaction=1, item="acme"))
                await raw.send(Qos())
                assert QosWas() == await raw.hear()
                host.refused["acme"] = DENIED
                host.judging.set()
                assert Done(conversation=1, transaction=1) == await raw.hear()
                [side] = host.sides
                assert ("unadvise", "acme") not in side.calls

    asyncio.run(visit())


# --- rude clients, and many -----------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([b"\xff\xff\xff\xff"], "the message is not valid"),
        ([CONNECT], "the message is not valid"),
        ([HELLO, HELLO], "the message is not valid"),
        ([HELLO, CONNECT], "the message is not valid"),
        ([b"\x00\x00\x00\x02{}"], "the message is not valid"),
    ],
)
def test_whoever_breaks_the_protocol_is_dismissed(opened, rude, messages, reason):
    async def visit():
        async with opened() as (gate, host):
            with rude(gate) as raw:
                await raw.send(*messages)
                last = (await raw.hear_all())[-1]
                assert Goodbye(reason=reason) == last
            await host.until(lambda: gate.clients == 0)
        [(count, last)] = host.turned_away
        assert 1 == count
        assert "broke the protocol" in last

    asyncio.run(visit())


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        (b"", {"hello_seconds": 0.05}),
        (b"\x00", {"hello_seconds": 0.05}),
        (HELLO, {"idle_seconds": 0.05}),
        ([HELLO, b"\x00\x00"], {"frame_seconds": 0.05}),
    ],
)
def test_whoever_keeps_the_gate_waiting_is_dismissed(opened, rude, sent, limits):
    async def visit():
        async with opened(socket_limits=limits) as (gate, host):
            with rude(gate) as raw:
                await raw.send(*(sent if isinstance(sent, list) else [sent]))
                last = (await raw.hear_all())[-1]
                assert Goodbye(reason="the client took too long") == last
            await host.until(lambda: gate.clients == 0)

    asyncio.run(visit())


def test_a_conversation_may_be_silent_for_long(opened, rude):
    async def visit():
        async with opened(socket_limits={"idle_seconds": 1.0}) as (gate, host):
            with rude(gate) as raw:
                await begin(raw, advise("acme"))
                loop = asyncio.get_running_loop()
                begun = loop.time()
                await host.until(lambda: loop.time() > begun + 1.3)
                host.publish("acme", "13")
                assert told("acme", 1, "13") == await raw.hear()
                await raw.send(Terminate(conversation=1))
                assert Terminated(conversation=1) == await raw.hear()
                assert isinstance(await raw.hear(), Goodbye)

    asyncio.run(visit())


def test_a_client_that_does_not_read_is_not_read_and_then_dropped(opened, rude):
    async def visit():
        limits = {"send_seconds": 0.1}
        async with opened(socket_limits=limits, unsent=1000) as (gate, host):
            host.values["acme"] = "x" * 65_000
            with rude(gate) as raw:
                await begin(raw)
                asked = 0
                with suppress(ConnectionError, TimeoutError):
                    while True:
                        number = asked % 16 + 1
                        request = Request(
                            conversation=1, transaction=number, item="acme"
                        )
                        async with asyncio.timeout(60):
                            await raw.send(request)
                        asked += 1
                await host.until(lambda: gate.clients == 0)
                [side] = host.sides
                assert side.is_closed
                assert len(side.calls) < 100

    asyncio.run(visit())


@pytest.mark.parametrize("unsent", [1, 1 << 20])
def test_many_messages_at_once_are_all_heard_in_their_order(opened, rude, unsent):
    levels = ["anonymous", "identification", "impersonation", "delegation"] * 500

    async def visit():
        async with opened(unsent=unsent) as (gate, _):
            with rude(gate) as raw:
                await raw.send(HELLO)
                await raw.hear()
                sending = asyncio.create_task(
                    raw.send(*(Qos(level=level) for level in levels))
                )
                found = [(await raw.hear()).level for _ in levels]
                assert ["impersonation", *levels[:-1]] == found
                await sending

    asyncio.run(visit())


def test_a_client_that_was_refused_holds_no_place_for_ever(opened, rude):
    async def visit():
        async with opened(socket_limits={"idle_seconds": 1.0}) as (gate, _):
            with rude(gate) as raw:
                await raw.send(HELLO)
                await raw.hear()
                await raw.send(Connect(conversation=1, service="x", topic="y"))
                assert isinstance(await raw.hear(), Refused)
                assert isinstance(await raw.hear(), Goodbye)

    asyncio.run(visit())


def test_one_uid_has_so_many_connections_and_the_idle_make_room(opened, rude):
    async def visit():
        limits = {"clients": 1, "clients_per_uid": 3, "reserve": 1}
        async with opened(socket_limits=limits) as (gate, host):
            clients = [rude(gate) for _ in range(2)]
            for raw in clients:
                await raw.send(HELLO)
                await raw.hear()
            # The third takes no place of the others', for they have said Hello...
            await clients[0].send(CONNECT)
            await clients[0].hear()
            third = rude(gate)
            said = (await third.hear_all())[-1]
            assert "too many connections" in said.reason
            for raw in (*clients, third):
                raw.socket.close()
            await host.until(lambda: gate.clients == 0)

    asyncio.run(visit())


def test_a_stranger_makes_room_for_a_newcomer(opened, rude):
    async def visit():
        limits = {"clients": 1, "clients_per_uid": 9, "reserve": 1}
        async with opened(socket_limits=limits) as (gate, host):
            with rude(gate) as first, rude(gate) as second, rude(gate) as third:
                assert "no room" in (await first.hear()).reason
                await third.send(HELLO)
                assert "desk" == (await third.hear()).server
                await second.send(HELLO)
                assert "desk" == (await second.hear()).server
        assert "made room" in host.turned_away[0][1]

    asyncio.run(visit())


def test_a_gate_that_stops_lets_transactions_finish_and_says_goodbye(opened):
    async def visit():
        async with opened() as (gate, host):
            client = await AsyncDdeClient.connect(gate.path)
            stocks = await client.conversation("prices", "stocks")
            slow = asyncio.create_task(stocks.request("slow"))
            await host.until(lambda: host.sides[0].calls)
            stopping = asyncio.create_task(gate.stop())
            await host.until(lambda: not gate.path.exists())
            assert not slow.done()
            host.may_go.set()
            assert "1" == await slow
            await stopping
            with pytest.raises(ServerClosedError, match="shutting down"):
                await stocks.request("acme")
            assert host.sides[0].is_closed
            await client.close()
            with pytest.raises(ServerUnavailableError):
                await AsyncDdeClient.connect(gate.path)

    asyncio.run(visit())


def test_a_stop_is_bounded(opened, caplog):
    async def visit():
        async with opened() as (gate, host):
            client = await AsyncDdeClient.connect(gate.path)
            stocks = await client.conversation("prices", "stocks")
            asked = [
                asyncio.create_task(stocks.request(item)) for item in ("slow", "deaf")
            ]
            await host.until(lambda: len(host.sides[0].calls) == len(asked))
            await gate.stop(grace=0.05)
            host.may_go.set()
            found = await asyncio.gather(*asked, return_exceptions=True)
            cancelled, deaf = found
            assert isinstance(cancelled, ServerClosedError)
            assert "1" == deaf
            await host.until(lambda: gate.clients == 0)
            await client.close()

    caplog.set_level(logging.ERROR)
    asyncio.run(visit())
    assert any("do not end" in record.message for record in caplog.records)


def test_a_gate_opens_once(opened):
    async def visit():
        async with opened() as (gate, _):
            with pytest.raises(ServerClosedError):
                await gate.start(None)
            await gate.stop()
            await gate.stop()

    asyncio.run(visit())


def test_a_session_that_ends_unasked_ends_every_advise(opened):
    async def visit():
        async with (
            opened() as (gate, host),
            await AsyncDdeClient.connect(gate.path) as client,
        ):
            stocks = await client.conversation("prices", "stocks")
            news = await stocks.advise("acme", "globex")
            host.refused = dict.fromkeys(
                ("acme", "globex"), LogonSessionEndedError("logged off")
            )
            host.ring("acme")
            with pytest.raises(RemoteError, match="the logon session has ended"):
                await anext(news)
            with pytest.raises(NoConversationError):
                await anext(news)
            with pytest.raises(StopAsyncIteration):
                await anext(news)

    asyncio.run(visit())
