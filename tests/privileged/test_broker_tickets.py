"""Kerberos tickets as evidence: checked under the broker's own key, and bound."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.lives import long_enough
from tests.privileged import ticket_stage
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    NOTES,
    SECONDS,
    Raw,
    begin,
    connect,
    hear,
    ids_of,
    is_alive,
    poll,
    stage,
)
from tests.privileged.ticket_stage import (
    BROKER,
    cache_of,
    comes,
    named,
    own_binding,
    prepare,
    realm,
    send,
    serves,
    shows_by_hand,
    ticket,
)

from stead.errors import LogonFailureError
from stead.privileged import ticket_exchange as exchange
from stead.privileged.broker_tickets import seconds_of, told_of

pytestmark = pytest.mark.root
__all__ = ["begin", "connect", "realm", "stage"]  # fixtures

REFUSED = "LogonFailureError: logon failure"


@pytest.fixture
def broker(stage, realm):
    return prepare(stage, realm, keytab=realm.keytab)


def server_of(stage, begin, count=1):
    server = begin(NOTES, serves(stage, count))
    assert "listens" == server.hear()
    return server


def test_a_client_is_who_its_ticket_says_whoever_connects(broker, realm, begin):
    """Bob's process has alice's ticket: to the broker, and its server, it is alice."""
    server = server_of(broker, begin)
    client = begin(BOB, comes(broker, realm, cache_of(realm, "alice", BOB)))
    assert "admitted" == client.hear()
    said = server.hear()
    # As long as the realm gives tickets for, and the tolerance.
    assert 3600 < said.pop("expires") / 1e9 - time.time() < 7 * 24 * 3600
    assert {
        "client": 1,
        "identity": [ALICE, ALICE, [ALICE]],
        "principal": "alice@STEAD.TEST",
        "through": [],
    } == said
    server.tell(["sleep", "600"])
    pid = server.hear()["started"]
    assert [[ALICE] * 3, [ALICE] * 3, [ALICE]] == ids_of(pid)
    client.tell()
    assert "left" == client.hear()
    poll(lambda: not is_alive(pid))


def test_whoever_may_not_be_acted_as_is_refused_like_everybody_else(
    broker, realm, begin
):
    """Right tickets, every one; and one answer for each of them."""
    server_of(broker, begin)
    names = ("operator", "daemon-of-this-host", "notes-server", "guard", "verifier")
    for name in (*names, "nobody-of-that-name", "alice/admin", "al\\@ice"):
        realm.add_principal(name, "tiger")
        cache = cache_of(realm, name, BOB)
        assert REFUSED == begin(BOB, comes(broker, realm, cache)).hear(), name


def test_a_realm_that_is_not_listed_has_no_accounts(stage, realm, begin):
    prepare(stage, realm, keytab=realm.keytab, realms=["OTHER.TEST"])
    server_of(stage, begin)
    cache = cache_of(realm, "alice", ALICE)
    assert REFUSED == begin(ALICE, comes(stage, realm, cache)).hear()


def test_a_realm_speaks_for_its_own_clients_and_for_no_others(stage, realm, begin):
    """The KDC lets clients of the third realm come through the other, and says so."""
    with (
        ticket_stage.Realm("OTHER.TEST") as other,
        ticket_stage.Realm("C.TEST") as third,
    ):
        realm.trust(other)
        other.trust(third)
        realm.trust(third, through=[other])
        for each in (other, third):
            each.add_principal("alice", "tiger")
        named = [realm.name, other.name, third.name]
        prepare(stage, realm, keytab=realm.keytab, realms=named)
        server = server_of(stage, begin)
        target, caches = f"{BROKER}@STEAD.TEST", {}
        for each in (other, third):
            caches[each] = cache_of(each, "alice", ALICE)

        def naive(_talk):
            os.environ.update(third.environment(cache_of(third, "alice", 0)))
            return naive_acceptor(realm.keytab, third, ticket(target), b"any")

        assert "alice@C.TEST" == begin(0, naive).hear()
        comes_from_third = comes(stage, third, caches[third], principal=target)
        assert REFUSED == begin(ALICE, comes_from_third).hear()
        client = begin(ALICE, comes(stage, other, caches[other], principal=target))
        assert "admitted" == client.hear()
        assert "alice@OTHER.TEST" == server.hear()["principal"]


def test_a_principals_realm_is_all_that_its_kdc_calls_it():
    r"""`alice@evil\@STEAD.TEST` is of a realm that is called almost as ours."""
    from stead.adapters.kerberos_verifier import Rule

    rule = Rule(realms=["STEAD.TEST"], mapping="name")
    assert "alice" == rule.account_of("alice@STEAD.TEST")
    by_rules = Rule(realms=["STEAD.TEST"], mapping="auth_to_local")
    for each in (rule, by_rules):
        for wrong in (r"alice@evil\@STEAD.TEST", "alice", "@", r"alice\@STEAD.TEST"):
            with pytest.raises(LogonFailureError):
                each.account_of(wrong)


@pytest.fixture(scope="module")
def domain(active_directory):
    """It has no Carol; mallory's user principal name is hers, or was made so."""
    domain = active_directory
    domain.add_user("mallory", "a-Word-of-mallorys")
    carol = f"carol@{domain.dns_name}"
    domain.replace("mallory", {"userPrincipalName": [carol]})
    domain.keytab = domain.add_service("broker", BROKER)
    return domain


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["name", "auth_to_local"])
def test_a_domains_user_is_no_account_that_has_another_of_its_names(
    stage, domain, begin, mapping
):
    rule = f'mapping = "{mapping}"'
    prepare(stage, domain, keytab=domain.keytab, tells=True, kerberos=rule)
    server = server_of(stage, begin)
    without = "--no-request-pac"

    def cache_of(name, owner, options=""):
        word = "a-Word-of-mallorys"
        if name != "carol":
            word = domain.password_of(name.lower())
        return domain.log_on(name, word, owner=owner, options=options)

    def naive(_talk):
        os.environ.update(domain.environment(cache_of("carol", 0)))
        return naive_acceptor(domain.keytab, domain, ticket(bound=b"any"), b"any")

    assert f"carol@{domain.name}" == begin(0, naive).hear()
    for name, options in (("carol", ""), ("carol", without), ("alice", without)):
        cache = cache_of(name, BOB, options)
        assert REFUSED == begin(BOB, comes(stage, domain, cache)).hear(), name
    cache = cache_of("alice", BOB)
    assert "admitted" == begin(BOB, comes(stage, domain, cache)).hear()
    assert ALICE == server.hear()["identity"][0]


