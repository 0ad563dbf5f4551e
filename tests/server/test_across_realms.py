"""A server whose clients are of other realms than its own, and what those may say.

The KDCs are real, and so is the hand that forges: it has another realm's database, and
with it the key that the two realms have in common. Beside Stead stands what programs
make of the library's yes: the name before the `@`.
"""

import asyncio
import base64
from functools import partial
from secrets import token_bytes

import gssapi
import httpx
import pytest
from impacket.krb5.crypto import Key
from pyasn1.codec.der import encoder
from tests.adapters.kerberos.forging import LOGON, message, pac_of, put
from tests.adapters.kerberos.forging_realms import (
    CHECKED,
    DISABLE_TRANSITED_CHECK,
    RefusedByKdcError,
    first_key,
    ticket,
    ticket_part,
)
from tests.adapters.kerberos.realms import (
    ALICE,
    OTHER,
    OWN,
    PARENT,
    SERVICE,
    THIRD,
    four_realms,
    heard_by,
    trusted,
)
from tests.adapters.kerberos.stage import KERBEROS, SPNEGO, session_of
from tests.adapters.outbound.web import serving
from tests.codec import pac_builder
from tests.domain_clients import found

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import (
    LogonFailureError,
    NoCredentialsError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.gates.http import client_of
from stead.gates.negotiate import NegotiateMiddleware
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel
from stead.model.well_known import AUTHORITY_ASSERTED_IDENTITY

pytestmark = [pytest.mark.slow]

QUICK = LockoutPolicy(first_delay=0.001, longest_delay=0.01)
OURS, THEIRS = Sid.from_string("S-1-5-21-1-1-1"), Sid.from_string("S-1-5-21-2-2-2")
POLICY = 12  # KDC_ERR_POLICY, RFC 4120 7.5.9
BY_POLICY = gssapi.RequirementFlag.mutual_authentication | 0x8000


@pytest.fixture(scope="module")
def realms():
    with four_realms() as made, found(made.own):
        yield made


@pytest.fixture
def serve(realms, open_server):
    """Open a server that believes its own realm, and what it is told to."""

    def make(*others, issuers=(), **options):
        service = realms.service(*others)
        own = Issuer(OWN, packages=["kerberos"], names_accounts=True)
        server = open_server(
            lockout=QUICK, packages=[KerberosPackage(service)],
            password_authorities=[KerberosPasswords(service, e.name) for e in others],
            issuers=[own, *issuers], **options,
        )  # fmt: skip
        for name in ("alice", "bob", "partner"):
            server.accounts.add(name)
        return server

    return make


@pytest.fixture
def partners(serve):
    """A server that knows Alice of the other realm as an account with another name."""
    server = serve(trusted(OTHER), issuers=[Issuer(OTHER)])
    server.accounts.add_alias("partner", OTHER, "alice")
    return server


def refused(server, blob):
    """Return what the trail says of why a client was not let in."""
    with pytest.raises(LogonFailureError) as caught:
        session_of(server, blob)
    assert "logon failure" == str(caught.value)
    (record,) = server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
    return " ".join(record[1].reasons)


# --- whose clients are whose ----------------------------------------------------------


def test_a_client_of_a_realm_that_is_not_named_is_nobody(realms, serve):
    blob = realms.message(realms.other)
    assert "alice" == realms.naive(blob).partition("@")[0], "who has an account here"
    same = Issuer(OTHER, names_accounts=True, same_people_as=OWN)
    said = refused(serve(issuers=[same]), blob)
    assert "`alice@OTHER.TEST` is of a realm that is not believed" in said


def test_a_client_of_a_believed_realm_is_not_ours_of_the_same_name(realms, serve):
    server = serve(trusted(OTHER), issuers=[Issuer(OTHER)])
    said = refused(server, realms.message(realms.other))
    assert "no account is `alice@OTHER.TEST`" in said
    with pytest.raises(UnknownAccountError):
        server.lookup("alice@OTHER.TEST")
    with session_of(server, realms.message(realms.own)) as ours:
        assert "alice" == ours.name


def test_a_client_of_another_realm_is_who_its_alias_says(realms, partners):
    with (
        session_of(partners, realms.message(realms.other)) as theirs,
        session_of(partners, realms.message(realms.own)) as ours,
    ):
        assert ("partner", "alice") == (theirs.name, ours.name)
        assert theirs.sid != ours.sid
        for name, session in (("alice@OTHER.TEST", theirs), ("alice@STEAD.TEST", ours)):
            found_here = partners.lookup(name)
            assert session.sid == found_here.sid
            assert session.name == found_here.name == partners.name_of(session.sid)
            assert session.token.group(AUTHORITY_ASSERTED_IDENTITY) is not None
        records = [r for _, r in partners.trail.find(Query(event=AuditEvent.LOGON))]
        expected = {
            "alice@OTHER.TEST": ("partner", str(theirs.sid)),
            "alice@STEAD.TEST": ("alice", str(ours.sid)),
        }
    assert expected == {
        record.detail["principal"]: (record.client.name, str(record.client.sid))
        for record in records
    }


def test_two_realms_name_accounts_only_where_that_is_said_of_them(realms, serve):
    ours, theirs = realms.message(realms.own), realms.message(realms.other)
    said = {realms.naive(blob).partition("@")[0] for blob in (ours, theirs)}
    assert {"alice"} == said, "two people, and one account"
    for another in (OTHER, "corp"):  # a realm, or whoever else says who clients are
        naming = Issuer(another, names_accounts=True)
        with pytest.raises(UnsafeConfigurationError, match="each may mean") as caught:
            serve(trusted(OTHER), issuers=[naming])
        assert f'`same_people_as="{OWN}"`' in caught.value.advice
    one = Issuer(OTHER, names_accounts=True, same_people_as=OWN)
    server = serve(trusted(OTHER), issuers=[one])
    for realm in (realms.own, realms.other):
        with session_of(server, realms.message(realm)) as session:
            assert "alice" == session.name


def test_a_password_of_another_realm_is_proved_by_both(realms, partners):
    with partners.log_on(
        f"alice@{OTHER}", f"{OTHER}-pw", LogonType.INTERACTIVE
    ) as session:
        assert "partner" == session.name
        held = session.credentials_for("kerberos")
        assert f"alice@{OTHER}" == held.principal
    with pytest.raises(LogonFailureError):
        partners.log_on(f"alice@{OTHER}", f"{OWN}-pw", LogonType.INTERACTIVE)


@pytest.mark.parametrize("mech", [KERBEROS, SPNEGO])
def test_over_http_each_is_who_its_realm_says(realms, serve, mech):
    server = serve(
        trusted(OTHER), trusted(THIRD), issuers=[Issuer(OTHER), Issuer(THIRD)]
    )
    for issuer in (OTHER, THIRD):
        server.accounts.add_alias("partner", issuer, "alice")
    begin = partial(server.begin_logon, "negotiate", gate="http")

    def answer(realm):
        blob = base64.b64encode(realms.message(realm, mech=mech)).decode()
        said = asked(NegotiateMiddleware(site, begin=begin), f"Negotiate {blob}")
        return said.status_code, said.text if said.status_code == 200 else ""

    assert (200, "alice") == answer(realms.own)
    assert (200, "partner") == answer(realms.other)
    assert (401, "") == answer(realms.third), "through a realm that is not named"


async def site(scope, _receive, send):
    name = client_of(scope).name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name})


