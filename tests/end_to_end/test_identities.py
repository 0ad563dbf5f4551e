"""Who a client may be to the kernel, and until when."""

import os

import pytest

from stead.errors import LogonFailureError, RemoteError

pytestmark = [pytest.mark.root, pytest.mark.slow]

DENIED = "refused: access is denied"
ENDED = "refused: the logon session has ended"
STRANGER = 70_900
# Not the usual one: where a process runs as that one, no other server starts.
GUARD = 65531


THE_MACHINES_OWN = (
    (0, 0, ()),
    (33, 33, ()),
    (GUARD, GUARD, ()),
    (65534, 65534, ()),
    (STRANGER, 0, ()),
    (STRANGER, STRANGER, (0,)),
    (STRANGER, STRANGER, (GUARD,)),
)


def test_the_machines_own_are_judged_and_never_impersonated(
    start, world, as_uid, asker
):
    start(guard=GUARD)
    folder = world.folder / "open to all"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "note.txt").write_text("for everybody")
    (folder / "note.txt").chmod(0o666)

    def act():
        me = asker()
        path = str(folder / "note.txt")
        return [
            me.ask("stead.check", name="sealed", rights=["READ"]),
            me.ask("echo", text="x"),
            me.ask("read", path=path),
            me.ask("read_block", path=path),
            me.ask("write", path=path, text="x", mode="a"),
            me.ask("write", path=str(folder / "new"), text="x"),
            me.ask("write_block", path=str(folder / "newer")),
        ]

    for uid, gid, groups in THE_MACHINES_OWN:
        heard = as_uid(uid, act, gid=gid, groups=groups)
        assert [uid, False, "x", *[DENIED] * 5] == [uid, *heard]
    assert [folder / "note.txt"] == list(folder.iterdir())
    assert "for everybody" == (folder / "note.txt").read_text()


def test_a_stranger_without_account_is_itself_to_the_kernel(server, world, ask):
    folder = world.folder / "open to all"
    folder.mkdir()
    folder.chmod(0o777)
    made = folder / "made"
    guard = 65530
    assert [guard, STRANGER, 0, guard, STRANGER, 0] == ask(
        STRANGER, "write_block", path=str(made)
    )
    assert (STRANGER, STRANGER) == (made.stat().st_uid, made.stat().st_gid)
    assert DENIED == ask(STRANGER, "read", path=str(world.file_of("alice")))


def test_the_groups_of_a_client_count_for_and_against_it(server, world, ask):
    group = 71_000
    shared, closed = world.folder / "shared", world.folder / "closed"
    for path, mode in ((shared, 0o640), (closed, 0o604)):
        path.write_text("text")
        os.chown(path, 0, group)
        path.chmod(mode)
    inside = {"groups": (group,)}
    assert "text" == ask(STRANGER, "read", path=str(shared), **inside)
    assert DENIED == ask(STRANGER, "read", path=str(shared))
    assert DENIED == ask(STRANGER, "read", path=str(closed), **inside)
    assert "text" == ask(STRANGER, "read", path=str(closed))


def test_a_client_that_is_disabled_while_connected_is_soon_refused_whatever_it_asks(
    server, world, begin, asker, stead, poll, ends
):
    ours, theirs = ends

    def as_alice():
        me = asker()
        own = str(world.file_of("alice"))
        assert "alice's own\n" == me.ask("read", path=own)
        theirs.send(b".")
        poll(lambda: me.ask("read_plan") == ENDED)
        heard = [
            me.ask("read", path=own),
            me.ask("read_block", path=own),
            me.ask("write", path=str(world.home_of("alice") / "new"), text="x"),
            me.ask("write_plan", line="x"),
            me.ask("archive"),
            me.ask("echo", text="x"),
            me.ask("stead.whoami"),
            me.ask("stead.check", name="plan", rights=["READ"]),
        ]
        try:
            asker()
        except RemoteError as error:
            heard.append(str(error))
        return heard

    alice = begin(world.uids["alice"], as_alice)
    assert b"." == ours.recv(1)
    done = stead("account", "disable", "alice", "--store", world.store)
    assert 0 == done.returncode, done.stderr
    assert [ENDED] * 8 + [LogonFailureError.public] == alice.result()
    assert not (world.home_of("alice") / "new").exists()
