"""GSS-API as a client: the initiator is the client, or there is none."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta

import gssapi
import pytest

from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
    RemoteProtocolError,
    WrongIdentityError,
)
from stead.model.limits import Host

KERBEROS = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
WEB = "HTTP@localhost"


def acceptor(stage):
    return gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{stage.web}"})


def accepted(context, creds):
    """Carry a context's blobs to a service; return the service's side."""
    service = gssapi.SecurityContext(creds=creds, usage="accept")
    blob = context.step()
    while blob:
        answer = service.step(blob)
        blob = context.step(answer) if answer else None
    return service


def test_the_service_takes_each_session_for_its_own_client(sessions, stage):
    for name, session in sessions.items():
        with session.gss(WEB) as context:
            service = accepted(context, acceptor(stage))
            assert context.is_complete
            assert f"{name}@STEAD.TEST" == str(service.initiator_name)
            assert f"{name}@STEAD.TEST" == context.client
            assert b"hello" == service.unwrap(context.wrap(b"hello")).message
            sealed = service.wrap(b"welcome", True).message
            assert b"welcome" == context.unwrap(sealed)


def test_trap_1_tickets_for_kerberos_alone_are_not_shown_by_spnego(sessions, stage):
    """Under SPNEGO the library finds no ticket of alice's, and shows the server's."""
    cache = stage.realm.log_on("alice", "alice-pw")
    alice = gssapi.Credentials(
        usage="initiate", mechs=[KERBEROS], store={"ccache": cache}
    )
    service = gssapi.Name(WEB, gssapi.NameType.hostbased_service)
    naive = gssapi.SecurityContext(
        name=service, creds=alice, mech=SPNEGO, usage="initiate"
    )
    seen = accepted(naive, acceptor(stage))
    assert "HTTP/front.stead.test@STEAD.TEST" == str(seen.initiator_name)
    with sessions["alice"].gss(WEB) as context:
        seen = accepted(context, acceptor(stage))
    assert "alice@STEAD.TEST" == str(seen.initiator_name)


def test_a_service_that_answers_nonsense_is_not_believed(sessions, hops, server):
    with sessions["alice"].gss(WEB) as context:
        context.step()
        with pytest.raises(WrongIdentityError, match="does not show who it is"):
            context.step(b"whoever")
    assert WrongIdentityError.status == hops(server)[-1].status


def test_what_is_not_the_services_word_is_an_error_of_ours(sessions, stage):
    with sessions["alice"].gss(WEB) as context:
        for early in (context.wrap, context.unwrap):
            with pytest.raises(InvalidRequestError, match="before each side knows"):
                early(b"early")
        service = accepted(context, acceptor(stage))
        once = service.wrap(b"once", True).message
        assert b"once" == context.unwrap(once)
        changed = bytearray(service.wrap(b"changed", True).message)
        changed[-1] ^= 1
        own = context.wrap(b"sent back")
        for said in (once, bytes(changed), own, b"", b"whoever"):
            with pytest.raises(gssapi.exceptions.GSSError):
                context._context.unwrap(said)
            with pytest.raises(RemoteProtocolError, match="did not seal that"):
                context.unwrap(said)


def test_a_context_ends_with_its_session(sessions, stage):
    context = sessions["alice"].gss(WEB)
    accepted(context, acceptor(stage))
    sessions["alice"].log_off()
    for act in (lambda: context.wrap(b"x"), context.step, lambda: context.is_complete):
        with pytest.raises(LogonSessionEndedError):
            act()
    with pytest.raises(LogonSessionEndedError):
        sessions["alice"].gss(WEB)


def test_a_closed_context_says_so(sessions):
    context = sessions["alice"].gss(WEB)
    context.close()
    context.close()
    with pytest.raises(InvalidRequestError, match="closed"):
        context.step()


def test_a_service_that_the_realm_does_not_know_is_not_reached(sessions, server, hops):
    context = sessions["alice"].gss("ldap@nowhere.example")
    with pytest.raises(NoCredentialsError, match="no ticket") as caught:
        context.step()
    [reason] = hops(server)[-1].reasons  # the trail has no advice
    assert reason.endswith("kerberos gives no ticket: it knows no such service")
    # What is wrong with this hop comes first, and neither is said twice.
    assert caught.value.advice.startswith("the realm knows no such service")
    assert 1 == caught.value.advice.count("double hop")
    assert 1 == str(caught.value).count("gss://")


@pytest.mark.parametrize("service", ["", "nonsense", "@nowhere.example", "ldap@"])
def test_what_names_no_service_is_told_how_to(sessions, service):
    with pytest.raises(InvalidRequestError, match="no service on a host") as caught:
        sessions["alice"].gss(service)
    assert "`ldap@dc1.example`" in caught.value.advice


@pytest.mark.parametrize("service", ["", "HTTP", "@localhost", "a b@c", "x@", "x@a/b"])
def test_what_is_no_services_name_is_refused(sessions, service):
    with pytest.raises(InvalidRequestError):
        sessions["alice"].gss(service)


def test_a_limited_client_names_the_port(sessions, stage):
    client, minute = sessions["alice"].client, timedelta(minutes=1)
    named = Host("localhost", 389)
    with client.limited(expires=minute, targets=[named]) as lent:
        accepted(lent.gss(WEB, port=389), acceptor(stage))
        for port in (None, 390):
            with pytest.raises(AccessDeniedError):
                lent.gss(WEB, port=port)


def test_the_policy_names_services(open_server, admit, stage):
    session = admit(open_server(delegation=["gss://HTTP@localhost"]))
    accepted(session.gss(WEB), acceptor(stage))
    accepted(session.gss(WEB, port=80), acceptor(stage))
    with pytest.raises(NoCredentialsError, match="may not reach"):
        session.gss("ldap@localhost")


class Password:
    """A session's own password."""

    package, expires = "password", None

    def __init__(self, principal, password):
        self.principal, self.password = principal, password
        self.shown = 0

    @contextmanager
    def revealed(self):
        self.shown += 1
        yield self.password

    def close(self):
        self.password = b""