def asked(app, authorization):
    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(
                "http://front.stead.test/", headers={"authorization": authorization}
            )

    return asyncio.run(ask())


# --- what a realm may not say ---------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (("bob", OWN), {}),
        (("carol", THIRD), {}),
        (("carol", "NOWHERE.TEST"), {}),
        (("carol", THIRD), {"flags": [CHECKED]}),
        (("carol", THIRD), {"options": [DISABLE_TRANSITED_CHECK]}),
        (("carol", THIRD), {"transited": b"TEST"}),
        (("bob", f"evil@{OWN}"), {}),
    ],
)
def test_the_own_kdc_refuses_what_another_may_not_say(realms, client, said):
    forger = realms.other_kdc
    assert "alice@OTHER.TEST" == realms.naive(forger.shown(ALICE, SERVICE))
    with pytest.raises(RefusedByKdcError) as caught:
        forger.ask(client, SERVICE, **said)
    assert POLICY == caught.value.code
    assert caught.value.text in {"INVALID LINEAGE", "BAD_TRANSIT"}


def test_a_realm_on_the_way_says_who_others_are_only_where_it_is_named(realms, serve):
    """The KDC lets it, and tells the library so. Honest clients come that way, too."""
    honest = realms.message(realms.third)
    forged = realms.parent_kdc.shown(("alice", THIRD), SERVICE)
    for blob in (honest, forged):
        assert "alice@THIRD.TEST" == realms.naive(blob)
    server = serve(trusted(THIRD), issuers=[Issuer(THIRD)])
    server.accounts.add_alias("partner", THIRD, "alice")
    said = refused(server, forged)
    assert "`alice@THIRD.TEST` comes through the realm `TEST`" in said
    with pytest.raises(LogonFailureError):
        session_of(server, honest)
    named = serve(trusted(THIRD, PARENT), issuers=[Issuer(THIRD)])
    named.accounts.add_alias("partner", THIRD, "alice")
    with session_of(named, realms.message(realms.third)) as session:
        assert "partner" == session.name


def test_a_realm_speaks_for_others_by_its_name_alone(realms, serve):
    """Nobody has written that `TEST` may: the library goes by how they are called."""
    forged = realms.parent_kdc.shown(("alice", "FOURTH.TEST"), SERVICE)
    assert "alice@FOURTH.TEST" == realms.naive(forged)
    server = serve(trusted("FOURTH.TEST"), issuers=[Issuer("FOURTH.TEST")])
    assert "comes through the realm `TEST`" in refused(server, forged)


