"""NTLM: what a message has to be, beyond what its library asks; and Kerberos first."""

import hashlib
import random
import struct

import pytest
import spnego
from gssapi.raw import ChannelBindings
from spnego.channel_bindings import GssChannelBindings
from tests.adapters.kerberos.stage import KERBEROS, SPNEGO, staged

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.negotiate import NegotiatePackage
from stead.adapters.ntlm import NtlmPackage
from stead.authority.packages import ChannelBinding
from stead.errors import (
    EvidenceRefusedError,
    InvalidRequestError,
    PasswordMismatchError,
    UnsafeConfigurationError,
)
from stead.model.token import ImpersonationLevel

BOUND = ChannelBinding("tls-server-end-point", b"the certificate's hash")
NTLM = spnego.NegotiateOptions.use_ntlm
OPTIONS = {"ntlm": NTLM, "negotiate": NTLM | spnego.NegotiateOptions.use_negotiate}
NTLM_OID = bytes.fromhex("060a2b06010401823702020a")
USERS = "EXAMPLE:alice:tiger\nEXAMPLE:bob:lion\nOTHER:alice:tiger\n"


@pytest.fixture(autouse=True)
def users(tmp_path, monkeypatch):
    file = tmp_path / "users"
    file.write_text(USERS)
    file.chmod(0o600)
    monkeypatch.setenv("NTLM_USER_FILE", str(file))
    return file


@pytest.fixture
def package():
    return NtlmPackage("EXAMPLE")


def bound(data=b"tls-server-end-point:" + BOUND.data):
    return GssChannelBindings(application_data=data)


def client(user="EXAMPLE\\alice", password="tiger", protocol="ntlm", **options):  # noqa: S107
    options.setdefault("channel_bindings", bound())
    return spnego.client(
        user, password, protocol=protocol, options=OPTIONS[protocol], **options
    )


def last_of(exchange, speaking, change=bytes):
    """Take both up to the client's last message; `change` has the server's."""
    return speaking.step(change(exchange.step(speaking.step()).reply))


def accepted(package, speaking, binding=BOUND):
    exchange = package.begin(binding)
    step = exchange.step(last_of(exchange, speaking))
    return step.client


def refused(package, speaking, binding=BOUND, change=bytes, **_):
    exchange = package.begin(binding)
    blob = last_of(exchange, speaking, change)
    for _ in range(2):  # it is over
        with pytest.raises((EvidenceRefusedError, PasswordMismatchError)) as caught:
            exchange.step(blob)
    return str(caught.value.__cause__ or caught.value)


def naive(speaking, change=bytes, **options):
    """Whom pyspnego lets in, asked as its documents do."""
    server = spnego.server(protocol="ntlm", options=NTLM, **options)
    server.step(speaking.step(change(server.step(speaking.step()))))
    return server.client_principal


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_who_knows_the_password_is_let_in(package, protocol):
    found = accepted(package, client(protocol=protocol))
    assert ("ntlm", "EXAMPLE", "alice", True) == (
        found.package, found.issuer, found.name, found.is_bound,
    )  # fmt: skip
    assert (ImpersonationLevel.IMPERSONATION, None, None) == (
        found.level, found.credentials, found.sids,
    )  # fmt: skip


def test_a_name_is_the_same_however_it_is_typed(package):
    assert "alice" == accepted(package, client("example\\ALICE")).name


def test_a_name_that_is_anothers_in_capitals_is_refused(package):
    """pyspnego compares such a client with alice's password, and it is not alice."""
    dotless = "EXAMPLE\\al\u0131ce"
    assert dotless == naive(client(dotless))
    exchange = package.begin(BOUND)
    with pytest.raises(EvidenceRefusedError, match="another's in capitals"):
        exchange.step(last_of(exchange, client(dotless)))


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("EXAMPLE\\alice", "lion"),
        ("EXAMPLE\\nobody", "tiger"),
        ("OTHER\\alice", "tiger"),
        ("alice", "tiger"),
    ],
)
def test_whoever_is_not_of_the_domain_or_does_not_know_is_refused(
    package, user, password
):
    refused(package, client(user, password))


