"""A server that looks for leaks, the kernel's too: logged and recorded once a place."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time

import pytest

from stead.model.audit_record import AuditEvent, Outcome
from stead.monitor.leaks import LeakWatch
from stead.privileged.syscalls import architecture
from stead.privileged.thread_ids import ThreadIds, parsed, thread_ids
from stead.server.leaking import KernelLook, watch_leaks

LEAKED = AuditEvent.IDENTITY_LEAKED


def within(seconds, is_so):
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_so()


@pytest.mark.leaks_identity
def test_a_leak_is_logged_and_recorded_once_for_its_place(server, alice, trail, caplog):
    held = []
    with caplog.at_level(logging.CRITICAL), server.watch_leaks():
        for _ in range(3):
            thread = threading.Thread(
                target=lambda: held.append(alice.impersonate().__enter__())
            )
            with watch_leaks(server._house.guard, seconds=0.01):
                thread.start()
                thread.join()
                assert within(60, lambda: trail(LEAKED))
    records = trail(LEAKED)
    assert {__file__} == {
        record.detail["where"].rpartition(":")[0] for record in records
    }
    assert {Outcome.FAILURE} == {record.outcome for record in records}
    assert {"alice"} == {record.client.name for record in records}
    assert any("its thread ended" in record.reasons[0] for record in records)
    assert "leaked: the identity of `alice`" in caplog.text


def test_watching_ends_with_its_block(server):
    before = set(threading.enumerate())
    with server.watch_leaks() as watch:
        assert set(threading.enumerate()) - before
        assert () == watch.frames()
    # Those of earlier tests may end meanwhile.
    assert set() == set(threading.enumerate()) - before


def test_a_status_is_read_as_proc_5_says():
    text = (
        "Name:\tpython\nUid:\t0\t70001\t0\t70001\nGid:\t1\t2\t3\t4\n"
        "Groups:\t5 6 \nSeccomp:\t0\n"
    )
    assert ThreadIds((0, 70001, 0, 70001), (1, 2, 3, 4), frozenset({5, 6})) == parsed(
        text
    )


def test_every_thread_of_this_process_is_seen():
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    found = thread_ids()
    go.set()
    thread.join()
    assert {threading.get_native_id(), thread.native_id} <= set(found)
    assert os.getresuid() == found[thread.native_id].uids[:3]


@pytest.mark.root
def test_a_thread_that_is_somebody_in_the_kernel_with_no_block_is_found():
    """A library that changes one thread by hand, which Stead cannot know of."""
    syscall = ctypes.PyDLL(None).syscall
    number = architecture(os.uname().machine).numbers["setresuid"]
    told, ready, go = [], threading.Event(), threading.Event()

    def work():
        syscall(number, -1, 70001, -1)
        ready.set()
        go.wait()
        syscall(number, -1, 0, -1)

    thread = threading.Thread(target=work, name="stray")
    with LeakWatch(told.append) as watch:
        look = KernelLook(watch, thread_ids()[threading.get_native_id()])
        look(time.sleep)
        assert [] == told
        thread.start()
        ready.wait()
        look(time.sleep)
        go.set()
        thread.join()
        look(time.sleep)
    [leak] = told
    assert "`stray`" in str(leak)
    assert "70001" in str(leak)


@pytest.mark.root
def test_threads_that_switch_all_the_time_are_no_false_alarm(
    kernel_server, client_of, identity_leaks
):
    told, ended = [], threading.Event()
    clients = [client_of(kernel_server, name) for name in ("alice", "bob")]

    def work(client):
        while not ended.is_set():
            with client.impersonate():
                pass

    def stay(client):
        with client.impersonate():
            ended.wait(30)

    with LeakWatch(told.append) as watch:
        look = KernelLook(watch, thread_ids()[threading.get_native_id()])
        items = [kernel_server.executor().submit(work, clients[0])]
        items.append(kernel_server.executor().submit(stay, clients[1]))
        for _ in range(20):
            look(time.sleep)
        ended.set()
        for item in items:
            item.result()
    assert [] == told
    assert () == identity_leaks()


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_block_that_an_item_of_the_kernels_executor_leaves_is_found(
    kernel_server, client_of, identity_leaks
):
    alice, held = client_of(kernel_server, "alice"), []
    item = kernel_server.executor().submit(
        lambda: held.append(alice.impersonate().__enter__())
    )
    assert item.exception() is not None
    [leak] = identity_leaks()
    assert __file__ in leak.where
    assert "an item of `server.executor()` ended" in str(leak)


@pytest.mark.root
def test_a_carried_function_is_judged_by_the_kernel_on_the_servers_executor(
    kernel_server, client_of, world
):
    world.chmod(0o777)
    alice = client_of(kernel_server, "alice")
    pool = kernel_server.executor()
    pool.submit(alice.carry((world / "note").write_text), "hers").result(30)
    assert 70001 == (world / "note").stat().st_uid
