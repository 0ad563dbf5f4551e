"""Whoever runs no type checker hears what a verb takes, and nothing is done."""

import copy
import gc
import pickle
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace

import pytest

from stead import Rights, allow, enable_privileges, impersonate
from stead.adapters.certificates import Certificates
from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.issuer_keys import IssuerKeys
from stead.authority.issuers import Issuer
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    LogonSessionEndedError,
    ServerClosedError,
    SteadError,
)
from stead.gates.http import SteadMiddleware, client_of
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate
from stead.gates.pipe.tls_gate import TlsGate
from stead.gates.wsgi import WsgiMiddleware
from stead.ledger.query import Query
from stead.model.access_mask import AccessMask
from stead.model.arguments import several
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.limits import Host
from stead.model.privilege import Privilege
from stead.model.secret import Secret
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.server.acting.process_pipes import Exchange
from stead.server.acting.process_plan import Plan
from stead.server.dde.desk import DdeDesk
from stead.server.settings import Settings


class Note(Rights):
    READ = 1
    WRITE = 2


class Song(Rights):
    HEAR = 1
    BURN = 2


WRONG = (None, 5, 1.5, b"x", object(), [], Path("x"), Note, Note.READ, timedelta(1))


def nothing(client):
    return None


# What the verb does with one argument, and what of `WRONG` it rightly takes.
VERBS = {
    "protect": (lambda on, x: on.server.protect(x, Note), ()),
    "protect as": (lambda on, x: on.server.protect("n", x), (Note,)),
    "protect with": (lambda on, x: on.server.protect("n", Note, [x]), ()),
    "find_object": (lambda on, x: on.server.find_object(x), ()),
    "require of": (lambda on, x: on.server.require(x, on.plan, Note.READ), ()),
    "require on": (lambda on, x: on.server.require(on.client, x, Note.READ), ()),
    "require": (lambda on, x: on.server.require(on.client, on.plan, x), (5, Note.READ)),
    "check": (lambda on, x: on.server.check(on.client, on.plan, x), (5, Note.READ)),
    "open_object": (
        lambda on, x: on.server.open_object(on.client, on.plan, x),
        (5, Note.READ),
    ),
    "set_entries": (lambda on, x: on.server.set_entries(on.client, on.plan, [x]), ()),
    "set_audit": (lambda on, x: on.server.set_audit(on.client, on.plan, [x]), ()),
    "delete_object": (lambda on, x: on.server.delete_object(on.client, x), ()),
    "delete_object by": (
        lambda on, x: on.server.delete_object(on.client, on.plan, handle=x),
        (None,),
    ),
    "require_privilege": (
        lambda on, x: on.server.require_privilege(on.client, x, operation="x"),
        (),
    ),
    "require_privilege for": (
        lambda on, x: on.server.require_privilege(
            on.client, Privilege.BACKUP, operation=x
        ),
        (),
    ),
    "report": (lambda on, x: on.server.report(on.client, x), ()),
    "report detail": (lambda on, x: on.server.report(on.client, "done", more=x), ()),
    "explain": (
        lambda on, x: on.server.explain(on.client, "alice", on.plan, x),
        (5, Note.READ),
    ),
    "questions_for": (lambda on, x: on.server.questions_for(x), ()),
    "accounts_for": (lambda on, x: on.server.accounts_for(x), ()),
    "client_for": (lambda on, x: on.server.client_for(x, authenticated_by="app"), ()),
    "client_for by": (
        lambda on, x: on.server.client_for("alice", authenticated_by=x),
        (),
    ),
    "client_for at": (
        lambda on, x: on.server.client_for("alice", authenticated_by="app", level=x),
        (),
    ),
    "client_for peer": (
        lambda on, x: on.server.client_for("alice", authenticated_by="app", peer=x),
        (),
    ),
    "client_for via": (
        lambda on, x: on.server.client_for("alice", authenticated_by="app", via=x),
        (None,),
    ),
    "client_for_peer": (lambda on, x: on.server.client_for_peer(x), ()),
    "log_on": (lambda on, x: on.server.log_on(x, "tiger"), ()),
    "log_on with": (lambda on, x: on.server.log_on("alice", x), (b"x",)),
    "log_on as": (lambda on, x: on.server.log_on("alice", "tiger", x), ()),
    "begin_logon": (lambda on, x: on.server.begin_logon(x), ()),
    "begin_logon over": (
        lambda on, x: on.server.begin_logon("negotiate", binding=x),
        (None,),
    ),
    "admit": (lambda on, x: on.server.admit(x), ()),
    "admit_shown": (
        lambda on, x: on.server.admit_shown(x, package="x"),
        (Note, object),
    ),
    "name_of": (lambda on, x: on.server.name_of(x), ()),
    "lookup": (lambda on, x: on.server.lookup(x), ()),
    "impersonate_self": (lambda on, x: on.server.impersonate_self(x), ()),
    "operation": (lambda on, x: on.server.operation(x)(nothing), ()),
    "operation of": (lambda on, x: on.server.operation("x")(x), (Note,)),
    "operation for": (
        lambda on, x: on.server.operation("x", privileges=[x])(nothing),
        (),
    ),
    "operation at": (
        lambda on, x: on.server.operation("x", level=x)(nothing),
        (),
    ),
    "call": (lambda on, x: on.server.call(x, "stead.whoami"), ()),
    "call of": (lambda on, x: on.server.call(on.client, x), ()),
    "open": (lambda on, x: on.client.open(x), (Path("x"),)),
    "open as": (lambda on, x: on.client.open("/etc/passwd", x), ()),
    "run": (lambda on, x: on.client.run(x), (Note,)),
    "start": (lambda on, x: on.client.start(x), ()),
    "start within": (lambda on, x: on.client.start(["x"], umask=x), (5, Note.READ)),
    "start with": (lambda on, x: on.client.start(["x"], environment=x), (None,)),
    "start beneath": (lambda on, x: on.client.start(["x"], limits=x), (None,)),
    "carry": (lambda on, x: on.client.carry(x), (Note,)),
    "limited": (lambda on, x: limited(on.client, targets=x), ([], Note)),
    "limited to": (lambda on, x: limited(on.client, targets=[x]), (Path("x"),)),
    "limited with": (lambda on, x: limited(on.client, privileges=x), ([],)),
    "limited rights": (
        lambda on, x: limited(on.client, rights=x),
        ([], Note, Note.READ),
    ),
    "limited for": (lambda on, x: limited(on.client, purpose=x), ()),
    "http": (lambda on, x: on.client.http(x), ()),
    "impersonate": (lambda _, x: impersonate(x), ()),
    "enable_privileges": (lambda _, x: enable_privileges(x), ()),
    "DdeDesk": (lambda _, x: DdeDesk(x), ()),
    "smb": (lambda on, x: on.client.smb(x), ()),
    "postgres": (lambda on, x: on.client.postgres(x), ()),
    "gss": (lambda on, x: on.client.gss(x), ()),
    "times.set_end": (
        lambda on, x: on.server.accounts.times.set_end("alice", x),
        (None,),
    ),
    "times.set_hours": (
        lambda on, x: on.server.accounts.times.set_hours("alice", x),
        (),
    ),
    "accounts.add": (lambda on, x: on.server.accounts.add(x), ()),
    "accounts.add uid": (
        lambda on, x: on.server.accounts.add("u", uid=x),
        (None, 5, Note.READ),
    ),
    "set_password": (
        lambda on, x: on.server.accounts.set_password("alice", x),
        (b"x",),
    ),
    "set_password of": (lambda on, x: on.server.accounts.set_password(x, "x"), ()),
    "add_member": (lambda on, x: on.server.accounts.add_member("Users", x), ()),
    "grant": (lambda on, x: on.server.accounts.grant("alice", x), ()),
    "add_alias": (lambda on, x: on.server.accounts.add_alias("alice", x, "a"), ()),
    "unlock": (lambda on, x: on.server.accounts.unlock(x), ()),
    "sessions.end": (lambda on, x: on.server.sessions.end(x), ()),
    "sessions.end_all": (lambda on, x: on.server.sessions.end_all(x), ()),
    "trail.find": (lambda on, x: on.server.trail.find(x), ()),
    "trail.export": (lambda on, x: on.server.trail.export(x, "jsonl"), ()),
    "trail.session": (lambda on, x: on.server.trail.session(x), (5, Note.READ)),
}


