"""Advises: told of each new value, judged again each time, and waited for by nobody."""

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.server.dde_stage import ALICE, BOB, SECONDS, SEE, Ear, Stage, set_entries

from stead.errors import (
    AccessDeniedError,
    DdeBusyError,
    DdeNotProcessedError,
    InvalidRequestError,
    LogonSessionEndedError,
    OperationFailedError,
    ServerClosedError,
    ServerUnavailableError,
    SteadError,
)
from stead.gates.dde.ports import AdviseKind
from stead.gates.ports import public_refusal
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import allow
from stead.monitor.thread_pool import ThreadPool
from stead.server.dde import DdeRights
from stead.server.dde.advises import Bell, Rounds


@pytest.fixture
def stage(server):
    return Stage(server)


class NaiveDelivery:
    """Judges an advise when it begins, and sends whatever is published from then on."""

    def __init__(self, topic, key):
        self.topic = topic
        self.key = key

    def send(self):
        return self.topic._items.latest(self.key).value


# --- telling --------------------------------------------------------------------------


def test_a_new_value_is_told_and_a_slow_client_gets_the_latest_alone(stage):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        for price in range(1000):
            stage.stocks.publish("Acme", str(price))
        heard = await ear.hear()
        await asyncio.sleep(0)
        times = ear.times
        await side.close()
        return heard, times

    assert ("999", 1) == asyncio.run(act())


def test_a_warm_advise_tells_that_there_is_news_and_not_what(stage):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme", AdviseKind.WARM)
        stage.stocks.publish("acme", "13")
        heard = await ear.hear(), (await side.request("acme")).value
        await side.close()
        return heard

    assert (None, "13") == asyncio.run(act())


def test_a_hot_advise_needs_the_right_to_request_and_a_warm_one_does_not(stage):
    only = DdeRights.CONNECT | DdeRights.ADVISE
    stage.prices.topic("bell", {"a": "1"}, entries=[allow("alice", only)])

    async def act():
        side = await stage.connect(topic="bell")
        await Ear.of(side, "a", AdviseKind.WARM)
        await side.unadvise("a")
        with pytest.raises(AccessDeniedError):
            await Ear.of(side, "a", AdviseKind.HOT)
        await side.close()

    asyncio.run(act())


def test_only_who_asked_for_an_item_is_told_of_it(stage):
    async def act():
        side = await stage.connect()
        acme, margin = await Ear.of(side, "acme"), await Ear.of(side, "margin")
        stage.stocks.publish("margin", "4")
        heard = await margin.hear()
        await side.close()
        return heard, acme.times

    assert ("4", 0) == asyncio.run(act())


def test_a_poke_is_told_to_others(stage):
    rights = SEE | DdeRights.POKE
    stage.prices.topic(
        "board", {"a": "1"}, entries=[allow("alice", rights), allow("bob", SEE)]
    )

    async def act():
        hers = await stage.connect(topic="board")
        his = await stage.connect(BOB, topic="board")
        ear = await Ear.of(his, "a")
        await hers.poke("a", await his.request("a"))
        heard = await ear.hear()
        await hers.close()
        await his.close()
        return heard

    assert "1" == asyncio.run(act())


def test_begin_and_end_are_recorded_and_a_thousand_deliveries_are_not(stage, trail):
    # A thousand advises of one item: eight conversations spell its name in every way.
    spellings = list(
        map("".join, itertools.product(*((c, c.upper()) for c in "average")))
    )
    stage.stocks.publish("average", "0")

    def length():
        return len(list(stage.server.trail.find(Query(limit=100_000))))

    async def act():
        sides = [await stage.connect() for _ in range(8)]
        ears = [await Ear.of(side, item) for side in sides for item in spellings]
        before = length()
        stage.stocks.publish("average", "1")
        heard = await asyncio.gather(*(ear.hear() for ear in ears))
        after = length()
        for side in sides:
            await side.close()
        return heard, after - before

    heard, records = asyncio.run(act())
    assert ["1"] * 1024 == heard
    assert 2 == records  # that the trail was read, twice over
    ended = trail(AuditEvent.ADVISE_ENDED)
    assert 1024 == len(ended)
    assert {Outcome.SUCCESS} == {record.outcome for record in ended}
    assert {"dde/prices/stocks/average"} == {record.object_name for record in ended}
    begun = trail(AuditEvent.OBJECT_ACCESS)
    wanted = int(DdeRights.ADVISE | DdeRights.REQUEST)
    assert 1024 == len([r for r in begun if r.desired == wanted])


