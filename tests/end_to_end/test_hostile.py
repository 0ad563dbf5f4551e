"""Clients that send garbage, flood, hang and die; and what the others notice of it."""

import array
import os
import random
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from stead.errors import SteadError, WrongServerError
from stead.gates.pipe.client import PipeClient
from stead.model.audit_record import AuditEvent

pytestmark = [pytest.mark.root, pytest.mark.slow]

HELLO = b'{"type":"hello","version":1}'
GARBAGE = (
    b"\0",
    b"GET / HTTP/1.1\r\nHost: notes\r\n\r\n",
    b"{" * 4096,
    b"[" * 100_000,
    b'{"type":"request","id":1,"operation":"echo","arguments":{"text":"x"}}',
    b'{"type":"hello","version":1,"level":"system"}',
    b'{"type":"hello","version":1,"account":"alice"}',
    b'{"type":"hello","version":1e400}',
    b'{"type":"welcome","version":1,"server":"notes","account":"a","level":"anonymous"}',
    b"\xff\xfe\x00",
)


def frame(body):
    return struct.pack(">I", len(body)) + body


def request(number, operation, arguments=b"{}"):
    return frame(
        b'{"type":"request","id":%d,"operation":"%s","arguments":%s}'
        % (number, operation, arguments)
    )


def connected(pipe):
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(pipe))  # it waits for a place in the queue, having no timeout
    link.settimeout(60)
    return link


def greeted(pipe):
    link = connected(pipe)
    try:
        link.sendall(frame(HELLO))
        (size,) = struct.unpack(">I", link.recv(4))
        return link, link.recv(size)
    except (OSError, struct.error):
        return link, b"turned away"


def send(link, data):
    """Send what the server takes; it may hang up."""
    with suppress(OSError):
        link.sendall(data)


def sends_garbage(pipe):
    for noise in GARBAGE:
        for data in (noise, frame(noise), frame(HELLO) + frame(noise)):
            with connected(pipe) as link:
                send(link, data)
    chance = random.Random(7)  # noqa: S311 - reproducible noise, not secrets
    for _ in range(50):
        with connected(pipe) as link:
            send(link, chance.randbytes(chance.randrange(1, 5000)))


def sends_huge_frames(pipe):
    for size in (0, 1 << 20, (1 << 20) + 1, 1 << 31, (1 << 32) - 1):
        with connected(pipe) as link:
            send(link, struct.pack(">I", size) + b"x" * 8192)
        link, _ = greeted(pipe)
        with link:
            send(link, struct.pack(">I", size) + b"x" * 8192)


def hangs_with_half_a_frame(pipe):
    """Keep connections that say half a word; they are counted against this uid."""
    links = [connected(pipe) for _ in range(20)]
    for number, link in enumerate(links):
        send(link, frame(HELLO)[: number + 1])
    link, _ = greeted(pipe)
    send(link, request(1, b"echo")[:-5])
    return [*links, link]


def floods_with_connections(pipe):
    links = []
    for _ in range(300):
        with suppress(OSError):
            links.append(connected(pipe))
    for link in links:
        link.close()


def floods_with_requests(pipe):
    """Ask and ask, and read nothing."""
    link, _ = greeted(pipe)
    link.settimeout(0.0)
    big = b'{"text":"%s"}' % (b"x" * 50_000)
    with link, suppress(OSError):
        for number in range(1, 2000):
            link.sendall(request(number, b"echo", big))


def dies_in_mid_request(pipe, path):
    asked = b'{"path":"%s"}' % os.fsencode(path)
    for number in range(40):
        link, _ = greeted(pipe)
        whole = request(1, b"read", asked) + request(2, b"read_block", asked)
        link.sendall(whole[: len(whole) - number])
        link.close()


