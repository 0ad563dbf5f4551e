"""What a refused client hears: one line, and never which of the causes it was."""

import http.client
import json
import os
import re
import socket
import struct

import pytest

from stead.model.audit_record import AuditEvent

pytestmark = [pytest.mark.root, pytest.mark.slow]

LEVEL = "refused: a required impersonation level was not provided"


class RawLink:
    """The pipe as bytes: what a client that trusts no library sees."""

    def __init__(self, path, level="impersonation"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.welcome = self.exchange({"type": "hello", "version": 1, "level": level})

    def exchange(self, message):
        body = json.dumps(message).encode()
        self.socket.sendall(struct.pack(">I", len(body)) + body)
        (size,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(size).decode()

    def refusal(self, operation, **arguments):
        """Return the refusal's bytes, the record's number left out."""
        told = self.exchange(
            {"type": "request", "id": 7, "operation": operation, "arguments": arguments}
        )
        return re.sub(r'"record":\d+', '"record":N', told)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data)) or pytest.fail("it hung up")
        return data


ACCESS_DENIED = (
    '{"type":"refusal","id":7,"status":5,"message":"access is denied","record":N}'
)


def test_every_cause_of_a_denied_access_sounds_the_same(server, world, as_uid):
    os.mkfifo(world.home_of("carol") / "fifo")
    os.chown(world.home_of("carol") / "fifo", world.uids["carol"], 0)
    here, there = world.home_of("carol"), world.home_of("dave")
    asked = [
        ("look", {"name": "sealed"}),
        ("look", {"name": "no such object"}),
        ("read_plan", {}),
        ("write_plan", {"line": "x"}),
        ("read", {"path": str(there / "note.txt")}),
        ("read", {"path": str(there / "no such file")}),
        ("read", {"path": str(here / "no such file")}),
        ("read", {"path": str(here / "fifo")}),
        ("read", {"path": "/dev/null"}),
        ("read", {"path": str(here)}),
        ("read", {"path": "/" + "x" * 5000}),
        ("read_block", {"path": str(there / "note.txt")}),
        ("stead.explain", {"account": "dave", "name": "plan", "rights": ["READ"]}),
        ("stead.explain", {"account": "dave", "name": "no", "rights": ["READ"]}),
        ("stead.explain", {"account": "dave", "name": "plan", "rights": ["NONE"]}),
        ("stead.explain", {"account": "nobody", "name": "plan", "rights": ["READ"]}),
    ]

    def as_carol():
        link = RawLink(world.pipe)
        return [link.refusal(name, **arguments) for name, arguments in asked]

    heard = as_uid(world.uids["carol"], as_carol)
    assert [(ask, ACCESS_DENIED) for ask in asked] == list(
        zip(asked, heard, strict=True)
    )
    assert "Traceback" not in server.log.read_text()


def test_a_check_does_not_say_whether_an_object_is_there(server, world, ask):
    carol = world.uids["carol"]
    for name in ("sealed", "plan", "no such object"):
        for right in ("READ", "NO_SUCH_RIGHT"):
            assert ask(carol, "stead.check", name=name, rights=[right]) is False


def test_who_may_read_a_descriptor_hears_which_right_there_is_not(server, world, ask):
    arguments = {"name": "plan", "rights": ["NO_SUCH_RIGHT"]}
    assert "refused: the request is not valid" == ask(0, "stead.check", **arguments)
    assert "refused: the request is not valid" == ask(
        0, "stead.explain", account="carol", **arguments
    )


def test_a_failure_of_the_servers_own_code_tells_nothing(server, world, ask):
    assert "refused: the request failed" == ask(world.uids["carol"], "fail")
    assert "the server's secret" in server.log.read_text()


def test_whoever_is_not_admitted_hears_one_line_whatever_the_cause(
    start, world, as_uid
):
    start(disabled=["carol"], denied=["dave"])

    def arrive():
        return re.sub(r'"record":\d+', '"record":N', RawLink(world.pipe).welcome)

    heard = [as_uid(world.uids[name], arrive) for name in ("carol", "dave")]
    refusal = (
        '{"type":"refusal","id":0,"status":1326,"message":"logon failure","record":N}'
    )
    assert [refusal] * 2 == heard
    reasons = {
        reason
        for _, record in world.trail()
        if record.event is AuditEvent.LOGON_FAILED
        for reason in record.reasons
    }
    assert {"account `carol` is disabled",
            "`dave` is denied to log on as network"} == reasons  # fmt: skip


def test_unknown_and_disabled_accounts_are_answered_alike_over_http(start, world):
    sessions = {"a": "nobody at all", "b": "carol", "c": "dave", "d": "erin"}
    server = start(sessions=sessions, disabled=["carol"], denied=["dave"])
    told = [_over_http(server, session, world) for session in "abc"]
    assert 1 == len(set(told))
    status, _, body = told[0]
    assert (401, "logon failure") == (status, json.loads(body)["title"])
    assert "nobody" not in body
    assert 401 == _over_http(server, "no session", world)[0]
    assert 403 == _over_http(server, "d", world)[0]


def _over_http(server, session, world):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    link.request(
        "GET",
        f"/file?path={world.file_of('alice')}",
        headers={"authorization": f"Bearer {session}"},
    )
    answer = link.getresponse()
    body = re.sub(r'"record": \d+', '"record": 0', answer.read().decode())
    headers = sorted(
        name.lower() for name, _ in answer.getheaders() if name.lower() != "date"
    )
    link.close()
    # The record's number may have one digit more; nothing else may differ.
    return answer.status, tuple(headers), body


def test_a_client_at_level_identification_is_checked_and_not_acted_for(
    server, world, ask
):
    alice = world.uids["alice"]
    own = str(world.file_of("alice"))
    checks = {"name": "plan", "rights": ["READ"], "level": "identification"}
    assert ask(alice, "stead.check", **checks) is True
    assert "ship it" == ask(alice, "read_plan", level="identification")
    for operation in ("read", "read_block"):
        assert LEVEL == ask(alice, operation, path=own, level="identification")
    new = str(world.home_of("alice") / "new")
    assert LEVEL == ask(alice, "write", path=new, text="x", level="identification")
    assert LEVEL == ask(alice, "acted", level="identification")
    assert not os.path.exists(new)  # noqa: PTH110 - the path as the client said it


def test_an_anonymous_client_is_nobody(server, world, ask):
    alice = world.uids["alice"]
    assert "alice" not in str(ask(alice, "stead.whoami", level="anonymous"))
    for operation, arguments in (
        ("stead.check", {"name": "plan", "rights": ["READ"]}),
        ("read_plan", {}),
        ("read", {"path": str(world.file_of("alice"))}),
        ("read_block", {"path": str(world.file_of("alice"))}),
        ("archive", {}),
        ("echo", {"text": "x"}),
    ):
        assert LEVEL == ask(alice, operation, level="anonymous", **arguments)