def test_an_item_is_advised_once_and_unadvised_once(stage):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        with pytest.raises(DdeNotProcessedError):
            await Ear.of(side, "acme")
        await side.unadvise("acme")
        stage.stocks.publish("acme", "13")
        for ask in (side.unadvise, side.latest):
            with pytest.raises(DdeNotProcessedError):
                await ask("acme")
        await side.close()
        return ear.times

    assert 0 == asyncio.run(act())
    assert () == stage.stocks._advises.all()


def test_what_is_closed_tells_nothing_and_keeps_nothing(stage):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        await side.close()
        stage.stocks.publish("acme", "13")
        await asyncio.sleep(0)
        return ear.times

    assert 0 == asyncio.run(act())
    assert () == stage.stocks._advises.all()


def test_an_unknown_and_a_closed_item_are_refused_alike(stage):
    stage.stocks.protect_item("margin", [allow("bob", SEE)])

    async def act():
        side = await stage.connect()
        told = []
        for item in ("margin", "nothing"):
            with pytest.raises(SteadError) as caught:
                await Ear.of(side, item)
            refusal = public_refusal(caught.value)
            told.append((refusal.status, refusal.message))
        await side.close()
        return told

    assert 1 == len(set(asyncio.run(act())))


# --- losing the right -----------------------------------------------------------------


def change_descriptor(stage, _):
    set_entries(stage.server, stage.stocks, [allow("readers", DdeRights.CONNECT)])


def give_the_item_its_own(stage, _):
    stage.stocks.protect_item("acme", [allow("bob", SEE)])


def disable_account(stage, _):
    stage.server.accounts.disable("alice")


def remove_member(stage, _):
    stage.server.accounts.remove_member("readers", "alice")


def log_off(stage, side):
    stage.server._house.admission.sessions.end(side._conversation.client.token.logon_id)


LOSSES = [
    (change_descriptor, AccessDeniedError),
    (give_the_item_its_own, AccessDeniedError),
    (disable_account, LogonSessionEndedError),
    (remove_member, LogonSessionEndedError),
    (log_off, LogonSessionEndedError),
]


@pytest.mark.parametrize(("lose", "kind"), LOSSES)
def test_a_value_published_after_the_right_is_lost_is_never_sent(
    stage, trail, lose, kind
):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        naive = NaiveDelivery(stage.stocks, "acme")
        stage.stocks.publish("acme", "13")
        assert "13" == naive.send() == await ear.hear()
        lose(stage, side)
        stage.stocks.publish("acme", "14")
        assert "14" == naive.send()
        with pytest.raises(kind) as caught:
            await ear.hear()
        await side.close()
        return caught.value

    error = asyncio.run(act())
    [ended] = trail(AuditEvent.ADVISE_ENDED)
    assert Outcome.FAILURE is ended.outcome
    assert "dde/prices/stocks/acme" == ended.object_name
    assert error.record is not None
    assert () == stage.stocks._advises.all()


@pytest.mark.parametrize(("lose", "kind"), LOSSES)
def test_a_value_that_waits_for_a_slow_client_is_not_sent_once_the_right_is_lost(
    stage, lose, kind
):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        stage.stocks.publish("acme", "13")  # allowed, and the client does not read
        async with asyncio.timeout(SECONDS):
            await ear.rang.wait()
        queued = NaiveDelivery(stage.stocks, "acme").send()
        lose(stage, side)
        with pytest.raises(kind):
            await side.latest("acme")
        await side.close()
        return queued

    assert "13" == asyncio.run(act())


