"""What both clients do alike, without a socket: what crosses on the way."""

import random

import pytest

from stead.errors import InvalidRequestError, SteadError
from stead.gates.dde.awaited import Inbox, value_in
from stead.gates.dde.conversation import AdviseState, ConversationState
from stead.gates.dde.exchange import Exchange
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import (
    Ack,
    Advise,
    AdviseData,
    AdviseEnded,
    Busy,
    Connect,
    Connected,
    Data,
    Done,
    Hello,
    Nack,
    Refused,
    Request,
    Terminate,
    Terminated,
    Unadvise,
    Value,
    Welcome,
)
from stead.gates.dde.ports import AdviseKind
from stead.gates.dde.protocol import DdeProtocol
from stead.gates.pipe.protocol import Role

NO = {"status": 5, "message": "no"}
GRANTED = {AdviseState.FREE, AdviseState.READY, AdviseState.OWED}
VALUE = Value(plain="12")


class Pair:
    """A client's exchange, and a server's protocol that says what it is told to."""

    def __init__(self, **bounds):
        limits = DdeLimits(**bounds)
        self.exchange = Exchange()
        self.server = DdeProtocol(Role.SERVER, limits)
        self.exchange.hello(None)
        assert [Hello(version=1)] == self.heard()
        self.say(
            Welcome(
                version=1,
                server="s",
                conversations=limits.conversations,
                advises=limits.advises,
                transactions=limits.transactions,
            )
        )

    def heard(self):
        """Return what the client has said."""
        data = bytes(self.exchange.outgoing)
        self.exchange.outgoing.clear()
        return self.server.receive_data(data)

    def say(self, *messages):
        """Have the client hear some messages at once."""
        self.exchange.feed(b"".join(self.server.send(message) for message in messages))

    def talk(self):
        number, awaited = self.exchange.connect("prices", "stocks")
        self.heard()
        self.say(Connected(conversation=number))
        assert awaited.is_done
        return number

    def ask_advise(self, number, item="acme", kind=AdviseKind.HOT):
        inbox = Inbox(number, [item])
        awaited = self.exchange.advise(inbox, item, kind, acknowledged=True)
        return inbox, awaited

    def advised(self, number, item="acme"):
        inbox, _ = self.ask_advise(number, item)
        self.answer(*self.heard())
        return inbox

    def answer(self, *asked):
        for one in asked:
            self.say(Done(conversation=one.conversation, transaction=one.transaction))

    def give_up(self, inbox, awaited):
        """Do what both clients do when an advise takes too long."""
        self.exchange.abandon(awaited)
        self.exchange.unadvise_all(inbox)

    def tell(self, number, serial=1, item="acme"):
        told = {"conversation": number, "item": item}
        self.say(AdviseData(**told, serial=serial, value=VALUE))


def asked_of(*messages):
    return [(type(one), one.item) for one in messages]


def test_an_advise_that_is_given_up_behind_the_end_of_the_last_costs_nothing():
    pair = Pair()
    number = pair.talk()
    pair.exchange.unadvise_all(pair.advised(number))
    (end,) = pair.heard()
    pair.give_up(*pair.ask_advise(number))
    pair.answer(end)
    assert [] == pair.heard()
    assert pair.advised(number).items
    assert pair.exchange.end is None


@pytest.mark.parametrize("answer", [Done, Nack])
def test_an_advise_that_is_given_up_does_not_take_the_next_with_it(answer):
    pair = Pair()
    number = pair.talk()
    pair.give_up(*pair.ask_advise(number))
    (first,) = pair.heard()
    inbox, awaited = pair.ask_advise(number)
    fields = {} if answer is Done else NO
    pair.say(answer(conversation=number, transaction=first.transaction, **fields))
    if answer is Done:
        (end,) = pair.heard()
        assert [(Unadvise, "acme")] == asked_of(end)
        pair.answer(end)
    (second,) = pair.heard()
    assert [(Advise, "acme")] == asked_of(second)
    pair.answer(second)
    pair.tell(number)
    assert awaited.is_done
    assert VALUE == inbox.take().value