def test_how_far_the_client_lets_the_server_go(package):
    looked_at = client()
    looked_at._context_req |= 0x0010_0000  # NTLMSSP_NEGOTIATE_IDENTIFY
    assert ImpersonationLevel.IDENTIFICATION is accepted(package, looked_at).level


def without_time(challenge, more=b""):
    """Strip what has a client add an integrity code over all messages."""
    size, _, start = struct.unpack_from("<HHI", challenge, 40)
    pairs, kept, at = challenge[start : start + size], more, 0
    while at < len(pairs):
        kind, length = struct.unpack_from("<HH", pairs, at)
        if kind != 7:
            kept += pairs[at : at + 4 + length]
        at += 4 + length
    changed = bytearray(challenge[:start] + kept)
    struct.pack_into("<HHI", changed, 40, len(kept), len(kept), start)
    return bytes(changed)


def with_empty_binding(challenge):
    """Have a client say that it binds nothing, as Windows' clients do."""
    return without_time(challenge, struct.pack("<HH", 10, 16) + bytes(16))


def test_a_response_is_bound_to_the_channel(package):
    """pyspnego lets a response in that is bound to nothing."""
    empty = {"channel_bindings": None}
    found = naive(client(**empty), with_empty_binding, channel_bindings=bound())
    assert "EXAMPLE\\alice" == found
    refused(package, client(**empty), change=with_empty_binding)
    refused(package, client(**empty))
    refused(package, client(channel_bindings=bound(b"tls-server-end-point:other")))
    assert accepted(package, client()).is_bound


def test_a_channel_that_cannot_be_told_is_the_operators_to_allow(package):
    exchange = package.begin(None)
    with pytest.raises(EvidenceRefusedError, match="bound"):
        exchange.step(client().step())
    allowed = NtlmPackage("EXAMPLE", allow_unbound=True)
    assert not accepted(allowed, client(), None).is_bound


def test_the_old_versions_are_refused(package, monkeypatch):
    """pyspnego takes NTLMv1, whose keys are found in hours."""
    monkeypatch.setenv("LM_COMPAT_LEVEL", "1")
    speaking, other = client(), client()
    monkeypatch.delenv("LM_COMPAT_LEVEL")
    assert "EXAMPLE\\alice" == naive(speaking)
    refused(package, other)


def test_messages_that_somebody_changed_on_the_way_are_refused(package):
    """pyspnego takes a response without the code, however the challenge was changed."""
    assert "EXAMPLE\\alice" == naive(client(), without_time)
    refused(package, client(), change=without_time)


def test_a_decoy_beside_the_message_is_refused(package):
    exchange = package.begin(BOUND)
    blob = last_of(exchange, client())
    with pytest.raises(EvidenceRefusedError, match="more than one"):
        exchange.step(blob + blob)


def test_what_is_no_message_is_refused_in_one_way(package):
    chosen = random.Random(87)  # noqa: S311 - the same noise each time
    begun = client().step()
    wrapped = client(protocol="negotiate").step()
    blobs = [b"", b"NTLMSSP\0", b"NTLMSSP\0\3\0\0\0" + b"\xff" * 80, b"x" * 70000]
    for number in range(400):
        blob = bytearray((begun, wrapped)[number % 2])
        blob[chosen.randrange(len(blob))] ^= chosen.randrange(1, 256)
        blobs += [bytes(blob), bytes(blob[: chosen.randrange(len(blob))])]
        blobs.append(b"NTLMSSP\0" + chosen.randbytes(chosen.randrange(120)))
    for blob in blobs:
        exchange = package.begin(BOUND)
        try:
            assert exchange.step(blob).client is None
        except EvidenceRefusedError:
            continue
        finally:
            exchange.close()


