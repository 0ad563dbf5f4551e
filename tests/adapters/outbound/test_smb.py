"""SMB as a client: a file server takes each session for its own client."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import struct
import threading
import time
from functools import partial

import gssapi
import pytest
import smbclient
import spnego
from smbprotocol.dfs import DFSReferralResponse
from smbprotocol.exceptions import SMBOSError
from tests.adapters.outbound.test_postgres import eventually
from tests.listening import Relay

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.naming import exact_name
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.adapters.outbound import smb as module
from stead.adapters.outbound.lsarpc import user_name
from stead.adapters.outbound.smb_connection import OwnConnection
from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
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
from stead.model.audit_record import AuditEvent
from stead.model.limits import Host
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

pytestmark = [pytest.mark.root, pytest.mark.slow]
NAMES = ("alice", "bob")


@pytest.fixture
def domain(active_directory, monkeypatch, tmp_path):
    """The domain, with the server's own identity lying about."""
    own = active_directory.environment(f"FILE:{tmp_path}/front.ccache")
    keytab = active_directory.export_keytab("front")
    own["KRB5_CLIENT_KTNAME"] = own["KRB5_KTNAME"] = f"FILE:{keytab}"
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return active_directory


def tickets(domain, name, options=""):
    cache = domain.log_on(name, domain.password_of(name), options=options)
    shown = gssapi.Credentials(
        usage="initiate", store={"ccache": cache}, mechs=[gssapi.MechType.kerberos]
    )
    return KerberosCredentials.keep(shown)


@pytest.fixture
def server(domain):
    issuer = Issuer(domain.name, ["kerberos"], names_accounts=True)
    with ProtectedServer(
        "front", enforcement=Enforcement.TOKEN, issuers=[issuer]
    ) as made:
        for name in NAMES:
            made.accounts.add(name)
        yield made


@pytest.fixture
def sessions(server, domain):
    made = {
        name: server.admit(
            Authenticated(
                package="kerberos", issuer=domain.name, name=name,
                level=ImpersonationLevel.DELEGATION, credentials=tickets(domain, name),
            )
        )
        for name in NAMES
    }  # fmt: skip
    yield made
    for session in made.values():
        session.close()


def test_files_belong_to_the_client_and_nobody_else_reads_them(sessions, domain):
    share = domain.shares["data"]
    for name, session in sessions.items():
        files = session.smb(domain.address)
        with files.open(f"data/{name}.txt", "w") as file:
            file.write(f"of {name}")
        assert domain.sid_of(name) == domain.owner_of(share / f"{name}.txt")
        sid = domain.sid_of(name)
        domain.set_access(share / f"{name}.txt", f"O:{sid}G:DUD:P(A;;FA;;;{sid})")
    alice, bob = (session.smb(domain.address) for session in sessions.values())
    with alice.open(r"data\alice.txt") as file:
        assert "of alice" == file.read()
    with pytest.raises(PermissionError):
        bob.open("data/alice.txt")
    with bob.open("data/bob.txt", "rb") as file:
        assert b"of bob" == file.read()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_reached_with_explicit_credentials_belong_to_their_account(
    sessions, domain
):
    bob, share = sessions["bob"], domain.shares["data"]
    password = Secret(domain.password_of("alice"))
    explicit = PasswordCredentials(f"alice@{domain.name}", password)
    target = Host(domain.address, 445)
    with bob.client.explicit_credentials(explicit, target=target) as shown:
        files = shown.smb(domain.address)
        with files.open("data/explicit.txt", "w") as file:
            file.write("of alice")
        with bob.smb(domain.address).open("data/own.txt", "w") as file:
            file.write("of bob")
        left = files.open("data/left.txt", "w")
        left.write("lost")
    assert domain.sid_of("alice") == domain.owner_of(share / "explicit.txt")
    assert domain.sid_of("bob") == domain.owner_of(share / "own.txt")
    with pytest.raises(LogonSessionEndedError, match="the block in which"):
        files.listdir("data")
    for each in (left, left.buffer.raw):  # their connection was cut
        with pytest.raises(LogonSessionEndedError, match="the block in which"):
            each.close()
    assert "own.txt" in bob.smb(domain.address).listdir("data")


def test_the_server_is_asked_who_it_thinks_we_are(sessions, domain):
    for name, session in sessions.items():
        hop = session.smb(domain.address)
        assert "sysvol" not in hop.listdir("data")
        own, shown = next(iter(hop._pool._open.values()))
        pipe = smbclient.open_file(
            rf"\\{domain.address}\IPC$\lsarpc", "rb+", buffering=0, file_type="pipe",
            share_access="rw", username=shown, connection_cache=own,
        )  # fmt: skip
        with pipe:
            said = user_name(partial(module._transact, pipe))
        assert (name, domain.short_name) == said
        hop._require_known_as(own, shown, f"{name}@{domain.name}")
        with pytest.raises(WrongIdentityError, match=rf"\\{name}`, not for `front@"):
            hop._require_known_as(own, shown, f"front@{domain.name}")