def test_what_stands_beside_a_ticket_does_not_hide_its_way(realms, serve):
    server = serve(trusted(OTHER), trusted("FOURTH.TEST"), issuers=[Issuer(OTHER)])
    direct, _ = realms.other_kdc.ask(ALICE, SERVICE)
    client = ("alice", "FOURTH.TEST")
    given, key = realms.parent_kdc.ask(client, SERVICE)
    blob = message(given, key, client, beside=encoder.encode(direct))
    assert "alice@FOURTH.TEST" == realms.naive(blob)
    assert "comes through the realm `TEST`" in refused(server, blob)


def test_a_realm_that_is_called_almost_as_ours_is_not_ours(realms, serve):
    r"""Such as `bob@evil\@STEAD.TEST`: what stands after the last `@` is ours."""
    forged = realms.parent_kdc.shown(("bob", f"evil@{OWN}"), SERVICE)
    taken = realms.naive(forged)
    assert (r"bob@evil\@STEAD.TEST", OWN) == (taken, taken.rpartition("@")[2])
    said = refused(serve(), forged)
    assert "is of a realm that is not believed" in said


def test_a_kdc_that_looks_at_no_way_leaves_it_to_the_library(realms, serve, careless):
    server = serve(trusted(THIRD, OTHER), issuers=[Issuer(THIRD)])
    forged = realms.other_kdc.shown(("carol", THIRD), SERVICE)
    assert "Illegal cross-realm ticket" in refused(server, forged)


@pytest.fixture
def careless(realms):
    """Have the own KDC give tickets whose way it has not agreed to."""
    realms.own.configure("reject_bad_transit = false")
    yield
    realms.own.configure()


# --- SIDs -----------------------------------------------------------------------------


def told(domain):
    return (LOGON, pac_builder.logon_info(domain=domain, rid=1104, rids=((512, 7),)))


def test_the_own_kdc_takes_no_sids_of_another_realm_along(realms, serve):
    server = serve(trusted(OTHER), issuers=[Issuer(OTHER, domains=[OURS])])
    blob = realms.other_kdc.shown(ALICE, SERVICE, buffers=[told(OURS)])
    assert "alice@OTHER.TEST" == realms.naive(blob)
    assert "`alice@OTHER.TEST`" in refused(server, blob)


def of_another_domain(realms, sids):
    """A ticket as a KDC writes it that hands SIDs on: by the service's own key."""
    key = Key(18, token_bytes(32))
    part = ticket_part(ALICE, key)
    own = first_key(realms.keytab)
    put(part, pac_of(part, "alice", [told(sids)], own))
    return message(ticket(OWN, SERVICE, own, part), key, ALICE)


def test_a_realms_sids_are_of_its_own_domains_alone(realms, serve):
    issuers = [Issuer(OTHER, domains=[THEIRS])]
    server = serve(trusted(OTHER), issuers=issuers)
    with session_of(server, of_another_domain(realms, THEIRS)) as session:
        assert ("alice@OTHER.TEST", f"{THEIRS}-1104") == (
            session.name, str(session.sid),
        )  # fmt: skip
        assert session.token.group(Sid.from_string(f"{THEIRS}-512")) is not None
        assert str(session.sid) == server.name_of(session.sid), "nobody knows its name"
        (logon,) = server.trail.find(Query(event=AuditEvent.LOGON))
        assert "alice@OTHER.TEST" == logon[1].client.name
    assert "of no domain of its" in refused(server, of_another_domain(realms, OURS))


# --- going on -------------------------------------------------------------------------


@pytest.mark.parametrize("is_named", [False, True])
def test_a_client_delegates_where_each_realm_on_the_way_says_so(
    realms, partners, is_named
):
    """`ok_as_delegate` of the service alone says nothing of it in another realm."""
    sign = "+" if is_named else "-"
    name = f"krbtgt/{OWN}@{OTHER}"
    realms.other._administer(f"modprinc {sign}ok_as_delegate {name}")
    with session_of(partners, realms.message(realms.other, flags=BY_POLICY)) as session:
        level = session.token.level
    assert is_named is (ImpersonationLevel.DELEGATION is level)


def test_a_delegated_client_reaches_both_realms_as_itself(realms, partners):
    with session_of(partners, realms.delegating(realms.other)) as session:
        assert ImpersonationLevel.DELEGATION is session.token.level
        for target, keytab in (
            ("HTTP@back.stead.test", realms.back), ("HTTP@127.0.0.2", realms.away),
        ):  # fmt: skip
            with session.gss(target) as context:
                assert "alice@OTHER.TEST" == heard_by(keytab, context.step())
        with serving(realms.away, address="127.0.0.2") as web, session.http() as http:
            seen = http.get(f"http://127.0.0.2:{web.port}/")
            assert "alice@OTHER.TEST" == seen.text
        records = [r for _, r in partners.trail.find(Query(event=AuditEvent.DELEGATED))]
    assert {"partner"} == {record.client.name for record in records}
    targets = {"gss://HTTP@back.stead.test", "gss://HTTP@127.0.0.2"}
    assert targets < {record.object_name for record in records}


def test_without_a_password_nobody_of_another_realm_of_mits_comes(realms):
    """Its KDC knows no services of other realms by what they are called there."""
    without = LogonWithoutPassword(realms.service(trusted(OTHER)))
    with pytest.raises(NoCredentialsError, match="does not know this server"):
        without.log_on("alice", OTHER)
