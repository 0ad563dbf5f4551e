"""kill -9 at any moment: the trail verifies and holds every answered request."""

import random
import select
import stat

import pytest

from stead.errors import SteadError
from stead.model.audit_record import AuditEvent, Outcome

pytestmark = [pytest.mark.root, pytest.mark.slow]

ROUNDS = 10
CLIENTS = ("alice", "bob", "carol", "dave")


def works_until_the_end(asker, world, name, mark, told):
    """Ask until the server is gone, and write a byte for each answer.

    It may be gone before this one has come: the others had answers by then.
    """
    home, answers = world.home_of(name), []
    try:
        me = asker(mark)
        answers = me.answers
        while True:
            made = home / f"{mark}-{len(me.answers)}"
            me.ask("write", path=str(made), text=name)
            told.send(b".")
            me.ask("read", path=str(world.file_of(name)))
            told.send(b".")
            me.ask("read_plan")
            told.send(b".")
    except SteadError:
        return answers


def test_a_killed_server_has_recorded_whatever_it_answered(
    world, start, begin, asker, ask, ends
):
    chance = random.Random(2)  # noqa: S311 - reproducible moments, not secrets
    ours, theirs = ends
    answers = []
    for number in range(ROUNDS):
        server = start(staff=["alice", "bob"])
        children = [
            begin(
                world.uids[name],
                lambda name=name, mark=f"{name}-{number}": works_until_the_end(
                    asker, world, name, mark, theirs
                ),
            )
            for name in CLIENTS
        ]
        for _ in range(chance.randrange(1, 150)):
            ours.recv(1)
        server.kill()
        for child in children:
            answers += child.result()
        drain(ours)
        assert stat.S_ISSOCK(world.pipe.lstat().st_mode), "a stale pipe is left"
        assert_recorded(world, answers)
    last = start()
    assert "alice's own\n" == ask(
        world.uids["alice"], "read", path=str(world.file_of("alice"))
    )
    assert 0 == last.stop()
    assert not world.pipe.exists()
    assert AuditEvent.TRAIL_STOPPED is world.trail()[-1][1].event
    assert ROUNDS * len(CLIENTS) < len(answers)


def drain(ours):
    """Forget what the killed round still told."""
    while select.select([ours], [], [], 0)[0]:
        ours.recv(1 << 16)


def assert_recorded(world, answers):
    """Every answer is in the trail, and every file was asked for there before."""
    ended, refused, asked = {}, {}, set()
    for number, record in world.trail():
        mark = record.correlation.rpartition(" ")[2]
        if record.event is AuditEvent.OPERATION_ENDED:
            ended[mark] = record
        if record.event is AuditEvent.HANDLE_REQUESTED:
            asked.add(record.object_name)
        if record.outcome is Outcome.FAILURE:
            refused[number] = mark
    for mark, request, operation, is_done, _, told in answers:
        if is_done:
            record = ended[f"{mark}.{request}"]
            assert (operation, Outcome.SUCCESS) == (record.operation, record.outcome)
            assert mark.startswith(record.client.name)
        else:
            assert f"{mark}.{request}" == refused[told]
    for name in CLIENTS:
        for made in world.home_of(name).glob(f"{name}-*"):
            assert str(made) in asked
