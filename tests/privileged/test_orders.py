"""Orders as bytes, and on their way with their descriptors."""

import array
import fcntl
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidRequestError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import parcels, sealing
from stead.privileged.confinement import Confinement
from stead.privileged.orders import Order, Terms, Warrant
from stead.privileged.parcels import Parcel

CLIENT = PosixIdentity(70001, 70001, (5, 70002))
TEXTS = st.binary(min_size=1).filter(lambda text: b"\0" not in text)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture
def null():
    descriptor = os.open(os.devnull, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@given(
    argv=st.lists(TEXTS, min_size=1),
    environment=st.dictionaries(TEXTS.filter(lambda name: b"=" not in name), TEXTS),
    umask=st.integers(0, 0o777),
    limits=st.lists(st.tuples(st.integers(), st.integers(), st.integers())),
    flags=st.tuples(st.booleans(), st.booleans()),
    user=st.text().filter(lambda name: "\0" not in name),
)
def test_any_order_is_read_as_it_was_written(
    argv, environment, umask, limits, flags, user
):
    order = Order(
        CLIENT,
        tuple(argv),
        tuple(environment.items()),
        b"/\xff",
        b"/\xfe",
        umask,
        tuple(limits),
        *flags,
        user,
    )
    assert order == Order.from_bytes(order.to_bytes())


def test_a_function_is_an_order_too():
    order = Order(CLIENT, body="module:function")
    assert order == Order.from_bytes(order.to_bytes())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "either a program or a function"),
        ({"argv": (b"a",), "body": "m:f"}, "either a program or a function"),
        ({"argv": (b"",)}, "no name"),
        ({"argv": (b"a", b"b\0c")}, "NUL"),
        ({"argv": (b"a",), "pam_user": "a\0"}, "NUL"),
        ({"argv": (b"a",), "environment": ((b"A", b"\0"),)}, "NUL"),
        ({"argv": (b"a",), "environment": ((b"", b"x"),)}, "empty or holds"),
        ({"argv": (b"a",), "environment": ((b"A=B", b"x"),)}, "empty or holds"),
        ({"argv": (b"a",), "environment": ((b"A", b"1"), (b"A", b"2"))}, "two values"),
        ({"argv": (b"a",), "directory": b"here"}, "directory is not absolute"),
        ({"argv": (b"a",), "fallback_directory": b"x"}, "other directory"),
        ({"argv": (b"a",), "umask": 0o1000}, "no umask"),
        ({"argv": (b"a",), "umask": -1}, "no umask"),
    ],
)
def test_what_no_kernel_could_take_literally_is_no_order(fields, problem):
    with pytest.raises(InvalidRequestError, match=problem):
        Order(CLIENT, **fields)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": [-1, 1, []]},
        {"identity": None},
        {"argv": None},
        {"environment": [["only a name"]]},
        {"limits": [1]},
        {"directory": "\u20ac"},
        {"more": 1},
    ],
)
def test_a_document_that_lacks_or_adds_something_is_no_order(change):
    document = {**json.loads(Order(CLIENT, (b"a",)).to_bytes()), **change}
    with pytest.raises(InvalidRequestError):
        Order.from_bytes(json.dumps(document).encode())


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"\xff"])
def test_garbage_is_no_order(document):
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        Order.from_bytes(document)


@pytest.mark.parametrize("needs_session", [False, True])
def test_an_order_arrives_with_its_descriptors(pair, null, needs_session):
    order = Order(CLIENT, (b"a",))
    with sealing.sealed(order.to_bytes()) as document:
        sent = Parcel(null, document.fileno(), (null, null, null, 2), needs_session)
        parcels.send(pair[0], sent)
    parcel = parcels.receive(pair[1])
    assert needs_session == parcel.needs_session
    assert order == parcel.order()
    assert os.path.sameopenfile(null, parcel.channel)
    assert os.path.sameopenfile(2, parcel.inherited[3])
    assert [False] * 4 == [os.get_inheritable(each) for each in parcel.inherited]
    parcel.let_go()
    os.close(parcel.channel)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(parcel.document)


def test_what_is_sealed_is_never_changed():
    with sealing.sealed(b"order") as document:
        with pytest.raises(PermissionError):
            os.pwrite(document.fileno(), b"x", 0)
        with pytest.raises(PermissionError):
            os.truncate(document.fileno(), 0)


