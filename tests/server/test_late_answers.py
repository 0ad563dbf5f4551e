"""Failures are answered late, and few threads of a web server wait for that."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import cheroot.wsgi
import pytest
from tests.server.test_grpc_clients import CODE, Stage

from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated
from stead.errors import EvidenceRefusedError, LogonFailureError, PasswordMismatchError
from stead.gates.wsgi import WsgiMiddleware, client_of
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret
from stead.server.late_answers import LateAnswers

THREADS, GUESSES = 4, 8
NAIVE, OURS = 1_000, 2
SECONDS = 60
A_MOMENT = 0.5  # for what waits, to be seen waiting


def slow(most_waiting):
    return LockoutPolicy(first_delay=0.5, longest_delay=0.5, most_waiting=most_waiting)


def until(holds):
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Realm:
    """A password authority that lets nobody in."""

    name, domains = "realm", ("EXAMPLE.COM",)

    def log_on(self, name, domain, secret, *, keep):
        raise PasswordMismatchError("the password is wrong")


@contextmanager
def by_cheroot(app):
    made = cheroot.wsgi.Server(("127.0.0.1", 0), app, numthreads=THREADS)
    made.prepare()
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made.bind_addr[1]
    finally:
        made.stop()
        thread.join()


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [client_of(environ).name.encode()]


def holding(server):
    """Have failures of a server that are answered late wait for what is returned."""
    go_on = threading.Event()

    def sleep(seconds):
        if seconds > 0:
            go_on.wait(SECONDS)

    server._house.authentication._late._sleep = sleep
    return go_on


def behind_wsgi(open_server, most_waiting, seconds):
    """Say whether alice is answered in time while the failures of others are late."""
    server = open_server(
        f"wsgi-{most_waiting}",
        issuers=[Issuer("corp", names_accounts=True)],
        lockout=slow(most_waiting),
    )
    server.accounts.add("alice")
    looked_at, answered, go_on = [], Counter(), holding(server)

    def show(token):
        looked_at.append(token)
        if token != "sealed":
            raise EvidenceRefusedError("the token is forged")
        return Authenticated(package="bearer", issuer="corp", name="alice")

    def client_for(environ):
        token = environ["HTTP_AUTHORIZATION"]
        return server.admit_shown(lambda: show(token), package="bearer").client

    def ask(port, token):
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        asked.request("GET", "/", headers={"Authorization": token})
        answered[asked.getresponse().status] += 1
        asked.close()

    app = WsgiMiddleware(hello, client_for=client_for)
    with by_cheroot(app) as port, ThreadPoolExecutor(GUESSES + 1) as pool:
        for _ in range(GUESSES):
            pool.submit(ask, port, "forged")
        until(lambda: len(looked_at) >= THREADS)
        hers = pool.submit(ask, port, "sealed")
        in_time = hers in wait([hers], seconds).done
        go_on.set()
    assert {401: GUESSES, 200: 1} == answered
    return in_time


def behind_grpc(tmp_path, open_server, most_waiting, seconds):
    """Return the same of a server of gRPC's."""
    folder = tmp_path / str(most_waiting)
    folder.mkdir()
    stage = Stage(folder, open_server, slow(most_waiting))
    looked_at, codes, go_on = [], [], holding(stage.server)

    def bearer(token, call):
        looked_at.append(token)
        return stage.bearer(token, call)

    client_for = stage.client_for(bearer=bearer)
    with (
        stage.open(threads=THREADS, client_for=client_for) as port,
        stage.channel(port) as call,
        ThreadPoolExecutor(1) as pool,
    ):
        read = call.channel.unary_unary("/notes.Notes/Read")

        def begin():
            shown = (("authorization", "Bearer alice.forged"),)
            asked = read.future(b"", metadata=shown, timeout=SECONDS)
            asked.add_done_callback(lambda done: codes.append(done.code()))

        for _ in range(GUESSES):
            begin()
        until(lambda: len(looked_at) >= THREADS)
        hers = pool.submit(call, "Read", token="alice.sealed")
        in_time = hers in wait([hers], seconds).done
        go_on.set()
        hers.result()
        until(lambda: len(codes) == GUESSES)
    assert {CODE.UNAUTHENTICATED} == set(codes)
    return in_time


