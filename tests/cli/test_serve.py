"""`stead serve`: what it needs, and a server that comes and goes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from cryptography import x509

from stead.errors import RemoteError
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.reaching import TlsServer
from stead.gates.pipe.tls import TlsIdentity
from stead.testing.certificates import SERVER, Authority, upn

PROGRAM = """
from stead import Enforcement, ProtectedServer

def make():
    server = ProtectedServer("made", enforcement=Enforcement.TOKEN)

    @server.operation("add")
    def add(client, first: int, second: int) -> int:
        return first + second

    return server

def desk(server):
    from stead.model.explicit_access import allow
    from stead.server.dde import DdeDesk, DdeRights

    made = DdeDesk(server)
    every = [allow("Everyone", int(DdeRights.CONNECT | DdeRights.REQUEST))]
    prices = made.register("prices", entries=every)
    prices.topic("stocks", {"acme": "12"}, entries=every)
    return made

nothing = object
"""


WAITING = """
import sys, time
from pathlib import Path
from stead import Enforcement, ProtectedServer

def say(what, until):
    print(what, file=sys.stderr, flush=True)
    while not Path(until).exists():
        time.sleep(0.01)

class Server(ProtectedServer):
    def close(self):
        say("closing", "end")
        super().close()

def make():
    server = Server("made", "made.db", enforcement=Enforcement.TOKEN)

    @server.operation("wait")
    def wait(client) -> int:
        say("begun", "go on")
        return 7

    return server
"""

OPENING = """
import sys, time

def make():
    print("opening", file=sys.stderr, flush=True)
    time.sleep(60)
"""

HANGING = """
import asyncio, sys

async def app(scope, receive, send):
    print("begun", file=sys.stderr, flush=True)
    await asyncio.Event().wait()
"""


@contextmanager
def serving(*arguments, cwd):
    """Run a server, ready, and end it however the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "stead", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, cwd=cwd,
    ) as server:  # fmt: skip
        hung = threading.Timer(180, server.kill)
        hung.start()
        try:
            said = []
            while "ready\n" not in said:
                line = server.stderr.readline()
                assert line, said
                said.append(line)
            yield server, said
        finally:
            hung.cancel()
            server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_at_its_pipe_until_it_is_told_to_stop(
    process, private, number
):
    pipe, store = private / "pipe", private / "made.db"

    with serving("--store", store, "--pipe", pipe, "--name", "made", cwd=private) as (
        server, said,
    ):  # fmt: skip
        ran = process("whoami", "--pipe", pipe, "--json")
        wrong = process("whoami", "--pipe", pipe, "--server-uid", 70_999)
        server.send_signal(number)
        status = server.wait(60)

    assert said[0].startswith("made: enforcement ")
    assert ("made", "identification") == (ran.json["server"], ran.json["level"])
    assert f"S-1-22-1-{os.getuid()}" == ran.json["sid"]
    assert (1, "") == (wrong.status, wrong.out)
    assert wrong.err.startswith("stead: ")
    assert 0 == status
    assert not pipe.exists()
    trail = process("audit", "list", "--store", store, "--event", "trail_stopped")
    assert 1 <= len(trail.lines)
    assert 0 == process("audit", "verify", "--store", store).status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_break_off_a_stop(process, private, number):
    """What a client asked for is done and answered, and the trail has its end."""
    (private / "program.py").write_text(WAITING)
    pipe, store = private / "pipe", private / "made.db"
    go_on, end = private / "go on", private / "end"
    answers = []

    def ask():
        with PipeClient.connect(pipe) as client:
            answers.append(client.call("wait"))

    with serving("program:make", "--pipe", pipe, cwd=private) as (server, _):
        asking = threading.Thread(target=ask)
        asking.start()
        assert "begun\n" == server.stderr.readline()
        server.send_signal(number)
        while pipe.exists():
            time.sleep(0.01)
        for _ in range(3):
            server.send_signal(number)
        go_on.touch()
        asking.join(60)
        # The gates have stopped, and the server itself is closing.
        assert "closing\n" == server.stderr.readline()
        for _ in range(3):
            server.send_signal(number)
        end.touch()
        assert 0 == server.wait(60)
    assert [7] == answers
    trail = process("audit", "list", "--store", store, "--event", "trail_stopped")
    assert 1 == len([line for line in trail.lines if "made" in line])


