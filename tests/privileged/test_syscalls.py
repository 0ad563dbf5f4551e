"""Numbers of the system calls, and the two ways to call."""

import errno
import json
from pathlib import Path

import pytest

from stead.errors import EnforcementUnavailableError
from stead.privileged import syscalls

VECTORS = json.loads((Path(__file__).parent / "vectors" / "syscalls.json").read_text())[
    "vectors"
]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_number_is_the_kernel_headers_own(machine):
    expected = {v["id"]: v[machine] for v in VECTORS if v[machine] is not None}
    assert expected == dict(syscalls.architecture(machine).numbers)


def test_a_machine_without_a_table_is_refused():
    with pytest.raises(EnforcementUnavailableError, match="`sparc64`") as refused:
        syscalls.architecture("sparc64")
    assert "x86_64 or aarch64" in refused.value.advice


def test_a_call_that_the_machine_does_not_have_is_not_implemented():
    with pytest.raises(OSError, match="not implemented") as refused:
        syscalls.call("no_such_call")
    assert errno.ENOSYS == refused.value.errno


def test_a_refused_call_raises_the_kernels_error():
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        syscalls.call("fstatfs", 2**31)
    assert errno.EBADF == refused.value.errno


def test_a_call_interrupted_by_a_signal_is_made_again(run_program):
    done = run_program("interrupted.py")
    assert "opened 1 time after the signal\n" == done.stdout, done.stderr
