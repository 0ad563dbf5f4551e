"""A server whose machine gives it no more descriptors, for a while."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.adapters.kerberos.stage import PASSWORDS, staged

from stead.adapters.kerberos.password import KerberosPasswords
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated
from stead.errors import LogonFailureError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent


@pytest.fixture(scope="module")
def stage():
    with staged() as made:
        yield made


@pytest.fixture
def server(stage, open_server):
    made = open_server(
        lockout=LockoutPolicy(threshold=2, first_delay=0.001, longest_delay=0.01),
        password_authorities=[KerberosPasswords(stage.service(), "STEAD.TEST")],
        issuers=[Issuer("STEAD.TEST", names_accounts=True)],
    )
    made.accounts.add("alice")
    return made


@contextmanager
def no_descriptors():
    """Have this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in held:
            os.close(each)


class Directory:
    """One that is asked where there is no memory, until there is some."""

    name = "directory"
    domains = ("DIR",)
    has_memory = False

    def log_on(self, name, domain, secret, *, keep):
        if not self.has_memory:
            raise MemoryError
        return Authenticated(package="directory", issuer=domain, name=name)


def test_who_cannot_be_asked_for_want_of_memory_locks_nobody_out(open_server):
    directory = Directory()
    server = open_server(
        lockout=LockoutPolicy(threshold=2, first_delay=0.001, longest_delay=0.01),
        password_authorities=[directory],
        issuers=[Issuer("DIR", names_accounts=True)],
    )
    server.accounts.add("alice")
    for _ in range(3):
        with pytest.raises(LogonFailureError):
            server.log_on("alice@DIR", "tiger")
    assert () == server.accounts.locked_names()
    directory.has_memory = True
    server.log_on("alice@DIR", "tiger").close()


def test_who_cannot_be_asked_for_want_of_descriptors_locks_nobody_out(server):
    """The right password, each time: it was counted as a wrong one."""
    name, password = "alice@STEAD.TEST", PASSWORDS["alice"]
    server.log_on(name, password).close()
    with no_descriptors():
        for _ in range(3):
            with pytest.raises(LogonFailureError):
                server.log_on(name, password)
    assert () == server.accounts.locked_names()
    server.log_on(name, password).close()
    failed = [r for _, r in server.trail.find(Query(event=AuditEvent.LOGON_FAILED))]
    assert 3 == len(failed)
    assert all("Too many open files" in record.reasons[0] for record in failed)