def limited(client, **changed):
    said = {"rights": [Note.READ], "targets": ["plan"], "purpose": ""} | changed
    return client.limited(expires=timedelta(minutes=1), **said)


@pytest.fixture
def plan(server, alice):
    return server.protect("plan", Note, [allow("alice", Note.READ)])


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_refuses_what_is_of_another_kind(server, alice, plan, verb):
    act, right = VERBS[verb]
    for wrong in WRONG:
        if not any(wrong is each or type(wrong) is each for each in right) and (
            wrong not in right
        ):
            with pytest.raises(SteadError):
                act(SimpleNamespace(server=server, client=alice, plan=plan), wrong)


def test_rights_of_another_kind_are_no_rights(server, alice, plan):
    handle = server.open_object(alice, plan, Note.READ)
    for act in (
        lambda: server.require(alice, plan, Song.HEAR),
        lambda: server.check(alice, plan, Song.HEAR),
        lambda: server.open_object(alice, plan, Song.HEAR),
        lambda: handle.require(Song.HEAR),
        lambda: server.protect("song", Song, [allow("alice", Note.READ)]),
        lambda: server.set_entries(alice, plan, [allow("alice", Song.BURN)]),
    ):
        with pytest.raises(InvalidRequestError, match="is no right of `"):
            act()
    assert server.check(alice, plan, Note.READ)
    assert server.check(alice, plan, 1)
    assert not server.check(alice, plan, AccessMask.WRITE_DAC)
    handle.close()


