"""PAM's process when what asks it is interrupted, and when the machine has no more.

Whatever is lent for an attempt is there again afterwards, and who is not part of the
trouble hears nothing of it.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.adapters.pam_stage import (
    MODULE,
    Services,
    built,
    children_of,
    eventually,
    log_on,
)

from stead.adapters.pam import server_end as pam
from stead.adapters.pam.authority import PamAuthority
from stead.errors import DirectoryUnavailableError, PasswordMismatchError


@pytest.fixture
def services(tmp_path):
    tmp_path.chmod(0o755)
    return Services(tmp_path)


@pytest.fixture
def wild(services):
    """A service whose module hangs for whoever begins with an `h`."""
    module = built(services.folder.parent, MODULE)
    services.write(f"auth required {module}", name="wild")

    def make(**how):
        return PamAuthority(["HOST"], service="wild", folder=services.folder, **how)

    return make


def refused(host, name="other"):
    """Tell that PAM itself refuses somebody: it was asked, and has answered."""
    with suppress(PasswordMismatchError):
        log_on(host, name)
        return False
    return True


def worker_of(host):
    return host._workers._process.pid


def hangs(host):
    """Tell that an attempt hangs: it has a child of its own."""
    return any(children_of(child) for child in children_of(worker_of(host)))


def end_attempts(worker):
    """End those that hang, and none that waits for the next attempt."""
    for child in children_of(worker):
        if children_of(child):
            os.killpg(int(child), signal.SIGKILL)


def open_here():
    return len(tuple(Path("/proc/self/fd").iterdir()))


def test_an_interrupt_while_pam_is_asked_costs_no_place(wild):
    """Ctrl-C at a prompt, as often as there are places: the next one has one again."""
    # An interrupt that comes after its attempt ended would be the next test's.
    with wild(seconds=60, at_once=2) as host:
        worker = worker_of(host)

        def interrupt():
            eventually(lambda: hangs(host))
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        for _ in range(2):
            other = threading.Thread(target=interrupt)
            other.start()
            with pytest.raises(KeyboardInterrupt):
                log_on(host, "hangs")
            other.join()
            end_attempts(worker)
            eventually(lambda: not hangs(host))
        assert refused(host)
        assert refused(host)
        assert worker == worker_of(host)


def test_a_worker_that_was_stopped_for_long_has_all_its_places_again(wild):
    with wild(seconds=1, at_once=2) as host:
        worker = worker_of(host)
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(DirectoryUnavailableError, match="in time"):
                    log_on(host, "other")
        finally:
            os.kill(worker, signal.SIGCONT)

        def is_well():
            with suppress(DirectoryUnavailableError):
                return refused(host)
            return False

        eventually(is_well)
        eventually(lambda: host._workers._lanes.qsize() == 2)
        assert worker == worker_of(host)


def test_an_answer_that_nobody_takes_hurts_no_other_attempt(wild):
    """What is unread when a lane is closed is an error at its other end."""
    with wild(seconds=20, at_once=2) as host:
        worker = worker_of(host)
        lane = host._workers._lanes.get()
        lane.send(b"m" * 16 + b'{"name": "other"}\0x')
        answered = threading.Event()

        def hang():
            with pytest.raises(DirectoryUnavailableError):
                log_on(host, "hangs")
            answered.set()

        other = threading.Thread(target=hang)
        other.start()
        eventually(lambda: hangs(host))
        eventually(lambda: lane.recv(1, socket.MSG_PEEK))
        lane.close()
        assert refused(host)
        assert worker == worker_of(host)
        assert not answered.is_set()  # it is still asked
        end_attempts(worker)
        other.join()


def test_a_worker_that_gets_no_more_of_the_machine_ends_nobody_s_attempt(wild):
    """As at the limit of a service's tasks: who hangs goes on, who comes is told."""
    with wild(seconds=20, at_once=3) as host:
        worker = worker_of(host)
        told = []

        def hang():
            with pytest.raises(DirectoryUnavailableError) as caught:
                log_on(host, "hangs")
            told.append(str(caught.value))

        other = threading.Thread(target=hang)
        other.start()
        eventually(lambda: hangs(host))
        # Enough for `poll`, and for nothing that is opened.
        soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (5, hard))
        try:
            for _ in range(4):  # those that were made ready before, and no more
                with suppress(DirectoryUnavailableError, PasswordMismatchError):
                    log_on(host, "other")
            with pytest.raises(DirectoryUnavailableError, match="Too many open files"):
                log_on(host, "other")
        finally:
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
        assert [] == told
        assert worker == worker_of(host)
        assert refused(host)
        end_attempts(worker)
        other.join()
        assert ["ended without an answer"] == [word[-23:] for word in told]


def test_a_server_without_descriptors_has_pam_again_when_it_has_some(wild, monkeypatch):
    """A worker ends, and for a while no other can be started, nor told of."""
    with wild(seconds=10) as host:
        real, failed = pam.socket.socketpair, threading.Event()

        def none_left(*_how):
            failed.set()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        first = worker_of(host)
        monkeypatch.setattr(pam.socket, "socketpair", none_left)
        os.kill(first, signal.SIGKILL)
        assert failed.wait(60)
        monkeypatch.setattr(pam.socket, "socketpair", real)
        eventually(lambda: worker_of(host) != first)
        assert refused(host)


def test_pam_s_process_that_cannot_be_started_is_a_directory_that_does_not_answer(
    wild, monkeypatch
):
    def none_left(*_how):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(pam.socket, "socketpair", none_left)
    with pytest.raises(DirectoryUnavailableError, match="cannot be started"):
        wild()


def test_who_closes_while_another_worker_is_started_waits_for_none(wild, monkeypatch):
    with wild(seconds=5) as host:
        workers, starts, goes_on = host._workers, threading.Event(), threading.Event()
        real = workers._start

        def start():
            starts.set()
            assert goes_on.wait(60)
            return real()

        monkeypatch.setattr(workers, "_start", start)
        os.kill(worker_of(host), signal.SIGKILL)
        assert starts.wait(60)
        closing = threading.Thread(target=host.close, daemon=True)
        closing.start()
        eventually(workers._is_closed.is_set)
        goes_on.set()
        closing.join(30)
        assert not closing.is_alive()
        assert workers._process.wait(30) is not None


def test_many_attempts_leave_nothing_behind(wild):
    """Those that are abandoned too: descriptors and threads are as many as before."""
    with wild(seconds=5, at_once=4) as host:
        assert refused(host)
        before = open_here()
        for _ in range(20):
            lane = host._workers._lanes.get()
            lane.send(b"m" * 16 + b'{"name": "other"}\0x')
            lane.close()
            assert refused(host)
        eventually(lambda: host._workers._lanes.qsize() == 4)
        # What earlier tests left may be closed meanwhile.
        eventually(lambda: before >= open_here())
        eventually(lambda: len(children_of(worker_of(host))) == 2)
