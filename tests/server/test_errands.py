from __future__ import annotations

import threading
from contextvars import Context, copy_context
from pathlib import Path

import pytest

from stead.errors import AccessDeniedError, ServerClosedError
from stead.monitor import context
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.server.acting.errands import Errands


@pytest.fixture
def errands():
    made = Errands("test-errand")
    yield made
    made.close()


def test_all_threads_are_started_at_once(errands):
    names = [thread.name for thread in threading.enumerate()]
    assert 4 == sum(name.startswith("test-errand") for name in names)


def test_what_may_not_be_done_as_a_client_is_carried_over(errands, alice, tmp_path):
    here = threading.get_ident()
    (tmp_path / "notes").write_text("kept")
    assert here == errands.run(threading.get_ident)
    with alice.impersonate():
        with pytest.raises(AccessDeniedError):
            (tmp_path / "notes").read_text()
        assert "kept" == errands.run((tmp_path / "notes").read_text)
        assert here != errands.run(threading.get_ident)
        copy = copy_context()
    assert here != copy.run(errands.run, threading.get_ident)


def test_a_block_around_the_servers_own_is_a_clients_still(
    errands, server, alice, tmp_path
):
    (tmp_path / "notes").write_text("kept")
    with alice.impersonate(), server.as_server():
        with pytest.raises(AccessDeniedError):
            Context().run((tmp_path / "notes").read_text)
        assert "kept" == errands.run((tmp_path / "notes").read_text)


def test_in_a_handler_it_is_done_there_and_by_nobody(errands, guard, tmp_path):
    (tmp_path / "notes").write_text("kept")
    with Block(FrameKind.HANDLER, None, guard):
        with pytest.raises(AccessDeniedError):
            (tmp_path / "notes").read_text()
        assert "kept" == errands.run((tmp_path / "notes").read_text)
        assert threading.get_ident() == errands.run(threading.get_ident)
        assert errands.run(context.raw_frame) is None


def test_errors_come_back(errands, alice):
    missing = Path("/no/such/file")
    with alice.impersonate(), pytest.raises(FileNotFoundError):
        errands.run(missing.read_text)
    with pytest.raises(FileNotFoundError):
        errands.submit(missing.read_text).result()


def test_a_closed_server_runs_no_errands():
    made = Errands("test-errand")
    made.close()
    with pytest.raises(ServerClosedError):
        made.submit(threading.get_ident)


@pytest.mark.root
def test_a_hardened_threads_errands_are_carried_over(errands, kernel_server):
    there = kernel_server.executor().submit(
        lambda: threading.get_ident() == errands.run(threading.get_ident)
    )
    assert not there.result(60)
