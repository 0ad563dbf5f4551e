"""SMB as a client: a file server takes each session for its own client."""

from __future__ import annotations

import threading
import time
from functools import partial

import gssapi
import pytest
import smbclient
import spnego
from smbprotocol.exceptions import SMBException

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.outbound import smb as module
from stead.adapters.outbound.lsarpc import user_name
from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
from stead.errors import (
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
    ServerUnavailableError,
    WrongIdentityError,
)
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


def tickets(domain, name):
    cache = domain.log_on(name, domain.password_of(name))
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
    with pytest.raises((OSError, SMBException)):
        file.close()
    with pytest.raises((OSError, SMBException)):
        file.raw.close()
    until = time.monotonic() + 10
    while workers() and time.monotonic() < until:
        time.sleep(0.02)
    assert [] == workers()


def test_no_ticket_no_file(sessions, domain):
    with pytest.raises(NoCredentialsError, match="no ticket") as caught:
        sessions["alice"].smb("nowhere.example").listdir("data")
    assert "SPN" in caught.value.advice
    with pytest.raises(ServerUnavailableError):
        sessions["alice"].smb(domain.address, port=1).listdir("data")
