"""A session's tickets reach other machines as its client, and as nobody else."""

import copy
import gc
import os
import pickle
import select
import signal
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from types import SimpleNamespace

import gssapi
import krb5
import pytest
from gssapi.raw import store_cred_into
from gssapi.raw.ext_krb5 import krb5_ccache_name
from gssapi.raw.misc import GSSError
from tests.adapters.kerberos.stage import (
    DELEGATE,
    KERBEROS,
    SPNEGO,
    principal,
)
from tests.lives import long_enough

from stead.adapters.kerberos import caches, kept_tickets
from stead.adapters.kerberos.client_context import require_client
from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.naming import exact_name
from stead.errors import (
    CredentialsExpiredError,
    DirectoryUnavailableError,
    InvalidRequestError,
    NoCredentialsError,
    WrongIdentityError,
)

BACK = "HTTP@back"


@pytest.fixture
def alice(stage):
    kept = KerberosCredentials.keep(stage.ticket())
    yield kept
    kept.close()


def arrives_as(stage, credentials, target=BACK):
    return stage.back_end_hears(credentials.initiate(target).step())


def test_they_are_the_clients_and_say_until_when(stage, alice):
    assert ("kerberos", "alice@STEAD.TEST") == (alice.package, alice.principal)
    assert 3500 < alice.expires / 1e9 - time.time() <= 3600
    assert not alice.is_constrained
    assert "alice@STEAD.TEST" == arrives_as(stage, alice)
    assert "alice@STEAD.TEST" == str(alice.gss().name)


def test_a_context_ends_with_the_client_as_its_initiator(stage, alice):
    context = alice.initiate(BACK)
    acceptor = gssapi.SecurityContext(
        creds=gssapi.Credentials(
            usage="accept", store={"keytab": f"FILE:{stage.back}"}
        ),
        usage="accept",
    )
    assert context.step(acceptor.step(context.step())) is None
    assert "alice@STEAD.TEST" == str(context.initiator_name)


def test_nothing_that_lies_about_is_used_for_a_client(stage, alice, lying_about):
    """The naive code is the service itself, three times; ours is Alice or nobody."""
    # A SPNEGO context with Kerberos-only credentials.
    naive = gssapi.SecurityContext(
        name=principal("HTTP/back"), creds=stage.ticket(mechanisms=[KERBEROS]),
        mech=SPNEGO, usage="initiate",
    )  # fmt: skip
    assert "service@STEAD.TEST" == stage.back_end_hears(naive.step())
    # A cache that has ended, by name.
    cache = "MEMORY:naive"
    naive = gssapi.Credentials(usage="initiate", store={"ccache": cache})
    assert "service@STEAD.TEST" == str(naive.name)
    # No cache at all.
    assert "service@STEAD.TEST" == str(gssapi.Credentials(usage="initiate").name)
    assert "alice@STEAD.TEST" == arrives_as(stage, alice)
    # As a library does that negotiates whatever it is given.
    for mech in (KERBEROS, SPNEGO, None):
        given = gssapi.SecurityContext(
            name=principal("HTTP/back"), creds=alice.gss(), mech=mech, usage="initiate"
        )
        assert "alice@STEAD.TEST" == stage.back_end_hears(given.step())
    begun = alice.initiate(BACK)
    alice.close()
    for act in (alice.gss, lambda: alice.initiate(BACK), begun.step):
        with pytest.raises(NoCredentialsError):
            act()
    with pytest.raises(NoCredentialsError), alice.on_this_thread():
        pass


def test_a_library_that_takes_no_credentials_finds_the_clients_in_one_thread(
    stage, alice, lying_about
):
    def default():
        return str(gssapi.Credentials(usage="initiate").name)

    elsewhere = []
    with alice.on_this_thread() as cache:
        assert cache.startswith("MEMORY:")
        assert "alice@STEAD.TEST" == default()
        with KerberosCredentials.keep(stage.ticket("bob")).on_this_thread():
            assert "bob@STEAD.TEST" == default()
        assert "alice@STEAD.TEST" == default()
        other = threading.Thread(target=lambda: elsewhere.append(default()))
        other.start()
        other.join()
    assert ["service@STEAD.TEST", "service@STEAD.TEST"] == [default(), *elsewhere]