@pytest.mark.parametrize(("lose", "kind"), LOSSES)
def test_what_changes_between_the_judgement_and_the_sending_counts(stage, lose, kind):
    """The right is lost just after a handler's thread has judged that it is there."""

    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        stage.stocks.publish("acme", "13")
        async with asyncio.timeout(SECONDS):
            await ear.rang.wait()
        advise, _ = side._advises["acme"]

        judged = []

        class Losing(ThreadPoolExecutor):
            def submit(self, judge, /, *told):
                def judge_and_lose():
                    judged.extend(judge(*told))
                    lose(stage, side)
                    return judged

                return super().submit(judge_and_lose)

        with Losing(1) as handlers:
            ours = Rounds(handlers)
            with pytest.raises(kind):
                await ours.take(advise)
        await side.close()
        return [data.value for data in judged]

    # A naive round sends what the thread has judged.
    assert ["13"] == asyncio.run(act())


@pytest.mark.parametrize(("lose", "kind"), LOSSES)
def test_a_value_published_between_the_judgement_and_its_reading_is_not_sent(
    stage, lose, kind
):
    async def act():
        side, advise = await advised(stage)
        read = []

        def losing(key):
            if not read:
                lose(stage, side)
                stage.stocks.publish("acme", "secret")
            read.append(advise.latest(key))
            return read[-1]

        with pytest.raises(kind):
            replace(advise, latest=losing).take()
        await side.close()
        return [data.value for data in read]

    # A naive delivery judges, reads, and sends what it has read.
    assert ["secret"] == asyncio.run(act())


@pytest.mark.parametrize("lose", [log_off, disable_account])
def test_an_advise_ends_with_its_session_though_nothing_is_published(
    stage, trail, lose
):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        lose(stage, side)
        with pytest.raises(LogonSessionEndedError):
            await ear.hear()
        await side.close()

    asyncio.run(act())
    assert 1 == len(trail(AuditEvent.ADVISE_ENDED))


def test_one_clients_loss_is_not_anothers(stage):
    stage.server.accounts.add_member("readers", "bob")

    async def act():
        hers, his = await stage.connect(ALICE), await stage.connect(BOB)
        ears = await Ear.of(hers, "acme"), await Ear.of(his, "acme")
        stage.server.accounts.disable("alice")
        stage.stocks.publish("acme", "13")
        heard = await asyncio.gather(
            *(ear.hear() for ear in ears), return_exceptions=True
        )
        await hers.close()
        await his.close()
        return heard

    refused, heard = asyncio.run(act())
    assert isinstance(refused, LogonSessionEndedError)
    assert "13" == heard


def test_an_advise_that_ended_while_it_began_is_not_kept(stage, trail):
    async def act():
        side = await stage.connect()
        beginning = asyncio.ensure_future(Ear.of(side, "acme"))
        await asyncio.sleep(0)
        await side.close()
        with pytest.raises(SteadError):
            await beginning

    asyncio.run(act())
    assert () == stage.stocks._advises.all()
    assert len(trail(AuditEvent.ADVISE_ENDED)) <= 1


# --- nobody waits ---------------------------------------------------------------------


def test_a_publisher_does_not_wait_for_a_loop_that_is_stuck(stage):
    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        publisher = threading.Thread(
            target=lambda: [stage.stocks.publish("acme", str(n)) for n in range(1000)]
        )
        publisher.start()
        publisher.join(SECONDS)  # the loop does nothing else meanwhile
        assert not publisher.is_alive()
        heard = await ear.hear()
        times = ear.times
        await side.close()
        return heard, times

    assert ("999", 1) == asyncio.run(act())


def test_a_ring_for_a_loop_that_is_closed_is_dropped():
    loop = asyncio.new_event_loop()
    bell = Bell(loop)
    loop.close()
    heard = []
    bell.ring(lambda: heard.append(1))
    bell.ring(lambda: heard.append(2))
    assert [] == heard


async def advised(stage):
    """Return a conversation and its advise, of which there is news."""
    side = await stage.connect()
    ear = await Ear.of(side, "acme")
    stage.stocks.publish("acme", "13")
    async with asyncio.timeout(SECONDS):
        await ear.rang.wait()
    return side, side._advises["acme"][0]


def test_a_delivery_after_the_server_is_closed_is_refused_as_such(stage):
    async def act():
        side, advise = await advised(stage)
        handlers = ThreadPoolExecutor(1)
        handlers.shutdown()
        with pytest.raises(ServerClosedError):
            await Rounds(handlers).take(advise)
        await side.close()

    asyncio.run(act())