def sends_descriptors(pipe):
    """Have the server hold a thousand files for us, if it takes them."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    for _ in range(5):
        link, _ = greeted(pipe)
        with link:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", held))
            link.sendmsg([request(1, b"stead.whoami")], [rights])
            link.recv(4)
    for descriptor in held:
        os.close(descriptor)


def test_whoever_behaves_notices_nothing_of_those_who_do_not(
    server, world, begin, asker, ask, poll
):
    alice, own = world.uids["alice"], str(world.file_of("alice"))
    ask(alice, "echo", text="warm")
    before = descriptors_of(server)
    path = world.file_of("bob")
    attacks = (
        ("bob", sends_garbage, ()),
        ("carol", sends_huge_frames, ()),
        ("dave", floods_with_connections, ()),
        ("erin", floods_with_requests, ()),
        ("frank", floods_with_requests, ()),
        ("grace", dies_in_mid_request, (path,)),
        ("heidi", sends_descriptors, ()),
    )

    def hangs():
        links = hangs_with_half_a_frame(world.pipe)
        for link in links:
            with suppress(OSError):
                while link.recv(4096):
                    pass  # the server hangs up when its patience ends

    def behaves():
        me = asker("alice")
        return [
            [me.ask("echo", text=f"{n}"), me.ask("read", path=own), me.ask("read_plan")]
            for n in range(60)
        ]

    hanging = begin(70_950, hangs)
    hostile = [
        begin(world.uids[name], attack, world.pipe, *arguments)
        for name, attack, arguments in attacks
    ]
    good = begin(alice, behaves)
    assert [[str(n), "alice's own\n", "ship it"] for n in range(60)] == good.result()
    for child in hostile:
        child.result()
    hanging.end()
    assert server.process.poll() is None
    assert "alice's own\n" == ask(alice, "read", path=own)
    # The index of the trail is opened some time after the start, with its companions.
    poll(lambda: descriptors_of(server) <= before + 2 + 3)
    assert 0 == server.stop()
    world.trail()
    assert "Traceback" not in server.log.read_text()


def descriptors_of(server):
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def test_one_uid_cannot_take_every_place(server, world, begin, ask, ends):
    ours, theirs = ends

    def crowds():
        links = [greeted(world.pipe) for _ in range(100)]
        theirs.send(b".")
        theirs.recv(1)
        return sum(b'"welcome"' in told for _, told in links)

    crowd = begin(world.uids["carol"], crowds)
    ours.recv(1)
    assert "x" == ask(world.uids["alice"], "echo", text="x")
    ours.send(b".")
    assert 32 == crowd.result()


def test_what_a_dead_client_began_is_finished_and_recorded(
    server, world, as_uid, ask, poll
):
    made = world.home_of("carol") / "made"

    def dies():
        link, _ = greeted(world.pipe)
        asked = b'{"path":"%s","text":"x"}' % os.fsencode(made)
        link.sendall(request(1, b"write", asked))

    as_uid(world.uids["carol"], dies)
    poll(made.exists)
    assert 0 == server.stop()
    ended = [
        record
        for _, record in world.trail()
        if record.event is AuditEvent.OPERATION_ENDED and record.client.name == "carol"
    ]
    assert ["write"] == [record.operation for record in ended]


def test_a_client_forges_no_line_and_no_name_in_the_trail(server, world, as_uid, stead):
    forged = b'{"type":"hello","version":1,"correlation":"%s"}'

    def lies():
        told = []
        for mark in (b"a b", b"a\\n#9", b"", b"x" * 200, b"\\u00e9"):
            with connected(world.pipe) as link:
                link.sendall(frame(forged % mark))
                link.recv(4)
                told.append(link.recv(4096).decode())
        with PipeClient.connect(
            world.pipe, server_uid=0, correlation="client=root(S-1-5-18)"
        ) as link:
            with suppress(SteadError):
                link.call("read", path="/x\n#1 2026 LOGON success client=root")
            with suppress(SteadError):
                link.call("look", name='"\x1b[2J client=root')
            with suppress(SteadError):
                link.call("no-such(client=root)")
        return told

    told = as_uid(world.uids["carol"], lies)
    assert {False} == {"welcome" in each for each in told}
    assert 0 == server.stop()
    done = stead("audit", "list", "--store", world.store, "--client", "carol")
    assert 0 == done.returncode
    lines = done.stdout.splitlines()
    assert len(lines) > 5
    for line in lines:
        assert re.match(r"#\d+ \S+Z [A-Z_]+ (success|failure) client=carol\(", line)
        assert line.isprintable()
    verified = stead("audit", "verify", "--store", world.store)
    assert (0, "trail verified") == (verified.returncode, verified.stdout[:14])


def test_a_client_sends_not_a_byte_to_a_server_of_another_uid(
    world, begin, as_uid, ends
):
    squat = world.home_of("dave") / "notes"
    ours, theirs = ends

    def squats():
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(squat))
        squat.chmod(0o777)
        world.home_of("dave").chmod(0o755)
        listening.listen()
        listening.settimeout(60)
        theirs.send(b".")
        caught = []
        for _ in range(3):
            link, _ = listening.accept()
            link.settimeout(60)
            caught.append(len(link.recv(4096)))
        return caught

    def connects():
        heard = []
        for uid in (None, 0, {0, world.uids["alice"]}):
            try:
                PipeClient.connect(squat, server_uid=uid)
            except WrongServerError as error:
                heard.append(error.uid)
        return heard

    squatter = begin(world.uids["dave"], squats)
    ours.recv(1)
    assert [world.uids["dave"]] * 3 == as_uid(world.uids["alice"], connects)
    assert [0, 0, 0] == squatter.result()