def test_the_process_default_is_not_pinned_by_having_been_left(
    stage, alice, lying_about, monkeypatch
):
    with alice.on_this_thread():
        pass
    monkeypatch.setenv("KRB5CCNAME", stage.realm.log_on("bob", "lion"))
    assert "bob@STEAD.TEST" == str(gssapi.Credentials(usage="initiate").name)


def test_a_thread_is_left_though_the_librarys_configuration_is_broken_just_then(
    alice, monkeypatch, broken_configuration
):
    with monkeypatch.context() as broken, alice.on_this_thread() as cache:
        broken.setenv("KRB5_CONFIG", broken_configuration)
    assert cache.encode() != krb5_ccache_name(None)


def test_clients_in_many_threads_are_never_mixed(stage):
    """Their tickets are kept, used and wiped at once, as servers do it."""
    shown = [stage.ticket(name) for name in ("alice", "bob")]
    found = [set(), set()]

    def go(number):
        for _ in range(40):
            kept = KerberosCredentials.keep(shown[number % 2])
            found[number % 2].add(kept.principal)
            found[number % 2].add(arrives_as(stage, kept))
            kept.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [{"alice@STEAD.TEST"}, {"bob@STEAD.TEST"}] == found


def test_what_a_client_delegated_is_kept_and_renewed(stage):
    context = stage.context(flags=DELEGATE)
    accepted = gssapi.raw.accept_sec_context(
        context.step(),
        gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{stage.keytab}"}),
    )
    given = KerberosCredentials.keep(gssapi.Credentials(accepted.delegated_creds))
    assert not given.is_constrained
    assert "alice@STEAD.TEST" == arrives_as(stage, given)
    before = given.expires
    time.sleep(1.1)
    given.renew_for(3599.5)
    assert given.expires > before
    assert "alice@STEAD.TEST" == arrives_as(stage, given)
    given.close()


def test_in_the_second_in_which_a_ticket_ends_a_library_is_lent_another(alice):
    """By its own clock it takes the one that ends, and then there is none to lend."""
    context, name = krb5.init_context(), exact_name(BACK)
    cache = alice._open_cache()

    def ending():
        shown = gssapi.SecurityContext(
            name=name, creds=alice.gss(), lifetime=1, mech=KERBEROS, usage="initiate"
        )
        shown.step()
        held = krb5.cc_resolve(context, cache.encode())
        return max(each.times.endtime for each in caches._to(str(name), held))

    def naive():
        alice.initiate(BACK).step()
        caches.destroy(caches.only_for(cache, str(name)))

    until, has_fallen = time.monotonic() + 60, False
    while not has_fallen:
        assert time.monotonic() < until
        caches.forget_ended(cache, str(name), time.time() + 7200)
        end = ending()
        time.sleep(max(0, end - time.time()))
        try:
            naive()
        except NoCredentialsError:
            has_fallen = True
        with closing(alice.only_for(BACK)) as lent:
            assert lent.expires / 1e9 > end + 600
            assert "alice@STEAD.TEST" == lent.principal


def test_work_that_they_do_not_last_for_is_not_begun(stage, alice):
    alice.renew_for(60)
    with pytest.raises(CredentialsExpiredError, match="do not last") as caught:
        alice.renew_for(30 * 24 * 3600)
    assert "renew" in caught.value.advice
    short = stage.realm.log_on("bob", "lion", options="-l 5s")
    bob = KerberosCredentials.keep(
        gssapi.Credentials(usage="initiate", store={"ccache": short})
    )
    with pytest.raises(CredentialsExpiredError):
        bob.renew_for(60)
    # The library keeps to the KDC's clock, of which it knows whole seconds.
    time.sleep(max(0.0, bob.expires / 1e9 - time.time()) + 2)
    for act in (lambda: arrives_as(stage, bob), lambda: bob.renew_for(1)):
        with pytest.raises(CredentialsExpiredError):
            act()
    bob.close()


