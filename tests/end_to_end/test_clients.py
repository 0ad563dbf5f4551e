"""Many clients at once, judged from the kernel's side and from the trail."""

import os
import re

import pytest

from stead.model.audit_record import AuditEvent, Outcome

pytestmark = [pytest.mark.root, pytest.mark.slow]

DENIED = "refused: access is denied"
NOT_HELD = "refused: a required privilege is not held by the client"
REQUESTS = 250


def work_of(asker, world, name, victim, held):
    """Return what one client asks, round and round, and what it must hear."""
    own, other = world.file_of(name), world.file_of(victim)
    is_staff, is_archivist = name in {"alice", "bob"}, name == "alice"
    paths = procfs_paths(held)
    wrong = []

    def expect(expected, operation, **arguments):
        heard = asker.ask(operation, **arguments)
        if heard != expected and not (callable(expected) and expected(heard)):
            wrong.append([operation, arguments, heard])

    def round_of(number):
        expect(f"{name}'s own\n", "read", path=str(own))
        expect(DENIED, "read", path=str(other))
        made = world.home_of(name) / f"made-{number}"
        expect(None, "write", path=str(made), text=name)
        expect(DENIED, "write", path=str(world.home_of(victim) / "x"), text=name)
        plan = "ship it" if is_staff else DENIED
        expect(plan, "read_plan")
        expect(None if is_staff else DENIED, "write_plan", line="ship it")
        expect("archived" if is_archivist else NOT_HELD, "archive")
        expect(f"{name}'s own\n", "read_block", path=str(own))
        expect(DENIED, "read_block", path=str(other))
        expect(DENIED, "read", path=paths[number % len(paths)])

    for number in range(REQUESTS // 10):
        round_of(number)
    return {"answers": asker.answers, "wrong": wrong}


def procfs_paths(held):
    """Return every way to what the server has open for somebody else."""
    descriptors = [held["kept"], held["fd"]]
    tasks = ("self", str(held["pid"]), f"self/task/{held['thread']}", "thread-self")
    paths = [f"/proc/{task}/fd/{fd}" for task in tasks for fd in descriptors]
    paths += [f"/dev/fd/{fd}" for fd in descriptors]
    paths += [f"/proc/{task}/cwd/note.txt" for task in tasks]
    paths += [f"/proc/{task}/root{held['path']}" for task in tasks]
    return [*paths, *held["links"]]


@pytest.fixture
def held(server, world, begin, asker):
    """What heidi has open: kept in the server, and in a block that is not left."""

    def as_heidi():
        heidi = asker("heidi-holds")
        path = str(world.file_of("heidi"))
        kept = heidi.ask("hold", path=path)
        return {"kept": kept, "path": path, **heidi.ask("stay", path=path)}

    told = begin(world.uids["heidi"], as_heidi).result() | {"pid": server.pid}
    # heidi's file would be anybody's to read, were it not for her folder: 0644 in 0700.
    world.file_of("heidi").chmod(0o644)
    links = world.folder / "links"
    links.mkdir(mode=0o755)
    targets = (
        f"/proc/self/fd/{told['kept']}",
        f"/dev/fd/{told['fd']}",
        "/proc/self/cwd",
    )
    for number, target in enumerate(targets):
        (links / str(number)).symlink_to(target)
    told["links"] = [str(links / "0"), str(links / "1"), str(links / "2" / "note.txt")]
    return told


def test_eight_clients_ask_two_thousand_things_and_each_is_only_itself(
    server, world, begin, asker, ask, held
):
    names = list(world.uids)
    children = [
        begin(
            world.uids[name],
            lambda name=name, victim=victim: work_of(
                asker(f"{name}-works"), world, name, victim, held
            ),
        )
        for name, victim in zip(names, [*names[1:], names[0]], strict=True)
    ]
    told = {n: child.result() for n, child in zip(names, children, strict=True)}
    observers = ask(world.uids["alice"], "observers")
    ask(world.uids["alice"], "release")
    assert [] == [wrong for each in told.values() for wrong in each["wrong"]]
    assert [[]] * 2 == [violations for _, violations in observers]
    assert all(looks > 100 for looks, _ in observers)
    assert_kernel_saw_only_owners(world)
    assert 0 == server.stop()
    answers = {n: each["answers"] for n, each in told.items()}
    assert 2000 == sum(map(len, answers.values()))
    assert_trail_holds(world, answers)


def assert_kernel_saw_only_owners(world):
    for name, uid in world.uids.items():
        home = world.home_of(name)
        made = sorted(path for path in home.iterdir() if path.name != "note.txt")
        assert [f"made-{n}" for n in sorted(range(25), key=str)] == [
            path.name for path in made
        ]
        assert {(uid, uid, 0o100600)} == {
            (s.st_uid, s.st_gid, s.st_mode) for s in map(os.stat, made)
        }
        assert {name} == {path.read_text() for path in made}


def assert_trail_holds(world, answers):
    by_mark = {}
    for number, record in world.trail():
        mark = record.correlation.rpartition(" ")[2]
        by_mark.setdefault(mark, []).append((number, record))
    for name, heard in answers.items():
        for mark, request, operation, is_done, _, told in heard:
            records = by_mark[f"{mark}.{request}"]
            assert_records_name(records, name, world.uids[name])
            assert_records_answer(records, operation, is_done, told)


def assert_records_name(records, name, uid):
    for _, record in records:
        assert name == record.client.name
        assert re.fullmatch(rf"uid {uid} pid \d+", record.peer)
        assert ("notes", name) == (record.server.name, record.chain[-1].name)
        assert "notes" == record.chain[0].name


def assert_records_answer(records, operation, is_done, told):
    if is_done:
        ended = [r for _, r in records if r.event is AuditEvent.OPERATION_ENDED]
        assert [(operation, Outcome.SUCCESS)] == [
            (r.operation, r.outcome) for r in ended
        ]
    else:
        assert Outcome.FAILURE is dict(records)[told].outcome


def test_the_paths_lead_somewhere_for_a_server_that_acts_for_nobody(world, ask, held):
    alice = world.uids["alice"]
    for path in procfs_paths(held):
        assert DENIED == ask(alice, "read", path=path)
        assert ask(alice, "read_block", path=path).startswith("refused: ")
        if (
            "cwd" not in path
            and "thread-self" not in path
            and path not in held["links"]
        ):
            assert "heidi's own\n" == ask(alice, "read_as_server", path=path)
    ask(alice, "release")
