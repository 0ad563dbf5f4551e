"""The realms on a client's way, read again from its ticket."""

from secrets import token_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.krb5.crypto import Key
from pyasn1.codec.der import encoder
from tests.adapters.kerberos.forging import message
from tests.adapters.kerberos.forging_realms import AES, first_key, ticket, ticket_part
from tests.adapters.kerberos.stage import HTTP

from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos_way import realms_between
from stead.errors import (
    EnforcementUnavailableError,
    EvidenceRefusedError,
    UnsafeConfigurationError,
)

CLIENT = ("alice", "OTHER.TEST")


@pytest.fixture(scope="module")
def keytab(stage):
    return f"FILE:{stage.keytab}"


@pytest.fixture(scope="module")
def given_by_kdc(stage):
    """Return what writes a ticket for the service, as its realm's KDC does."""
    own = first_key(stage.keytab)

    def write(*realms, key=own, **said):
        session = Key(AES, token_bytes(32))
        part = ticket_part(CLIENT, session, ",".join(realms).encode(), **said)
        return ticket("STEAD.TEST", HTTP, key, part), session

    return write


def test_a_message_tells_the_way_of_its_ticket(keytab, given_by_kdc, stage):
    for realms in ((), ("TEST",), ("EDU", "COM")):
        blob = message(*given_by_kdc(*realms), CLIENT)
        assert frozenset(realms) == realms_between([blob], keytab)
    assert frozenset() == realms_between([stage.context().step()], keytab)


def test_every_ticket_that_is_for_these_keys_counts(keytab, given_by_kdc):
    direct, through = given_by_kdc()[0], given_by_kdc("TEST")[0]
    others = given_by_kdc("ELSEWHERE", key=Key(AES, token_bytes(32)))[0]
    tickets = [encoder.encode(each) for each in (direct, others, through)]
    assert {"TEST"} == realms_between([b"".join(tickets)], keytab)
    assert {"TEST"} == realms_between(tickets, keytab)
    assert {"TEST"} == realms_between([b"a" * 300 + tickets[2] + b"a"], keytab)
    with pytest.raises(EvidenceRefusedError, match="cannot be read"):
        realms_between([tickets[1]], keytab)


def test_a_ticket_that_is_written_otherwise_is_read_or_there_is_none(
    keytab, given_by_kdc
):
    """The library takes a long tag for a short one (X.690 8.1.2.4)."""
    written = encoder.encode(given_by_kdc("TEST")[0])
    assert b"\x61" == written[:1]
    assert {"TEST"} == realms_between([b"\x7f\x01" + written[1:]], keytab)


@pytest.mark.parametrize(
    ("realms", "said"), [(("",) * 2, {}), (("A\\",), {}), (("TEST",), {"kind": 2})]
)
def test_a_way_that_is_not_told_is_not_no_way(keytab, given_by_kdc, realms, said):
    blob = message(*given_by_kdc(*realms, **said), CLIENT)
    with pytest.raises(EvidenceRefusedError):
        realms_between([blob], keytab)


def test_what_is_no_message_has_no_way(keytab):
    for blobs in ([], [b""], [b"\x61"], [b"\x61\x84\xff\xff\xff\xff" + bytes(40)]):
        with pytest.raises(EvidenceRefusedError, match="cannot be read"):
            realms_between(blobs, keytab)
    with pytest.raises(EvidenceRefusedError, match="full of"):
        realms_between([b"\x61" * 9000], keytab)
    with pytest.raises(EnforcementUnavailableError):
        realms_between([b""], "FILE:/nonexistent")


@settings(max_examples=50)
@given(data=st.data())
def test_octets_that_were_changed_are_a_way_or_a_refusal(keytab, given_by_kdc, data):
    blob = bytearray(encoder.encode(given_by_kdc("TEST")[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(blob) - 1))
        blob[at] ^= data.draw(st.integers(1, 255))
    try:
        found = realms_between([bytes(blob)], keytab)
    except EvidenceRefusedError:
        return
    assert {"TEST"} == found


def test_realms_on_the_way_are_named_one_by_one():
    with pytest.raises(UnsafeConfigurationError):
        TrustedRealm(name="OTHER.TEST", through="TEST")