def test_names_may_be_mapped_by_the_librarys_own_rules(stage, realm, begin):
    rules = f"""
[realms]
 {realm.name} = {{
  auth_to_local_names = {{
   bob = alice
  }}
  auth_to_local = RULE:[2:$1](^alice$)s/^/x/
  auth_to_local = DEFAULT
 }}
"""
    text = realm.configuration.read_text()
    address = text.partition("  kdc = ")[2].split()[0]
    realm.configuration.write_text(
        text.partition("[realms]")[0]
        + rules.replace("= {\n", f"= {{\n  kdc = {address}\n", 1)
    )
    prepare(stage, realm, keytab=realm.keytab, kerberos='mapping = "auth_to_local"')
    server = server_of(stage, begin)
    begin(BOB, comes(stage, realm, cache_of(realm, "bob", BOB))).hear()
    assert ALICE == server.hear()["identity"][0]
    realm.add_principal("alice/admin", "tiger")
    cache = cache_of(realm, "alice/admin", BOB)
    assert REFUSED == begin(BOB, comes(stage, realm, cache)).hear()


# --- tickets that prove nothing -------------------------------------------------------


def unbound(client, _nonce):
    send(client, ticket())


def bound_to_another_nonce(client, _nonce):
    send(client, ticket(bound=own_binding(client, bytes(32))))


