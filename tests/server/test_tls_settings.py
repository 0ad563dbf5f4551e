"""A file that says how clients of other machines come in."""

import pytest

from stead.adapters.certificates import NameKind
from stead.errors import InvalidNameError, InvalidRequestError
from stead.gates.pipe.turned_away import log_turned_away
from stead.model.sid import Sid
from stead.server.tls_settings import read_tls
from stead.testing.certificates import Authority

WHOLE = """
listen = "[::1]:7443"
certificate = "server.pem"
key = "server.key"
clients = "required"
unbound_packages = ["bearer"]

[[issuer]]
name = "corp"
anchors = "corp.pem"
names = ["uri", "dns"]
domain = "corp.test"
sid_domains = ["S-1-5-21-1-2-3"]
names_accounts = true
same_people_as = "CORP.TEST"
revocations = "corp.crl"
demands_revocations = true
ascii_only = false
"""


@pytest.fixture
def said(world):
    def write(text):
        path = world / "tls.toml"
        path.write_text(text)
        path.chmod(0o644)
        return path

    return write


def test_a_file_says_everything(said, world):
    told = read_tls(said(WHOLE))
    assert ("::1", 7443, "required", ("bearer",)) == (
        told.host, told.port, told.clients, told.unbound_packages,
    )  # fmt: skip
    assert world / "server.key" == told.shown.key
    (certificates,), (issuer,) = told.certificates, told.issuers
    domain = Sid.from_string("S-1-5-21-1-2-3")
    assert ((NameKind.URI, NameKind.DNS), (domain,), True, False) == (
        certificates.names, certificates.sid_domains,
        certificates.demands_revocations, certificates.ascii_only,
    )  # fmt: skip
    assert world / "corp.crl" == certificates.revocations
    assert ("corp", ("certificate",), (domain,), True, "CORP.TEST") == (
        issuer.name, issuer.packages, issuer.domains, issuer.names_accounts,
        issuer.same_people_as,
    )  # fmt: skip
    with pytest.raises(InvalidRequestError, match="anchors"):
        told.gate("notes", log_turned_away)
    Authority().anchor(world / "corp.pem")
    assert 7443 == told.gate("notes", log_turned_away).port


def test_little_is_enough(said):
    told = read_tls(said('listen = "127.0.0.1:0"\ncertificate = "server.pem"'))
    assert (None, "optional", (), ()) == (
        told.shown.key, told.clients, told.certificates, told.issuers,
    )  # fmt: skip
    assert 0 == told.gate("notes", log_turned_away).port


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("listen = ", "no TOML"),
        ('certificate = "a"', "`listen` is a text"),
        ('listen = "x"\ncertificate = "a"', "an address and a port"),
        ('listen = "x:1"', "`certificate` is a text"),
        ('listen = "x:1"\ncertificate = 1', "`certificate` is a text"),
        ('listen = "x:1"\ncertificate = "a"\nfoo = 1', "it says `foo`"),
        ('listen = "x:1"\ncertificate = "a"\nclients = "some"', "is one of"),
        ('listen = "x:1"\ncertificate = "a"\nclients = "required"', "no issuer"),
        ('listen = "x:1"\ncertificate = "a"\nissuer = ["x"]', "is a table"),
        ('listen = "x:1"\ncertificate = "a"\nissuer = 1', "a list of tables"),
        ('listen = "x:1"\ncertificate = "a"\nunbound_packages = [1]', "of words"),
        (WHOLE.replace("anchors", "anchor"), "says `anchor`"),
        (WHOLE.replace('"uri"', '"serial"'), "no kind of name"),
        (WHOLE.replace("names_accounts = true", "names_accounts = 1"), "true or false"),
        (WHOLE.replace("names_accounts = true", ""), "names no accounts"),
        (WHOLE.replace("S-1-5-21-1-2-3", "S-1-5-18"), "no domain's SID"),
        (WHOLE.replace('revocations = "corp.crl"', ""), "names no file"),
        (WHOLE.replace('name = "corp"', 'name = " "'), "has no name"),
    ],
)
def test_what_cannot_be_meant_is_refused(said, text, why):
    with pytest.raises(InvalidRequestError, match=why):
        read_tls(said(text))


def test_a_file_that_others_may_write_is_refused(said):
    path = said(WHOLE)
    path.chmod(0o666)
    with pytest.raises(InvalidRequestError, match="somebody else may write it"):
        read_tls(path)
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read_tls(path.with_name("nothing"))


def test_a_port_that_is_none_is_refused(said):
    told = read_tls(said('listen = "x:99999"\ncertificate = "a"'))
    with pytest.raises(InvalidNameError):
        told.gate("notes", log_turned_away)