def test_a_delivery_that_has_no_thread_fails_and_the_next_one_does_not(
    stage, monkeypatch
):
    def none_left(_):
        raise RuntimeError("can't start new thread")

    async def act():
        side, advise = await advised(stage)
        with ThreadPool(1) as handlers:
            rounds = Rounds(handlers)
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", none_left)
                with pytest.raises(ServerUnavailableError):
                    await rounds.take(advise)
            heard = (await rounds.take(advise)).value
        await side.close()
        return heard

    assert "13" == asyncio.run(asyncio.wait_for(act(), SECONDS))


def test_whoever_stops_waiting_for_a_delivery_disturbs_no_other(stage):
    async def act():
        side, advise = await advised(stage)
        release = threading.Event()
        with ThreadPoolExecutor(1) as handlers:
            handlers.submit(release.wait)
            rounds = Rounds(handlers)
            first = asyncio.ensure_future(rounds.take(advise))
            second = asyncio.ensure_future(rounds.take(advise))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            release.set()
            heard = (await second).value
        await side.close()
        return heard

    assert "13" == asyncio.run(act())


def test_deliveries_that_a_loop_leaves_behind_are_cancelled(stage):
    async def act():
        side, advise = await advised(stage)
        release = threading.Event()
        with ThreadPoolExecutor(1) as handlers:
            handlers.submit(release.wait)
            rounds = Rounds(handlers)
            first = asyncio.ensure_future(rounds.take(advise))
            await asyncio.sleep(0)  # it asks for a round
            await asyncio.sleep(0)  # the round begins
            second = asyncio.ensure_future(rounds.take(advise))
            await asyncio.sleep(0)
            rounds._round.cancel()
            for waiting in (first, second):
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            release.set()
        await side.close()

    asyncio.run(act())


def most_at_once(stage, number):
    """Return how many deliveries at most came in one turn of the loop."""

    async def act():
        side, advise = await advised(stage)
        rounds = Rounds(stage.server.reception.handlers)
        came, most = [], 0

        async def take():
            came.append(await rounds.take(advise))

        takes = [asyncio.ensure_future(take()) for _ in range(number)]
        async with asyncio.timeout(SECONDS):
            while len(came) < number:
                before = len(came)
                await asyncio.sleep(0)
                most = max(most, len(came) - before)
        await asyncio.gather(*takes)
        await side.close()
        return most

    return asyncio.run(act())


def test_many_deliveries_leave_the_loop_to_others_in_between(stage, monkeypatch):
    assert most_at_once(stage, 100) <= 8
    monkeypatch.setattr("stead.server.dde.advises._AT_ONCE", 512)
    assert 100 == most_at_once(stage, 100)  # a naive round


def test_a_round_cancelled_between_deliveries_cancels_the_rest(stage):
    async def act():
        side, advise = await advised(stage)
        rounds = Rounds(stage.server.reception.handlers)
        takes = [asyncio.ensure_future(rounds.take(advise)) for _ in range(100)]
        async with asyncio.timeout(SECONDS):
            await asyncio.wait(takes, return_when=asyncio.FIRST_COMPLETED)
            rounds._round.cancel()
            heard = await asyncio.gather(*takes, return_exceptions=True)
        await side.close()
        return {type(answer) for answer in heard}

    assert asyncio.CancelledError in asyncio.run(act())


def test_a_mistake_in_one_delivery_is_not_anothers(stage, caplog):
    async def act():
        side, advise = await advised(stage)

        def mistaken(key):
            raise ZeroDivisionError(key)

        broken = replace(advise, latest=mistaken)
        rounds = Rounds(stage.server.reception.handlers)
        heard = await asyncio.gather(
            rounds.take(broken), rounds.take(advise), return_exceptions=True
        )
        await side.close()
        return heard

    failed, heard = asyncio.run(act())
    assert isinstance(failed, OperationFailedError)
    assert "13" == heard.value
    assert "ZeroDivisionError" in caplog.text


# --- values that come by themselves ---------------------------------------------------


def source_of(*values):
    """Return an async generator function that yields when it is let, and its lever."""
    levers = asyncio.Queue()

    async def source():
        for value in values:
            await levers.get()
            if isinstance(value, Exception):
                raise value
            yield value

    return source, levers