def test_a_signal_while_a_server_opens_ends_it(private):
    (private / "program.py").write_text(OPENING)
    with subprocess.Popen(
        [sys.executable, "-m", "stead", "serve", "program:make", "--pipe", "pipe"],
        stderr=subprocess.PIPE, text=True, cwd=private,
    ) as server:  # fmt: skip
        assert "opening\n" == server.stderr.readline()
        server.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == server.wait(60)


def test_a_request_that_does_not_end_does_not_keep_a_server_from_stopping(private):
    (private / "program.py").write_text(HANGING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ("--store", private / "a.db", "--web", "program:app", "--port", port)
    with (
        serving(*arguments, cwd=private) as (server, _),
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert "begun\n" == server.stderr.readline()
        server.send_signal(signal.SIGTERM)
        assert 0 == server.wait(60)


def test_a_program_s_own_server_is_served_by_its_name(private, process):
    (private / "program.py").write_text(PROGRAM)
    pipe = private / "pipe"

    with serving("program:make", "--pipe", pipe, cwd=private) as (_, said):
        ran = process("whoami", "--pipe", pipe, "--level", "anonymous", "--json")

    assert "made: enforcement token\n" == said[0]
    assert "S-1-5-7" == ran.json["sid"]


def test_a_program_s_own_desk_is_served_by_its_name(private, process):
    (private / "program.py").write_text(PROGRAM)
    dde = private / "dde"

    with serving("program:make", "--dde", dde, "--desk", "program:desk", cwd=private):
        ran = process("dde", "request", dde, "prices", "stocks", "acme")

    assert (0, ["12"]) == (ran.status, ran.lines)


def test_a_dry_run_says_what_is_enforced_and_opens_nothing(process, private):
    pipe = private / "pipe"

    ran = process("serve", "--store", private / "a.db", "--pipe", pipe, "--dry-run")

    assert (0, "") == (ran.status, ran.out)
    assert ran.err.startswith("stead: enforcement ")
    assert not pipe.exists()


def test_a_server_takes_rules_of_who_may_be_acted_as(process, private):
    rules = private / "rules.toml"
    rules.write_text('[[rule]]\nname = "a"\nallow = "everything"\n')
    serve = ("serve", "--store", private / "a.db", "--pipe", private / "p", "--dry-run")

    assert 0 == process(*serve, "--rules", rules).status
    rules.write_text('[[rule]]\nname = "a"\nallow = "everything"\nclients = ["eve"]')
    ran = process(*serve, "--rules", rules)
    assert (1, True) == (ran.status, "no account or group is called `eve`" in ran.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no store is named"),
        (("--store", "a.db"), "no gate is named"),
        (("--store", "a.db", "--web", "nowhere:app"), "`nowhere:app` cannot be loaded"),
        (("nowhere:server", "--pipe", "/tmp/p"), "`nowhere:server` cannot be loaded"),
        (("program:missing", "--pipe", "/tmp/p"), "`program:missing` cannot be loaded"),
        (("program:nothing", "--pipe", "/tmp/p"), "`program:nothing` is no Protected"),
        (("json:dumps", "--pipe", "/tmp/p"), "nothing that makes one"),
        (("program:make", "--dde", "/tmp/p"), "no desk is named"),
        (("program:make", "--dde", "/tmp/p", "--desk", "program:make"), "no DdeDesk"),
        (("program:make", "--dde", "/tmp/p", "--desk", "builtins:repr"), "no DdeDesk"),
        (("program:make", "--rules", "rules"), "brings its own settings"),
        (("--store", "a.db", "--rules", "rules"), "it cannot be read: No such file"),
        (("--store", "a.db", "--pipe", "missing/pipe"), "missing"),
        (("--store", "missing/a.db", "--pipe", "pipe"), "missing"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_served_is_one_clear_line(private, arguments, said):
    (private / "program.py").write_text(PROGRAM)

    ran = subprocess.run(
        [sys.executable, "-m", "stead", "serve", *arguments],
        capture_output=True, text=True, check=False, timeout=60, cwd=private,
        env={k: v for k, v in os.environ.items() if k != "STEAD_STORE"},
    )  # fmt: skip

    lines = [x for x in ran.stderr.splitlines() if "enforcement" not in x]
    lines = [x for x in lines if not x.startswith("  not enforced by the kernel")]
    assert (1, "") == (ran.returncode, ran.stdout)
    assert lines[0].startswith("stead: ")
    assert said in lines[0]
    assert all(line.startswith("  what to do: ") for line in lines[1:])


def test_a_server_sends_its_trail_where_it_is_told(process, private):
    file = private / "certificate.pem"
    serve = ("serve", "--store", private / "a.db", "--pipe", private / "p", "--dry-run")
    down = "syslog+tls://127.0.0.1:1"

    assert 0 == process(*serve, "--sink", down, "--sink", "linux-audit").status
    asked = ("--store", private / "a.db", "--event", "sink_down")
    assert [] == process("audit", "list", *asked).lines  # nothing is sent
    wrong = process(*serve, "--sink", "syslog://logs.example")
    assert (1, True) == (wrong.status, "`syslog` is no kind of sink" in wrong.err)
    missing = process(*serve, "--sink", f"syslog+tls://logs.example?ca={file}")
    assert (1, True) == (missing.status, "cannot be used" in missing.err)
    secret = process(*serve, "--sink", "syslog+tls://me:hush@logs.example")
    assert (1, True) == (secret.status, "holds no secret" in secret.err)
    assert "hush" not in secret.err


def test_a_program_says_by_itself_where_its_trail_is_sent(process, private):
    ran = process("serve", "program:make", "--pipe", private / "p", "--sink", "x")

    assert (1, True) == (
        ran.status,
        "open the ProtectedServer with `sinks=`" in ran.err,
    )


def test_a_server_answers_over_tls_whom_its_file_says(process, private):
    corp, server_ca = Authority("Corp CA"), Authority("Server CA")
    host = x509.DNSName("localhost")
    server_ca.issue("server", host, use=(SERVER,)).write(private / "server.pem")
    corp.anchor(private / "corp.pem")
    settings = private / "tls.toml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings.write_text(
        f"""
        listen = "127.0.0.1:{port}"
        certificate = "server.pem"
        clients = "required"

        [[issuer]]
        name = "corp"
        anchors = "corp.pem"
        domain = "corp.test"
        names_accounts = true
        """
    )
    store = private / "made.db"
    tls = TlsServer(
        ca=server_ca.anchor(private / "ca.pem"),
        shown=TlsIdentity(
            corp.issue("a", upn("alice@corp.test")).write(private / "alice.pem")
        ),
    )
    with serving("--store", store, "--tls", settings, cwd=private):
        url = f"tls://localhost:{port}"
        with pytest.raises(RemoteError):
            PipeClient.connect(url, tls=tls)
        assert 0 == process("account", "add", "alice", "--store", store).status
        with PipeClient.connect(url, tls=tls) as server:
            assert "alice" == server.call("stead.whoami")["name"]
    dry = ("serve", "--store", store, "--tls", settings, "--dry-run")
    assert 0 == process(*dry).status
    (private / "server.pem").chmod(0o644)
    ran = process(*dry)
    assert (1, True) == (ran.status, "the private key" in ran.err)
    settings.chmod(0o666)
    ran = process(*dry)
    assert (1, True) == (ran.status, "somebody else may write it" in ran.err)


@pytest.mark.parametrize(
    ("believed", "status"),
    [
        ("[]", 1),
        ('[Issuer("other")]', 1),
        ('[Issuer("corp", packages=["bearer"])]', 1),
        ('[Issuer("corp", packages=["certificate"])]', 0),
    ],
)
def test_a_program_that_does_not_believe_a_file_s_issuers_is_not_served(
    private, believed, status
):
    """Each of its clients would be refused, whatever the file says of names."""
    corp = Authority("Corp CA")
    host = x509.DNSName("localhost")
    corp.issue("server", host, use=(SERVER,)).write(private / "server.pem")
    corp.anchor(private / "corp.pem")
    settings = private / "tls.toml"
    settings.write_text(
        """
        listen = "127.0.0.1:0"
        certificate = "server.pem"

        [[issuer]]
        name = "corp"
        anchors = "corp.pem"
        names_accounts = true
        """
    )
    (private / "believing.py").write_text(
        "from stead import ProtectedServer\n"
        "from stead.authority.issuers import Issuer\n"
        f"server = ProtectedServer('notes', 'a.db', issuers={believed})\n"
    )
    serve = ("serve", "believing:server", "--tls", "tls.toml", "--dry-run")
    ran = subprocess.run(
        [sys.executable, "-m", "stead", *serve],
        capture_output=True, text=True, check=False, timeout=60, cwd=private,
    )  # fmt: skip
    assert status == ran.returncode, ran.stderr
    assert (status == 1) == ("issuers=[Issuer(" in ran.stderr)