def test_a_last_message_that_was_changed_is_nobodys(package):
    chosen = random.Random(87)  # noqa: S311 - the same changes each time
    for number in range(300):
        exchange = package.begin(BOUND)
        protocol = ("ntlm", "negotiate")[number % 2]
        blob = bytearray(last_of(exchange, client(protocol=protocol)))
        for _ in range(chosen.randrange(1, 4)):
            blob[chosen.randrange(len(blob))] ^= 1 << chosen.randrange(8)
        try:
            step = exchange.step(bytes(blob))
        except (EvidenceRefusedError, PasswordMismatchError):
            continue
        # What is not covered (a wrapper's own length, say) may differ.
        assert step.client is None or "alice" == step.client.name


def test_an_exchange_that_goes_on_and_on_ends(package):
    exchange = package.begin(BOUND)
    speaking = client(protocol="negotiate")
    exchange.step(speaking.step())
    for _ in range(2):
        with pytest.raises(EvidenceRefusedError):
            exchange.step(b"NTLMSSP\0\1\0\0\0")


def test_the_accounts_are_this_servers_alone(users, monkeypatch):
    users.chmod(0o644)
    with pytest.raises(UnsafeConfigurationError):
        NtlmPackage("EXAMPLE")
    monkeypatch.delenv("NTLM_USER_FILE")
    with pytest.raises(UnsafeConfigurationError, match="no file"):
        NtlmPackage("EXAMPLE")


# --- beside Kerberos ------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage():
    with staged() as made:
        yield made


@pytest.fixture
def both(stage, package):
    return NegotiatePackage(KerberosPackage(stage.service()), package)


def test_each_client_comes_by_what_it_offers(stage, both):
    assert "negotiate" == both.name
    for protocol in ("ntlm", "negotiate"):
        assert "ntlm" == accepted(both, client(protocol=protocol)).package
    for mech in (KERBEROS, SPNEGO):
        told = ChannelBindings(application_data=b"tls-server-end-point:" + BOUND.data)
        blob = stage.context(mech=mech, channel_bindings=told).step()
        assert "kerberos" == both.begin(BOUND).step(blob).client.package


def test_who_offers_kerberos_is_not_let_in_by_ntlm(stage, both):
    """Whoever is between makes Kerberos fail, and waits for what is weaker."""
    told = ChannelBindings(application_data=b"tls-server-end-point:" + BOUND.data)
    offered = stage.context(mech=SPNEGO, channel_bindings=told).step()
    # The ticket is spoiled, and Kerberos is still what the client offers first.
    exchange = both.begin(BOUND)
    with pytest.raises(EvidenceRefusedError, match="kerberos refuses"):
        exchange.step(offered[:-40] + bytes(40))
    with pytest.raises(EvidenceRefusedError):
        exchange.step(client().step())
    # An offer of both, in which NTLM comes first and has its message with it.
    kerberos = bytes.fromhex("06092a864886f712010202")
    wrapped = client(protocol="negotiate").step()
    assert NTLM_OID in wrapped
    exchange = both.begin(BOUND)
    with pytest.raises(EvidenceRefusedError, match="kerberos refuses"):
        exchange.step(wrapped + kerberos)


def test_an_exchange_that_was_closed_is_over(both):
    exchange = both.begin(BOUND)
    exchange.step(client().step())
    exchange.close()
    exchange.close()
    with pytest.raises(EvidenceRefusedError):
        exchange.step(client().step())
    unused = both.begin(BOUND)
    unused.close()
    with pytest.raises(EvidenceRefusedError):
        unused.step(client().step())


def test_kerberos_alone_does_not_negotiate(stage, package):
    plain = KerberosPackage(stage.service(), negotiates=False)
    with pytest.raises(InvalidRequestError):
        NegotiatePackage(plain, package)


def test_the_binding_is_the_one_of_the_specification():
    told = bound().pack()
    assert 16 == len(hashlib.md5(told, usedforsecurity=False).digest())
    assert told.endswith(b"tls-server-end-point:" + BOUND.data)
