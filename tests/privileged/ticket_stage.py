"""A realm, a broker that takes its tickets, and clients who show them."""

import json
import os
import socket
import sys
import time

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    CAROL,
    NOTES,
    SECONDS,
    Raw,
    hear,
)
from tests.privileged.test_broker_passwords import PROGRAM, TIGER

from stead.adapters.kerberos_ticket import KerberosTicket
from stead.privileged import ticket_exchange as exchange
from stead.privileged import trees
from stead.privileged.stated_level import state_level
from stead.testing.realm import Realm

__all__ = ["KerberosTicket", "Realm", "trees"]

BROKER = "stead/localhost"
TICKETS = 2  # the number of the gate where tickets are shown
ACCOUNTS = {
    "alice": ALICE,
    "bob": BOB,
    "carol": CAROL,
    "operator": 0,
    "daemon-of-this-host": 33,
    "notes-server": NOTES,
    "guard": 65530,
    "verifier": 65529,
}


def prepare(
    stage, realm, *, keytab, limits="", more="", kerberos="", realms=(), tells=False
):
    """Start a broker that takes the realm's tickets, where its accounts are known.

    MIT's tickets tell no account's name; a domain's do.
    """
    named = json.dumps(realms or [realm.name])
    stage.write(
        limits=limits,
        top=f'[kerberos]\nkeytab = "{keytab}"\nrealms = {named}\n'
        f'configuration = "{realm.configuration}"\n'
        f"requires_pac = {str(tells).lower()}\n{kerberos}\n",
        more=f'ticket_gates = ["{stage.ticket_gate}"]\n{more}',
    )
    passwd = [f"{n}:x:{u}:{u}::/nowhere:/bin/sh" for n, u in ACCOUNTS.items()]
    (stage.folder / "passwd").write_text("\n".join(passwd) + "\n")
    (stage.folder / "shadow").write_text(f"alice:{TIGER}:20000:0:99999:7:::\n")
    return stage.start(sys.executable, str(PROGRAM), str(stage.folder))


@pytest.fixture
def realm(kerberos_realm):
    """Give a realm with everybody in it, and their credential caches."""
    kerberos_realm.keytab = kerberos_realm.add_service(BROKER)
    for name in ("alice", "bob"):
        kerberos_realm.add_principal(name, "tiger")
    return kerberos_realm


def cache_of(realm, name, owner, options=""):
    return realm.log_on(name, "tiger", owner=owner, options=options)


def named(level="impersonation"):
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(SECONDS)
    state_level(made, level)
    return made


def comes(stage, realm, cache, *, level="impersonation", principal=BROKER, then=None):
    """Return what shows a ticket, in a client's process, and says what came of it."""

    def act(talk):
        os.environ.update(realm.environment(cache))
        with named(level) as client:
            client.connect(str(stage.ticket_gate))
            try:
                KerberosTicket(principal).show(client, SECONDS)
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            talk.say("admitted")
            if then is not None:
                return then(client, talk)
            talk.hear()
        return "left"

    return act


def shows_by_hand(stage, realm, cache, forge):
    """Return what shows something of its own making, and says how it was answered."""

    def act(_talk):
        os.environ.update(realm.environment(cache))
        deadline = time.monotonic() + SECONDS
        with named() as client:
            client.connect(str(stage.ticket_gate))
            try:
                _, nonce = exchange.read_frame(client, deadline)
                forge(client, nonce)
                kind = exchange.BLOB
                while kind == exchange.BLOB:
                    kind, _ = exchange.read_frame(client, deadline)
                return kind.decode()
            except Exception as error:
                return type(error).__name__

    return act


def ticket(target=BROKER, bound=None, flags=None):
    """Return the first message that shows a ticket, bound or not."""
    import gssapi
    from gssapi.raw import ChannelBindings

    context = gssapi.SecurityContext(
        name=gssapi.Name(target, gssapi.NameType.kerberos_principal),
        mech=gssapi.MechType.kerberos,
        usage="initiate",
        flags=flags,
        channel_bindings=bound and ChannelBindings(application_data=bound),
    )
    return context.step()


def own_binding(client, nonce):
    names = client.getpeername(), client.getsockname()
    return exchange.binding(nonce, *names, os.geteuid())


def send(client, blob):
    client.sendall(exchange.frame(exchange.BLOB, blob))


def serves(stage, count=1):
    """Return what is a server that takes clients with tickets, and tells of each."""

    def act(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen(TICKETS)
        talk.say("listens")
        kept = []
        for _ in range(count):
            message, (descriptor,) = hear(arrivals, 1 << 20, 1)
            kept.append(socket.socket(fileno=descriptor))
            talk.say(message)
            for argv in iter(talk.hear, None):
                channel = raw.start(message["client"], *argv)
                kept.append(channel)
                talk.say(hear(channel, 65536, 0)[0])
        talk.hear()

    return act