def bound_to_another_uid(client, nonce):
    names = client.getpeername(), client.getsockname()
    send(client, ticket(bound=exchange.binding(nonce, *names, os.geteuid() + 1)))


def bound_to_another_socket(client, nonce):
    with named() as other:
        names = client.getpeername(), other.getsockname()
        send(client, ticket(bound=exchange.binding(nonce, *names, os.geteuid())))


def for_another_service(client, nonce):
    send(client, ticket("http/localhost", bound=own_binding(client, nonce)))


def garbage(client, _nonce):
    send(client, b"\x60\x82" + b"\xff" * 5000)


def cut_off(client, nonce):
    send(client, ticket(bound=own_binding(client, nonce))[:-7])


def nothing(client, _nonce):
    send(client, b"")


def negotiated(client, nonce):
    """SPNEGO's own token, which would choose a mechanism by itself."""
    blob = ticket(bound=own_binding(client, nonce))
    send(client, b"\x60\x06\x06\x06+\x06\x01\x05\x05\x02" + blob)


def another_letter(client, _nonce):
    client.sendall(exchange.frame(exchange.ADMITTED))


def too_long(client, _nonce):
    client.sendall(b"B" + (exchange.LONGEST + 1).to_bytes(4, "big") + b"x" * 1000)


@pytest.mark.parametrize(
    "forge",
    [unbound, bound_to_another_nonce, bound_to_another_uid, bound_to_another_socket,
     for_another_service, garbage, cut_off, nothing, negotiated, another_letter,
     too_long],
)  # fmt: skip
def test_a_message_that_is_no_proof_is_refused_by_one_word(broker, realm, begin, forge):
    realm.add_service("http/localhost")
    server = server_of(broker, begin)
    cache = cache_of(realm, "alice", ALICE)
    assert "R" == begin(ALICE, shows_by_hand(broker, realm, cache, forge)).hear()
    # And whoever has proof is served, as if nothing was.
    assert "admitted" == begin(ALICE, comes(broker, realm, cache)).hear()
    assert 1 == server.hear()["client"]


def test_what_another_kdc_says_is_nothing(broker, realm, begin):
    """One of the same name, with an account and a service of the same names."""
    with ticket_stage.Realm(realm.name) as other:
        other.add_principal("alice", "tiger")
        other.add_service(ticket_stage.BROKER)
        server_of(broker, begin)
        cache = cache_of(other, "alice", ALICE)
        assert REFUSED == begin(ALICE, comes(broker, other, cache)).hear()


def test_a_broker_without_the_key_is_no_broker_to_its_client(
    stage, realm, begin, kerberos_realm
):
    """Whoever listens has to prove its own key, or the client says no more."""
    other = realm.add_service("other/localhost")
    prepare(stage, realm, keytab=other)
    server_of(stage, begin)
    cache = cache_of(realm, "alice", ALICE)
    assert REFUSED == begin(ALICE, comes(stage, realm, cache)).hear()


# --- replay and relay -----------------------------------------------------------------


def naive_acceptor(keytab, realm, blob, bound):
    """Say whom a service admits that forgets to ask whether a ticket was bound."""
    import gssapi
    from gssapi.raw import ChannelBindings

    os.environ.update(realm.environment(), KRB5RCACHENAME="none:")
    context = gssapi.SecurityContext(
        creds=gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{keytab}"}),
        usage="accept",
        channel_bindings=ChannelBindings(application_data=bound),
    )
    context.step(blob)
    return str(context.initiator_name)