def test_an_async_source_publishes_what_it_yields(server):
    source, levers = source_of(("now", "1"), ("now", "2"))
    stage = Stage(server, source)

    async def act():
        side = await stage.connect()
        with pytest.raises(DdeBusyError):
            await side.request("now")
        levers.put_nowait(None)
        while True:
            try:
                first = (await side.request("now")).value
                break
            except DdeBusyError:
                continue
        ear = await Ear.of(side, "NOW")
        levers.put_nowait(None)
        heard = await ear.hear()
        with pytest.raises(DdeNotProcessedError):
            await side.poke("now", await side.request("now"))
        await side.close()
        return first, heard

    set_entries(stage.server, stage.stocks, [allow("readers", SEE | DdeRights.POKE)])
    assert ("1", "2") == asyncio.run(act())


def test_a_source_that_has_not_begun_tells_nothing_to_who_may_not(server):
    source, _ = source_of()
    stage = Stage(server, source)
    stage.prices.topic("mute", source, entries=[allow("bob", DdeRights.CONNECT)])

    async def act():
        side = await stage.connect(BOB, topic="mute")
        for item in ("anything", "a/b"):
            with pytest.raises(AccessDeniedError):
                await side.request(item)
        await side.close()

    asyncio.run(act())


def test_a_source_that_fails_ends_its_advises_and_nothing_else(server):
    source, levers = source_of(("now", "1"), ZeroDivisionError("the source's secret"))
    stage = Stage(server, source)
    stage.prices.topic("calm", {"a": "1"}, entries=[allow("alice", SEE)])

    async def act():
        side = await stage.connect()
        calm = await stage.connect(topic="calm")
        levers.put_nowait(None)
        while True:
            try:
                ear = await Ear.of(side, "now")
                break
            except DdeBusyError:
                continue
        levers.put_nowait(None)
        with pytest.raises(DdeNotProcessedError) as caught:
            await ear.hear()
        with pytest.raises(DdeNotProcessedError):
            await side.request("now")
        value = (await calm.request("a")).value
        await side.close()
        await calm.close()
        return public_refusal(caught.value).message, value

    message, value = asyncio.run(act())
    assert "secret" not in message
    assert "1" == value


def test_a_source_that_yields_what_is_no_item_fails(server):
    source, levers = source_of("neither item nor value")
    stage = Stage(server, source)

    async def act():
        side = await stage.connect()
        levers.put_nowait(None)
        while True:
            try:
                await side.request("now")
            except DdeBusyError:
                continue
            except DdeNotProcessedError:
                break
        await side.close()

    asyncio.run(act())


def test_a_source_starts_again_on_another_loop(server):
    async def source():
        yield "now", "1"
        await asyncio.Event().wait()

    stage = Stage(server, source)

    async def act():
        while True:
            try:
                return await stage.request("now")
            except DdeBusyError:
                continue

    assert ["1", "1"] == [asyncio.run(act()), asyncio.run(act())]


def test_an_async_iterable_is_a_source_too(server):
    class Ticks:
        def __aiter__(self):
            async def ticks():
                yield "now", "1"

            return ticks()

    stage = Stage(server, Ticks())

    async def act():
        while True:
            try:
                return await stage.request("now")
            except DdeBusyError:
                continue

    assert "1" == asyncio.run(act())


def test_a_topic_without_a_source_holds_what_is_published(stage):
    topic = stage.prices.topic("empty", entries=[allow("alice", SEE)])
    topic.publish("a", "1")
    assert "1" == asyncio.run(stage.request("A", topic="empty"))


def test_what_cannot_be_published_is_no_source(stage):
    async def coroutine():
        """Yield nothing."""

    with pytest.raises(InvalidRequestError):
        stage.prices.topic("none", coroutine)


@pytest.mark.root
def test_a_client_publishes_from_within_its_block_that_the_kernel_judges(
    kernel_server, client_of
):
    stage = Stage(kernel_server)
    hers = client_of(kernel_server, "alice")

    def publish():
        with hers.impersonate():
            stage.stocks.publish("acme", "13")

    async def act():
        side = await stage.connect()
        ear = await Ear.of(side, "acme")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(kernel_server.executor(), publish)
        heard = await ear.hear()
        await side.close()
        return heard

    assert "13" == asyncio.run(act())
