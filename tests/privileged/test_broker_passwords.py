"""Passwords that a server hands to the broker, on a machine of the test's own."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    NOTES,
    Raw,
    accept,
    begin,
    connect,
    ids_of,
    is_alive,
    pair,
    poll,
    sealed,
    stage,
    told,
)

from stead.errors import LogonFailureError
from stead.privileged.broker_link import BrokerLink

__all__ = ["begin", "connect", "stage"]  # fixtures

PROGRAM = Path(__file__).parent / "programs" / "own_machine.py"
# The password `tiger`, as crypt(3) keeps it.
TIGER = (
    "$6$steadsteadstead$vJuEFdPPWlDiS1hiR1uaPeVCf0SVAKG1DpUlgMi7EEdACoLWv."
    "H4Oz6hCF.78ag/WgVqSYHJ6Zn70h3/1ne6N1"
)
ACCOUNTS = {
    "stead-alice": (ALICE, TIGER),
    "stead-empty": (BOB, ""),
    "stead-locked": (70_004, "!"),
    "stead-root": (0, TIGER),
    "stead-system": (33, TIGER),
    "stead-notes": (NOTES, TIGER),
}
REFUSED = {"refused": "log_on"}


def has_pam():
    try:
        ctypes.CDLL("libpam.so.0").pam_start_confdir  # noqa: B018  # is it there
    except (AttributeError, OSError):
        return False
    return True


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not has_pam(), reason="needs Linux-PAM 1.4 or newer"),
]


def started(stage, limits, failure_seconds=1):
    stage.write(limits=f"failure_seconds = {failure_seconds}\n{limits}")
    passwd = [f"{n}:x:{u}:{u}::/nowhere:/bin/sh" for n, (u, _) in ACCOUNTS.items()]
    shadow = [f"{n}:{h}:20000:0:99999:7:::" for n, (_, h) in ACCOUNTS.items()]
    (stage.folder / "passwd").write_text("\n".join(passwd) + "\n")
    (stage.folder / "shadow").write_text("\n".join(shadow) + "\n")
    return stage.start(sys.executable, str(PROGRAM), str(stage.folder))


def attempts(stage, talk):
    """Be a server that tries what the test says, and tells what came of each."""
    raw = Raw(stage.socket)
    raw.hello()
    talk.say("ready")
    while True:
        asked = talk.hear()
        if isinstance(asked, list):
            talk.say(raw.log_on(*asked))
        else:
            channel = raw.start(asked, "sleep", "600")
            kept.append(channel)
            talk.say(told(channel))


kept = []


def test_a_right_password_makes_a_client_and_every_other_has_one_answer(stage, begin):
    started(stage, "")
    server = begin(NOTES, lambda talk: attempts(stage, talk))
    server.hear()
    server.tell(["stead-alice", "tiger"])
    said = server.hear()
    assert (ALICE, ALICE, [ALICE]) == (said["uid"], said["gid"], said["groups"])
    server.tell(said["client"])
    assert [ALICE] * 3 == ids_of(server.hear()["started"])[0]
    took = []
    for attempt in (
        ["stead-alice", "lion"],
        ["stead-alice", ""],
        ["stead-alice", "tiger\0"],
        ["nobody-of-that-name", "tiger"],
        ["", "tiger"],
        ["x" * 5000, "tiger"],
        ["stead-empty", ""],
        ["stead-empty", "x"],
        ["stead-locked", "!"],
        # Right, and nobody to be acted as.
        ["stead-root", "tiger"],
        ["stead-system", "tiger"],
        ["stead-notes", "tiger"],
    ):
        begun = time.monotonic()
        server.tell(attempt)
        assert REFUSED == server.hear(), attempt
        took.append(time.monotonic() - begun)
    # Each is answered at the same time after it began; no earlier whatever failed.
    assert all(seconds >= 1 for seconds in took)


def test_the_attempts_of_a_service_are_bounded_however_often_it_connects(stage, begin):
    started(stage, "passwords_per_minute = 3")

    def tries(talk):
        for _ in range(3):
            raw = Raw(stage.socket)
            raw.hello()
            talk.say(raw.log_on("stead-alice", "lion"))
            talk.say(raw.log_on("stead-alice", "tiger"))

    server = begin(NOTES, tries)
    said = [server.hear() for _ in range(6)]
    # The third attempt is the last that is looked at: after that the right one fails.
    assert [False, True, False] == ["client" in each for each in said[:3]]
    assert [REFUSED] * 3 == said[3:]


def test_passwords_that_are_looked_at_keep_nobody_waiting(stage, begin, connect):
    """A program starts while more of them than may be at once wait for answers."""
    started(stage, "passwords_at_once = 1", failure_seconds=6)

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        index, _client = accept(arrivals)
        answers = []
        for _ in range(4):
            answer, theirs = pair()
            with theirs, sealed(b'{"account": "nobody"}') as name, sealed(b"x") as word:
                raw.ask("log_on", [theirs.fileno(), name.fileno(), word.fileno()])
            answers.append(answer)
        talk.say(told(raw.start(index, "true")))
        talk.say([is_silent(each) for each in answers])
        talk.say([told(each) for each in answers])

    server = begin(NOTES, serves)
    server.hear()
    connect(BOB, stage.gate)
    assert "started" in server.hear()
    assert [True] * 4 == server.hear()
    assert [REFUSED] * 4 == server.hear()


def is_silent(answer):
    """Say whether nothing was answered yet."""
    answer.setblocking(False)
    try:
        answer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        answer.setblocking(True)
    return False


def test_a_lease_that_is_not_renewed_ends_with_all_that_was_started(stage, begin):
    started(stage, "lease_seconds = 8")

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        index = raw.log_on("stead-alice", "tiger")["client"]
        channel = raw.start(index, "sleep", "600")
        talk.say(told(channel)["started"])
        for _ in range(18):  # for longer than a lease
            time.sleep(0.5)
            raw.ask("renew", client=index)
        talk.say("renewed")
        talk.say(told(channel))
        talk.say(told(raw.start(index, "true")))

    server = begin(NOTES, serves)
    pid = server.hear()
    assert "renewed" == server.hear()
    assert is_alive(pid)
    assert {"ended": -9} == server.hear()
    assert "client" == server.hear()["refused"]
    assert not is_alive(pid)


def test_who_logs_off_ends_what_was_started(stage, begin):
    started(stage, "")

    def serves(talk):
        link = BrokerLink(stage.socket)
        client = link.log_on("stead-alice", b"tiger")
        talk.say([client.identity.uid, client.lease])
        client.renew()
        client.close()
        try:
            link.log_on("stead-alice", b"lion")
        except LogonFailureError:
            talk.say("refused")

    server = begin(NOTES, serves)
    assert [ALICE, 300.0] == server.hear()
    assert "refused" == server.hear()


def test_neither_name_nor_password_is_seen_by_others(stage, begin):
    """Not in arguments, environment or log of anything that looks at it."""
    started(stage, "")
    server = begin(NOTES, lambda talk: attempts(stage, talk))
    server.hear()
    (monitor,) = stage.monitors()

    def seen_meanwhile():
        server.tell(["stead-alice", "a-secret-of-hers"])
        seen = b""
        # It is answered after a second at the earliest, whatever comes of it.
        while not select.select([server._socket], [], [], 0)[0]:
            for pid in children_of(monitor):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):  # it has ended
                        seen += Path(f"/proc/{pid}/{name}").read_bytes()
        assert REFUSED == server.hear()
        return seen

    # Whoever looks needs a turn in that second, which a busy machine may not give.
    while b"bootstrap.py" not in (seen := seen_meanwhile()):
        pass
    assert b"a-secret-of-hers" not in seen
    assert "a-secret-of-hers" not in stage.said()
    assert "stead-alice" not in stage.said()


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


# --- verifiers that wait for the next attempt -----------------------------------------


class Waiting:
    """The processes of a monitor that were not there before the first attempt."""

    def __init__(self, stage):
        (self.monitor,) = stage.monitors()
        self.usual = set(children_of(self.monitor))

    def now(self):
        return set(children_of(self.monitor)) - self.usual

    def one(self, *former):
        """Return the only one, when there is one, which is none of those of before."""
        found = set()

        def is_there():
            found.clear()
            found.update(self.now())
            return len(found) == 1 and not found & {*former}

        poll(is_there)
        return found.pop()


def test_each_attempt_has_a_process_of_its_own_that_waited_for_it(stage, begin):
    started(stage, "passwords_per_minute = 100")
    server = begin(NOTES, lambda talk: attempts(stage, talk))
    server.hear()
    waiting = Waiting(stage)
    assert set() == waiting.now()  # who shows no password has none
    seen = []
    for word in ("tiger", "lion", "tiger"):
        server.tell(["stead-alice", word])
        assert (word == "tiger") == ("client" in server.hear())
        seen.append(waiting.one(*seen))
    assert 3 == len(set(seen))
    # What the host keeps by now counts, and not what it kept when this one began.
    shadow = stage.folder / "whole-shadow"
    shadow.write_text(shadow.read_text().replace(f"{TIGER}:20000", f"!{TIGER}:20000"))
    server.tell(["stead-alice", "tiger"])
    assert REFUSED == server.hear()


def end_at_once(pid):
    os.kill(pid, signal.SIGKILL)
    poll(lambda: not is_alive(pid))


def test_one_that_waited_and_was_ended_is_missed_by_nobody(stage, begin):
    started(stage, "passwords_per_minute = 100")
    server = begin(NOTES, lambda talk: attempts(stage, talk))
    server.hear()
    waiting = Waiting(stage)
    server.tell(["stead-alice", "tiger"])
    assert "client" in server.hear()
    for _ in range(3):
        ended = waiting.one()
        end_at_once(int(ended))
        server.tell(["stead-alice", "tiger"])  # whether that was heard of or not
        assert "client" in server.hear()
        assert ended != waiting.one(ended)
    # Nobody starts another by himself: what ends at once would be started for ever.
    end_at_once(int(waiting.one()))
    poll(lambda: not waiting.now())
    server.tell(["stead-empty", "x"])  # the monitor is at work, a second and longer
    time.sleep(0.2)
    assert REFUSED == server.hear()
    waiting.one()


def test_one_that_waits_ends_with_the_server(stage, begin):
    started(stage, "")
    server = begin(NOTES, lambda talk: attempts(stage, talk))
    server.hear()
    waiting = Waiting(stage)
    server.tell(["stead-alice", "tiger"])
    server.hear()
    one = int(waiting.one())
    server.end()
    poll(lambda: not is_alive(one))
