"""Whose certificate it is: issuers by their anchors, names by a rule, nothing twice."""

import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.adapters.certificates import (
    CertificateIssuer,
    Certificates,
    NameKind,
    der,
)
from stead.adapters.certificates.names import NameRule, names_of
from stead.authority.names import name_key
from stead.errors import EvidenceRefusedError, InvalidRequestError
from stead.model.sid import Sid
from stead.testing.certificates import DAY, SERVER, Authority, sid_extension, tlv, upn

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
ALICE = upn("alice@corp.test")


@pytest.fixture(scope="module")
def corp():
    return Authority("Corp CA")


@pytest.fixture
def desk(corp, tmp_path):
    """Whose certificates are believed: Corp's, by a rule of the test's."""

    def made(**more):
        issuer = CertificateIssuer(
            name="corp", anchors=corp.anchor(tmp_path / "corp.pem"), **more
        )
        return Certificates([issuer])

    return made


def shown(signed, *between):
    return signed.der, tuple(one.der for one in (*signed.chain, *between))


def test_a_certificate_says_who_its_holder_is_and_until_when(corp, desk):
    leaf = corp.issue("Alice", ALICE)
    client = desk().identify([leaf.der, corp.own.der])
    assert ("certificate", "corp", "alice@corp.test") == (
        client.package,
        client.issuer,
        client.name,
    )
    ends = leaf.certificate.not_valid_after_utc.timestamp()
    assert ends * 1_000_000_000 == client.expires
    assert client.is_bound
    assert f"{leaf.certificate.serial_number:x}" in dict(client.details).values()


def test_a_chain_that_somebody_else_saw_is_built_and_verified_here(corp, desk):
    between = Authority("Corp Sub CA", corp)
    leaf = between.issue("Alice", ALICE)
    client = desk().verify(*shown(leaf))
    assert ("corp", "alice@corp.test") == (client.issuer, client.name)
    assert not client.is_bound
    with pytest.raises(EvidenceRefusedError, match="no issuer that is believed"):
        desk().verify(leaf.der)


@pytest.mark.parametrize(
    ("kind", "name", "domain", "known_as"),
    [
        (NameKind.UPN, ALICE, "", "alice@corp.test"),
        (NameKind.UPN, ALICE, "CORP.test", "alice"),
        (NameKind.EMAIL, x509.RFC822Name("al@corp.test"), "corp.test", "al"),
        (NameKind.DNS, x509.DNSName("web.corp.test"), "corp.test", "web.corp.test"),
        (NameKind.DNS, x509.DNSName("web.test"), "", "web.test"),
        (
            NameKind.URI,
            x509.UniformResourceIdentifier("spiffe://corp.test/web"),
            "corp.test",
            "spiffe://corp.test/web",
        ),
    ],
)
def test_a_rule_says_which_name_counts(corp, desk, kind, name, domain, known_as):
    leaf = corp.issue("x", name)
    assert known_as == desk(names=(kind,), domain=domain).verify(leaf.der).name


def test_a_common_name_counts_only_if_it_is_asked_for(corp, desk):
    leaf = corp.issue("alice")
    chain = [leaf.der, corp.own.der]
    with pytest.raises(EvidenceRefusedError, match="no name of kind upn"):
        desk().identify(chain)
    assert "alice" == desk(names=(NameKind.COMMON_NAME,)).identify(chain).name


@pytest.mark.parametrize("kinds", ["UPN", ("UPN",), ("email",), [None]])
def test_a_kind_of_name_is_no_text(kinds):
    with pytest.raises(InvalidRequestError) as caught:
        CertificateIssuer(name="corp", anchors="corp-ca.pem", names=kinds)
    assert "NameKind.UPN" in caught.value.advice