def test_a_ticket_that_was_sent_on_by_a_hostile_server_is_nothing(broker, realm, begin):
    """A server has a client connect to a socket of its own, and goes to the gate.

    Naive: the library admits a ticket whose client bound it to nothing at all.
    """
    place = broker.folder / "lure"

    def victim(_talk):
        os.environ.update(realm.environment(cache))
        with named() as client:
            client.connect(str(place))
            try:
                ticket_stage.KerberosTicket(ticket_stage.BROKER).show(client, SECONDS)
            except Exception as error:
                return type(error).__name__
        return "admitted"

    def attacker(talk):
        import socket

        with socket.socket(socket.AF_UNIX) as lure, named() as gate:
            lure.bind(str(place))
            place.chmod(0o666)
            lure.listen()
            talk.say("lures")
            caught, _ = lure.accept()
            gate.connect(str(broker.ticket_gate))
            deadline = time.monotonic() + SECONDS
            for source, target in ((gate, caught), (caught, gate)):
                kind, content = exchange.read_frame(source, deadline)
                target.sendall(exchange.frame(kind, content))
            talk.say(exchange.read_frame(gate, deadline)[0].decode())
            caught.close()

    broker.folder.chmod(0o777)
    cache = cache_of(realm, "alice", ALICE)
    server_of(broker, begin)
    hostile = begin(NOTES + 7, attacker)
    assert "lures" == hostile.hear()
    lured = begin(ALICE, victim)
    assert "R" == hostile.hear()
    assert "RemoteProtocolError" == lured.hear()

    def naive(_talk):
        os.environ.update(realm.environment(cache_of(realm, "alice", 0)))
        blob = ticket()
        return naive_acceptor(realm.keytab, realm, blob, b"bound to something")

    assert "alice@STEAD.TEST" == begin(0, naive).hear()


def test_a_message_that_is_shown_again_is_nothing(broker, realm, begin):
    """Bound to a nonce of the verifier's own; naive, without a replay cache, it passes.

    The same message, on a second connection of the same client.
    """
    cache = cache_of(realm, "alice", ALICE)
    seen = []

    def first_and_again(talk):
        os.environ.update(realm.environment(cache))
        deadline = time.monotonic() + SECONDS
        for _ in range(2):
            client = named()
            client.connect(str(broker.ticket_gate))
            _, nonce = exchange.read_frame(client, deadline)
            if not seen:
                seen.append(ticket(bound=own_binding(client, nonce)))
            send(client, seen[0])
            kind, _ = exchange.read_frame(client, deadline)
            if kind == exchange.BLOB:
                kind, _ = exchange.read_frame(client, deadline)
            talk.say(kind.decode())

    server_of(broker, begin)
    client = begin(ALICE, first_and_again)
    assert ["A", "R"] == [client.hear(), client.hear()]

    def naive(_talk):
        os.environ.update(realm.environment(cache_of(realm, "alice", 0)))
        blob = ticket(bound=b"the same for everybody")
        bound = b"the same for everybody"
        return [naive_acceptor(realm.keytab, realm, blob, bound) for _ in range(2)]

    assert ["alice@STEAD.TEST"] * 2 == begin(0, naive).hear()


# --- bounds ---------------------------------------------------------------------------


def silent(stage):
    """Return what connects and says nothing; it tells what kinds of frames it hears."""

    def act(talk):
        with named() as client:
            client.connect(str(stage.ticket_gate))
            talk.say("connected")
            deadline = time.monotonic() + SECONDS
            try:
                while True:
                    talk.say(exchange.read_frame(client, deadline)[0].decode())
            except Exception:
                return "hung up"

    return act