@pytest.fixture
def attendants():
    """Give what lists the threads that renew a ticket of this test's."""
    former = set(threading.enumerate())
    return lambda: [
        thread
        for thread in threading.enumerate()
        if thread.name == "stead-renewing" and thread not in former
    ]


def test_work_longer_than_one_ticket_is_attended(stage, attendants):
    """A ticket of sixteen seconds, renewable for two minutes, serves for longer."""
    short = stage.realm.log_on("alice", "tiger", options="-l 16s -r 120s")
    alice = KerberosCredentials.keep(
        gssapi.Credentials(usage="initiate", store={"ccache": short})
    )
    alice.renew_for(60)
    alice.renew_for(50)  # attended to already
    end = time.monotonic() + 17
    while time.monotonic() < end:
        assert "alice@STEAD.TEST" == arrives_as(stage, alice)
        time.sleep(0.5)
    with pytest.raises(CredentialsExpiredError):
        alice.renew_for(240)
    attending = attendants()
    assert 1 == len(attending)
    alice.close()
    for thread in attending:
        thread.join(60)
    assert not any(thread.is_alive() for thread in attending)


def test_an_attendant_waits_for_a_kdc_and_ends_with_the_ticket(
    stage, monkeypatch, attendants
):
    short = stage.realm.log_on("alice", "tiger", options="-l 6s -r 60s")
    alice = KerberosCredentials.keep(
        gssapi.Credentials(usage="initiate", store={"ccache": short})
    )
    alice.renew_for(30)
    (attendant,) = attendants()
    monkeypatch.setenv("KRB5_CONFIG", str(without_kdc(stage)))
    attendant.join(60)
    assert not attendant.is_alive()
    assert alice.expires / 1e9 <= time.time() + 1
    with pytest.raises(CredentialsExpiredError):
        alice.renew_for(30)
    alice.close()