def test_the_first_kind_that_is_there_counts(corp, desk):
    both = (NameKind.UPN, NameKind.DNS)
    leaf = corp.issue("x", x509.DNSName("a.test"), upn("alice@b.test"))
    assert "alice@b.test" == desk(names=both).verify(leaf.der).name
    leaf = corp.issue("x", x509.DNSName("a.test"))
    assert "a.test" == desk(names=both).verify(leaf.der).name


# --- attacks --------------------------------------------------------------------------


def naive_name(leaf: bytes) -> str:
    """What much code does: the first UPN of a certificate that somebody verified."""
    certificate = x509.load_der_x509_certificate(leaf)
    return names_of(certificate, NameKind.UPN)[0].partition("@")[0]


def test_another_trusted_authority_cannot_name_alice_of_corp(corp, tmp_path):
    """Both are trusted, and the second calls itself what the first is called."""
    evil = Authority("Corp CA")
    both = Certificates(
        [
            CertificateIssuer(name="corp", anchors=corp.anchor(tmp_path / "one.pem")),
            CertificateIssuer(
                name="partner", anchors=evil.anchor(tmp_path / "two.pem")
            ),
        ]
    )
    forged, real = evil.issue("Alice", ALICE), corp.issue("Alice", ALICE)
    issued_by = {
        x509.load_der_x509_certificate(one.der).issuer for one in (forged, real)
    }
    assert 1 == len(issued_by)  # by text they are one
    assert "alice" == naive_name(forged.der)
    assert "partner" == both.verify(forged.der).issuer
    assert "partner" == both.identify([forged.der, evil.own.der]).issuer
    assert "corp" == both.verify(real.der).issuer


def test_a_partner_below_corp_stays_the_partner_whoever_had_the_handshake(
    corp, tmp_path
):
    """Without partial chains OpenSSL goes on to the root, which is corp's."""
    partner = Authority("Partner CA", corp)
    below = tmp_path / "partner.pem"
    below.write_bytes(partner.own.pem)
    both = Certificates(
        [
            CertificateIssuer(name="corp", anchors=corp.anchor(tmp_path / "one.pem")),
            CertificateIssuer(name="partner", anchors=below, domain="partner.test"),
        ]
    )
    forged = partner.issue("Alice", ALICE)
    whole = [forged.der, partner.own.der, corp.own.der]
    naive = {corp.own.der: "corp", partner.own.der: "partner"}
    assert "corp" == naive[whole[-1]]  # by who stands last
    for shown_by in (
        lambda signed: both.verify(*shown(signed)),
        lambda signed: both.identify([signed.der, *whole[1:]]),
        lambda signed: both.identify([signed.der, partner.own.der]),
    ):
        with pytest.raises(EvidenceRefusedError, match="of another domain"):
            shown_by(forged)
        bob = shown_by(partner.issue("Bob", upn("bob@partner.test")))
        assert ("partner", "bob") == (bob.issuer, bob.name)


def test_a_partner_whom_corp_has_certified_as_well_stays_the_partner(corp, tmp_path):
    """Its own anchor has expired. The client sends corp's certificate of its key."""
    partner = Authority("Partner CA")
    expired, cross = partner.renewed(age=9 * DAY), partner.renewed(corp)
    lists = tmp_path / "corp.crl"
    lists.write_bytes(corp.revoke())
    both = Certificates(
        [
            CertificateIssuer(
                name="corp",
                anchors=corp.anchor(tmp_path / "1.pem"),
                domain="corp.test",
                revocations=lists,
            ),
            CertificateIssuer(
                name="partner",
                anchors=expired.anchor(tmp_path / "2.pem"),
                domain="partner.test",
            ),
        ]
    )
    forged = cross.issue("Alice", ALICE)
    above = x509.load_der_x509_certificate(cross.own.der).issuer
    assert corp.name == above, "by who certified the partner it is corp's Alice"
    with pytest.raises(EvidenceRefusedError, match="of another domain"):
        both.verify(*shown(forged))
    with pytest.raises(EvidenceRefusedError, match="of another domain"):
        both.identify([forged.der, cross.own.der, corp.own.der])
    bobs = cross.issue("Bob", upn("bob@partner.test"))
    bob = both.verify(*shown(bobs))
    assert ("partner", "bob") == (bob.issuer, bob.name)
    lists.write_bytes(corp.revoke(cross.own.certificate.serial_number))
    with pytest.raises(EvidenceRefusedError, match="is revoked"):
        both.verify(*shown(bobs))
    with pytest.raises(EvidenceRefusedError, match="no issuer names"):
        both.identify([bobs.der, cross.own.der, Authority("Web CA").own.der])