def test_slow_clients_keep_nobody_waiting_and_have_their_time(stage, realm, begin):
    prepare(
        stage, realm, keytab=realm.keytab,
        limits="ticket_seconds = 6\ntickets_at_once = 3\ntickets_per_client = 1",
    )  # fmt: skip
    server = server_of(stage, begin)
    slow = []
    for uid in (70_010, 70_011, 70_010):
        slow.append(begin(uid, silent(stage)))
        assert "connected" == slow[-1].hear()
    cache = cache_of(realm, "alice", ALICE)
    assert "admitted" == begin(ALICE, comes(stage, realm, cache)).hear()
    assert ALICE == server.hear()["identity"][0]
    # One uid shows one at a time here; who has said nothing in time is refused.
    answers = [list(iter(one.hear, "hung up")) for one in slow]
    assert [["N", "R"], ["N", "R"], ["R"]] == answers


def test_a_verifier_is_nobody_by_the_time_that_it_reads_a_message(broker, realm, begin):
    server_of(broker, begin)
    client = begin(ALICE, silent(broker))
    assert "connected" == client.hear()
    (monitor,) = broker.monitors()

    def verifiers():
        found = [
            each.pid for each in ticket_stage.trees._processes()
            if each.parent == monitor
        ]  # fmt: skip
        return [pid for pid in found if [65529] * 3 == ids_of(pid)[0]]

    (pid,) = poll(verifiers)
    assert "N" == client.hear()  # it has begun, and waits for a message
    assert [[65529] * 3, [65529] * 3, []] == ids_of(pid)
    status = Path(f"/proc/{pid}/status").read_text()
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert f"{name}:\t{'0' * 16}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    (most,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max processes")
    ]  # fmt: skip
    assert ["0", "0"] == most.split()[2:4]
    client.kill()
    poll(lambda: not is_alive(pid))


def test_a_client_is_gone_when_its_ticket_has_expired(stage, realm, begin):
    """It stays connected; what was started as it ends all the same.

    The library counts the difference that clocks may have to a ticket's time.
    """
    text = realm.configuration.read_text()
    text = text.replace("[libdefaults]\n", "[libdefaults]\n clockskew = 1\n")
    realm.configuration.write_text(text)
    broker = prepare(stage, realm, keytab=realm.keytab)
    server = server_of(broker, begin)

    def admitted(seconds):
        cache = cache_of(realm, "alice", ALICE, options=f"-l {int(seconds)}s")
        client = begin(ALICE, comes(broker, realm, cache))
        if "admitted" != client.hear():
            raise LogonFailureError
        return client

    client = long_enough(admitted, seconds=8.0, late=LogonFailureError)
    server.hear()
    server.tell(["sleep", "600"])
    pid = server.hear()["started"]
    poll(lambda: not is_alive(pid))
    server.tell(["id"])
    assert "client" == server.hear()["refused"]
    assert is_alive(client.pid)


@pytest.mark.parametrize("level", ["anonymous", "identification"])
def test_a_client_that_allows_less_is_known_and_nothing_is_done_as_it(
    broker, realm, begin, level
):
    server = server_of(broker, begin)
    cache = cache_of(realm, "alice", ALICE)
    assert "admitted" == begin(ALICE, comes(broker, realm, cache, level=level)).hear()
    said = server.hear()
    assert said["client"] is None
    assert f"the client allows {level}, and no more" == said["why"]
    assert ALICE == said["identity"][0]


# --- a server in an attacker's hands --------------------------------------------------


def test_no_server_makes_a_ticket_last_longer(broker, realm, begin):
    """A client that is connected has no lease to renew, whatever ends it."""

    def act(talk):
        raw = Raw(broker.socket)
        raw.hello()
        arrivals = raw.listen(ticket_stage.TICKETS)
        talk.say("listens")
        message, _ = hear(arrivals, 1 << 20, 1)
        raw.ask("renew", client=message["client"])
        talk.say(raw.is_cut_off())

    server = begin(NOTES, act)
    server.hear()
    cache = cache_of(realm, "alice", ALICE)
    assert "admitted" == begin(ALICE, comes(broker, realm, cache)).hear()
    assert server.hear()
    assert "is cut off" in broker.said()


