"""Certificates that were taken back: lists that count, lists that do not, reloading."""

import datetime as dt
import os
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from stead.adapters.certificates import CertificateIssuer, Certificates
from stead.errors import DirectoryUnavailableError, EvidenceRefusedError
from stead.testing.certificates import Authority, upn

OLD = {"age": dt.timedelta(days=9), "life": dt.timedelta(days=1)}


@pytest.fixture(scope="module")
def corp():
    return Authority("Corp CA")


@pytest.fixture
def crl(tmp_path):
    """Put lists where the issuer reads them, all at once."""
    path = tmp_path / "corp.crl"

    def put(*lists):
        new = tmp_path / "new"
        new.write_bytes(b"".join(lists))
        new.replace(path)
        return path

    put()
    return put


@pytest.fixture
def desk(corp, tmp_path):
    def made(*, demanded=False):
        issuer = CertificateIssuer(
            name="corp",
            anchors=corp.anchor(tmp_path / "corp.pem"),
            revocations=tmp_path / "corp.crl",
            demands_revocations=demanded,
        )
        return Certificates([issuer])

    return made


def test_a_file_that_is_not_there_is_said_before_somebody_comes(
    corp, crl, desk, tmp_path, caplog
):
    crl(corp.revoke())
    desk()
    assert not caplog.records
    (tmp_path / "corp.crl").unlink()
    waiting = desk()
    [said] = caplog.messages
    assert "nobody of issuer `corp` gets in" in said
    assert str(tmp_path / "corp.crl") in said
    alice = alice_of(corp)
    with pytest.raises(DirectoryUnavailableError):
        verify(waiting, alice)
    crl(corp.revoke())
    assert "alice@corp.test" == verify(waiting, alice)


def alice_of(authority):
    return authority.issue("Alice", upn("alice@corp.test"))


def verify(desk, leaf):
    return desk.verify(leaf.der, [one.der for one in leaf.chain]).name


def test_a_revoked_certificate_is_refused_from_the_moment_its_list_is_there(
    corp, crl, desk
):
    alice, bob = alice_of(corp), alice_of(corp)
    certificates = desk(demanded=True)
    crl(corp.revoke())
    assert "alice@corp.test" == verify(certificates, alice)
    crl(corp.revoke(alice.certificate.serial_number))
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(certificates, alice)
    assert "alice@corp.test" == verify(certificates, bob)
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        certificates.identify([alice.der, corp.own.der])


def test_an_authority_that_was_taken_back_takes_its_certificates_along(corp, crl, desk):
    between = Authority("Sub CA", corp)
    alice = alice_of(between)
    certificates = desk()
    crl(corp.revoke(), between.revoke())
    assert "alice@corp.test" == verify(certificates, alice)
    crl(corp.revoke(between.own.certificate.serial_number), between.revoke())
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(certificates, alice)


def test_a_list_that_is_too_old_denies_if_one_is_demanded(corp, crl, desk):
    alice, bob = alice_of(corp), alice_of(corp)
    crl(corp.revoke(bob.certificate.serial_number, **OLD))
    with pytest.raises(EvidenceRefusedError, match="no current revocation list"):
        verify(desk(demanded=True), alice)
    assert "alice@corp.test" == verify(desk(), alice)
    # What was revoked stays so, however old the list.
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(desk(), bob)


def test_a_list_of_the_future_is_none_yet(corp, crl, desk):
    crl(corp.revoke(age=-dt.timedelta(days=2)))
    with pytest.raises(EvidenceRefusedError, match="no current revocation list"):
        verify(desk(demanded=True), alice_of(corp))


def test_every_authority_of_a_chain_needs_a_list_if_one_is_demanded(corp, crl, desk):
    between = Authority("Sub CA", corp)
    alice = alice_of(between)
    for lists in ((), (corp.revoke(),), (between.revoke(),)):
        crl(*(lists or (Authority("Corp CA").revoke(),)))
        with pytest.raises(EvidenceRefusedError, match="no current revocation list"):
            verify(desk(demanded=True), alice)
    crl(corp.revoke(), between.revoke())
    assert "alice@corp.test" == verify(desk(demanded=True), alice)


def test_a_list_that_somebody_else_signed_counts_for_nothing(corp, crl, desk):
    """It bears the right name: who would take back alice's certificate, or clear it?"""
    alice = alice_of(corp)
    forged = corp.revoke(
        alice.certificate.serial_number, key=ec.generate_private_key(ec.SECP256R1())
    )
    crl(forged)
    naive = x509.load_pem_x509_crl(forged)
    assert naive.issuer == alice.certificate.issuer
    assert naive.get_revoked_certificate_by_serial_number(
        alice.certificate.serial_number
    )
    assert "alice@corp.test" == verify(desk(), alice)
    with pytest.raises(EvidenceRefusedError, match="no current revocation list"):
        verify(desk(demanded=True), alice)


def test_an_old_list_beside_the_new_one_cannot_clear_anybody(corp, crl, desk):
    alice = alice_of(corp)
    crl(corp.revoke(**OLD), corp.revoke(alice.certificate.serial_number))
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(desk(demanded=True), alice)


def test_a_list_of_a_part_does_not_cover_the_rest(corp, crl, desk):
    alice = alice_of(corp)
    part = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://crl.test/part")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=True,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    crl(corp.revoke(scope=part))
    with pytest.raises(EvidenceRefusedError, match="no current revocation list"):
        verify(desk(demanded=True), alice)
    crl(corp.revoke(alice.certificate.serial_number, scope=part))
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(desk(), alice)


def test_a_list_in_der_is_read_too(corp, crl, desk):
    alice = alice_of(corp)
    pem = corp.revoke(alice.certificate.serial_number)
    crl(x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER))
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(desk(), alice)


def der_of(pem):
    return x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)


BROKEN = {
    "the second is cut off": lambda one, other: (one + other)[:-40],
    "the second has hardly begun": lambda one, other: one + other[:30],
    "the second is no list by its name": lambda one, other: (
        one + other.replace(b"X509 CRL", b"CRL")
    ),
    "the second has another form": lambda one, other: one + der_of(other),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_file_with_a_list_that_cannot_be_read_lets_nobody_in(corp, crl, desk, broken):
    """Whoever takes the lists that can be read clears those that the others revoke."""
    between = Authority("Sub CA", corp)
    alice = alice_of(between)
    lists = corp.revoke(), between.revoke(alice.certificate.serial_number)
    said = crl(broken(*lists)).read_bytes()
    (readable,) = re.findall(rb"-----BEGIN X509.+?END X509 CRL-----", said, re.DOTALL)
    assert 0 == len(x509.load_pem_x509_crl(readable)), "nobody is revoked by that"
    certificates = desk()
    with pytest.raises(DirectoryUnavailableError, match="cannot be read"):
        verify(certificates, alice)
    crl(b"Revocation lists\n", lists[0], "of Müller CA\n".encode(), lists[1])
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        verify(certificates, alice)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_file_that_cannot_be_read_lets_nobody_in(corp, crl, desk, content):
    path = crl(corp.revoke())
    certificates, alice = desk(), alice_of(corp)
    assert "alice@corp.test" == verify(certificates, alice)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(DirectoryUnavailableError, match="cannot be read"):
            verify(certificates, alice)
    crl(corp.revoke())
    assert "alice@corp.test" == verify(certificates, alice)