def workers():
    return [t.name for t in threading.enumerate() if t.name.startswith("msg_worker")]


def test_what_the_library_logs_is_no_ticket_and_does_not_lead_to_any(
    sessions, domain, caplog
):
    """Who reads it could show the ticket, too, as long as clocks may differ."""
    caplog.set_level(logging.DEBUG)
    shown = tickets(domain, "alice")
    with shown.on_this_thread() as cache:
        spnego.client(
            spnego.KerberosCCache(cache, shown.principal),
            hostname=domain.address, service="cifs", protocol="kerberos",
        ).step()  # fmt: skip
    shown.close()
    assert "GSSAPI step output: YII" in caplog.text
    caplog.clear()
    assert sessions["alice"].smb(domain.address).exists("data")
    assert f"alice@{domain.name}" in caplog.text
    assert "GSSAPI step" not in caplog.text
    assert "MEMORY:" not in caplog.text


def test_folders_and_files_are_made_named_and_removed(sessions, domain):
    files = sessions["alice"].smb(domain.address)
    files.mkdir("data/folder")
    with files.open("data/folder/a", "xb") as file:
        file.write(b"1234")
    assert 4 == files.stat("data/folder/a").st_size
    files.rename("data/folder/a", "data/folder/b")
    assert ["b"] == files.listdir("data/folder")
    assert files.exists("data/folder/b")
    assert not files.exists("data/folder/a")
    with pytest.raises(FileNotFoundError):
        files.open("data/folder/a")
    with pytest.raises(FileNotFoundError):
        files.open("no share/a")
    files.remove("data/folder/b")
    files.rmdir("data/folder")


@pytest.mark.parametrize(
    "path",
    ["", "/data/a", "//other/data/a", r"\\other\data\a", "data/../x", "data/./x"],
)
def test_a_path_says_by_itself_where_it_leads(sessions, domain, path):
    with pytest.raises(InvalidRequestError):
        sessions["alice"].smb(domain.address).open(path)


def test_trap_4_the_librarys_own_pool_is_nobodys(sessions, domain):
    """It hands its first session to whoever names no user; ours has none there."""
    share, host = domain.shares["data"], domain.address
    shown = tickets(domain, "alice")
    with shown.on_this_thread() as cache:
        ccache = spnego.KerberosCCache(cache, shown.principal)
        smbclient.register_session(host, username=ccache, auth_protocol="kerberos")
    try:
        # Bob's request, by code that forgot to name him.
        with smbclient.open_file(rf"\\{host}\data\naive.txt", mode="w") as file:
            file.write("bob wrote this")
        assert domain.sid_of("alice") == domain.owner_of(share / "naive.txt")
        with sessions["bob"].smb(host).open("data/ours.txt", "w") as file:
            file.write("bob wrote this")
        assert domain.sid_of("bob") == domain.owner_of(share / "ours.txt")
    finally:
        smbclient.reset_connection_cache()
        shown.close()


def test_where_nobody_asked_to_go_nothing_is_shown(sessions, domain, monkeypatch):
    """A referral that another one's code left in the library leads elsewhere."""
    files = sessions["alice"].smb(domain.address)
    assert files.listdir("data") is not None
    pool = sessions["alice"].client._hop.way().reach.smb_pool()
    own = next(iter(pool._open.values()))[0]
    for ask in (
        lambda: own.get("evil.example:445"),
        lambda: own.__setitem__("evil.example:445", None),
    ):
        with pytest.raises(WrongIdentityError):
            ask()
    with pytest.raises(WrongIdentityError, match="evil"):
        smbclient.listdir(r"\\evil.example\data", connection_cache=own)


def referral(path, target):
    """Return a server's answer to where a path is ([MS-DFSC] 2.2.4, 2.2.5.3)."""
    texts = [f"{text}\0".encode("utf-16-le") for text in (path, target)]
    places = (34, 34, 34 + len(texts[0]))
    entry = struct.pack("<HHHHIHHH", 3, 34, 0, 0, 600, *places) + bytes(16)
    made = DFSReferralResponse()
    made.unpack(struct.pack("<HHI", 2 * len(path), 1, 0) + entry + b"".join(texts))
    return made