def test_an_advise_that_ends_while_its_end_waits_is_ended_once():
    pair = Pair(transactions=2)
    number = pair.talk()
    inbox = pair.advised(number)
    for _ in range(2):
        pair.exchange.ask(Request, number, item="acme")
    requests = pair.heard()
    pair.exchange.unadvise_all(inbox)
    pair.say(AdviseEnded(conversation=number, item="acme", **NO))
    for one in requests:
        pair.say(Data(conversation=number, transaction=one.transaction, value=VALUE))
    (end,) = pair.heard()
    assert [(Unadvise, "acme")] == asked_of(end)
    pair.answer(end)
    assert AdviseState.NONE is pair.server.conversations[number].advise_state("acme")
    assert [] == pair.heard()


def test_what_still_comes_of_an_advise_is_not_told_to_the_next_that_waits():
    pair = Pair(transactions=1)
    number = pair.talk()
    pair.advised(number).end("acme")
    pair.exchange.ask(Request, number, item="acme")
    inbox, _ = pair.ask_advise(number)
    pair.tell(number)
    pair.say(AdviseEnded(conversation=number, item="acme", **NO))
    assert not inbox.has_news
    assert ["acme"] == [*inbox.items]


def test_an_item_that_is_advised_already_is_not_ended_by_who_asks_again():
    pair = Pair()
    number = pair.talk()
    first = pair.advised(number)
    second = Inbox(number, ["acme"])
    with pytest.raises(InvalidRequestError, match="advised already"):
        pair.exchange.advise(second, "acme", AdviseKind.HOT, acknowledged=True)
    pair.exchange.unadvise_all(second)
    assert [] == pair.heard()
    pair.tell(number)
    assert VALUE == first.take().value


def test_a_value_of_an_advise_that_was_ended_does_not_acknowledge_one_of_the_next():
    pair = Pair()
    number = pair.talk()
    first = pair.advised(number)
    pair.tell(number, serial=2)
    pair.say(AdviseEnded(conversation=number, item="acme", **NO))
    pair.answer(*pair.heard())
    second = pair.advised(number)
    pair.tell(number, serial=1)
    pair.exchange.acknowledge(first, first.take())
    assert [] == pair.heard()
    pair.exchange.acknowledge(second, second.take())
    assert [Ack(conversation=number, item="acme", serial=1)] == pair.heard()


def test_an_advise_that_is_given_up_still_counts_while_the_one_before_it_lasts():
    pair = Pair(advises=1)
    number = pair.talk()
    pair.exchange.unadvise_all(pair.advised(number))
    (end,) = pair.heard()
    pair.give_up(*pair.ask_advise(number))
    with pytest.raises(SteadError, match="too many advises"):
        pair.ask_advise(number, "globex")
    pair.answer(end)
    assert pair.advised(number, "globex").items


def test_the_end_of_an_advise_is_asked_for_even_if_nobody_waits_for_it():
    pair = Pair(transactions=1)
    number = pair.talk()
    inbox = pair.advised(number)
    pair.exchange.ask(Request, number, item="acme")
    (request,) = pair.heard()
    (awaited,) = pair.exchange.unadvise_all(inbox)
    pair.exchange.abandon(awaited)
    pair.say(Data(conversation=number, transaction=request.transaction, value=VALUE))
    assert [(Unadvise, "acme")] == asked_of(*pair.heard())


# --- a client that changes its mind at random, and a server that answers late ---------


