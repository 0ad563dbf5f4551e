"""One end of a DDE connection, without a socket."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidMessageError, InvalidRequestError, RemoteProtocolError
from stead.gates.dde.conversation import (
    AdviseState,
    ConversationState,
    TransactionState,
)
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
    Execute,
    Goodbye,
    Hello,
    Nack,
    Poke,
    Qos,
    QosWas,
    Refused,
    Request,
    Terminate,
    Terminated,
    Unadvise,
    Value,
    Welcome,
    write_message,
)
from stead.gates.dde.protocol import LINKS, DdeProtocol, LinkState
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.protocol import Role
from stead.model.quality_of_service import QualityOfService
from stead.model.token import ImpersonationLevel

HELLO = Hello(version=1)
WELCOME = Welcome(version=1, server="s", conversations=2, advises=2, transactions=2)
WELCOME_3 = Welcome(version=1, server="s", conversations=2, advises=2, transactions=3)
CONNECT = Connect(conversation=1, service="prices", topic="stocks")
REQUEST = Request(conversation=1, transaction=1, item="acme")
VALUE = Value(plain="12")
STREAM = [
    Qos(level="identification"),
    CONNECT,
    Connect(conversation=2, service="prices", topic="bonds"),
    Terminate(conversation=1),
    Goodbye(reason="enough"),
]


def frame(*messages):
    return b"".join(write_frame(write_message(one), 1 << 20) for one in messages)


def talking(role, **limits):
    protocol = DdeProtocol(role, DdeLimits(**limits))
    if role is Role.SERVER:
        assert [HELLO] == protocol.receive_data(frame(HELLO))
        protocol.send(WELCOME)
    else:
        protocol.send(HELLO)
        assert [WELCOME] == protocol.receive_data(frame(WELCOME))
    return protocol


def drain(protocol, chunks):
    """Feed, and return what came and the mistake that ended it, if any."""
    messages = []
    try:
        for chunk in chunks:
            messages += protocol.receive_data(chunk)
            while new := protocol.receive_data(b""):
                messages += new
    except RemoteProtocolError as error:
        return messages, str(error)
    return messages, None


@given(st.data())
def test_bytes_in_any_pieces_give_the_same_messages(data):
    broken = frame(*STREAM) + data.draw(st.binary(max_size=40))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(broken)), max_size=9)))
    pieces = [
        broken[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(broken)], strict=True)
    ]
    whole = drain(talking(Role.SERVER), [broken])
    assert whole == drain(talking(Role.SERVER), pieces)
    one_by_one = [broken[n : n + 1] for n in range(len(broken))]
    assert whole == drain(talking(Role.SERVER), one_by_one)
    assert STREAM == whole[0]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", LinkState)
@pytest.mark.parametrize("kind", [HELLO, WELCOME, Qos(), QosWas(), Goodbye(), REQUEST])
def test_a_connection_goes_where_its_table_says(role, state, kind):
    protocol = DdeProtocol(role)
    protocol.state = state
    protocol._qos_asked = 1
    if (state, role, type(kind)) in LINKS:
        protocol.send(kind)
        assert LINKS[state, role, type(kind)] is protocol.state
    else:
        with pytest.raises(InvalidMessageError):
            protocol.send(kind)
        assert state is protocol.state


@pytest.mark.parametrize(
    ("role", "stream", "mistake"),
    [
        (Role.SERVER, [CONNECT], "nothing may be said while opening"),
        (Role.SERVER, [HELLO, CONNECT], "nothing may be said while greeted"),
        (Role.SERVER, [Hello(version=2)], "version 2"),
        (Role.SERVER, [WELCOME], "not a message of this peer"),
        (Role.CLIENT, [WELCOME], "no welcome"),
        (Role.CLIENT, [CONNECT], "not a message of this peer"),
    ],
)
def test_what_comes_too_early_is_the_peers_mistake(role, stream, mistake):
    protocol = DdeProtocol(role)
    _, found = drain(protocol, [frame(*stream)])
    assert mistake in found
    assert LinkState.BROKEN is protocol.state
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(b"")
    with pytest.raises(InvalidMessageError):
        protocol.send(HELLO if role is Role.CLIENT else WELCOME)
    assert protocol.send(Goodbye())
    assert LinkState.CLOSED is protocol.state


@pytest.mark.parametrize(
    ("stream", "mistake"),
    [
        ([REQUEST], "while a conversation is none"),
        ([CONNECT, REQUEST], "while a conversation is connecting"),
        ([CONNECT, CONNECT], "no `connect`"),
        ([Qos(), HELLO], "no hello"),
        (
            [
                CONNECT,
                Connect(conversation=2, service="s", topic="t"),
                Connect(conversation=3, service="s", topic="t"),
            ],
            "too many conversations",
        ),
    ],
)
def test_what_is_said_out_of_order_is_the_peers_mistake(stream, mistake):
    server = talking(Role.SERVER, conversations=2)
    _, found = drain(server, [frame(*stream)])
    assert mistake in found


def test_transactions_are_bounded_over_all_conversations():
    server = talking(Role.SERVER, transactions=2)
    client = talking(Role.CLIENT)
    for number in (1, 2):
        server.receive_data(
            client.send(Connect(conversation=number, service="s", topic="t"))
        )
        client.receive_data(server.send(Connected(conversation=number)))
        ask = Request(conversation=number, transaction=1, item="i")
        server.receive_data(client.send(ask))
    third = Request(conversation=1, transaction=2, item="i")
    with pytest.raises(InvalidMessageError, match="too many transactions"):
        client.send(third)
    with pytest.raises(RemoteProtocolError, match="too many transactions"):
        server.receive_data(frame(third))


def test_an_answer_of_what_was_not_asked_is_a_mistake_of_either_end():
    answer = Data(conversation=1, transaction=1, value=VALUE)
    with pytest.raises(InvalidMessageError):
        talking(Role.SERVER).send(answer)
    with pytest.raises(RemoteProtocolError):
        talking(Role.CLIENT).receive_data(frame(answer))
    with pytest.raises(RemoteProtocolError, match="no quality of service"):
        talking(Role.CLIENT).receive_data(frame(QosWas()))


def test_a_quality_of_service_is_that_of_the_conversations_begun_after_it():
    server = talking(Role.SERVER)
    later = Connect(conversation=2, service="prices", topic="stocks")
    server.receive_data(frame(CONNECT, Qos(level="anonymous"), later))
    found = {number: talk.qos for number, talk in server.conversations.items()}
    modest = QualityOfService(level=ImpersonationLevel.ANONYMOUS)
    assert {1: QualityOfService(), 2: modest} == found
    server.send(Connected(conversation=1))
    with pytest.raises(InvalidMessageError, match="raised"):
        server.send(Connected(conversation=2))


def test_our_own_mistake_changes_nothing():
    client = talking(Role.CLIENT)
    before = (client.state, dict(client.conversations))
    for wrong in (
        Connect(conversation=0, service="s", topic="t"),
        Connect(conversation=1, service="", topic="t"),
        Connect(conversation=1, service="x" * 257, topic="t"),
        Connect(conversation=1, service="\ud800", topic="t"),
        WELCOME,
        Terminate(conversation=1),
    ):
        with pytest.raises(InvalidMessageError):
            client.send(wrong)
    assert before == (client.state, client.conversations)


def test_a_stranger_may_send_a_page_and_no_more():
    server = DdeProtocol(Role.SERVER)
    with pytest.raises(RemoteProtocolError, match="4096 are allowed"):
        server.receive_data((4097).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "value",
    [
        b'{"plain":1,"content":"AA=="}',
        b'{"plain":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"plain":1e999}',
        b'{"plain":[' + b"[]," * 20000 + b"1]}",
        b'{"plain":"' + b"x" * 70000 + b'"}',
        b'{"plain":1,"format":"not one word"}',
        b'{"content":1}',
    ],
)
def test_a_value_that_is_none_is_the_peers_mistake(value):
    poke = b'{"type":"poke","conversation":1,"transaction":1,"item":"i","value":%s}'
    assert_mistake(poke % value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"request","conversation":1,"transaction":1,"item":"i","more":1}',
        b'{"type":"ack","conversation":1,"item":"i","serial":1,"status":"yes"}',
        b"null",
        b"\xff",
    ],
)
def test_a_body_that_is_no_message_is_the_peers_mistake(body):
    assert_mistake(body)


def assert_mistake(body):
    server = talking(Role.SERVER)
    server.receive_data(frame(CONNECT))
    server.send(Connected(conversation=1))
    with pytest.raises(RemoteProtocolError):
        server.receive_data(write_frame(body, 1 << 20))


def test_nothing_is_taken_after_the_last_word():
    server = talking(Role.SERVER)
    assert [Goodbye()] == server.receive_data(frame(Goodbye(), HELLO))
    assert [] == server.receive_data(frame(HELLO))
    server.break_off("too late")
    assert LinkState.CLOSED is server.state


def test_limits_are_more_than_nothing():
    for name in ("conversations", "ack_seconds", "unsent"):
        with pytest.raises(InvalidRequestError, match=name):
            DdeLimits(**{name: 0})
    assert PipeLimits().clients == DdeLimits().socket.clients


# --- two ends that talk at random, and hear one another late -------------------------


def anything(role, chance):
    """Return a message of one end, sensible or not."""
    number = {"conversation": chance.choice((1, 1, 2))}
    transaction = {**number, "transaction": chance.choice((1, 2, 3))}
    item = {"item": chance.choice("ab")}
    serial = {"serial": chance.randrange(1, 9)}
    kind = chance.choice(("hot", "warm"))
    ends = [
        Terminate(**number),
        Terminated(**number),
        Refused(**number, status=5, message="no"),
    ]
    if chance.random() < 0.9:  # or conversations would be short
        ends = []
    client = [
        Qos(level=chance.choice(("identification", "impersonation"))),
        Connect(**number, service="s", topic="t"),
        Connect(**number, service="s", topic="t"),
        *ends[:1],
        Request(**transaction, **item),
        Poke(**transaction, **item, value=VALUE),
        Execute(**transaction, command="c"),
        *3 * [Advise(**transaction, **item, kind=kind, acknowledged=True)],
        *3 * [Advise(**transaction, **item, kind=kind)],
        *5 * [Unadvise(**transaction, **item)],
        *9 * [Ack(**number, **item, **serial)],
    ]
    server = [
        QosWas(),
        *3 * [Connected(**number, level="identification")],
        *ends[1:],
        *3 * [Data(**transaction, value=VALUE)],
        *9 * [Done(**transaction)],
        Nack(**transaction, status=5, message="no"),
        Busy(**transaction),
        *5 * [AdviseData(**number, **item, **serial, value=VALUE)],
        *5 * [AdviseData(**number, **item, **serial)],
        AdviseEnded(**number, **item, status=5, message="no"),
    ]
    return chance.choice(client if role is Role.CLIENT else server)


class Visitor:
    """Two ends that say anything they may, and hear each other late."""

    def __init__(self, seed):
        self.chance = random.Random(seed)  # noqa: S311 - reproducible input
        limits = DdeLimits(conversations=2, advises=2, transactions=3)
        self.ends = {role: DdeProtocol(role, limits) for role in Role}
        server, client = self.ends[Role.SERVER], self.ends[Role.CLIENT]
        server.receive_data(client.send(HELLO))
        client.receive_data(server.send(WELCOME_3))
        self.under_way = {role: bytearray() for role in Role}
        self.seen = set()

    def hear(self, role, size):
        self.ends[role].receive_data(bytes(self.under_way[role][:size]))
        del self.under_way[role][:size]

    def step(self):
        role = self.chance.choice(tuple(Role))
        other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        if self.chance.random() < 0.05:
            self.hear(role, self.chance.randrange(len(self.under_way[role]) + 1))
            return
        with suppress(InvalidMessageError):
            said = self.ends[role].send(anything(role, self.chance))
            self.under_way[other] += said

    def note(self):
        for role, end in self.ends.items():
            for talk in end.conversations.values():
                self.seen.add((role, talk.state))
                self.seen |= {(role, talk.advise_state(item)) for item in "ab"}
                self.seen |= {(role, talk.transaction_state(n)) for n in (1, 2, 3)}


def test_what_one_end_may_say_the_other_may_hear_however_it_crosses():
    seen = set()
    for seed in range(30):
        visitor = Visitor(seed)
        for _ in range(1000):
            visitor.step()
            visitor.note()
        for role in Role:
            visitor.hear(role, None)
        # Whoever has heard all sees what the other sees.
        views = [
            {number: talk.state for number, talk in end.conversations.items()}
            for end in visitor.ends.values()
        ]
        assert views[0] == views[1]
        seen |= visitor.seen
    states = (*ConversationState, *AdviseState, *TransactionState)
    missed = {(role, state) for role in Role for state in states} - seen
    assert {(role, ConversationState.NONE) for role in Role} == missed