def test_an_authority_that_no_issuer_names_is_not_believed(corp, desk):
    evil = Authority("Corp CA")
    forged = evil.issue("Alice", ALICE)
    assert "alice" == naive_name(forged.der)
    with pytest.raises(EvidenceRefusedError, match="no issuer names"):
        desk().identify([forged.der, evil.own.der])
    with pytest.raises(EvidenceRefusedError, match="no issuer that is believed"):
        desk().verify(forged.der)
    with pytest.raises(EvidenceRefusedError, match="no issuer that is believed"):
        desk().verify(forged.der, [evil.own.der, corp.own.der])


def test_a_holder_of_a_certificate_is_no_authority(corp, desk):
    bob = corp.issue("Bob", upn("bob@corp.test"))
    wicked = Authority("x")
    wicked.name, wicked.own, wicked.by = bob.certificate.subject, bob, corp
    forged = wicked.issue("Alice", ALICE)
    assert "alice" == naive_name(forged.der)
    with pytest.raises(EvidenceRefusedError, match="no issuer that is believed"):
        desk().verify(forged.der, [bob.der])


def test_a_partner_that_may_certify_its_hosts_cannot_name_alice(corp, desk):
    """A constraint on hosts says nothing of UPNs, to every library."""
    hosts = x509.NameConstraints([x509.DNSName("partner.test")], None)
    partner = Authority("Partner CA", corp, extensions=[hosts])
    forged = partner.issue("Alice", ALICE)
    assert "alice" == naive_name(forged.der)
    with pytest.raises(EvidenceRefusedError, match="name constraints"):
        desk(domain="corp.test").verify(*shown(forged))
    inside = partner.issue("web", x509.DNSName("web.partner.test"))
    outside = partner.issue("web", x509.DNSName("web.corp.test"))
    hosts_of = desk(names=(NameKind.DNS,))
    assert "web.partner.test" == hosts_of.verify(*shown(inside)).name
    with pytest.raises(EvidenceRefusedError, match="no issuer that is believed"):
        hosts_of.verify(*shown(outside))


def test_a_constrained_authority_asserts_no_sid(corp, desk):
    hosts = x509.NameConstraints([x509.DNSName("partner.test")], None)
    partner = Authority("Partner CA", corp, extensions=[hosts])
    forged = partner.issue(
        "x",
        x509.DNSName("web.partner.test"),
        extensions=[sid_extension("S-1-5-21-1-2-3-500")],
    )
    believing = desk(names=(NameKind.DNS,), sid_domains=(DOMAIN,))
    with pytest.raises(EvidenceRefusedError, match="asserts a SID"):
        believing.verify(*shown(forged))


@pytest.mark.parametrize(
    "names",
    [
        (upn("bob@corp.test"), ALICE),
        (ALICE, ALICE),
        (ALICE, upn("bob@corp.test")),
    ],
)
def test_a_certificate_with_two_upns_is_refused(corp, desk, names):
    leaf = corp.issue("x", *names)
    assert naive_name(leaf.der) in {"alice", "bob"}
    with pytest.raises(EvidenceRefusedError, match="2 names of kind `upn`"):
        desk().verify(leaf.der)