class Visit(Pair):
    """Both ends, each of which hears the other late.

    Every value that an advise tells names the transaction that began it.
    """

    def __init__(self, seed):
        super().__init__(conversations=3, advises=2, transactions=3)
        self.chance = random.Random(seed)  # noqa: S311 - reproducible input
        self.up, self.down = bytearray(), bytearray()
        self.numbers = []
        self.connecting = []
        self.requests = []
        self.asked = {}  # what the server has not answered
        self.begun = {}  # the last advise of each item, as the server knows it
        self.serial = 0
        self.pending = []  # (inbox, what it still waits for, items to be advised)
        self.inboxes = []
        self.names = {}
        self.seen = set()

    def step(self):
        self.chance.choice(
            (
                self.connect,
                self.change_mind,
                *3 * (self.request,),
                *6 * (self.advise,),
                *4 * (self.close,),
                *4 * (self.take,),
                *3 * (self.give_up_something,),
                *8 * (self.serve,),
                *8 * (self.tell_something,),
                *2 * (self.hear,),
            )
        )()
        self.go_on()
        self.up += self.exchange.outgoing
        self.exchange.outgoing.clear()
        assert self.exchange.end is None

    # --- the client

    def connect(self):
        try:
            number, awaited = self.exchange.connect("prices", "stocks")
        except SteadError:
            return
        self.numbers.append(number)
        self.connecting.append(awaited)

    def change_mind(self):
        if self.numbers and self.chance.random() < 0.2:
            self.exchange.terminate(self.chance.choice(self.numbers[-4:]))

    def request(self):
        if self.numbers:
            try:
                awaited = self.exchange.ask(Request, self.numbers[-1], item="a")
            except SteadError:
                return
            self.requests.append(awaited)

    def advise(self):
        if self.numbers:
            items = self.chance.choice(("a", "b", "c", "ab", "ba"))
            inbox = Inbox(self.chance.choice(self.numbers[-3:]), items)
            self.pending.append((inbox, None, list(items)))

    def go_on(self):
        """Advise one item after the other, as both clients do."""
        pending, self.pending = self.pending, []
        for inbox, last, items in pending:
            awaited = last
            try:
                if awaited is not None and awaited.is_done:
                    awaited.result()
                    awaited = None
                if awaited is None and items:
                    awaited = self.exchange.advise(
                        inbox,
                        items.pop(0),
                        AdviseKind.HOT,
                        acknowledged=self.chance.random() < 0.5,
                    )
            except SteadError:
                self.exchange.unadvise_all(inbox)
                continue
            if awaited is None:
                self.inboxes.append(inbox)
            else:
                self.pending.append((inbox, awaited, items))

    def close(self):
        if self.inboxes:
            inbox = self.chance.choice(self.inboxes)
            waited = self.exchange.unadvise_all(inbox)
            if waited and self.chance.random() < 0.5:
                self.exchange.abandon(waited[0])

    def take(self):
        if not self.inboxes:
            return
        inbox = self.chance.choice(self.inboxes)
        try:
            message = inbox.take() if inbox.has_news else None
        except SteadError:
            return
        if message is not None:
            place = id(inbox), message.item
            self.names.setdefault(place, value_in(message))
            assert self.names[place] == value_in(message)
            self.exchange.acknowledge(inbox, message)

    def give_up_something(self):
        for waiting in (self.requests, self.connecting):
            if waiting and self.chance.random() < 0.2:
                self.exchange.abandon(waiting.pop())
        if self.pending and self.chance.random() < 0.5:
            inbox, awaited, _ = self.pending.pop(
                self.chance.randrange(len(self.pending))
            )
            if awaited is not None:
                self.give_up(inbox, awaited)

    # --- the server

    def tell_client(self, message):
        self.down += self.server.send(message)

    def serve(self, most=None):
        size = self.chance.randrange(len(self.up) + 1) if most is None else most
        for message in self.server.receive_data(bytes(self.up[:size])):
            self.note(message)
        del self.up[:size]
        for message in [*self.asked]:
            if most is not None or self.chance.random() < 0.3:
                del self.asked[message]
                self.answer_one(message, is_kind=most is not None)

    def note(self, message):
        number = message.conversation
        state = self.server.state_of(number)
        if isinstance(message, Terminate):
            self.asked = {one: 0 for one in self.asked if one.conversation != number}
            if state in {ConversationState.CLIENT_LEFT, ConversationState.ABANDONED}:
                self.asked[message] = 0
        elif not isinstance(message, Ack):
            self.asked[message] = 0
        if isinstance(message, Advise):
            self.begun[number, message.item] = message.transaction

    def answer_one(self, message, *, is_kind):
        number = {"conversation": message.conversation}
        state = self.server.state_of(message.conversation)
        chance = 0 if is_kind else self.chance.random()
        if isinstance(message, Connect) or state is ConversationState.ABANDONED:
            if state in {ConversationState.CONNECTING, ConversationState.ABANDONED}:
                good = Connected(**number)
                self.tell_client(good if chance < 0.8 else Refused(**number, **NO))
            if self.server.state_of(number["conversation"]) is (
                ConversationState.CLIENT_LEFT
            ):
                self.tell_client(Terminated(**number))
            return
        if isinstance(message, Terminate):
            self.tell_client(Terminated(**number))
            return
        if state is not ConversationState.TALKING:
            return
        number["transaction"] = message.transaction
        if isinstance(message, Unadvise) or (
            isinstance(message, Advise) and chance < 0.8
        ):
            self.tell_client(Done(**number))
        elif isinstance(message, Request) and chance < 0.8:
            self.tell_client(Data(**number, value=VALUE))
        else:
            self.tell_client(Nack(**number, **NO) if chance < 0.9 else Busy(**number))

    def tell_something(self, *, is_kind=False):
        for (number, item), name in self.begun.items():
            if self.server.state_of(number) is not ConversationState.TALKING:
                continue
            state = self.server.conversations[number].advise_state(item)
            if state not in GRANTED:
                continue
            if state is not AdviseState.OWED:
                self.serial += 1
                value = Value(plain=str(name))
                told = {"conversation": number, "item": item, "serial": self.serial}
                self.tell_client(AdviseData(**told, value=value))
            if not is_kind and self.chance.random() < 0.1:
                self.tell_client(AdviseEnded(conversation=number, item=item, **NO))
        number = self.numbers[-1] if self.numbers else 0
        is_talking = self.server.state_of(number) is ConversationState.TALKING
        if is_talking and not is_kind and self.chance.random() < 0.01:
            self.tell_client(Terminated(conversation=number))

    # --- the way

    def hear(self, size=None):
        size = self.chance.randrange(len(self.down) + 1) if size is None else size
        self.exchange.feed(bytes(self.down[:size]))
        del self.down[:size]
        for talk in self.exchange._protocol.conversations.values():
            self.seen |= {talk.state, *(talk.advise_state(item) for item in "abc")}

    def settle(self):
        """Let both say all they have to say."""
        for _ in range(200):
            self.go_on()
            self.up += self.exchange.outgoing
            self.exchange.outgoing.clear()
            if not (self.up or self.down or self.asked or self.pending):
                return
            self.serve(len(self.up))
            self.hear(len(self.down))
        pytest.fail("something waits that nothing ends")