def test_what_one_server_says_of_paths_leads_no_other_session_astray(sessions, domain):
    """The library keeps what any server says, of any server's paths, for everybody."""
    share, host = domain.shares["data"], domain.address
    said = referral(rf"\{host}\data\private", rf"\{host}\data\public")
    alice, bob = (sessions[name].smb(host) for name in NAMES)
    for folder in ("private", "public"):
        bob.mkdir(f"data/{folder}")
    alice.listdir("data")
    pool = sessions["alice"].client._hop.way().reach.smb_pool()
    own = next(iter(pool._open.values()))[0]

    def keep(*_, **__):  # as the library does when a server of alice's says so
        smbclient.ClientConfig().cache_referral(said)

    def write(name):
        with bob.open(f"data/private/{name}", "w") as file:
            file.write("bob's own")
        return (share / "private" / name).exists()

    own.ask(keep, "")
    assert 1 == len(own.referrals)
    assert write("ours")
    try:
        keep()
        assert write("ours too")
        shown = tickets(domain, "bob")
        with shown.on_this_thread() as cache:
            naive = {}
            with smbclient.open_file(
                rf"\\{host}\data\private\naive", mode="w", connection_cache=naive,
                username=spnego.KerberosCCache(cache, shown.principal),
                auth_protocol="kerberos",
            ) as file:  # fmt: skip
                file.write("bob's own")
            smbclient.reset_connection_cache(connection_cache=naive)
        shown.close()
        assert (share / "public" / "naive").exists()
    finally:
        smbclient.ClientConfig()._referral_cache = []


# The library cannot close a file without its server, and remarks on that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_under_way_fails_when_the_session_ends(sessions, domain):
    session = sessions["alice"]
    files = session.smb(domain.address)
    file = files.open("data/long.txt", "wb")
    file.write(b"x" * 10)
    session.log_off()
    with pytest.raises(LogonSessionEndedError):
        files.listdir("data")
    for act in (file.flush, file.close, file.raw.close):
        with pytest.raises(LogonSessionEndedError):
            act()
    eventually(lambda: [] == workers())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_is_being_written_hears_of_the_end_of_its_session(sessions, domain):
    session = sessions["alice"]
    file = session.smb(domain.address).open("data/longer.txt", "wb", encoding=None)
    begun = threading.Event()
    ending = threading.Thread(target=lambda: (begun.wait(60), session.log_off()))
    ending.start()

    def write_on():
        while True:
            file.write(b"x" * 65536)
            begun.set()

    with pytest.raises(LogonSessionEndedError):
        write_on()
    ending.join()
    with pytest.raises(LogonSessionEndedError):
        file.raw.close()


def test_no_ticket_no_file(sessions, domain):
    with pytest.raises(NoCredentialsError, match="no ticket") as caught:
        sessions["alice"].smb("nowhere.example").listdir("data")
    assert "SPN" in caught.value.advice
    with pytest.raises(ServerUnavailableError):
        sessions["alice"].smb(domain.address, port=1).listdir("data")


def test_the_domain_lets_the_server_go_to_files_for_whom_it_knows_by_name(
    server, domain, tmp_path
):
    principal = f"HTTP/front.{domain.dns_name}"
    account = f"front@{domain.name}"
    service = KerberosService(
        domain.export_keytab("front", principal), principal,
        realms=[TrustedRealm(name=domain.name)],
        replay_cache=tmp_path / "replays",
    )  # fmt: skip
    files = f"cifs@{domain.address}"
    without = LogonWithoutPassword(service, targets=(files,), account=account)
    with server.admit(without.log_on("alice", domain.name)) as session:
        with session.smb(domain.address).open("data/by name.txt", "w") as file:
            file.write("of alice")
        made = domain.shares["data"] / "by name.txt"
        assert domain.sid_of("alice") == domain.owner_of(made)
        with pytest.raises(NoCredentialsError, match="may not go to"):
            session.gss(f"HTTP@back.{domain.dns_name}").step()


@pytest.fixture
def between(domain):
    """Whoever stands between us and the file server, at `localhost`."""
    with Relay((domain.address, 445)) as made:
        yield made


def test_a_ticket_for_another_server_is_no_good_and_nobody_else_is_shown(
    sessions, domain, between
):
    # The one between has an account in the domain; its tickets are for its own key.
    domain.add_service_names("back", ["cifs/localhost"])
    with pytest.raises(NoCredentialsError, match="the file server refuses") as caught:
        sessions["alice"].smb("localhost", port=between.port).listdir("data")
    assert "double hop" in caught.value.advice
    eventually(lambda: [] == workers())


