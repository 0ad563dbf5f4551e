"""A file server in no realm: NTLMv2, where an operator names it, and never as a guest.

The client is bob here. What he hands in is alice's name and password, which the file
server knows itself.
"""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import smbclient
from smbprotocol.exceptions import SMBException
from tests.adapters.outbound.test_postgres import eventually
from tests.listening import Relay
from tests.memory_dump import environment

from stead.adapters.outbound import smb as module
from stead.adapters.outbound import smb_connection
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    CredentialsExpiredError,
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
    ServerUnavailableError,
    WrongIdentityError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.limits import Host
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.testing.file_server import FileServer

pytestmark = [
    pytest.mark.root,
    # The library cannot close a file without its server, and remarks on that.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "localhost"
NOBODY = 65534
PASSWORDS = {"alice": "alice's own words", "bob": "bob's own words"}
ENDED = (CredentialsExpiredError, LogonSessionEndedError)


@pytest.fixture(scope="module")
def files():
    """A server that lets in whoever it does not know, as a guest."""
    with FileServer("map to guest = bad password", "guest account = nobody") as made:
        made.uids = {
            name: made.add_account(name, PASSWORDS[name]) for name in PASSWORDS
        }
        yield made


@pytest.fixture
def server(open_server, files):
    return open_server(delegation=[f"smb+ntlm://{HOST}:{files.port}"])


@pytest.fixture
def clients(server, admit):
    made = {name: admit(server, name) for name in PASSWORDS}
    yield made
    for session in made.values():
        session.close()


@pytest.fixture
def bob(clients):
    return clients["bob"].client


def held(name="alice", password=None):
    return PasswordCredentials(name, Secret(password or PASSWORDS[name]))


def explicit(client, port, name="alice", password=None):
    target = Host(HOST, port)
    return client.explicit_credentials(held(name, password), target=target)


def write(reached, port, name):
    with reached.smb(HOST, port=port).open(f"data/{name}", "w") as file:
        file.write("content")


def owner(files, name):
    return (files.share / name).stat().st_uid


def connected(files):
    """Return how many connections the file server has."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [line.split()[1:4] for line in lines]
    return sum(
        1
        for near, _, state in ends
        if state == "01" and near.endswith(f":{files.port:04X}")
    )


# --- the client, or nobody ------------------------------------------------------------


def test_files_belong_to_the_explicit_account(bob, files):
    with explicit(bob, files.port) as shown:
        write(shown, files.port, "explicit")
        assert "explicit" in shown.smb(HOST, port=files.port).listdir("data")
    assert files.uids["alice"] == owner(files, "explicit")


@pytest.mark.parametrize("name", [r"NAS\alice", r"nas\ALICE"])
def test_a_domain_may_be_named(bob, files, name):
    target = Host(HOST, files.port)
    password = Secret(PASSWORDS["alice"])
    shown = PasswordCredentials(name, password)
    with bob.explicit_credentials(shown, target=target) as reached:
        write(reached, files.port, "of a domain")
    assert files.uids["alice"] == owner(files, "of a domain")


def test_it_is_recorded_before_with_target_and_mechanism(bob, files, server):
    with explicit(bob, files.port) as shown:
        write(shown, files.port, "recorded")
    events = {AuditEvent.EXPLICIT_CREDENTIALS, AuditEvent.DELEGATED}
    found = [record for _, record in server.trail.find(Query())]
    found = sorted((r for r in found if r.event in events), key=lambda r: r.time)
    place = f"{HOST}:{files.port}"
    _entered, told, gone = found
    assert ("alice", place, "ntlmv2") == (
        told.object_name, told.detail["target server"], told.detail["mechanism"]
    )  # fmt: skip
    assert (f"smb://{place}", Outcome.SUCCESS) == (gone.object_name, gone.outcome)


def test_new_credentials_reach_what_the_operator_names(bob, files):
    with bob.with_new_credentials(held()) as session:
        write(session, files.port, "new")
        limits = {"expires": timedelta(minutes=1), "targets": [Host(HOST, files.port)]}
        with session.client.limited(**limits) as lent:
            write(lent, files.port, "lent")
    assert files.uids["alice"] == owner(files, "new") == owner(files, "lent")


def test_two_clients_at_once_are_two_at_the_far_end(clients, files):
    failed = []

    def work(name):
        try:
            for n in range(3):
                client = clients[name].client
                with explicit(client, files.port, name) as shown:
                    for m in range(2):
                        write(shown, files.port, f"{name}-{n}-{m}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == failed
    found = {name: owner(files, f"{name}-{n}-{m}")
             for name in clients for n in range(3) for m in range(2)}  # fmt: skip
    assert files.uids == found


# --- a guest is nobody ----------------------------------------------------------------


def test_a_server_that_lets_in_whoever_comes_is_refused(bob, files, server, hops):
    """Naive code is let in with any password, and does not notice."""
    naive, settings = {}, smbclient.ClientConfig()
    settings.set(require_secure_negotiate=False)
    try:
        with smbclient.open_file(
            rf"\\{HOST}\data\naive", mode="w", username="alice", port=files.port,
            password="a wrong password", auth_protocol="ntlm", connection_cache=naive,
            require_signing=False,
        ) as file:  # fmt: skip
            file.write("alice's own")
    finally:
        settings.set(require_secure_negotiate=True)
        smbclient.reset_connection_cache(connection_cache=naive)
    assert NOBODY == owner(files, "naive")
    with explicit(bob, files.port, password="a wrong password") as shown:
        hop = shown.smb(HOST, port=files.port)
        with pytest.raises(WrongIdentityError, match="takes us for `a guest`"):
            hop.listdir("data")
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_a_server_that_refuses_refuses_the_client(open_server, admit):
    with FileServer() as strict:
        strict.add_account("alice", PASSWORDS["alice"])
        server = open_server(delegation=[f"smb+ntlm://{HOST}:{strict.port}"])
        with (
            admit(server, "bob") as session,
            explicit(session.client, strict.port, password="wrong") as shown,
            pytest.raises(NoCredentialsError, match="file server refuses") as caught,
        ):
            shown.smb(HOST, port=strict.port).listdir("data")
    assert caught.value.advice.startswith("see the name and the password")


def test_the_server_is_asked_who_it_thinks_we_are(bob, files):
    with explicit(bob, files.port) as shown:
        hop = shown.smb(HOST, port=files.port)
        hop.listdir("data")
        own, mark = next(iter(hop._pool._open.values()))
        for name in ("alice", r"NAS\alice", r"nas\ALICE"):
            hop._require_known_as(own, mark, name)
        with pytest.raises(WrongIdentityError, match=r"NAS\\alice`, not for `bob`"):
            hop._require_known_as(own, mark, "bob")
        assert "Mark('alice')" == repr(mark)


def test_nobody_is_no_account(bob, files):
    for name in ("", "NAS\\"):
        shown = PasswordCredentials(name, Secret("x"))
        with (
            bob.explicit_credentials(shown, target=Host(HOST, files.port)) as reached,
            pytest.raises(InvalidRequestError, match="no account"),
        ):
            reached.smb(HOST, port=files.port)


# --- what the library would show, or take ---------------------------------------------


def test_a_password_that_looks_like_hashes_is_a_password(bob, files):
    """The library takes it for what another server's thief found."""
    stolen = "0" * 32 + ":" + "1" * 32
    with (
        explicit(bob, files.port, password=stolen) as shown,
        pytest.raises(WrongIdentityError),
    ):
        shown.smb(HOST, port=files.port).listdir("data")
    from spnego._ntlm_raw.crypto import ntowfv1

    assert "1" * 32 == ntowfv1(stolen).hex()
    with module.hash_of(held(password=stolen)) as hashed:
        assert "1" * 32 != hashed.nt_hash
    assert hashed.nt_hash is None


@pytest.mark.parametrize(
    ("name", "password"), [("euro", "päss wörd \u20ac"), ("key", "\U0001f511 key")]
)
def test_passwords_of_other_letters_are_what_windows_makes_of_them(
    files, bob, name, password
):
    files.add_account(name, password)
    with explicit(bob, files.port, name, password) as shown:
        assert isinstance(shown.smb(HOST, port=files.port).listdir("data"), list)
    with (
        explicit(bob, files.port, name, b"\xff\xfe") as shown,
        pytest.raises(InvalidRequestError, match="no text"),
    ):
        shown.smb(HOST, port=files.port).listdir("data")


def test_the_servers_own_accounts_are_never_shown(bob, files, monkeypatch, tmp_path):
    """The library finds them in a file that the environment names."""
    own = files.add_account("front", "the servers own")
    accounts = tmp_path / "accounts"
    accounts.write_text(":front:the servers own\n:alice:the servers own\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(accounts))
    naive = {}
    with smbclient.open_file(
        rf"\\{HOST}\data\own", mode="w", port=files.port, auth_protocol="ntlm",
        connection_cache=naive,
    ) as file:  # fmt: skip
        file.write("the client's request")
    smbclient.reset_connection_cache(connection_cache=naive)
    assert own == owner(files, "own")
    credentials = held()
    target = Host(HOST, files.port)
    with bob.explicit_credentials(credentials, target=target) as shown:
        write(shown, files.port, "alices")
        assert files.uids["alice"] == owner(files, "alices")
        hop = shown.smb(HOST, port=files.port)
        credentials.close()
        with pytest.raises(ENDED):
            hop.listdir("data")


@pytest.mark.parametrize("level", ["0", "1", "2", "x"])
def test_an_older_kind_of_ntlm_is_never_shown(bob, files, monkeypatch, level):
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)
    with (
        explicit(bob, files.port) as shown,
        pytest.raises(NoCredentialsError, match="LM_COMPAT_LEVEL"),
    ):
        shown.smb(HOST, port=files.port).listdir("data")


def swallow(end):
    while end.recv(65_536):
        pass
    raise EOFError


class Forger(Relay):
    """Whoever stands between, and answers in the server's place, without its key."""

    def __init__(self, port):
        self.disguise = None
        self.hides_guests = False
        self.silent_after = None
        super().__init__(("127.0.0.1", port))

    def carry(self, one, other, *, is_answer):
        for number in count():
            head = self.whole(one, 4)
            if is_answer and number == self.silent_after:
                swallow(one)
            content = self.whole(one, struct.unpack("!I", head)[0] & 0xFFFFFF)
            is_let_in = content[8:14] == b"\0\0\0\0\1\0"  # status and command
            if is_answer and self.hides_guests and is_let_in:
                content = content[:66] + bytes(2) + content[68:]
            if is_answer and b"the truth" in content and self.disguise:
                # Of another kind, and of no session: so it looks like a logon.
                content = (
                    content[:12] + struct.pack("<H", self.disguise) + content[14:40]
                    + bytes(8) + content[48:]
                )  # fmt: skip
            if is_answer and b"the truth" in content:
                (flags,) = struct.unpack_from("<I", content, 16)
                content = (
                    content[:16] + struct.pack("<I", flags & ~8) + content[20:48]
                    + bytes(16) + content[64:].replace(b"the truth", b"any other")
                )  # fmt: skip
            other.sendall(head + content)

    @staticmethod
    def whole(end, size):
        found = b""
        while len(found) < size:
            more = end.recv(size - len(found))
            if not more:
                raise EOFError
            found += more
        return found


@pytest.fixture
def forger(files):
    with Forger(files.port) as made:
        yield made


@pytest.mark.parametrize("answers", [1, 3, 6])
def test_a_server_that_falls_silent_is_given_up(
    open_server, admit, forger, monkeypatch, answers
):
    """After its first word, when it has let us in, or when it was asked for a file."""
    forger.silent_after, naive = answers, {}

    def wait_for_ever():
        with suppress(SMBException, OSError, ValueError):
            smbclient.listdir(
                rf"\\{HOST}\data", username="alice", password=PASSWORDS["alice"],
                port=forger.port, auth_protocol="ntlm", connection_cache=naive,
            )  # fmt: skip

    waiting = threading.Thread(target=wait_for_ever, daemon=True)
    waiting.start()
    server = open_server(delegation=[f"smb+ntlm://{HOST}:{forger.port}"])
    monkeypatch.setattr(smb_connection, "SILENCE", 1)
    with (
        admit(server, "bob") as session,
        explicit(session.client, forger.port) as shown,
    ):
        files = shown.smb(HOST, port=forger.port)
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            files.listdir("data")
        assert waiting.is_alive()
        forger.silent_after = None
        monkeypatch.undo()
        assert files.listdir("data") is not None
    forger.cut()
    waiting.join(60)
    assert not waiting.is_alive()


@pytest.mark.parametrize("disguise", [None, 1])
def test_an_answer_that_says_that_it_is_not_signed_is_not_believed(
    open_server, admit, files, forger, disguise
):
    """The library demands signatures, and takes an answer that says it has none."""
    forger.disguise = disguise
    (files.share / "truth").write_text("the truth")
    naive = {}
    with smbclient.open_file(
        rf"\\{HOST}\data\truth", mode="r", username="alice", port=forger.port,
        password=PASSWORDS["alice"], auth_protocol="ntlm", connection_cache=naive,
        require_signing=True,
    ) as file:  # fmt: skip
        assert "any other" == file.read()
    smbclient.reset_connection_cache(connection_cache=naive)
    server = open_server(delegation=[f"smb+ntlm://{HOST}:{forger.port}"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, forger.port) as shown,
    ):
        hop = shown.smb(HOST, port=forger.port)
        file = hop.open("data/truth", "rb")
        with pytest.raises(SMBException, match="nothing protects"):
            file.read()
        with pytest.raises((OSError, SMBException)):
            file.close()
        # It is not closed by whoever is not believed; the library would warn of that
        # whenever it is collected.
        file.raw.fd._connected = False


def test_a_server_that_does_not_know_the_password_cannot_say_that_it_does(
    open_server, admit, files, forger
):
    """It lets in a guest, and says that it is none."""
    forger.hides_guests = True
    server = open_server(delegation=[f"smb+ntlm://{HOST}:{forger.port}"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, forger.port, password="wrong") as shown,
        pytest.raises(WrongIdentityError, match="does not show that it knows"),
    ):
        shown.smb(HOST, port=forger.port).listdir("data")


@pytest.mark.parametrize(
    "setting", ["server smb encrypt = required", "server max protocol = SMB2_10"]
)
def test_whatever_protects_the_connection_it_is_the_clients(
    open_server, admit, setting
):
    with FileServer(setting) as other:
        uid = other.add_account("alice", PASSWORDS["alice"])
        server = open_server(delegation=[f"smb+ntlm://{HOST}:{other.port}"])
        with (
            admit(server, "bob") as session,
            explicit(session.client, other.port) as shown,
        ):
            write(shown, other.port, "protected")
            assert uid == owner(other, "protected")


def test_what_the_library_logs_says_nothing_of_the_password(bob, files, caplog):
    caplog.set_level(logging.DEBUG)
    with explicit(bob, files.port) as shown:
        write(shown, files.port, "logged")
    assert "Initialising session" in caplog.text
    assert "NTLM step" not in caplog.text
    for secret in (PASSWORDS["alice"], hashed(PASSWORDS["alice"])):
        assert secret not in caplog.text


def hashed(password):
    with module.hash_of(held(password=password)) as shown:
        return shown.nt_hash


# --- who is named for which password --------------------------------------------------


@pytest.mark.parametrize("named", [None, "smb", "postgres+scram"])
def test_without_an_operator_who_names_it_there_is_no_ntlm(
    open_server, admit, files, hops, named
):
    given = None if named is None else [f"{named}://{HOST}:{files.port}"]
    server = open_server(delegation=given)
    with (
        admit(server, "bob") as session,
        explicit(session.client, files.port) as shown,
        pytest.raises(NoCredentialsError, match="for NTLM") as caught,
    ):
        shown.smb(HOST, port=files.port)
    assert f"smb+ntlm://{HOST}:{files.port}" in caught.value.advice
    assert (
        "explicit_credentials" not in caught.value.advice
    )  # they are, and do not help
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_the_password_of_this_server_is_never_shown_by_ntlm(server, files):
    server.accounts.set_password("alice", Secret(PASSWORDS["alice"]))
    kind = LogonType.NETWORK_CLEARTEXT
    with (
        server.log_on("alice", Secret(PASSWORDS["alice"]), kind) as session,
        pytest.raises(NoCredentialsError, match="not shown by NTLM") as caught,
    ):
        session.smb(HOST, port=files.port)
    # To name the machine, which is named, would not help.
    assert caught.value.advice.startswith("hand in credentials for that machine")


def test_a_name_of_a_realm_is_never_shown_by_ntlm(bob, files):
    """Nobody gets NTLM by making Kerberos fail."""
    shown = PasswordCredentials("alice@STEAD.TEST", Secret("alice-pw"))
    with (
        bob.explicit_credentials(shown, target=Host(HOST, files.port)) as reached,
        pytest.raises(NoCredentialsError, match="may not reach"),
    ):
        reached.smb(HOST, port=files.port)


# --- their end ------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["wiped", "left", "logged off"])
def test_connections_end_with_the_password(clients, files, end):
    session, credentials = clients["bob"], held()
    target = Host(HOST, files.port)
    block = session.client.explicit_credentials(credentials, target=target)
    shown = block.__enter__()
    hop = shown.smb(HOST, port=files.port)
    file = hop.open("data/ended", "wb", encoding=None)
    file.write(b"x")
    eventually(lambda: 1 == connected(files))
    if end == "wiped":
        credentials.close()
    elif end == "left":
        block.__exit__(None, None, None)
    else:
        session.log_off()
    with pytest.raises(ENDED):
        hop.listdir("data")
    # Who wipes the password alone cuts what it has opened, and the session goes on.
    said = (OSError, SMBException) if end == "wiped" else LogonSessionEndedError
    for act in (file.close, file.raw.close):
        with pytest.raises(said):
            act()
    eventually(lambda: not connected(files))
    if end != "left":
        block.__exit__(None, None, None)


def test_a_server_that_is_not_there_is_no_refusal(open_server, admit):
    server = open_server(delegation=[f"smb+ntlm://{HOST}:1"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, 1) as shown,
        pytest.raises(ServerUnavailableError),
    ):
        shown.smb(HOST, port=1).listdir("data")


# --- where the password is ------------------------------------------------------------

PROGRAM = """
import re, sys
import smbclient
from stead.authority.password_credentials import PasswordCredentials
from stead.model.limits import Host
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from tests.memory_dump import dumped, read_masked, typed, wide

port = int(sys.argv[1])

masked = read_masked()
named = [f"smb+ntlm://localhost:{port}"]
with ProtectedServer("n", enforcement=Enforcement.TOKEN, delegation=named) as server:
    server.accounts.add("bob")
    bob = server.client_for("bob", authenticated_by="a test")
    with typed(masked) as secret:
        held = PasswordCredentials("alice", secret)
    with bob.explicit_credentials(held, target=Host("localhost", port)) as shown:
        with shown.smb("localhost", port=port).open("data/dumped", "w") as file:
            file.write("x")
        churn = [bytes(n) for n in range(1, 512) for _ in range(200)]
        print(dumped(masked, wide(masked)))
    print(dumped(masked, wide(masked)))
cache = {}
naive = smbclient.listdir(
    r"\\\\localhost\\data", username="alice", port=port, auth_protocol="ntlm",
    password=bytes(byte ^ 0x55 for byte in masked).decode(), connection_cache=cache,
)
churn = [bytes(n) for n in range(1, 512) for _ in range(200)]
print(dumped(masked, wide(masked)))
smbclient.reset_connection_cache(connection_cache=cache)
"""


def test_no_dump_of_the_server_has_the_password_while_it_is_connected(files):
    """The library keeps name and password for as long as its session lives."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(files.port)],
        input=bytes(byte ^ 0x55 for byte in PASSWORDS["alice"].encode()),
        capture_output=True, timeout=120, check=False,
        env=environment(),
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr.decode()[-2000:]
    connected, ended, naive = done.stdout.decode().split()
    assert ("0", "0") == (connected, ended)
    assert int(naive) > 0