@pytest.mark.parametrize(
    "name",
    [
        "alice\0@corp.test",
        "alice\n@corp.test",
        " alice@corp.test",
        "alice@corp.test ",
        "alice@@corp.test",
        "@corp.test",
        "alice@",
        "alice",
        "",
        "a" * 300 + "@corp.test",
        "alice@evil.test@corp.test",
        "ali*e@corp.test",
        "alice@corp.test.evil.test",
        "alice@evilcorp.test",
        "CORP\\alice@corp.test",
    ],
)
def test_an_unfit_name_is_refused(corp, desk, name):
    content = name.encode()
    value = b"\x0c" + (
        bytes([len(content)])
        if len(content) < 128
        else b"\x82" + len(content).to_bytes(2, "big")
    )
    other = x509.OtherName(upn("x").type_id, value + content)
    leaf = corp.issue("x", other)
    with pytest.raises(EvidenceRefusedError):
        desk(domain="corp.test").verify(leaf.der)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("\uff41lice@corp.test", "full width: the store folds it to `alice`"),
        ("\u212aaren@corp.test", "the Kelvin sign: the store folds it to `karen`"),
        ("\u0430lice@corp.test", "a Cyrillic letter: people read it as `alice`"),
    ],
)
def test_a_name_that_only_looks_like_another_is_refused(corp, desk, name, why):
    leaf = corp.issue("x", upn(name))
    if "folds" in why:
        assert name_key(naive_name(leaf.der)) in {"alice", "karen"}
    with pytest.raises(EvidenceRefusedError, match="unfit"):
        desk(domain="corp.test").verify(leaf.der)
    anybody = desk(domain="corp.test", ascii_only=False)
    assert name.partition("@")[0] == anybody.verify(leaf.der).name


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://evil.test/web",
        "spiffe://corp.test@evil.test/web",
        "spiffe://corp.test:443/web",
        "spiffe://corp%2etest/web",
        "spiffe:corp.test/web",
        "/web",
    ],
)
def test_a_uri_of_another_domain_is_refused(corp, desk, uri):
    leaf = corp.issue("x", x509.UniformResourceIdentifier(uri))
    with pytest.raises(EvidenceRefusedError):
        desk(names=(NameKind.URI,), domain="corp.test").verify(leaf.der)


def test_a_host_of_another_domain_is_refused(corp, desk):
    for host in ("corp.test.evil.test", "evilcorp.test"):
        leaf = corp.issue("x", x509.DNSName(host))
        with pytest.raises(EvidenceRefusedError, match="another domain"):
            desk(names=(NameKind.DNS,), domain="corp.test").verify(leaf.der)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x0c",
        b"\x0c\x05alic",
        tlv(0x16, b"alice@corp.test"),
        tlv(0x0C, b"alice@corp.test") + b"\x00",
        b"\x0c\x81\x0falice@corp.test",
        b"\x0c\x80alice@corp.test\x00\x00",
        b"\x0c\x82\x00\x0falice@corp.test",
        b"\x0c\x83\x00\x00\x0falice@corp.test",
    ],
)
def test_what_is_no_der_is_refused(value):
    assert b"alice" == der.content(tlv(0x0C, b"alice"), der.UTF8_STRING)
    assert 200 == len(der.content(tlv(0x0C, b"a" * 200), der.UTF8_STRING))
    with pytest.raises(EvidenceRefusedError):
        der.content(value, der.UTF8_STRING)


@pytest.mark.parametrize(
    "value", [tlv(0x16, b"alice@corp.test"), tlv(0x0C, b"al\xffce@corp.test")]
)
def test_a_upn_of_another_type_or_of_no_text_is_refused(corp, desk, value):
    leaf = corp.issue("x", x509.OtherName(upn("x").type_id, value))
    with pytest.raises(EvidenceRefusedError):
        desk().identify([leaf.der, corp.own.der])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"use": ()}, "not meant for clients"),
        ({"use": (SERVER,)}, "not meant for clients"),
        ({"is_authority": True}, "an authority's own"),
    ],
)
def test_what_is_not_meant_for_clients_is_refused(corp, desk, more, why):
    leaf = corp.issue("x", ALICE, **more)
    assert "alice" == naive_name(leaf.der)
    with pytest.raises(EvidenceRefusedError, match=why):
        desk().identify([leaf.der, corp.own.der])