def test_a_few_guessers_do_not_take_all_threads_behind_wsgi(open_server):
    assert not behind_wsgi(open_server, NAIVE, A_MOMENT)
    assert behind_wsgi(open_server, OURS, SECONDS)


def test_a_few_guessers_do_not_take_all_threads_of_grpc(tmp_path, open_server):
    assert not behind_grpc(tmp_path, open_server, NAIVE, A_MOMENT)
    assert behind_grpc(tmp_path, open_server, OURS, SECONDS)


def test_whoever_is_answered_early_is_counted_and_recorded_all_the_same(open_server):
    policy = LockoutPolicy(
        threshold=6, first_delay=0.01, longest_delay=0.5, most_waiting=1
    )
    server = open_server(password_authorities=[Realm()], lockout=policy)

    def guess(_):
        with pytest.raises(LogonFailureError) as refused:
            server.log_on("alice@EXAMPLE.COM", "guess")
        return str(refused.value)

    with ThreadPoolExecutor(6) as guessers:
        told = set(guessers.map(guess, range(6)))
    assert {str(LogonFailureError())} == told
    (name,) = server.accounts.locked_names()
    assert "alice@example.com" == name.name
    found = [event for _, event in server.trail.find(Query())]
    assert 6 == sum(each.event is AuditEvent.LOGON_FAILED for each in found)
    assert 1 == sum(each.event is AuditEvent.ACCOUNT_LOCKED_OUT for each in found)


def test_what_is_waited_at_least_says_nothing_of_how_long_a_directory_took():
    """Where all places are taken: whole steps for names, nothing for evidence."""
    slept, inside = [], threading.Event()
    go_on = threading.Event()

    def sleep(seconds):
        slept.append(seconds)
        if seconds == 9.0:
            inside.set()
            go_on.wait(30)

    policy = LockoutPolicy(first_delay=0.1, longest_delay=2.0, most_waiting=1)
    late = LateAnswers(policy, sleep)
    waiting = threading.Thread(target=late.of_name, args=(9.0,))
    waiting.start()
    inside.wait(30)
    late.of_name(1.63)  # it took 0.07, and is late by 1.6
    late.of_evidence(0.17)
    assert [9.0, pytest.approx(0.03), 0.0] == slept
    go_on.set()
    waiting.join()
    late.of_evidence(0.17)
    late.of_name(1.63)
    assert [0.17, 1.63] == slept[3:]
    LateAnswers(LockoutPolicy(first_delay=0.0, most_waiting=1), sleep).of_name(0.0)
    assert 0.0 == slept[-1]


def test_a_password_tried_by_an_exchange_is_answered_at_a_whole_step(open_server):
    """Where nobody may wait, evidence is answered at once: so would a guess be."""
    step = 0.3
    policy = LockoutPolicy(first_delay=step, longest_delay=step, most_waiting=0)
    slept = []
    LateAnswers(policy, slept.append).of_evidence(step * 1.5)
    assert [0.0] == slept
    server = open_server(packages=[Scram(iterations=4096)], lockout=policy)
    server.accounts.add("alice")
    server.accounts.set_password("alice", Secret("tiger"))
    for name in ("alice", "nobody"):
        client = ScramClient(name, Secret("lion"), None)
        began = time.monotonic()
        with (
            server.begin_logon("scram-sha-256", gate="test") as exchange,
            pytest.raises(LogonFailureError),
        ):
            exchange.step(client.answer(exchange.step(client.first())))
        assert time.monotonic() - began >= step