def test_a_server_that_takes_nobody_any_more_gets_nobody_who_was_on_the_way(
    broker, realm, begin
):
    def act(talk):
        raw = Raw(broker.socket)
        raw.hello()
        arrivals = raw.listen(ticket_stage.TICKETS)
        talk.say("listens")
        talk.hear()
        arrivals.close()
        talk.say("closed")
        talk.hear()

    def late(client, nonce):
        send(client, ticket(bound=own_binding(client, nonce)))

    def waits(talk):
        os.environ.update(realm.environment(cache))
        deadline = time.monotonic() + SECONDS
        with named() as client:
            client.connect(str(broker.ticket_gate))
            _, nonce = exchange.read_frame(client, deadline)
            talk.say("asked")
            talk.hear()
            late(client, nonce)
            try:
                while True:
                    exchange.read_frame(client, deadline)
            except Exception as error:
                return type(error).__name__

    cache = cache_of(realm, "alice", ALICE)
    server = begin(NOTES, act)
    server.hear()
    client = begin(ALICE, waits)
    assert "asked" == client.hear()
    server.tell()
    assert "closed" == server.hear()
    client.tell()
    assert "RemoteProtocolError" == client.hear()  # it was hung up on
    assert broker.process.poll() is None


def test_a_verifier_that_dies_is_a_refusal_and_nothing_else(broker, realm, begin):
    """As one would that falls to a hostile message."""
    server = server_of(broker, begin)
    client = begin(ALICE, silent(broker))
    assert "connected" == client.hear()
    (monitor,) = broker.monitors()

    def verifiers():
        return [
            each.pid for each in ticket_stage.trees._processes()
            if each.parent == monitor and [65529] * 3 == ids_of(each.pid)[0]
        ]  # fmt: skip

    (pid,) = poll(verifiers)
    os.kill(pid, signal.SIGKILL)
    assert "R" == list(iter(client.hear, "hung up"))[-1]
    cache = cache_of(realm, "alice", ALICE)
    assert "admitted" == begin(ALICE, comes(broker, realm, cache)).hear()
    assert ALICE == server.hear()["identity"][0]


def test_a_service_says_nobody_elses_name_by_a_ticket_that_it_does_not_have(
    broker, realm, begin
):
    """A server connects to its own ticket gate: it is whoever it can prove to be."""
    server_of(broker, begin)
    refused = begin(NOTES, comes(broker, realm, "MEMORY:none")).hear()
    assert refused.startswith("LogonFailureError")
    hers = cache_of(realm, "alice", ALICE)  # which only she may read
    assert begin(NOTES, comes(broker, realm, hers)).hear().startswith("LogonFailure")


def test_the_broker_imports_nothing_of_kerberos(broker, realm, begin):
    server_of(broker, begin)
    (monitor,) = broker.monitors()
    for pid in (monitor, broker.process.pid):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libpython" in maps or "python" in maps
        assert "krb5" not in maps
        assert "gssapi" not in maps


@pytest.mark.parametrize(
    "seconds", [True, 1.5, "1", None, 0, -1, 10**10, 10**400, float("nan")]
)
def test_a_verifier_that_was_taken_over_says_no_time_without_end(seconds):
    with pytest.raises((TypeError, ValueError)):
        seconds_of({"seconds": seconds})
    assert 600 == seconds_of({"seconds": 600})


WORD = {"uid": 1000, "gid": 1000, "groups": [], "principal": "x", "seconds": 9}


def test_services_on_the_way_are_names_and_few():
    whole = ["HTTP/front@R"] * 8
    assert whole == told_of({**WORD, "through": whole})["through"]
    for wrong in ("text", None, [1], [""], ["a\nb"], ["x" * 257], ["x"] * 9):
        with pytest.raises((TypeError, ValueError)):
            told_of({**WORD, "through": wrong})


def test_a_principal_is_text():
    with pytest.raises(TypeError):
        told_of({"uid": 1000, "gid": 1000, "groups": [], "principal": ["x"]})
