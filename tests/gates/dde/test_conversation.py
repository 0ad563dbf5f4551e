"""The tables of a conversation, walked completely: every state, every event."""

import itertools

import pytest

from stead.gates.dde.conversation import (
    ADVISES,
    CONVERSATIONS,
    TRANSACTIONS,
    AdviseState,
    Conversation,
    ConversationState,
    Event,
    TransactionState,
    event_of,
)
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
    Execute,
    Nack,
    Poke,
    Refused,
    Request,
    Terminate,
    Terminated,
    Unadvise,
    Value,
)
from stead.gates.pipe.protocol import Role
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

VALUE = Value(plain="12")
CONNECT = Connect(conversation=1, service="prices", topic="stocks")
CONNECTED = Connected(conversation=1)
REFUSED = Refused(conversation=1, status=5, message="no")
TERMINATE = Terminate(conversation=1)
TERMINATED = Terminated(conversation=1)
WAYS = {
    ConversationState.NONE: [],
    ConversationState.CONNECTING: [CONNECT],
    ConversationState.ABANDONED: [CONNECT, TERMINATE],
    ConversationState.REFUSED: [CONNECT, REFUSED],
    ConversationState.TALKING: [CONNECT, CONNECTED],
    ConversationState.CLIENT_LEFT: [CONNECT, CONNECTED, TERMINATE],
    ConversationState.SERVER_LEFT: [CONNECT, CONNECTED, TERMINATED],
}


def advise(item, transaction, *, acknowledged=False):
    return Advise(
        conversation=1, transaction=transaction, item=item, acknowledged=acknowledged
    )


def done(transaction):
    return Done(conversation=1, transaction=transaction)


def told(item, serial=1):
    return AdviseData(conversation=1, item=item, serial=serial, value=VALUE)


def ended(item):
    return AdviseEnded(conversation=1, item=item, status=5, message="no")


def message_for(event, *, transaction=1, item="new", told_item="free", acked="owed"):
    """Return a message that is an event, about what is given."""
    numbers = {"conversation": 1, "transaction": transaction}
    return {
        Event.CONNECT: CONNECT,
        Event.TERMINATE: TERMINATE,
        Event.REQUEST: Request(**numbers, item="x"),
        Event.POKE: Poke(**numbers, item="x", value=VALUE),
        Event.EXECUTE: Execute(**numbers, command="x"),
        Event.ADVISE: Advise(**numbers, item=item),
        Event.ADVISE_ACKNOWLEDGED: Advise(**numbers, item=item, acknowledged=True),
        Event.UNADVISE: Unadvise(**numbers, item=told_item),
        Event.ACK: Ack(conversation=1, item=acked, serial=1),
        Event.CONNECTED: CONNECTED,
        Event.REFUSED: REFUSED,
        Event.TERMINATED: TERMINATED,
        Event.DATA: Data(**numbers, value=VALUE),
        Event.DONE: Done(**numbers),
        Event.NACK: Nack(**numbers, status=5, message="no"),
        Event.BUSY: Busy(**numbers),
        Event.ADVISE_DATA: told(told_item, 2),
        Event.ADVISE_ENDED: ended(told_item),
    }[event]


def after(*messages, qos=None, most_advises=4):
    """Return a conversation in which all this was said."""
    conversation = Conversation(qos or QualityOfService(), most_advises)
    for message in messages:
        role, _ = event_of(message)
        assert not conversation.fault_of(role, message), message
        conversation.follow(message)
    return conversation


def judge(conversation, message):
    """Say a message if it may be said; return whether."""
    role, _ = event_of(message)
    if conversation.fault_of(role, message):
        return False
    conversation.follow(message)
    return True


# In a conversation that talks: something of every kind that can be answered or told.
TALK = [
    Request(conversation=1, transaction=11, item="x"),
    Poke(conversation=1, transaction=12, item="x", value=VALUE),
    advise("free", 13),
    done(13),
    advise("owed", 14, acknowledged=True),
    done(14),
    told("owed"),
]
ANSWERED = {Event.DATA: 11, Event.DONE: 12, Event.NACK: 12, Event.BUSY: 12}


@pytest.mark.parametrize(
    ("state", "event"), [*itertools.product(ConversationState, Event)]
)
def test_a_conversation_goes_where_its_table_says_and_nowhere_else(state, event):
    way = WAYS[state]
    conversation = after(*way[:2], *(TALK if CONNECTED in way else []), *way[2:])
    assert state is conversation.state

    may = judge(conversation, message_for(event, transaction=ANSWERED.get(event, 1)))

    assert ((state, event) in CONVERSATIONS) == may
    assert CONVERSATIONS.get((state, event), state) is conversation.state


TRANSACTION_WAYS = {
    TransactionState.NONE: [],
    TransactionState.REQUESTED: [Request(conversation=1, transaction=1, item="x")],
    TransactionState.ASKED: [Execute(conversation=1, transaction=1, command="x")],
    TransactionState.UNADVISING: [
        Unadvise(conversation=1, transaction=1, item="owed"),
    ],
}
TRANSACTION_EVENTS = list(dict.fromkeys(event for _, event in TRANSACTIONS))