def test_what_is_gone_through_once_configures_a_server_all_the_same(open_server):
    """Looked at and not kept, each of these would be empty, and said so nowhere."""
    told = Settings(
        "once",
        privileges=(each for each in [Privilege.TCB]),
        sinks=(each for each in ["syslog+tls://logs.example"]),
        allowed_system_uids=iter([33]),
        worker_modules=iter(["app.jobs"]),
        issuers=iter([Issuer("AD.EXAMPLE")]),
        delegation=iter(["https://files.example"]),
    )
    for _ in range(2):
        assert (Privilege.TCB,) == tuple(told.privileges)
        assert ["syslog+tls://logs.example"] == list(told.sinks)
        assert [33] == list(told.allowed_system_uids)
        assert ["app.jobs"] == list(told.worker_modules)
        assert ["AD.EXAMPLE"] == [each.name for each in told.issuers]
        assert "files.example" in str(told.delegation_policy())
    naive = (each for each in ["syslog+tls://logs.example"])
    several("sinks", naive, object)
    assert [] == list(naive)


def test_a_clients_token_is_impersonated_and_a_client_by_its_verb(alice):
    for wrong in (alice, "alice"):
        with pytest.raises(InvalidRequestError) as refused:
            impersonate(wrong)
        assert "client.impersonate()" in refused.value.advice
    with impersonate(alice.token):
        pass
    with pytest.raises(InvalidRequestError, match="`privileges` is a `str`"):
        enable_privileges("SeBackupPrivilege")


def test_what_is_no_url_is_said_before_anything_goes_out(alice):
    for wrong in ("http://[::1", "https://files.example:port"):
        with pytest.raises(InvalidRequestError, match="is no URL"):
            alice.http(wrong)
    with pytest.raises(InvalidRequestError, match="`timeout` is a `str`"):
        alice.http("https://files.example", timeout="5")


def test_an_object_is_asked_about_by_its_name(server, alice, plan):
    assert server.require(alice, "plan", Note.READ)
    assert not server.check(alice, "plan", Note.WRITE)
    with server.open_object(alice, "plan", Note.READ) as handle:
        assert plan is handle.object


