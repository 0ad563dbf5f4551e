"""What a ticket says of groups: by others, signed wrongly, or not to be said."""

import gssapi
import pytest
from gssapi.raw import accept_sec_context, display_name, get_name_attribute
from gssapi.raw.misc import GSSError
from tests.adapters.kerberos.forging import Forger
from tests.codec import pac_builder

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.errors import EvidenceRefusedError
from stead.model.sid import Sid
from stead.model.well_known import SERVICE_ASSERTED_IDENTITY

ALICE = Sid.from_string("S-1-5-21-11-22-33-1104")
ADMINS = Sid.from_string("S-1-5-21-11-22-33-512")
BUILTIN = Sid.from_string("S-1-5-32")


@pytest.fixture
def forger(stage):
    return Forger(stage)


@pytest.fixture
def package(stage):
    return KerberosPackage(stage.service())


@pytest.fixture
def strict(stage):
    told = TrustedRealm(name="STEAD.TEST")
    return KerberosPackage(stage.service(realms=[told]))


def client_of(package, blob):
    return package.begin(None).step(blob).client


def logon(**parts):
    return pac_builder.logon_info(**parts)


def test_what_the_realm_signed_is_read(forger, package):
    """The forger's hand is right: what follows is refused for its own reason."""
    client = client_of(package, forger.with_pac(logon(rids=((512, 7),))))
    assert ("alice", ALICE) == (client.name, client.sids.user)
    assert ADMINS in {group.sid for group in client.sids.groups}


def test_the_domains_spelling_of_the_name_counts(forger, package):
    names = ("Alice.A", "Alice", "", "", None, None)
    assert "Alice.A" == client_of(package, forger.with_pac(logon(names=names))).name


def test_a_logon_for_a_service_is_told(forger, package):
    extra = ((SERVICE_ASSERTED_IDENTITY, 7),)
    client = client_of(package, forger.with_pac(logon(extra=extra)))
    assert client.is_verified_by_service


def test_a_client_that_writes_its_own_groups_has_none(stage, package, strict):
    """It stands in the client's own part of the message, which the client signs."""
    stage.realm._administer("modprinc +no_auth_data_required HTTP/localhost")
    try:
        bare = Forger(stage)
    finally:
        stage.realm._administer("modprinc -no_auth_data_required HTTP/localhost")
    own = pac_builder.pac((1, logon(rids=((512, 7),))))
    client = client_of(package, bare.message(own_pac=own))
    assert ("alice", None) == (client.name, client.sids)
    with pytest.raises(EvidenceRefusedError, match="groups"):
        client_of(strict, bare.message(own_pac=own))


def test_groups_whose_signature_is_wrong_are_not_no_groups(stage, forger, package):
    """The library gives none; the naive code lets the client in without them."""
    keys = {"keytab": f"FILE:{stage.keytab}", "rcache": "none:"}
    found = accept_sec_context(
        forger.with_pac(logon(), is_signed=False),
        gssapi.Credentials(usage="accept", store=keys),
    )
    with pytest.raises(GSSError):  # which it takes for "there are none"
        get_name_attribute(found.initiator_name, b"urn:mspac:logon-info")
    assert b"alice@STEAD.TEST" == display_name(found.initiator_name, False).name
    with pytest.raises(EvidenceRefusedError, match="not verified"):
        client_of(package, forger.with_pac(logon(), is_signed=False))


def test_groups_of_another_client_are_not_taken(forger, package):
    with pytest.raises(EvidenceRefusedError):
        client_of(package, forger.with_pac(logon(), name="bob"))


def test_nobody_is_the_machine_itself(forger, package):
    """A domain that says `S-1-5-32-544` of somebody is not believed."""
    blob = forger.with_pac(logon(domain=BUILTIN, rid=544, rids=()))
    with pytest.raises(EvidenceRefusedError):
        client_of(package, blob)


@pytest.mark.parametrize("cut", [0, 1, 40, 150])
def test_logon_information_that_does_not_read_is_refused(forger, package, cut):
    with pytest.raises(EvidenceRefusedError):
        client_of(package, forger.with_pac(logon()[:cut]))