@pytest.mark.parametrize(
    ("state", "event"), [*itertools.product(TransactionState, TRANSACTION_EVENTS)]
)
def test_a_transaction_goes_where_its_table_says_and_nowhere_else(state, event):
    conversation = after(CONNECT, CONNECTED, *TALK, *TRANSACTION_WAYS[state])
    assert state is conversation.transaction_state(1)

    may = judge(conversation, message_for(event))

    assert ((state, event) in TRANSACTIONS) == may
    assert TRANSACTIONS.get((state, event), state) is conversation.transaction_state(1)


_FREE = [advise("i", 1), done(1)]
_READY = [advise("i", 1, acknowledged=True), done(1)]
ADVISE_WAYS = {
    AdviseState.NONE: [],
    AdviseState.ASKED: _FREE[:1],
    AdviseState.ASKED_ACKNOWLEDGED: _READY[:1],
    AdviseState.FREE: _FREE,
    AdviseState.READY: _READY,
    AdviseState.OWED: [*_READY, told("i")],
    AdviseState.ENDED: [*_READY, told("i"), ended("i")],
    AdviseState.LEAVING: [
        *_FREE,
        Unadvise(conversation=1, transaction=1, item="i"),
    ],
}
ADVISE_EVENTS = list(dict.fromkeys(event for _, event in ADVISES))


@pytest.mark.parametrize(
    ("state", "event"), [*itertools.product(AdviseState, ADVISE_EVENTS)]
)
def test_an_advise_goes_where_its_table_says_and_nowhere_else(state, event):
    conversation = after(CONNECT, CONNECTED, *ADVISE_WAYS[state])
    assert state is conversation.advise_state("i")
    is_answer = event in {Event.DONE, Event.NACK, Event.BUSY}

    message = message_for(
        event,
        transaction=1 if is_answer else 2,
        item="i",
        told_item="i",
        acked="i",
    )
    may = judge(conversation, message)

    assert ((state, event) in ADVISES) == may
    assert ADVISES.get((state, event), state) is conversation.advise_state("i")


def test_every_state_of_every_table_was_walked():
    assert set(ConversationState) == set(WAYS)
    assert set(TransactionState) == set(TRANSACTION_WAYS)
    assert set(AdviseState) == set(ADVISE_WAYS)
    for table in (CONVERSATIONS, TRANSACTIONS, ADVISES):
        kinds = {type(state) for state, _ in table}
        assert 1 == len(kinds)
        assert set(kinds.pop()) == {state for state, _ in table}
    assert set(Event) == {event for _, event in CONVERSATIONS}


@pytest.mark.parametrize("event", Event)
def test_what_is_one_ends_to_say_the_other_may_not(event):
    message = message_for(event)
    role, found = event_of(message)
    assert event is found
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    assert "to say" in after(CONNECT, CONNECTED, *TALK).fault_of(other, message)


MODEST = QualityOfService(
    ImpersonationLevel.IDENTIFICATION, Tracking.STATIC, effective_only=True
)


@pytest.mark.parametrize(
    "granted",
    [
        Connected(conversation=1, level="impersonation"),
        Connected(conversation=1, level="identification", tracking="dynamic"),
        Connected(conversation=1, level="identification", effective_only=False),
    ],
)
def test_a_server_grants_no_more_than_what_was_set(granted):
    conversation = after(CONNECT, qos=MODEST)
    assert "raised" in conversation.fault_of(Role.SERVER, granted)
    assert not after(
        CONNECT, qos=QualityOfService(tracking=Tracking.DYNAMIC, effective_only=False)
    ).fault_of(Role.SERVER, Connected(conversation=1, level="anonymous"))


def test_only_the_value_that_is_owed_is_acknowledged_and_once():
    conversation = after(CONNECT, CONNECTED, *TALK)
    late = Ack(conversation=1, item="owed", serial=2)
    assert "not owed" in conversation.fault_of(Role.CLIENT, late)
    conversation = after(CONNECT, CONNECTED, *TALK, ended("owed"))
    ack = Ack(conversation=1, item="owed", serial=1)
    conversation.follow(ack)
    assert "not owed" in conversation.fault_of(Role.CLIENT, ack)


def test_advised_data_is_told_once_and_as_its_kind_says():
    conversation = after(CONNECT, CONNECTED, *TALK, told("free", 3))
    assert "twice" in conversation.fault_of(Role.SERVER, told("free", 3))
    bare = AdviseData(conversation=1, item="free", serial=4)
    assert "without" in conversation.fault_of(Role.SERVER, bare)
    warm = Advise(conversation=1, transaction=1, item="w", kind="warm")
    conversation = after(CONNECT, CONNECTED, warm, done(1))
    assert "with a value" in conversation.fault_of(Role.SERVER, told("w"))


def test_there_are_so_many_advises_and_no_more():
    conversation = after(CONNECT, CONNECTED, *TALK, most_advises=2)
    assert "too many" in conversation.fault_of(Role.CLIENT, advise("third", 1))
    conversation.follow(Unadvise(conversation=1, transaction=1, item="free"))
    assert "too many" in conversation.fault_of(Role.CLIENT, advise("third", 2))
    conversation.follow(done(1))
    assert not conversation.fault_of(Role.CLIENT, advise("third", 2))
