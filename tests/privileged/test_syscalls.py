"""Numbers of the system calls, and the two ways to call."""

import ctypes
import errno
import json
import os
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


@pytest.fixture(params=["native", "pure"])
def door(request, monkeypatch):
    """Call by the twin in C, where it was built, and by ctypes."""
    if request.param == "pure":
        monkeypatch.setattr(syscalls, "load", lambda: None)
    syscalls._kernel.cache_clear()
    yield
    syscalls._kernel.cache_clear()


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("call", [syscalls.call, syscalls.call_waiting])
def test_both_doors_hand_over_numbers_and_memory(call, world):
    path = world / "note"
    path.write_bytes(b"of 11 bytes")
    descriptor = call("openat2", -100, bytes(path), bytes(24), 24)
    try:
        found = (ctypes.c_uint64 * 32)()
        assert 0 == call("statx", descriptor, b"", 0x1000, 0x200, found)
        assert 11 == found[5]
        assert call("getgroups") == len(os.getgroups())
    finally:
        os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        call("fstatfs", 2**31)
    assert errno.EBADF == refused.value.errno
    for argument in ("text", None, 1.5):
        with pytest.raises((TypeError, ctypes.ArgumentError)):
            call("fstatfs", argument, argument, 1.5)


@pytest.mark.parametrize("arguments", [(), (39,), (39, *[0] * 7), ("x", *[0] * 6)])
def test_the_twin_takes_a_number_and_six_registers(arguments):
    twin = syscalls.load()
    for door in (twin.holding, twin.releasing):
        with pytest.raises(TypeError):
            door(*arguments)


def test_where_the_twin_was_not_built_there_is_none():
    assert syscalls.load("stead.privileged._nothing") is None


def test_a_refused_call_raises_the_kernels_error():
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        syscalls.call("fstatfs", 2**31)
    assert errno.EBADF == refused.value.errno


def test_a_call_interrupted_by_a_signal_is_made_again(run_program):
    done = run_program("interrupted.py")
    assert "opened 1 time after the signal\n" == done.stdout, done.stderr