def test_a_client_that_changes_its_mind_stands_however_it_crosses():
    seen = set()
    for seed in range(60):
        visit = Visit(seed)
        for _ in range(400):
            visit.step()
        visit.settle()
        assert_told_what_is_wanted(visit)
        seen |= visit.seen
    # A client answers these at once, and forgets what is over.
    unseen = {
        ConversationState.NONE,
        ConversationState.REFUSED,
        ConversationState.SERVER_LEFT,
    }
    assert {*AdviseState, *ConversationState} - seen == unseen


def assert_told_what_is_wanted(visit):
    """What the server tells and what somebody still wants are the same."""
    wanted = sorted(
        (inbox.conversation, item) for inbox in visit.inboxes for item in inbox.items
    )
    told = sorted(
        (number, item)
        for number, talk in visit.server.conversations.items()
        for item in "abc"
        if talk.advise_state(item) is not AdviseState.NONE
    )
    assert told == wanted
    for inbox in visit.inboxes:
        while inbox.has_news and inbox.items:
            try:
                visit.exchange.acknowledge(inbox, inbox.take())
            except SteadError:
                continue
    visit.settle()
    visit.tell_something(is_kind=True)
    visit.hear(len(visit.down))
    for inbox in visit.inboxes:
        for item in inbox.items:
            name = visit.begun[inbox.conversation, item]
            assert visit.names.get((id(inbox), item), str(name)) == str(name)
        assert {*inbox.items} == {*inbox._values} or not inbox.items
