from __future__ import annotations

import pytest

from stead.errors import AccessDeniedError, NoThreadTokenError, RevertOrderError
from stead.monitor.effective import effective_token
from stead.monitor.impersonation import set_thread_token


@pytest.fixture
def run(server):
    """Give what runs a call on the server's executor."""
    return lambda act, *rest, **named: (
        server.executor().submit(act, *rest, **named).result(30)
    )


def test_work_begins_as_nobody_even_inside_a_block(run, alice):
    with alice.impersonate(), pytest.raises(NoThreadTokenError):
        run(effective_token)


def test_a_block_on_it_is_the_client_and_raw_acts_are_refused(run, alice, tmp_path):
    (tmp_path / "notes").write_text("the server's")

    def work(path, *, mode):
        with alice.impersonate():
            assert alice.token is effective_token()
            return path.open(mode)

    with pytest.raises(AccessDeniedError, match="is refused inside"):
        run(work, tmp_path / "notes", mode="r")
    with pytest.raises(AccessDeniedError, match="has not said who it is"):
        run((tmp_path / "notes").read_text)
    assert "the server's" == (tmp_path / "notes").read_text()


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
@pytest.mark.leaks_identity
def test_work_that_leaves_a_block_open_fails_as_it_would_where_the_kernel_judges(
    run, alice, error
):
    def work():
        set_thread_token(alice.token)
        if error is not None:
            raise error

    with pytest.raises(RevertOrderError):
        run(work)
    with pytest.raises(NoThreadTokenError):
        run(effective_token)
