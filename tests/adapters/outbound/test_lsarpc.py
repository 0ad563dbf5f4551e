"""The question to a file server, as bytes: ours compared with impacket's."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import lsat, rpcrt
from impacket.dcerpc.v5.dtypes import NULL

from stead.adapters.outbound.lsarpc import user_name
from stead.errors import RemoteProtocolError

ACK = bytes.fromhex("05000c0310000000 4400000001000000") + bytes(52)


def packet(kind, body, *, flags=3, length=None, order=b"\x10\x00\x00\x00"):
    size = 16 + len(body) if length is None else length
    return struct.pack("<BBBB4sHHI", 5, 0, kind, flags, order, size, 0, 1) + body


def text(value):
    raw = value.encode("utf-16-le")
    count = len(raw) // 2
    head = struct.pack("<IHHIIII", 1, len(raw), len(raw), 2, count, 0, count)
    return head + raw + bytes(-len(raw) % 4)


def answer(stub):
    return packet(2, struct.pack("<IHBB", len(stub), 0, 0, 0) + stub)


def said(name="alice", domain="CORP", status=0):
    named = struct.pack("<I", 1) + text(domain) if domain else bytes(4)
    return answer(text(name) + named + struct.pack("<I", status))


class Server:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, message):
        self.asked.append(message)
        return self.answers.pop(0)


def test_the_names_are_read():
    assert ("alice", "CORP") == user_name(Server(ACK, said()))
    assert ("b", "") == user_name(Server(ACK, said("b", "")))
    assert ("\u00e4\U0001f600", "C") == user_name(
        Server(ACK, said("\u00e4\U0001f600", "C"))
    )


def test_the_question_is_what_another_implementation_asks():
    server = Server(ACK, said())
    user_name(server)
    bind, request = server.asked
    theirs = lsat.LsarGetUserName()
    theirs["SystemName"] = NULL
    theirs["UserName"] = NULL
    theirs["DomainName"] = NULL
    call = rpcrt.MSRPCRequestHeader(request)
    assert (lsat.LsarGetUserName.opnum, 0) == (call["op_num"], call["ctx_id"])
    assert call["pduData"].startswith(theirs.getData()[:8])
    seen = rpcrt.MSRPCHeader(bind)
    assert (11, len(bind)) == (seen["type"], seen["frag_len"])
    offered = rpcrt.MSRPCBind(seen["pduData"])
    assert 1 == offered["ctx_num"]
    assert lsat.MSRPC_UUID_LSAT == offered["ctx_items"][4:24]


def test_what_another_implementation_answers_is_read():
    theirs = lsat.LsarGetUserNameResponse()
    theirs["UserName"] = "alice"
    theirs["DomainName"] = NULL
    theirs["ErrorCode"] = 0
    assert ("alice", "") == user_name(Server(ACK, answer(theirs.getData())))


@pytest.mark.parametrize(
    "answers",
    [
        [b""], [b"x" * 8], [packet(13, b"")], [packet(12, b"", flags=1)],
        [packet(12, b"", length=99)], [packet(12, b"", order=b"\0\0\0\0")],
        [b"\x04" + ACK[1:]], [ACK, packet(3, bytes(16))], [ACK, answer(b"")],
        [ACK, said(status=0xC0000022)], [ACK, answer(text("alice"))],
        [ACK, answer(struct.pack("<IHHIIII", 1, 99, 99, 2, 9, 0, 9) + b"ab")],
        [ACK, answer(struct.pack("<IHHIIII", 1, 2, 2, 2, 1, 0, 1) + b"\x00\xd8\0\0")],
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_error(answers):
    with pytest.raises(RemoteProtocolError):
        user_name(Server(*answers))


@given(st.binary(max_size=200))
def test_whatever_a_server_sends_is_an_answer_or_an_error(junk):
    for answers in ([junk], [ACK, junk], [ACK, answer(junk)]):
        try:
            name, domain = user_name(Server(*answers))
        except RemoteProtocolError:
            continue
        assert isinstance(name, str)
        assert isinstance(domain, str)