def test_an_order_that_somebody_may_still_change_is_refused(null):
    naive = os.memfd_create("naive", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(naive, Order(CLIENT, (b"a",)).to_bytes())
        with pytest.raises(InvalidRequestError, match="not sealed"):
            Parcel(null, naive, ()).order()
    finally:
        os.close(naive)


def test_an_order_that_lies_in_no_memory_is_refused(null):
    with pytest.raises(InvalidRequestError, match="in no memory"):
        Parcel(null, null, ()).order()


def test_a_document_that_cannot_be_sealed_leaves_nothing_open(monkeypatch, descriptors):
    before = descriptors()
    monkeypatch.setattr(sealing, "_seals", lambda: 2**31)
    with pytest.raises((OSError, OverflowError)):
        sealing.sealed(b"order")
    assert set() == descriptors() - before


def test_there_is_no_order_yet_or_none_any_more(pair):
    with pytest.raises(BlockingIOError):
        parcels.receive(pair[1])
    pair[0].close()
    assert parcels.receive(pair[1]) is None


@pytest.mark.parametrize(
    ("datagram", "count"),
    [(b"order", 4), (b"other", 5), (b"order", parcels.MAXIMUM_EXTRA + 7), (b"", 5)],
)
def test_what_is_no_order_is_refused_and_what_it_carried_closed(
    pair, null, descriptors, datagram, count
):
    before = descriptors()
    carried = array.array("i", [null] * count)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    pair[0].sendmsg([datagram], rights)
    with pytest.raises(InvalidRequestError, match="no order"):
        parcels.receive(pair[1])
    assert set() == descriptors() - before


def test_sending_never_waits_and_says_when_too_many_wait(pair, null):
    with sealing.sealed(b"order") as document:
        parcel = Parcel(null, document.fileno(), (null,) * 3)

        def flood():
            for _ in range(100_000):
                parcels.send(pair[0], parcel)

        with pytest.raises(BlockingIOError):
            flood()


def test_terms_go_without_relative_places_to_import_from():
    terms = Terms(1, 2, frozenset({3}), ("module",))
    document = json.loads(terms.to_document(["", "here", "/there"]))
    assert ["/there"] == document["path"]
    assert terms == Terms.from_document(document)


def test_the_seals_are_all_that_there_are_for_content():
    with sealing.sealed(b"") as document:
        expected = (
            fcntl.F_SEAL_SEAL
            | fcntl.F_SEAL_SHRINK
            | fcntl.F_SEAL_GROW
            | fcntl.F_SEAL_WRITE
        )
        assert expected == fcntl.fcntl(document, fcntl.F_GET_SEALS)


def test_neither_arguments_nor_environment_are_shown():
    order = Order(
        PosixIdentity(70001, 70001),
        (b"/bin/x", b"--password=tiger"),
        ((b"PASSWORD", b"tiger"),),
    )
    naive = str((order.argv, order.environment))
    assert "tiger" in naive
    assert "tiger" not in repr(order)
    assert "70001" in repr(order)


# --- with a broker --------------------------------------------------------------------

PROGRAM = Order(CLIENT, (b"id", b"-u"), ((b"A", b"b"),), umask=0o027)


def test_what_a_server_and_a_broker_say_makes_one_order():
    said = PROGRAM.to_server_part()
    assert {"identity", "body"}.isdisjoint(json.loads(said))
    assert PROGRAM == Order.from_bytes(said, Warrant(CLIENT).to_bytes())
    worker = Order(CLIENT, body="a.module:function")
    warrant = Warrant(CLIENT, worker.body).to_bytes()
    assert worker == Order.from_bytes(worker.to_server_part(), warrant)


@pytest.mark.parametrize("part", ["identity", "body"])
def test_a_server_says_nothing_of_what_the_broker_says(part):
    said = json.loads(PROGRAM.to_server_part())
    said[part] = json.loads(PROGRAM.to_bytes())[part]
    with pytest.raises(InvalidRequestError, match="the server says whom"):
        Order.from_bytes(json.dumps(said).encode(), Warrant(CLIENT).to_bytes())


def test_a_warrant_arrives_with_its_hold(pair, null):
    with (
        sealing.sealed(PROGRAM.to_server_part()) as document,
        sealing.sealed(Warrant(CLIENT).to_bytes()) as warrant,
    ):
        parts = (null, document.fileno(), (null, null, null))
        with pytest.raises(InvalidRequestError, match="comes with a hold"):
            parcels.send(pair[0], Parcel(*parts, warrant=warrant.fileno()))
        whole = Parcel(*parts, warrant=warrant.fileno(), hold=null)
        parcels.send(pair[0], whole)
    came = parcels.receive(pair[1])
    assert came.is_warranted
    assert PROGRAM == came.order()
    came.let_go()
    for closed in (came.document, came.warrant, *came.inherited):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(closed)
    os.close(came.hold)
    os.close(came.channel)


def test_what_else_comes_with_a_message_is_no_descriptor():
    credentials = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, bytes(12))
    assert [] == parcels.carried_by([credentials])


# --- confined -------------------------------------------------------------------------


def test_a_confinement_is_read_as_it_was_written():
    confined = Confinement(((b"/srv/\xff", 0x1), (b"/tmp", 0x3)), runs_programs=True)
    order = Order(CLIENT, (b"id",), no_new_privileges=True, confinement=confined)
    assert order == Order.from_bytes(order.to_bytes())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "gains no new privileges"),
        ({"no_new_privileges": True, "pam_user": "alice"}, "no confined process"),
    ],
)
def test_a_confined_process_has_no_other_way_out(fields, problem):
    with pytest.raises(InvalidRequestError, match=problem):
        Order(CLIENT, (b"id",), confinement=Confinement(), **fields)


def test_a_document_has_a_size(null):
    with sealing.sealed(b"12345") as document:
        assert b"12345" == sealing.read_sealed(document.fileno(), 5)
        with pytest.raises(InvalidRequestError, match="more than 4 bytes"):
            sealing.read_sealed(document.fileno(), 4)