def test_a_certificate_counts_in_its_time_alone(corp, tmp_path):
    leaf = corp.issue("x", ALICE)
    told = CertificateIssuer(name="corp", anchors=corp.anchor(tmp_path / "corp.pem"))
    day = 86_400_000_000_000
    for shift in (-3 * day, 3 * day):
        then = Certificates([told], clock=lambda by=shift: time.time_ns() + by)
        with pytest.raises(EvidenceRefusedError, match="not valid at this time"):
            then.identify([leaf.der, corp.own.der])
        with pytest.raises(EvidenceRefusedError, match="not valid"):
            then.verify(leaf.der)


def test_garbage_and_an_anchor_alone_are_nobody(corp, desk):
    with pytest.raises(EvidenceRefusedError, match="no certificate"):
        desk().verify(b"\x30\x00")
    with pytest.raises(EvidenceRefusedError, match="by no authority"):
        desk().identify([corp.own.der])
    with pytest.raises(EvidenceRefusedError, match="by no authority"):
        desk().identify([])


# --- SIDs -----------------------------------------------------------------------------


def test_a_sid_counts_only_from_an_issuer_that_may_assert_its_domain(corp, desk):
    leaf = corp.issue("x", ALICE, extensions=[sid_extension("S-1-5-21-1-2-3-1104")])
    assert desk().verify(leaf.der).sids is None
    believed = desk(sid_domains=(DOMAIN,)).verify(leaf.der).sids
    assert Sid.from_string("S-1-5-21-1-2-3-1104") == believed.user
    other = Sid.from_string("S-1-5-21-9-9-9")
    with pytest.raises(EvidenceRefusedError, match="may not assert"):
        desk(sid_domains=(other,)).verify(leaf.der)
    assert desk(sid_domains=(other,)).verify(corp.issue("x", ALICE).der).sids is None


@pytest.mark.parametrize(
    "text",
    ["S-1-5-18", "S-1-5-32-544", "S-1-22-1-0", "S-1-5-21-1-2-3", "S-1-5-21-1-2-3-4-5"],
)
def test_the_machines_own_sids_are_never_asserted(corp, desk, text):
    leaf = corp.issue("x", ALICE, extensions=[sid_extension(text)])
    with pytest.raises(EvidenceRefusedError, match="may not assert"):
        desk(sid_domains=(DOMAIN,)).verify(leaf.der)


@pytest.mark.parametrize(
    "value",
    [
        b"\x30\x00",
        tlv(0x30, tlv(0xA0, tlv(0x06, b"\x2a") + tlv(0xA0, tlv(0x04, b"S-1-5-18")))),
        sid_extension("nobody").value,
        sid_extension("S-1-5-21-1-2-3-1104").value + b"\0",
        sid_extension("S-1-5-21-1-2-3-1104").value[:-1],
        sid_extension("S-1-5-21-1-2-3-110\u0664").value,
    ],
)
def test_a_malformed_sid_is_refused(corp, desk, value):
    broken = x509.UnrecognizedExtension(sid_extension("x").oid, value)
    leaf = corp.issue("x", ALICE, extensions=[broken])
    with pytest.raises(EvidenceRefusedError):
        desk(sid_domains=(DOMAIN,)).identify([leaf.der, corp.own.der])


# --- configuration --------------------------------------------------------------------