def test_a_connection_that_was_lost_is_made_again_as_the_client(
    sessions, domain, server
):
    files = sessions["alice"].smb(domain.address)
    assert files.listdir("data") is not None
    assert files.listdir("data") is not None
    assert 1 == len([*server.trail.find(Query(event=AuditEvent.DELEGATED))])
    own = next(iter(files._pool._open.values()))[0]
    connection = own.get(f"{domain.address}:445")
    connection.transport._sock.shutdown(socket.SHUT_RDWR)
    eventually(lambda: not connection.transport.connected)
    with pytest.raises(ServerUnavailableError, match="was lost"):
        own.get(f"{domain.address}:445")
    assert files.listdir("data") is not None
    assert own is not next(iter(files._pool._open.values()))[0]
    assert 2 == len([*server.trail.find(Query(event=AuditEvent.DELEGATED))])


def get_brief_ticket(held, domain, seconds):
    """Have the client's tickets hold one for the file server that ends soon."""
    gssapi.SecurityContext(
        name=exact_name(f"cifs@{domain.address}"), creds=held.gss(), lifetime=seconds,
        mech=gssapi.MechType.kerberos, usage="initiate",
    ).step()  # fmt: skip


def test_a_connection_whose_ticket_ends_is_made_again_before_the_work(
    sessions, domain, monkeypatch
):
    """The server ends a session there with its ticket, and refuses it for ever."""
    held = sessions["alice"].credentials_for("kerberos")
    get_brief_ticket(held, domain, seconds=9)
    alice = sessions["alice"].smb(domain.address)
    with monkeypatch.context() as patch:
        patch.setattr(OwnConnection, "lasts", True)  # as if nobody looked
        assert alice.listdir("data") is not None
        old, shown = next(iter(alice._pool._open.values()))
        time.sleep(max(0.0, old.expires / 1e9 - time.time()) + 1)
        naive = partial(
            old.ask, smbclient.listdir, rf"\\{domain.address}\data", username=shown,
            auth_protocol="kerberos",
        )  # fmt: skip
        for _ in range(2):
            with pytest.raises(SMBOSError) as caught:
                naive()
            assert 0xC000035C == caught.value.ntstatus
        with pytest.raises(ServerUnavailableError, match="has ended the client's"):
            alice.listdir("data")
        assert alice.listdir("data") is not None
    new = next(iter(alice._pool._open.values()))[0]
    assert old is not new
    assert new.lasts
    assert alice.listdir("data") is not None
    assert new is next(iter(alice._pool._open.values()))[0]
    new.expires = time.time_ns()
    assert alice.listdir("data") is not None
    assert new is not next(iter(alice._pool._open.values()))[0]


def test_by_a_ticket_that_ends_soon_it_is_not_connected_for_each_question(
    sessions, domain, monkeypatch
):
    """The ticket is kept until it ends: the next one is connected by it as well."""
    held = sessions["alice"].credentials_for("kerberos")
    get_brief_ticket(held, domain, seconds=40)
    alice = sessions["alice"].smb(domain.address)

    def connections():
        return {
            id(asked[0])
            for _ in range(3)
            if alice.listdir("data") is not None
            for asked in [next(iter(alice._pool._open.values()))]
        } | {id(each) for each in alice._pool._left}

    with monkeypatch.context() as patch:
        naive = property(lambda own: own.expires - time.time_ns() >= 60 * 10**9)
        patch.setattr(OwnConnection, "lasts", naive)
        assert 3 == len(connections())
    kept = alice._pool._left[0]
    assert 3 == len(connections())
    # What is left is not kept for as long as the session lives.
    kept.expires = next(iter(alice._pool._open.values()))[0].expires = 0
    assert alice.listdir("data") is not None
    assert kept not in alice._pool._left
    assert not kept.is_up


def test_tickets_are_renewed_while_the_domain_takes_them(server, domain):
    """Samba takes no ticket-granting ticket for anything in its last two minutes."""
    naive = tickets(domain, "alice", options="-l 119s -r 1h")
    with pytest.raises(CredentialsExpiredError):
        naive.renew_for(300)
    naive.close()
    held = tickets(domain, "alice", options="-l 170s -r 1h")
    before = held.expires
    time.sleep(1.1)  # of which an end is told in whole ones
    admitted = Authenticated(
        package="kerberos", issuer=domain.name, name="alice", credentials=held,
        level=ImpersonationLevel.DELEGATION,
    )  # fmt: skip
    with server.admit(admitted) as session:
        assert session.smb(domain.address).listdir("data") is not None
        assert before < held.expires


def test_a_server_with_very_many_descriptors_reaches_files_all_the_same(
    sessions, domain
):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        # Naive: select(2), by which the library waits, cannot watch such a socket.
        with socket.socket() as high, pytest.raises(ValueError, match="out of range"):
            select.select([high], [], [], 0)
        alice = sessions["alice"].smb(domain.address)
        with alice.open("data/many.txt", "w") as file:
            file.write("hers")
        with alice.open("data/many.txt") as file:
            assert "hers" == file.read()
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