@pytest.mark.parametrize("naive", [True, False])
def test_a_clock_that_was_behind_ends_no_attendance(
    stage, monkeypatch, attendants, naive
):
    """A pause that was measured by it goes on for a day beyond the ticket's end."""
    short = stage.realm.log_on("alice", "tiger", options="-l 8s -r 120s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    look = 1e6 if naive else 0.2
    monkeypatch.setattr(kept_tickets, "_SECONDS_TO_LOOK", look)
    with closing(KerberosCredentials.keep(shown)) as alice:
        alice.renew_for(60)
        (attendant,) = attendants()
        first, asked = alice.expires, []

        def behind():
            asked.append(alice.expires)
            return time.time() - 86_400

        with monkeypatch.context() as patched:
            patched.setattr(kept_tickets, "time", SimpleNamespace(time=behind))
            until(lambda: asked and asked[-1] > first)
        second = alice.expires
        if naive:
            time.sleep(max(0, second / 1e9 - time.time()))
            assert second == alice.expires
        else:
            until(lambda: alice.expires > second)
        assert attendant.is_alive()


def test_nobody_relies_on_an_attendant_that_could_not_be_started(
    stage, monkeypatch, attendants
):
    short = stage.realm.log_on("alice", "tiger", options="-l 8s -r 120s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    start = threading.Thread.start

    def none_left(thread):
        if thread.name == "stead-renewing":
            raise RuntimeError("can't start new thread")
        start(thread)

    with closing(KerberosCredentials.keep(shown)) as alice:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", none_left)
            with pytest.raises(RuntimeError):
                alice.renew_for(60)
        assert [] == attendants()
        alice.renew_for(60)
        assert 1 == len(attendants())


def test_an_attendant_tries_again_after_a_refusal(stage, monkeypatch):
    """As of a realm that is locked for a moment: the work outlived its ticket."""
    short = stage.realm.log_on("bob", "lion", options="-l 8s -r 120s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    refused, renewed = [], caches.renewed
    granting = f"krbtgt/{stage.realm.name}"

    def watched(cache):
        try:
            return renewed(cache)
        except krb5.Krb5Error as error:
            refused.append(error.err_code)
            raise

    monkeypatch.setattr(caches, "renewed", watched)
    with closing(KerberosCredentials.keep(shown)) as bob:
        bob.renew_for(60)
        first = bob.expires
        stage.realm._administer(f"modprinc -allow_tix {granting}")
        try:
            until(lambda: refused)
        finally:
            stage.realm._administer(f"modprinc +allow_tix {granting}")
        until(lambda: bob.expires > first)
        assert "bob@STEAD.TEST" == arrives_as(stage, bob)


def test_a_configuration_that_is_half_edited_for_a_moment_ends_no_renewals(
    stage, monkeypatch, broken_configuration
):
    """Whoever looked at that very moment looked never again, and the work failed."""
    short = stage.realm.log_on("alice", "tiger", options="-l 8s -r 120s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    failed, look = [], caches.ticket_of

    def watched(cache):
        try:
            return look(cache)
        except DirectoryUnavailableError as error:
            failed.append(error)
            raise

    monkeypatch.setattr(caches, "ticket_of", watched)
    with closing(KerberosCredentials.keep(shown)) as alice:
        alice.renew_for(60)
        first = alice.expires
        with monkeypatch.context() as patched:
            patched.setenv("KRB5_CONFIG", broken_configuration)
            until(lambda: failed)
        until(lambda: alice.expires > first)
        assert "alice@STEAD.TEST" == arrives_as(stage, alice)


def test_work_of_many_renewals_leaves_no_cache_for_each(stage):
    """What ended has no use; a session that lasts for days had hundreds of them."""

    def begun(seconds):
        short = stage.realm.log_on("alice", "tiger", options=f"-l {seconds}s -r 120s")
        shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
        alice = KerberosCredentials.keep(shown)
        first = alice._open_cache()
        alice.renew_for(100)
        held, made = alice._kept._caches, {first}

        def many():
            made.update(held)
            return len(made) > 5 or alice.expires < time.time_ns()

        until(many)
        alice.renew_for(0.1)
        return alice, first, held, made

    alice, first, held, made = long_enough(
        begun, seconds=2, late=CredentialsExpiredError
    )
    with closing(alice):
        assert len(held) < len(made)
        assert caches.ticket_of(held[-1]).ends == alice.expires // 10**9
        with pytest.raises(krb5.Krb5Error):
            caches.principal_of(first)
        assert "alice@STEAD.TEST" == arrives_as(stage, alice)


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_renewed_tickets_are_wiped_though_the_configuration_breaks_just_then(
    stage, monkeypatch, broken_configuration
):
    """They were in nobody's list, and stayed in memory for good."""
    short = stage.realm.log_on("alice", "tiger", options="-l 60s -r 600s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    made, renewed = [], caches.renewed
    with monkeypatch.context() as broken:

        def breaks(cache):
            made.append(renewed(cache))
            if len(made) == 2:
                broken.setenv("KRB5_CONFIG", broken_configuration)
            return made[-1]

        broken.setattr(caches, "renewed", breaks)
        with closing(KerberosCredentials.keep(shown)) as alice:
            for _ in range(2):
                alice._kept._renew()
            assert made == alice._kept._caches[1:]
    for cache in made:
        with pytest.raises(krb5.Krb5Error):
            caches.principal_of(cache)


def without_kdc(stage):
    text = stage.realm.configuration.read_text()
    port = text.split("kdc = 127.0.0.1:")[1].split()[0]
    dead = stage.folder / "dead.conf"
    dead.write_text(text.replace(f"127.0.0.1:{port}", "127.0.0.1:1"))
    return dead


class PlainLock:
    """A lock that is not re-entrant, and says so in the place of hanging for ever."""

    def __init__(self):
        self._lock = threading.Lock()

    def __enter__(self):
        if not self._lock.acquire(timeout=0.1):
            raise RecursionError("it would hang")

    def __exit__(self, *_):
        self._lock.release()


def test_a_finalizer_that_ends_the_session_meanwhile_hangs_nothing(stage, monkeypatch):
    """It runs on whatever thread collects garbage, this one too, and closes them."""
    looked, look, held = [], caches.ticket_of, []

    def as_garbage_is_collected(cache):
        looked.append(look(cache))
        if len(looked) == 2:  # where the lock is held
            held[-1].close()
        return looked[-1]

    monkeypatch.setattr(caches, "ticket_of", as_garbage_is_collected)
    for hangs in (True, False):
        looked.clear()
        short = stage.realm.log_on("alice", "tiger", options="-l 60s -r 600s")
        shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
        held.append(KerberosCredentials.keep(shown))
        if hangs:
            held[-1]._kept._lock = PlainLock()
            with pytest.raises(RecursionError):
                held[-1].renew_for(200)
            held[-1].close()
        else:
            held[-1].renew_for(200)
        assert 0 == held[-1].expires


def test_a_renewal_that_reaches_no_kdc_says_so(stage, alice, monkeypatch):
    monkeypatch.setenv("KRB5_CONFIG", str(without_kdc(stage)))
    time.sleep(1.1)
    with pytest.raises(DirectoryUnavailableError):
        alice.renew_for(3599.9)


@contextmanager
def silent_kdc(stage, monkeypatch):
    """Have the realm's KDC take what it is sent, and say nothing."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
        socket.socket() as taken,
    ):
        taken.bind(("127.0.0.1", 0))
        heard.bind(taken.getsockname())
        taken.listen(50)
        text = stage.realm.configuration.read_text()
        port = text.split("kdc = 127.0.0.1:")[1].split()[0]
        place = stage.folder / "silent.conf"
        place.write_text(
            text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{heard.getsockname()[1]}")
        )
        with monkeypatch.context() as patched:
            patched.setenv("KRB5_CONFIG", str(place))
            yield heard


def as_the_binding_does(cache):
    context = krb5.init_context()
    held = krb5.cc_resolve(context, cache.encode())
    krb5.get_renewed_creds(context, krb5.cc_get_principal(context, held), held)


@pytest.mark.parametrize(
    ("renew", "goes_on"), [(as_the_binding_does, False), (caches.renewed, True)]
)
def test_a_renewal_by_a_silent_kdc_lets_others_go_on(
    stage, monkeypatch, renew, goes_on
):
    """For one client's tickets every thread of the server stood still, half a minute.

    It is renewed in a process of its own, another thread of which says that it lives.
    """
    short = stage.realm.log_on("alice", "tiger", options="-l 60s -r 600s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    reads, writes = os.pipe()

    def say_so():
        while True:
            os.write(writes, b".")
            time.sleep(0.01)

    with (
        closing(KerberosCredentials.keep(shown)) as alice,
        silent_kdc(stage, monkeypatch) as heard,
    ):
        cache = alice._open_cache()
        if (child := os.fork()) == 0:
            threading.Thread(target=say_so, daemon=True).start()
            with suppress(BaseException):
                renew(cache)
            os._exit(0)
        try:
            heard.recv(4096)  # it has asked, and waits
            os.set_blocking(reads, False)
            time.sleep(0.5)
            with suppress(BlockingIOError):
                os.read(reads, 4096)
            assert goes_on == bool(select.select([reads], [], [], 3)[0])
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reads)
            os.close(writes)


def test_a_renewed_ticket_lies_in_a_cache_of_its_own(stage, alice):
    short = stage.realm.log_on("alice", "tiger", options="-l 60s -r 600s")
    shown = gssapi.Credentials(usage="initiate", store={"ccache": short})
    with closing(KerberosCredentials.keep(shown)) as kept:
        first = kept._open_cache()
        time.sleep(1.1)
        second = caches.renewed(first)
        assert caches.principal_of(second) == caches.principal_of(first)
        old, new = caches.ticket_of(first), caches.ticket_of(second)
        assert (old.is_granting, old.renewable_until) == (
            new.is_granting, new.renewable_until,
        )  # fmt: skip
        assert old.ends < new.ends
        caches.destroy(second)
    for gone in (first, second, alice._open_cache()[:-1]):
        with pytest.raises(krb5.Krb5Error):
            caches.renewed(gone)


def test_nobody_reaches_them_but_by_the_object(stage, alice, monkeypatch):
    cache = alice._open_cache()
    assert len(cache) > 64
    for default in ("MEMORY:none", "MEMORY:", cache.replace("stead", "steal")):
        monkeypatch.setenv("KRB5CCNAME", default)
        for name in (None, principal("alice@STEAD.TEST")):
            with pytest.raises(GSSError):
                gssapi.Credentials(usage="initiate", name=name)
    listed = [each.name for each in krb5.cccol_iter(krb5.init_context())]
    assert not any(b"stead" in name for name in listed)


def test_they_are_neither_shown_nor_copied(alice):
    cache = alice._open_cache().removeprefix("MEMORY:")
    for text in (repr(alice), str(alice), f"{alice}"):
        assert cache not in text
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InvalidRequestError):
            copied(alice)


def test_a_forked_process_has_no_part_in_them(alice):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            alice.gss()
            os.write(writing, b"reached")
        except NoCredentialsError:
            os.write(writing, b"refused")
        finally:
            alice.close()
            os._exit(0)
    os.waitpid(child, 0)
    assert b"refused" == os.read(reading, 16)
    assert "alice@STEAD.TEST" == str(alice.gss().name)
    os.close(reading)
    os.close(writing)


def test_credentials_that_were_forgotten_are_wiped(stage):
    kept = KerberosCredentials.keep(stage.ticket())
    cache = kept._open_cache()
    del kept
    gc.collect()
    context = krb5.init_context()
    assert [] == list(krb5.cc_resolve(context, cache.encode()))


def test_they_are_wiped_though_the_librarys_configuration_is_broken_just_then(
    stage, monkeypatch, broken_configuration
):
    """Somebody edits `krb5.conf` while a session ends."""
    tickets = KerberosCredentials.keep(stage.ticket())
    cache = tickets._open_cache().encode()
    with monkeypatch.context() as broken:
        broken.setenv("KRB5_CONFIG", broken_configuration)
        with pytest.raises(krb5.Krb5Error):
            krb5.init_context()
        tickets.close()
    context = krb5.init_context()
    with pytest.raises(krb5.Krb5Error, match="No credentials cache found"):
        krb5.cc_get_principal(context, krb5.cc_resolve(context, cache))


def test_what_holds_no_tickets_is_refused(stage):
    empty = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{stage.back}"})
    with pytest.raises(NoCredentialsError):
        KerberosCredentials.keep(empty)


def test_a_target_that_the_realm_does_not_know_is_told(alice):
    with pytest.raises(NoCredentialsError) as caught:
        alice.initiate("HTTP@nowhere").step()
    assert "SPN" in caught.value.advice


def test_somebody_else_in_the_clients_place_is_refused(stage, alice):
    with pytest.raises(WrongIdentityError):
        require_client("bob@STEAD.TEST", alice.gss().name)
    # A cache that says it is Bob's and holds Alice's: what is asked names the client.
    cache = "MEMORY:swapped"
    place = {b"ccache": cache.encode()}
    store_cred_into(place, stage.ticket(), overwrite=True)
    swapped = KerberosCredentials("bob@STEAD.TEST", cache)
    with pytest.raises(NoCredentialsError):
        swapped.gss()
    swapped.close()
