"""What clients lay in a server's way: special files, links, names."""

import os
import socket
import stat

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

DENIED = "refused: access is denied"


@pytest.fixture
def traps(world):
    """Everything that is no file, in carol's own home."""
    home = world.home_of("carol")
    carol = world.uids["carol"]
    os.mkfifo(home / "fifo")
    for name, number in (("zero", os.makedev(1, 5)), ("tty", os.makedev(5, 0))):
        os.mknod(home / name, 0o666 | stat.S_IFCHR, number)
    os.mknod(home / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 0))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(home / "socket"))
    (home / "folder").mkdir()
    for name in ("fifo", "zero", "tty", "disk", "socket", "folder"):
        os.chown(home / name, carol, carol)
        (home / name).chmod(0o777)
    targets = {
        "memory": "/proc/self/mem", "shadow": "/etc/shadow", "root": "/proc/1/root",
        "loop": "loop", "store": str(world.store), "input": "/dev/stdin",
        "to-fifo": str(home / "fifo"), "other": str(world.file_of("dave")),
    }  # fmt: skip
    for name, target in targets.items():
        (home / name).symlink_to(target)
    yield ["fifo", "zero", "tty", "disk", "socket", "folder", *targets]
    listening.close()


def test_nothing_but_a_file_opens_and_nobody_waits_for_one(
    server, world, traps, begin, asker
):
    def as_carol():
        me = asker("carol")
        home = world.home_of("carol")
        return [
            [name, mode, me.ask("read", path=str(home / name))]
            if mode == "r"
            else [
                name,
                mode,
                me.ask("write", path=str(home / name), text="x", mode=mode),
            ]
            for name in traps
            for mode in ("r", "w", "a", "x", "r+")
        ]

    def as_alice():
        me = asker("alice")
        return [me.ask("read", path=str(world.file_of("alice"))) for _ in range(100)]

    carols = [begin(world.uids["carol"], as_carol) for _ in range(4)]
    alice = begin(world.uids["alice"], as_alice)
    assert ["alice's own\n"] * 100 == alice.result()
    for carol in carols:
        heard = carol.result()
        assert [] == [each for each in heard if each[2] != DENIED]
    assert b"" == (world.store.parent / "server.log").read_bytes()


MEANINGLESS = (
    "", "note.txt", "../note.txt", "/a\0b", "~/note.txt", "file:///etc/shadow",
)  # fmt: skip
THE_SERVERS = (
    "/etc/shadow", "//etc/shadow", "/etc/../etc/shadow", "/proc/self/root/etc/shadow",
    "/proc/self/environ", "/proc/self/maps", "/proc/self/mem", "/proc/1/environ",
    "/proc/kcore", "/dev/mem", "/dev/stdin", "/sys/kernel/notes/../notes/x",
    "/" + "a/" * 3000, "/\x1b[2J\n#99 forged",
)  # fmt: skip


def test_a_path_that_means_nothing_or_is_the_servers_is_refused(
    server, world, as_uid, asker
):
    def as_carol():
        me = asker()
        return [
            [path, me.ask("read", path=path), me.ask("write", path=path, text="x")]
            for path in MEANINGLESS + THE_SERVERS
        ]

    no_name = "refused: the name is not valid"
    expected = [[path, no_name, no_name] for path in MEANINGLESS]
    expected += [[path, DENIED, DENIED] for path in THE_SERVERS]
    assert expected == as_uid(world.uids["carol"], as_carol)


def test_a_path_longer_than_a_record_may_be_is_refused_and_nothing_runs(
    server, world, ask
):
    carol = world.uids["carol"]
    heard = ask(carol, "read", path="/" + "x" * 500_000)
    assert heard.startswith("refused: ")
    assert "x" == ask(carol, "echo", text="x")
    assert 0 == server.stop()
    assert world.trail()


def test_what_a_client_links_and_marks_gains_it_nothing(server, world, as_uid, asker):
    secret = world.folder / "secret"
    secret.write_text("root's own")
    secret.chmod(0o600)

    def as_carol():
        home = world.home_of("carol")
        me = asker()
        heard = [me.ask("write", path=str(home / "made"), text="x")]
        (home / "made").chmod(0o4777)  # set-uid carol, and no more than that
        heard.append(me.ask("write", path=str(home / "made"), text="y"))
        (home / "link").symlink_to(secret)
        heard.append(me.ask("read", path=str(home / "link")))
        heard.append(me.ask("write", path=str(home / "link"), text="x", mode="a"))
        (home / "dangling").symlink_to(world.folder / "not there yet")
        heard.append(me.ask("write", path=str(home / "dangling"), text="x"))
        heard.append(me.ask("write", path=str(home / "dangling"), text="x", mode="x"))
        return heard

    heard = as_uid(world.uids["carol"], as_carol)
    assert [None, None, DENIED, DENIED, DENIED, DENIED] == heard
    made = (world.home_of("carol") / "made").stat()
    # Writing takes the set-uid bit away, unless it is root who writes.
    assert (world.uids["carol"], 0o100777) == (made.st_uid, made.st_mode)
    assert "root's own" == secret.read_text()
    assert not (world.folder / "not there yet").exists()
