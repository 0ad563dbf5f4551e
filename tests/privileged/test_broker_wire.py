"""The broker's letters and tables alone: whatever comes, one error leaves."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.privileged.conftest import open_descriptors

from stead.errors import QuotaExceededError, RemoteProtocolError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_clients import ClientTable, Hold
from stead.privileged.broker_config import Limits
from stead.privileged.broker_monitor import RULES
from stead.privileged.broker_rules import Phase
from stead.privileged.broker_wire import (
    LONGEST_REQUEST,
    Request,
    next_request,
    require_channel,
    say,
)

ALICE = PosixIdentity(70_001, 70_001)
MAY = frozenset({"start", "worker", "open", "log_on"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def received(data, count=0):
    """Return the request that these bytes are, with so many descriptors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open(os.devnull, os.O_RDWR)
    with ours, theirs:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes_of([null] * count))]
        ours.sendmsg([data], rights if count else [])
        os.close(null)
        return next_request(theirs)


def bytes_of(descriptors):
    return b"".join(each.to_bytes(4, "little") for each in descriptors)


@given(st.binary(min_size=1, max_size=LONGEST_REQUEST + 40), st.integers(0, 80))
def test_bytes_are_a_request_or_one_error(data, count):
    before = open_descriptors()
    try:
        request = received(data, count)
    except RemoteProtocolError:
        request = None
    if request is not None:
        assert len(request.descriptors) == count
        request.close()
    assert set() == open_descriptors() - before


@given(
    st.sampled_from(sorted(RULES)),
    st.dictionaries(
        st.sampled_from(["client", "gate", "kind", "session", "version", "x"]), VALUES
    ),
    st.integers(0, 80),
)
def test_a_rule_lets_pass_what_it_says_and_nothing_else(name, fields, count):
    rule, request = RULES[name], Request(name, fields, tuple(range(count)))
    kinds = {each: type(value) for each, value in fields.items()}
    fits = kinds == dict(rule.fields) and rule.fewest <= count <= rule.most
    for phase in Phase:
        try:
            rule.require(request, phase, MAY)
        except RemoteProtocolError:
            assert not fits or phase not in rule.phase
        else:
            assert fits
            assert phase in rule.phase


def test_every_rule_but_the_hello_waits_for_it():
    early = {name for name, rule in RULES.items() if Phase.NEW in rule.phase}
    assert {"hello"} == early
    assert {"start", "worker", "open", "log_on"} == {
        rule.act for rule in RULES.values() if rule.act
    }


def test_an_act_that_the_service_may_not_is_refused():
    request = Request("start", {"client": 1, "session": False}, (0,) * 5)
    RULES["start"].require(request, Phase.GREETED, MAY)
    with pytest.raises(RemoteProtocolError, match="may not"):
        RULES["start"].require(request, Phase.GREETED, MAY - {"start"})


def test_the_end_of_a_connection_is_no_request():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        assert next_request(theirs) is None


def test_a_channel_is_the_askers_own_half_of_a_pair():
    seq = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream = socket.socketpair()
    with seq[0], seq[1], stream[0], stream[1]:
        require_channel(seq[0].fileno(), os.geteuid())
        for number, uid in (
            (seq[0].fileno(), os.geteuid() + 1),
            (stream[0].fileno(), os.geteuid()),
        ):
            with pytest.raises(RemoteProtocolError, match="not the server's own"):
                require_channel(number, uid)
    with open(os.devnull) as null, pytest.raises(RemoteProtocolError):  # noqa: PTH123
        require_channel(null.fileno(), os.geteuid())


# --- the table ------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=30))
def test_an_index_is_given_once_and_names_one_client_or_nobody(steps):
    table, given_out, here = ClientTable(Limits()), [], {}
    for comes in steps:
        if comes or not here:
            client = table.add(ALICE)
            assert client.index not in given_out
            given_out.append(client.index)
            here[client.index] = client
        else:
            table.remove(here.pop(min(here)))
        for index in given_out:
            assert table.find(index) is here.get(index)
    for index in (0, -1, len(given_out) + 1):
        with pytest.raises(RemoteProtocolError, match="nobody was ever client"):
            table.find(index)


def test_places_are_counted_and_given_back():
    limits = Limits(clients=2, connections_per_client=1, processes_per_client=1)
    table = ClientTable(limits)
    assert table.has_room(ALICE.uid)
    alice = table.add(ALICE)
    assert not table.has_room(ALICE.uid)
    bob = table.add(PosixIdentity(70_002, 70_002))
    assert table.is_full
    ours, theirs = socket.socketpair()
    with ours, theirs:
        held = Hold(ours, alice)
        table.hold(alice, held)
        with pytest.raises(QuotaExceededError, match="uid 70001 has 1"):
            table.hold(alice, Hold(theirs, alice))
        table.hold(bob, Hold(theirs, bob))
        table.release(held)
        table.hold(alice, held)
    table.remove(alice)
    assert table.has_room(ALICE.uid)
    assert [bob] == list(table)


def test_the_processes_of_a_server_are_bounded_too():
    table = ClientTable(Limits(processes=1))
    alice = table.add(ALICE)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        table.hold(alice, Hold(ours, alice))
        with pytest.raises(QuotaExceededError, match="as many processes as may be"):
            table.hold(alice, Hold(theirs, alice))


def test_a_message_that_does_not_fit_waits_for_nobody():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fill():
        while True:
            say(ours, {"request": "x" * 200})

    with ours, theirs, pytest.raises(BlockingIOError):
        fill()
