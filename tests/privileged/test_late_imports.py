"""First imports while a thread is a client."""

import sys
from datetime import UTC, datetime

import pytest

from stead.errors import LateImportError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.hardened_thread import KernelBlock
from stead.privileged.late_imports import LateImportGuard

pytestmark = pytest.mark.root

ALICE = PosixIdentity(70001, 70001)


def test_a_codec_needed_late_is_refused_and_found_afterwards(executor):
    def act():
        with KernelBlock(ALICE), pytest.raises(LateImportError, match="cp037"):
            "x".encode("cp037")
        return "x".encode("cp037")

    assert b"\xa7" == executor.submit(act).result()


def test_what_is_commonly_needed_late_is_there(executor):
    def act():
        with KernelBlock(ALICE):
            return datetime.strptime("2026 +0000", "%Y %z")

    assert datetime(2026, 1, 1, tzinfo=UTC) == executor.submit(act).result()


def test_the_server_imports_what_it_likes(executor):
    def act():
        sys.modules.pop("this_is_not_there", None)
        with KernelBlock(ALICE), KernelBlock(None), pytest.raises(ModuleNotFoundError):
            __import__("this_is_not_there")

    executor.submit(act).result()


def test_other_threads_are_not_asked():
    assert LateImportGuard().find_spec("anything", None) is None
