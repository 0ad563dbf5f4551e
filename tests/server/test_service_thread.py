from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path

import pytest

from stead.errors import AccessDeniedError, ServerClosedError, ServerUnavailableError
from stead.server import service_thread
from stead.server.service_thread import ServiceThread, carried


class Shelf:
    """Something whose methods must run as the server."""

    def put(self, path):
        Path(path).write_text("kept")
        return threading.get_ident()

    def read(self, path, times):
        for _ in range(times):
            yield Path(path).read_text(), threading.get_ident()

    def fail(self):
        raise LookupError("nothing here")

    def read_some(self, times):
        yield from range(times)
        raise LookupError("nothing more")


@pytest.fixture
def service():
    made = ServiceThread("test")
    yield made
    made.close()


@pytest.fixture
def shelf(service):
    return carried(Shelf(), service)


def test_outside_blocks_calls_stay_where_they_are(shelf, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        here = pool.submit(threading.get_ident).result()
        assert here == pool.submit(shelf.put, tmp_path / "a").result()


def test_an_interrupt_of_the_main_thread_ends_nothing_in_the_middle(shelf, tmp_path):
    assert threading.get_ident() != shelf.put(tmp_path / "a")


def test_a_thread_that_has_ended_is_an_error_and_no_waiting(service):
    service.close()
    with pytest.raises(ServerClosedError):
        service.run(threading.get_ident)


@pytest.mark.parametrize("way", ["run", "run_apart"])
def test_what_may_never_end_is_done_apart_and_holds_up_nobody(service, alice, bob, way):
    """The naive one does it on the one thread, before whatever comes next."""
    begun, goes_on = threading.Event(), threading.Event()

    def silent():
        begun.set()
        goes_on.wait(60)

    def carried_over(client, ask, act):
        with client.impersonate():
            return ask(act)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(carried_over, alice, getattr(service, way), silent)
        assert begun.wait(60)
        second = pool.submit(carried_over, bob, service.run, threading.current_thread)
        if way == "run":
            assert not wait([second], 0.2).done
        else:
            assert service._thread is second.result(60)
            service.close()  # nor does it wait for that
            with pytest.raises(ServerClosedError):
                first.result(60)
        goes_on.set()
        assert service._thread is second.result(60)


def test_what_is_done_apart_is_done_as_the_server(service, alice, tmp_path):
    with pytest.raises(LookupError), alice.impersonate():
        service.run_apart(Shelf().fail)
    with alice.impersonate():
        service.run_apart(partial(Shelf().put, tmp_path / "a"))
        with pytest.raises(AccessDeniedError):
            Shelf().put(tmp_path / "naive")
    with ThreadPoolExecutor(1) as pool:
        here = pool.submit(threading.get_ident).result()
        assert here == pool.submit(service.run_apart, threading.get_ident).result()


def test_without_a_thread_for_it_nothing_is_asked_apart(service, alice, monkeypatch):
    def cannot_start(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot_start)
        with alice.impersonate(), pytest.raises(ServerUnavailableError, match="start"):
            service.run_apart(threading.get_ident)
    with alice.impersonate():
        assert service._thread is service.run(threading.current_thread)


def test_inside_a_clients_block_calls_are_made_as_the_server(shelf, alice, tmp_path):
    with alice.impersonate():
        with pytest.raises(AccessDeniedError):
            Shelf().put(tmp_path / "naive")
        assert threading.get_ident() != shelf.put(tmp_path / "a")
    assert ["a"] == [path.name for path in tmp_path.iterdir()]


def test_inside_as_server_calls_stay_where_they_are(shelf, server, alice, tmp_path):
    def work():
        with alice.impersonate(), server.as_server():
            return threading.get_ident() == shelf.put(tmp_path / "a")

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()


def test_a_strangers_calls_are_made_as_the_server(shelf, alice, tmp_path):
    with alice.impersonate():
        copy = copy_context()
    assert threading.get_ident() != copy.run(shelf.put, tmp_path / "a")


def test_what_is_read_on_demand_is_read_as_the_server_too(shelf, alice, tmp_path):
    shelf.put(tmp_path / "a")

    def work():
        here = threading.get_ident()
        pages = shelf.read(tmp_path / "a", 3)
        read = [next(pages)]
        with alice.impersonate():
            read += list(pages)
        return [(text, thread == here) for text, thread in read]

    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(work).result()
    assert [("kept", True), ("kept", False), ("kept", False)] == read


def test_errors_come_back(shelf, alice):
    with alice.impersonate(), pytest.raises(LookupError, match="nothing here"):
        shelf.fail()


def test_the_trail_may_be_read_inside_a_clients_block(server, administrator):
    with administrator.impersonate():
        trail = server.trail_for(administrator)
        assert trail.verify().count > 0


@pytest.mark.root
def test_the_store_is_the_servers_inside_a_judged_block(
    kernel_server, client_of, shelf, world
):
    alice = client_of(kernel_server, "alice")
    world.chmod(0o777)

    def made():
        with alice.impersonate():
            Shelf().put(world / "naive")
            shelf.put(world / "ours")
            # Where no frame lies over the context, the kernel's client is the same.
            Context().run(shelf.put, world / "hidden")

    kernel_server.executor().submit(made).result(30)
    owners = {
        name: (world / name).stat().st_uid for name in ("naive", "ours", "hidden")
    }
    assert {"naive": 70001, "ours": 0, "hidden": 0} == owners


@pytest.mark.root
def test_a_server_does_its_bookkeeping_inside_a_judged_block(
    kernel_server, client_of, world, rights
):
    alice = client_of(kernel_server, "alice")

    def work():
        with alice.impersonate():
            kernel_server.accounts.add("carol")
            draft = kernel_server.protect("draft", rights)
            with kernel_server.client_for("carol", authenticated_by="test") as carol:
                return kernel_server.check(carol, draft, rights.READ).allowed

    assert not kernel_server.executor().submit(work).result(30)
    files = list((world / "store").iterdir())
    assert {0} == {path.stat().st_uid for path in files}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in files}


def test_what_is_read_on_demand_takes_few_errands(service, tmp_path):
    errands = []

    class Counting:
        def run(self, act):
            errands.append(act)
            return service.run(act)

    shelf = carried(Shelf(), Counting())
    (tmp_path / "a").write_text("kept")
    read = shelf.read(tmp_path / "a", 5000)
    assert "kept" == next(read)[0]
    assert 2 == len(errands)  # the call itself, and one answer: no more than was asked
    assert 4999 == len(list(read))
    assert 25 > len(errands)


def test_answers_before_an_error_come_before_it(shelf):
    found = []
    with pytest.raises(LookupError, match="nothing more"):
        found.extend(shelf.read_some(100))
    read = shelf.read_some(100)
    assert list(range(100)) == [next(read) for _ in range(100)]
    with pytest.raises(LookupError, match="nothing more"):
        next(read)


@pytest.mark.parametrize("name", ["Future", "Context"])
def test_it_outlives_a_machine_that_has_no_memory_for_a_while(monkeypatch, name):
    """Whoever asked then is told; whoever asked later waited for good."""
    thread = ServiceThread("notes")

    def none_left():
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(service_thread, name, none_left)
        with pytest.raises(MemoryError):
            thread._away(lambda: 5)
    assert 5 == thread._away(lambda: 5)
    thread.close()
