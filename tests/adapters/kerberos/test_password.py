"""Passwords that a realm knows: the realm proves itself before it is believed."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import gssapi
import pytest
from gssapi.raw import acquire_cred_with_password
from tests.adapters.kerberos.stage import (
    HTTP,
    KERBEROS,
    PASSWORDS,
    principal,
    stands_in,
)

from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    DirectoryUnavailableError,
    EvidenceRefusedError,
    PasswordMismatchError,
    PasswordMustChangeError,
    UnknownAccountError,
)
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.testing.realm import Realm

NAME = "STEAD.TEST"


@pytest.fixture(scope="module")
def authority(stage):
    return KerberosPasswords(stage.service(), NAME, aliases=["STEAD"])


def log_on(authority, name="alice", password=None, *, keep=False, domain=NAME):
    secret = Secret(PASSWORDS["alice"] if password is None else password)
    return authority.log_on(name, domain, secret, keep=keep)


def naive(name, password):
    """Whom a server lets in that only asks a KDC for a ticket."""
    made = acquire_cred_with_password(
        principal(f"{name}@{NAME}"), password, mechs=[KERBEROS], usage="initiate"
    )
    return str(gssapi.Credentials(made.creds).name)


def test_a_password_says_who_its_principal_is(authority):
    assert ("kerberos", (NAME, "STEAD")) == (authority.name, authority.domains)
    client = log_on(authority, domain="stead")
    assert ("kerberos", NAME, "alice", None, None) == (
        client.package, client.issuer, client.name, client.sids, client.credentials,
    )  # fmt: skip
    assert ImpersonationLevel.IMPERSONATION is client.level
    assert not client.is_verified_by_service


def test_tickets_for_other_machines_are_kept_where_they_are_wanted(stage, authority):
    client = log_on(authority, keep=True)
    assert ImpersonationLevel.DELEGATION is client.level
    held = client.credentials
    assert 3500 < held.expires / 1e9 - time.time() <= 3600
    heard = stage.back_end_hears(held.initiate("HTTP@back").step())
    assert "alice@STEAD.TEST" == heard
    held.renew_for(3600 * 2)
    client.close()


@pytest.mark.parametrize(
    ("name", "password", "error"),
    [
        ("alice", "lion", PasswordMismatchError),
        ("alice", "", PasswordMismatchError),
        ("nobody", "tiger", UnknownAccountError),
        ("", "tiger", UnknownAccountError),
        ("alice@STEAD.TEST", "tiger", UnknownAccountError),
        ("alice\\", "tiger", UnknownAccountError),
        ("alice\0", "tiger", UnknownAccountError),
        ("a" * 300, "tiger", UnknownAccountError),
    ],
)
def test_what_is_wrong_is_known_to_the_trail(authority, name, password, error):
    with pytest.raises(error) as caught:
        log_on(authority, name, password)
    assert "logon failure" == caught.value.public


def test_another_domains_accounts_are_not_asked_for(authority):
    with pytest.raises(UnknownAccountError, match="another domain"):
        log_on(authority, domain="OTHER.TEST")


def test_a_password_ends_where_its_owner_ends_it(authority):
    """The library stops at a zero: to the naive code, what follows does not count."""
    assert "alice@STEAD.TEST" == naive("alice", b"tiger\0and whatever")
    with pytest.raises(PasswordMismatchError):
        log_on(authority, password="tiger\0and whatever")


def test_accounts_that_may_not_log_on_are_told_apart(stage, authority):
    for name, options in (
        ("off", "-allow_tix"),
        ("over", '-expire "2020-01-01"'),
        ("stale", "+needchange"),
        ("old", '-pwexpire "2020-01-01"'),
    ):
        stage.realm.add_principal(name, "wolf", options=options)
    for name, password, error in (
        ("off", "wolf", AccountDisabledError),
        ("over", "wolf", AccountExpiredError),
        ("stale", "wolf", PasswordMustChangeError),
        ("old", "wolf", PasswordMustChangeError),
        # A KDC says so before it looks at the password; we go on to ask.
        ("stale", "fox", PasswordMismatchError),
        ("old", "fox", PasswordMismatchError),
    ):
        with pytest.raises(error):
            log_on(authority, name, password)


def test_a_kdc_that_does_not_know_our_key_is_not_believed(
    stage, authority, monkeypatch
):
    """Somebody answers in the KDC's place, with passwords of their own choosing."""
    with Realm(NAME) as spoofed:
        spoofed.add_principal("alice", "stolen")
        spoofed.add_service(HTTP)
        monkeypatch.setenv("KRB5_CONFIG", str(spoofed.configuration))
        assert "alice@STEAD.TEST" == naive("alice", b"stolen")
        for keep in (False, True):
            with pytest.raises(EvidenceRefusedError, match="proves no key"):
                log_on(authority, password="stolen", keep=keep)
    with Realm(NAME) as spoofed:
        spoofed.add_principal("alice", "stolen")
        monkeypatch.setenv("KRB5_CONFIG", str(spoofed.configuration))
        assert "alice@STEAD.TEST" == naive("alice", b"stolen")
        with pytest.raises(EvidenceRefusedError, match="proves no key"):
            log_on(authority, password="stolen")