def test_what_could_not_be_meant_is_refused(corp, tmp_path):
    anchors = corp.anchor(tmp_path / "corp.pem")
    leaf = corp.issue("x", ALICE)
    (tmp_path / "leaf.pem").write_bytes(leaf.pem)
    (tmp_path / "none.pem").write_bytes(b"")

    def issuer(**more):
        return CertificateIssuer(**{"name": "corp", "anchors": anchors, **more})

    with pytest.raises(InvalidRequestError, match="has no name"):
        issuer(name=" ")
    with pytest.raises(InvalidRequestError, match="names no file"):
        issuer(demands_revocations=True)
    with pytest.raises(InvalidRequestError, match="each once"):
        issuer(names=())
    with pytest.raises(InvalidRequestError, match="in no domain"):
        NameRule((NameKind.COMMON_NAME,), "corp.test")
    with pytest.raises(InvalidRequestError, match="no issuer of"):
        Certificates([])
    with pytest.raises(InvalidRequestError, match="a `Sid`, not a text"):
        issuer(sid_domains=["S-1-5-21-1-2-3"])
    with pytest.raises(InvalidRequestError, match="have one name"):
        Certificates([issuer(), issuer()])
    with pytest.raises(InvalidRequestError, match="share the anchor"):
        Certificates([issuer(), issuer(name="other")])
    with pytest.raises(InvalidRequestError, match="no certificate of an authority"):
        Certificates([issuer(anchors=tmp_path / "leaf.pem")])
    for missing in ("none.pem", "nothing.pem"):
        with pytest.raises(InvalidRequestError, match="cannot be read"):
            Certificates([issuer(anchors=tmp_path / missing)])


def test_two_certificates_of_one_authority_are_one_issuers(corp, tmp_path):
    """Its second one ends the same chains: which issuer it is, an order would say."""
    again = corp.renewed()
    alice = corp.issue("Alice", ALICE)
    files = corp.anchor(tmp_path / "old.pem"), again.anchor(tmp_path / "new.pem")
    old, new = (CertificateIssuer(name=each.stem, anchors=each) for each in files)
    for one in (old, new):
        assert one.name == Certificates([one]).verify(*shown(alice)).issuer
    with pytest.raises(InvalidRequestError, match="or its key"):
        Certificates([old, new])
    both = tmp_path / "both.pem"
    both.write_bytes(corp.own.pem + again.own.pem)
    one = Certificates([CertificateIssuer(name="corp", anchors=both)])
    assert "corp" == one.verify(*shown(alice)).issuer


def test_an_authority_with_a_key_of_no_known_kind_is_refused(corp, tmp_path):
    kind, unknown = (bytes.fromhex(f"2a8648ce3d02{last}") for last in ("01", "09"))
    odd = x509.load_der_x509_certificate(corp.own.der.replace(kind, unknown))
    path = tmp_path / "odd.pem"
    path.write_bytes(odd.public_bytes(Encoding.PEM))
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        Certificates([CertificateIssuer(name="corp", anchors=path)])


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 600),
)
def test_whatever_is_shown_is_somebody_of_the_issuer_s_or_a_refusal(changes, size):
    """A library's own errors would be the client's to choose."""
    desk, corp, whole = mangled_stage()
    leaf = bytearray(whole)
    for place, value in changes:
        leaf[place % len(leaf)] = value
    shown = bytes(leaf[:size])
    for judge in (
        lambda: desk.verify(shown),
        lambda: desk.verify(shown, [shown]),
        lambda: desk.identify([shown, corp.own.der]),
    ):
        with suppress(EvidenceRefusedError):
            assert "corp" == judge().issuer


@cache
def mangled_stage():
    corp = Authority("Corp CA")
    with tempfile.TemporaryDirectory() as folder:
        anchors = corp.anchor(Path(folder) / "corp.pem")
        issuer = CertificateIssuer(name="corp", anchors=anchors, sid_domains=(DOMAIN,))
        desk = Certificates([issuer])
    extensions = [sid_extension("S-1-5-21-1-2-3-1104")]
    return desk, corp, corp.issue("x", ALICE, extensions=extensions).der