def test_a_sessions_own_password_gets_it_tickets(server, admit, stage, web):
    held = Password("bob@STEAD.TEST", b"bob-pw")
    session = admit(server, "alice", credentials=held)
    with session.gss(WEB) as context:
        seen = accepted(context, acceptor(stage))
    assert "bob@STEAD.TEST" == str(seen.initiator_name)
    with session.http(web.url) as http:
        assert "bob@STEAD.TEST" == http.get("/").text
    assert 1 == held.shown
    session.log_off()
    with pytest.raises(LogonSessionEndedError):
        session.gss(WEB)


@pytest.mark.parametrize(
    ("principal", "password", "why"),
    [
        ("bob@STEAD.TEST", b"wrong", "bob@STEAD.TEST` logs on"),
        ("CORP\\bob", b"bob-pw", "is no principal"),
        ("@STEAD.TEST", b"bob-pw", "is no principal"),
        ("nobody@STEAD.TEST", b"bob-pw", "logs on"),
    ],
)
def test_a_password_that_gets_no_ticket_shows_nothing(
    server, admit, hops, principal, password, why
):
    session = admit(server, credentials=Password(principal, password))
    with pytest.raises(NoCredentialsError, match=why):
        session.gss(WEB)
    assert NoCredentialsError.status == hops(server)[-1].status


def test_a_task_waits_for_no_kdc(sessions, stage):
    async def ask(name):
        context = await sessions[name].aio.gss(WEB)
        service = gssapi.SecurityContext(creds=acceptor(stage), usage="accept")
        answer = service.step(await context.step())
        await context.step(answer)
        assert context.is_complete
        assert b"x" == service.unwrap(await context.wrap(b"x")).message
        assert b"y" == await context.unwrap(service.wrap(b"y", True).message)
        assert context.client == str(service.initiator_name)
        context.close()
        return str(service.initiator_name)

    async def all_at_once():
        return await asyncio.gather(*map(ask, ["alice", "bob"] * 3))

    assert ["alice@STEAD.TEST", "bob@STEAD.TEST"] * 3 == asyncio.run(all_at_once())