@pytest.mark.parametrize("verb", ["require", "check", "open_object"])
def test_a_name_that_nothing_has_is_refused_as_a_closed_object_is(
    server, alice, trail, verb
):
    server.protect("closed", Note, [])
    refusals = []
    for name in ("closed", "nothing"):
        # Of an object that is there `check` answers, and does not raise.
        asked = "require" if (verb, name) == ("check", "closed") else verb
        with pytest.raises(AccessDeniedError) as refused:
            getattr(server, asked)(alice, name, Note.READ)
        refusals.append(refused.value)
    closed, nothing = refusals
    assert closed.public == nothing.public
    assert closed.record is not None
    assert nothing.record is not None
    found = [each for each in trail(AuditEvent.OBJECT_ACCESS)
             if each.object_name == "nothing"]  # fmt: skip
    assert Outcome.FAILURE is found[-1].outcome


def test_a_password_is_no_number(server, alice):
    with pytest.raises(InvalidRequestError, match="`secret` is a `int`"):
        Secret(8)


def test_what_a_program_is_sent_is_bytes():
    pipes = Exchange(None, {})
    with pytest.raises(InvalidRequestError, match="`input` is a `str`"):
        pipes.run("text", None)
    with pytest.raises(InvalidRequestError, match="`timeout` is a `str`"):
        Plan.of(["/usr/bin/id"], {"stdout": PIPE, "timeout": "5"})


def test_a_copy_of_a_client_would_end_its_session(server, alice, plan):
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        for one in (alice, server, plan, server.open_object(alice, plan, Note.READ)):
            with pytest.raises(InvalidRequestError, match="neither pickled nor copied"):
                act(one)
    # The naive copy, and what happened to the client when it was dropped.
    naive = object.__new__(type(alice))
    for slot in ("subject", "_guard", "_acting", "_end", "_parent", "_process"):
        object.__setattr__(naive, slot, getattr(alice, slot))
    del naive
    gc.collect()
    with pytest.raises(LogonSessionEndedError):
        server.require(alice, plan, Note.READ)


def test_what_is_no_credentials_is_no_clients_and_what_is_is_wiped(server, alice):
    corp = PasswordCredentials("alice@CORP.EXAMPLE", Secret("tiger"))
    for wrong in (None, "tiger", server):
        with pytest.raises(InvalidRequestError, match="`credentials` is a"):
            alice.with_new_credentials(corp, wrong)
        with (
            pytest.raises(InvalidRequestError, match="`credentials` is a"),
            alice.explicit_credentials(wrong, target=Host("db.example", 5432)),
        ):
            pass
    assert corp.is_closed
    assert server.accounts.list()  # a server has a `close` as well, and is none


def test_a_closed_server_is_not_entered_again(open_server):
    server = open_server("once")
    with server:
        pass
    with pytest.raises(ServerClosedError) as refused, server:
        pass
    assert "open another one" == refused.value.advice


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: PasswordCredentials("alice", "tiger"), 'Secret("...")'),
        (lambda: PasswordCredentials(None, Secret("tiger")), "text"),
        (lambda: Query(event="logon").events, "AuditEvent.LOGON"),
        (lambda: BearerVerifier("https://idp.example"), "[TokenIssuer(...)]"),
        (lambda: IssuerKeys("https://idp.example"), "discovered(url, Fetcher())"),
        (lambda: Certificates("corp-ca.pem"), "Certificates([CertificateIssuer("),
        (lambda: SteadMiddleware(None, client_for="alice"), "a function"),
        (lambda: WsgiMiddleware(None, client_for="alice"), "a function"),
        (lambda: client_of(None), "its ASGI scope"),
        (lambda: PipeGate(None), "where clients find it"),
        (lambda: PipeClient.connect(None), "the server's socket"),
        (lambda: PipeClient.connect("/none", level="delegation"), "IDENTIFICATION"),
        (lambda: TlsGate("127.0.0.1", 0, "server.pem"), 'TlsIdentity("server.pem")'),
        (lambda: Issuer(5), "text"),
        (lambda: Sid.from_string(5), "text"),
        (lambda: SecurityDescriptor.from_sddl(b"D:"), "text"),
    ],
)
def test_what_a_gate_or_an_authority_is_made_of_is_looked_at(make, advice):
    with pytest.raises(InvalidRequestError) as refused:
        make()
    assert advice in refused.value.advice
