"""The broker: it accepts a server's clients, and starts processes as them alone."""

import os
import signal
from pathlib import Path

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    NOTES,
    Raw,
    accept,
    begin,
    broker,
    connect,
    ids_of,
    is_alive,
    poll,
    stage,
    told,
)

pytestmark = pytest.mark.root
__all__ = ["begin", "broker", "connect", "stage"]  # fixtures


def test_a_program_is_the_client_whose_connection_the_broker_accepted(
    broker, begin, connect
):
    def serves(talk):
        raw = Raw(broker.socket)
        hello = raw.hello()
        arrivals = raw.listen()
        talk.say(hello)
        for _ in range(2):
            index, client = accept(arrivals)
            channel = raw.start(index, "sleep", "600")
            talk.say([index, told(channel)["started"], client.fileno() > 0])
            talk.hear()
        talk.hear()

    server = begin(NOTES, serves)
    hello = server.hear()
    assert "notes" == hello["service"]
    assert [str(broker.gate)] == hello["gates"]
    connect(ALICE, broker.gate, groups=(70_005,))
    index, pid, _ = server.hear()
    assert [[ALICE] * 3, [ALICE] * 3, [70_005]] == ids_of(pid)
    server.tell()
    connect(BOB, broker.gate)
    other, other_pid, _ = server.hear()
    assert index != other
    assert [[BOB] * 3, [BOB] * 3, []] == ids_of(other_pid)
    server.kill()
    poll(lambda: not is_alive(pid) and not is_alive(other_pid))
