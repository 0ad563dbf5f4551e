"""The pipe's rules, without a socket."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stead.errors import InvalidMessageError, RemoteProtocolError
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    VERSION,
    Challenge,
    Goodbye,
    Hello,
    Refusal,
    Request,
    Response,
    Result,
    Welcome,
    write_message,
)
from stead.gates.pipe.protocol import TRANSITIONS, PipeProtocol, Role, State

WELCOME = Welcome(version=1, server="s", account="a", level="impersonation")
HELLO = Hello(version=1)


def frame(message) -> bytes:
    return write_frame(write_message(message, PipeLimits()), 1 << 20)


def talking(role: Role, **limits) -> PipeProtocol:
    protocol = PipeProtocol(role, PipeLimits(**limits))
    if role is Role.SERVER:
        assert [HELLO] == protocol.receive_data(frame(HELLO))
        protocol.send(WELCOME)
    else:
        protocol.send(HELLO)
        assert [WELCOME] == protocol.receive_data(frame(WELCOME))
    return protocol


def drain(protocol: PipeProtocol, data: bytes):
    """Feed, and return what came and the mistake that ended it, if any."""
    messages = []
    try:
        new = protocol.receive_data(data)
        while new:
            messages += new
            new = protocol.receive_data(b"")
    except RemoteProtocolError as error:
        return messages, str(error)
    return messages, None


def test_a_whole_conversation_ends_closed_at_both_ends():
    client, server = PipeProtocol(Role.CLIENT), PipeProtocol(Role.SERVER)
    assert [HELLO] == server.receive_data(client.send(HELLO))
    assert [WELCOME] == client.receive_data(server.send(WELCOME))
    ask = Request(id=1, operation="read")
    assert [ask] == server.receive_data(client.send(ask))
    assert 1 == server.open_requests
    assert [Goodbye()] == server.receive_data(client.send(Goodbye()))
    answer = Result(id=1, value="text")
    assert [answer] == client.receive_data(server.send(answer))
    assert [Goodbye()] == client.receive_data(server.send(Goodbye()))
    assert (State.CLOSED, State.CLOSED) == (client.state, server.state)


def test_requests_may_be_answered_in_any_order():
    server = talking(Role.SERVER)
    asked = [Request(id=number, operation="x") for number in (1, 2, 3)]
    assert asked == server.receive_data(b"".join(map(frame, asked)))
    for number in (2, 3, 1):
        server.send(Result(id=number))
    assert 0 == server.open_requests


def test_a_refused_client_hears_number_zero_and_nothing_else():
    client, server = PipeProtocol(Role.CLIENT), PipeProtocol(Role.SERVER)
    server.receive_data(client.send(HELLO))
    with pytest.raises(InvalidMessageError):
        server.send(Refusal(id=1, status=5, message="x"))
    refusal = Refusal(id=0, status=1326, message="logon failure")
    assert [refusal] == client.receive_data(server.send(refusal))
    assert (State.CLOSED, State.CLOSED) == (client.state, server.state)


@pytest.mark.parametrize(
    ("role", "stream", "mistake"),
    [
        (Role.SERVER, [Request(id=1, operation="x")], "no request"),
        (Role.SERVER, [HELLO, HELLO], "no hello"),
        (Role.SERVER, [HELLO, Request(id=1, operation="x")], "no request"),
        (Role.SERVER, [HELLO, Goodbye()], "no goodbye"),
        (Role.SERVER, [Hello(version=2)], "version 2"),
        (Role.SERVER, [WELCOME], "not a message of this peer"),
        (Role.CLIENT, [WELCOME], "no welcome"),
        (Role.CLIENT, [HELLO], "not a message of this peer"),
        (Role.CLIENT, [Result(id=1)], "no result"),
    ],
)
def test_messages_out_of_order_are_the_peers_mistake(role, stream, mistake):
    protocol = PipeProtocol(role)
    _, found = drain(protocol, b"".join(map(frame, stream)))
    assert mistake in found
    assert State.BROKEN is protocol.state


def test_a_number_may_not_be_used_while_it_is_open():
    server = talking(Role.SERVER)
    server.receive_data(frame(Request(id=1, operation="x")))
    with pytest.raises(RemoteProtocolError, match="open already"):
        server.receive_data(frame(Request(id=1, operation="x")))


def test_an_answer_to_nothing_is_a_mistake_of_either_end():
    with pytest.raises(InvalidMessageError, match="nothing asked"):
        talking(Role.SERVER).send(Result(id=9))
    with pytest.raises(RemoteProtocolError, match="nothing asked"):
        talking(Role.CLIENT).receive_data(frame(Refusal(id=0, status=5, message="")))


@pytest.mark.parametrize("granted", ["anonymous", "identification"])
def test_a_server_may_grant_less_than_the_client_states(granted):
    client = PipeProtocol(Role.CLIENT)
    client.send(Hello(version=1, level="identification"))
    client.receive_data(
        frame(Welcome(version=1, server="s", account="a", level=granted))
    )
    assert State.TALKING is client.state


def test_a_raised_level_is_refused_at_both_ends():
    client, server = PipeProtocol(Role.CLIENT), PipeProtocol(Role.SERVER)
    server.receive_data(client.send(Hello(version=1, level="identification")))
    with pytest.raises(InvalidMessageError, match="raised"):
        server.send(WELCOME)
    with pytest.raises(RemoteProtocolError, match="raised"):
        client.receive_data(frame(WELCOME))


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        (Hello(version=1), {"tracking": "dynamic"}),
        (Hello(version=1, effective_only=True), {"effective_only": False}),
    ],
)
def test_a_server_takes_no_more_than_the_client_gave(stated, granted):
    client = PipeProtocol(Role.CLIENT)
    client.send(stated)
    welcome = Welcome(
        version=1, server="s", account="a", level="impersonation", **granted
    )
    with pytest.raises(RemoteProtocolError, match="takes more"):
        client.receive_data(frame(welcome))


def test_reading_in_steps_is_what_receiving_at_once_is():
    server = talking(Role.SERVER)
    ask = Request(id=1, operation="x")
    data = frame(ask)
    assert server.announced() is None
    server.feed(data[:5])
    assert len(data) - 4 == server.announced()
    assert server.take_body() is None
    server.feed(data[5:])
    body = server.take_body()
    assert ask == server.read(body)
    assert 0 == server.open_requests
    server.receive(ask, len(body))
    assert 1 == server.open_requests
    with pytest.raises(RemoteProtocolError, match="open already"):
        server.receive(ask, len(body))


def test_an_answer_written_elsewhere_must_be_in_order_too():
    server = talking(Role.SERVER)
    server.receive(Request(id=1, operation="x"), 10)
    server.send_written(Result(id=1))
    assert 0 == server.open_requests
    with pytest.raises(InvalidMessageError, match="nothing asked"):
        server.send_written(Result(id=1))


def test_who_breaks_off_after_the_end_stays_closed():
    server = talking(Role.SERVER)
    server.send(Goodbye())
    server.break_off("too late")
    server.feed(b"x")
    assert State.CLOSED is server.state
    assert not server.is_mid_frame


def test_our_mistake_changes_nothing():
    server = talking(Role.SERVER)
    server.receive_data(frame(Request(id=1, operation="x")))
    with pytest.raises(InvalidMessageError):
        server.send(Result(id=1, value="x" * (1 << 20)))
    assert 1 == server.open_requests
    server.send(Result(id=1, value="y"))


def test_before_the_welcome_only_a_page_is_kept():
    server = PipeProtocol(Role.SERVER)
    with pytest.raises(RemoteProtocolError, match="4096 are allowed"):
        server.receive_data((4097).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="1048576 are allowed"):
        talking(Role.SERVER).receive_data(((1 << 20) + 1).to_bytes(4, "big"))


def test_a_full_server_reads_no_further_until_it_has_answered():
    server = talking(Role.SERVER, in_flight=2)
    asked = [Request(id=number, operation="x") for number in (1, 2, 3, 4)]
    assert asked[:2] == server.receive_data(b"".join(map(frame, asked)))
    assert server.is_full
    assert [] == server.receive_data(b"")
    server.send(Result(id=2))
    assert asked[2:3] == server.receive_data(b"")
    assert server.is_mid_frame


def test_large_requests_fill_a_server_before_their_number_does():
    server = talking(Role.SERVER, frame=8192)
    big = [Request(id=n, operation="x", arguments={"a": "b" * 5000}) for n in (1, 2, 3)]
    assert big[:2] == server.receive_data(b"".join(map(frame, big)))
    assert server.is_full


def test_a_mistake_does_not_swallow_what_came_before_it():
    server = talking(Role.SERVER)
    good = Request(id=1, operation="x")
    assert [good] == server.receive_data(frame(good) + bytes(4))
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="0 bytes"):
            server.receive_data(b"")
    with pytest.raises(InvalidMessageError):
        server.send(Result(id=1))
    server.send(Goodbye(reason="mistake"))
    assert [] == server.receive_data(frame(good))


def test_after_goodbye_nothing_is_read_or_kept():
    server = talking(Role.SERVER)
    server.send(Goodbye())
    assert [] == server.receive_data(b"\xff" * 100)
    assert not server.is_mid_frame
    with pytest.raises(InvalidMessageError):
        server.send(Result(id=1))


def test_a_client_asks_nothing_after_its_goodbye():
    client = talking(Role.CLIENT)
    client.send(Goodbye())
    with pytest.raises(InvalidMessageError):
        client.send(Request(id=1, operation="x"))


def test_every_state_but_the_last_has_a_way_out():
    assert set(State) - {State.CLOSED} == {state for state, _, _ in TRANSITIONS}
    assert State.CLOSED in TRANSITIONS.values()


MESSAGES = st.one_of(
    st.builds(Hello, version=st.integers(1, 2)),
    st.builds(Request, id=st.integers(1, 4), operation=st.just("x")),
    st.just(WELCOME),
    st.builds(Result, id=st.integers(1, 4), value=st.integers(0, 3)),
    st.just(Goodbye()),
)
STREAMS = st.one_of(
    st.lists(MESSAGES, max_size=6).map(lambda all_: b"".join(map(frame, all_))),
    st.builds(
        lambda head, garbage, tail: head + garbage + tail,
        st.lists(MESSAGES, max_size=3).map(lambda all_: b"".join(map(frame, all_))),
        st.binary(max_size=64),
        st.lists(MESSAGES, max_size=3).map(lambda all_: b"".join(map(frame, all_))),
    ),
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda b: len(b).to_bytes(4, "big") + b),
)


@given(role=st.sampled_from(Role), is_open=st.booleans(), stream=STREAMS)
@example(role=Role.SERVER, is_open=True, stream=b"\0\0\0\x02{}")
def test_bytes_at_once_or_one_by_one_give_the_same_and_only_our_error(
    role, is_open, stream
):
    at_once = talking(role) if is_open else PipeProtocol(role)
    one_by_one = talking(role) if is_open else PipeProtocol(role)
    whole, mistake = drain(at_once, stream)
    parts, later = [], None
    for byte in stream:
        new, later = drain(one_by_one, bytes([byte]))
        parts += new
        if later:
            break
    assert (whole, mistake) == (parts, later)
    assert at_once.state is one_by_one.state


@given(data=st.data())
def test_a_changed_byte_anywhere_raises_nothing_but_our_error(data):
    stream = bytearray(
        frame(Request(id=1, operation="x", arguments={"a": [1, "é", None]}))
        + frame(Goodbye())
    )
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] = data.draw(st.integers(0, 255))
    drain(talking(Role.SERVER), bytes(stream))


# --- an exchange that authenticates the client ----------------------------------------


def exchanging(**limits):
    """Return both ends, after a Hello that names a package."""
    bounds = PipeLimits(**limits)
    client, server = (
        PipeProtocol(Role.CLIENT, bounds),
        PipeProtocol(Role.SERVER, bounds),
    )
    hello = Hello(version=VERSION, package="scram")
    server.receive_data(client.send(hello))
    return client, server


def test_challenges_and_responses_lead_back_to_a_welcome():
    client, server = exchanging()
    for number in range(3):
        asked = Challenge(blob=b"?" * number)
        assert [asked] == client.receive_data(server.send(asked))
        assert State.CHALLENGED is client.state is server.state
        said = Response(blob=b"!" * number)
        assert [said] == server.receive_data(client.send(said))
        assert State.GREETED is client.state is server.state
    welcome = Welcome(
        version=VERSION, server="s", account="a", level="impersonation", blob=b"v="
    )
    assert [welcome] == client.receive_data(server.send(welcome))
    assert State.TALKING is client.state


def test_an_exchange_is_bounded_in_rounds_and_size():
    client, server = exchanging(rounds=1, exchange=8192)
    large = b"x" * 5000
    client.receive_data(server.send(Challenge()))
    server.receive_data(client.send(Response(blob=large)))
    with pytest.raises(InvalidMessageError, match="too many rounds"):
        server.send(Challenge())
    with pytest.raises(RemoteProtocolError, match="too many rounds"):
        client.receive_data(write_frame(b'{"type":"challenge"}', 64))
    client, server = exchanging(exchange=8192)
    client.receive_data(server.send(Challenge()))
    with pytest.raises(InvalidMessageError, match="does not fit"):
        client.send(Response(blob=large * 2))
    with pytest.raises(RemoteProtocolError, match="8192 are allowed"):
        server.receive_data((9000).to_bytes(4, "big"))


def test_nobody_is_challenged_who_did_not_ask_for_it():
    client, server = PipeProtocol(Role.CLIENT), PipeProtocol(Role.SERVER)
    server.receive_data(client.send(Hello(version=VERSION)))
    with pytest.raises(InvalidMessageError, match="nobody asked"):
        server.send(Challenge())
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        client.receive_data(write_frame(b'{"type":"challenge"}', 64))
    with pytest.raises(RemoteProtocolError, match="no response"):
        server.receive_data(write_frame(b'{"type":"response","blob":""}', 64))