def test_a_kdc_that_is_down_is_no_wrong_password(stage, authority, monkeypatch):
    text = stage.realm.configuration.read_text()
    port = text.split("kdc = 127.0.0.1:")[1].split()[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        down = stage.folder / "down.conf"
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
        down.write_text(text.replace(f"127.0.0.1:{port}", closed))
        monkeypatch.setenv("KRB5_CONFIG", str(down))
        with pytest.raises(DirectoryUnavailableError):
            log_on(authority)
    no_realm = stage.folder / "no-realm.conf"
    no_realm.write_text("[libdefaults]\n dns_lookup_kdc = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(no_realm))
    with pytest.raises(DirectoryUnavailableError):
        log_on(authority)


def test_a_configuration_that_cannot_be_read_is_said_to_be_why(
    authority, monkeypatch, broken_configuration
):
    monkeypatch.setenv("KRB5_CONFIG", broken_configuration)
    with pytest.raises(DirectoryUnavailableError, match="configuration") as caught:
        log_on(authority)
    assert "KRB5_CONFIG" in caught.value.advice


@pytest.mark.parametrize("said", [b"garbage!" * 8, b"\x7e\x03\x30\x01\x00", b"\0"])
def test_whatever_answers_in_a_kdc_s_place_is_no_wrong_password(
    stage, authority, monkeypatch, said
):
    """A name's failures lock it: another program at that port locked everybody out."""
    text = stage.realm.configuration.read_text()
    port = text.split("kdc = 127.0.0.1:")[1].split()[0]
    with answering(lambda _: said) as place:
        configuration = stage.folder / "other.conf"
        configuration.write_text(text.replace(f"127.0.0.1:{port}", place))
        monkeypatch.setenv("KRB5_CONFIG", str(configuration))
        with pytest.raises(DirectoryUnavailableError):
            log_on(authority)


def test_nor_is_it_where_the_realm_begins_well(stage, authority, monkeypatch):
    """A KDC's answer to the password, and then nonsense in the place of its proof."""
    text = stage.realm.configuration.read_text()
    port = text.split("kdc = 127.0.0.1:")[1].split()[0]
    asked = []

    def begins_well(heard):
        asked.append(heard[0])
        if heard[0] == TICKET_REQUEST:
            return b"garbage!"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to_kdc:
            to_kdc.settimeout(10)
            to_kdc.sendto(heard, ("127.0.0.1", int(port)))
            return to_kdc.recv(65536)

    with answering(begins_well) as place:
        configuration = stage.folder / "well.conf"
        configuration.write_text(text.replace(f"127.0.0.1:{port}", place))
        monkeypatch.setenv("KRB5_CONFIG", str(configuration))
        with pytest.raises(DirectoryUnavailableError, match="no KDC"):
            log_on(authority)
        assert TICKET_REQUEST in asked
        with pytest.raises(PasswordMismatchError):  # which is still one
            log_on(authority, password="guessed")


TICKET_REQUEST = 0x6C  # the first byte of a TGS-REQ (RFC 4120 5.4.1)


@contextmanager
def answering(reply):
    """Answer each datagram, at the place that is given."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))

        def answer():
            while (heard := own.recvfrom(65536))[0]:
                own.sendto(reply(heard[0]), heard[1])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield "{}:{}".format(*own.getsockname())
        finally:
            own.sendto(b"", own.getsockname())
            # A thread that reads on would read from whatever gets the number next.
            thread.join()


def test_a_realm_that_tells_no_groups_does_not_do_where_they_are_told(stage):
    told = TrustedRealm(name=NAME)
    authority = KerberosPasswords(stage.service(realms=[told]), NAME)
    with pytest.raises(EvidenceRefusedError, match="groups"):
        log_on(authority, keep=True)


def test_the_secret_stays_its_owners(authority):
    with Secret("tiger") as secret:
        authority.log_on("alice", NAME, secret, keep=False)
        assert not secret.is_wiped


SERVER = """
import ctypes, gc, os, sys
import krb5
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.model.secret import Secret

def tell_key(cache):
    # Told, and wiped: nothing of it is left by this.
    context = krb5.init_context()
    for ticket in krb5.cc_resolve(context, cache.encode()):
        if str(ticket.server).startswith("krbtgt/"):
            key = ticket.keyblock.data
            os.write(1, key)
            ctypes.memset(id(key) + bytes.__basicsize__ - 1, 0, len(key))

keytab, size = sys.argv[1], int(sys.argv[2])
believed = TrustedRealm(name="STEAD.TEST", requires_pac=False)
service = KerberosService(
    keytab, "HTTP/localhost", realms=[believed],
    replay_cache=f"{keytab}.replays",
)
authority = KerberosPasswords(service, "STEAD.TEST")
typed = bytearray(size)
os.readv(0, [typed])
with Secret(typed) as secret:
    os.write(1, b"typed")
    os.read(0, 1)
    typed[:] = bytes(size)
    client = authority.log_on("carol", "STEAD.TEST", secret, keep=True)
tell_key(client.credentials._open_cache())
client.credentials.initiate("HTTP@back").step()
os.read(0, 1)
client.close()
gc.collect()
os.write(1, b"closed")
os.read(0, 1)
"""


def test_what_a_core_dump_would_hold(stage):
    """No password once it was looked at, and no key once the session has ended."""
    password = b"a-password-of-carols-alone"
    stage.realm.add_principal("carol", password.decode())
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(stage.keytab), str(len(password))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip

        def goes_on(said):
            process.stdin.write(said)
            return process.stdout.read(64)

        assert b"typed" == goes_on(password)
        assert stands_in(process, password) > 0
        key = goes_on(b"x")
        assert 32 == len(key)
        assert (0, True) == (stands_in(process, password), stands_in(process, key) > 0)
        assert b"closed" == goes_on(b"x")
        assert (0, 0) == (stands_in(process, password), stands_in(process, key))
        process.communicate(b"x")
