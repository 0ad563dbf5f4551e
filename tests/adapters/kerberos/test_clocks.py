"""A KDC whose clock is another than this machine's: nobody's password is at fault."""

from __future__ import annotations

import subprocess

import pytest
from tests.adapters.kerberos.stage import HTTP

from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.errors import DirectoryUnavailableError, PasswordMismatchError
from stead.model.secret import Secret
from stead.testing.realm import Realm

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += SECONDS;
    return status;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""
MINUTES = 20


class OffRealm(Realm):
    """A realm whose programs have another time."""

    def __init__(self, clock):
        super().__init__()
        self._clock = str(clock)

    def _variables(self):
        return {**super()._variables(), "LD_PRELOAD": self._clock}


@pytest.fixture(params=[MINUTES, 0, -MINUTES], scope="module")
def minutes(request):
    return request.param


@pytest.fixture(scope="module")
def service(minutes, tmp_path_factory, monkeypatch_module):
    folder = tmp_path_factory.mktemp("clock")
    source, clock = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DSECONDS=({minutes}*60)", "-o", clock, source],
        check=True,
    )
    with OffRealm(clock) as realm:
        realm.add_principal("alice", "tiger")
        keytab = realm.add_service(HTTP)
        monkeypatch_module(realm.environment())
        yield KerberosService(
            keytab, HTTP, realms=[TrustedRealm(name=realm.name, requires_pac=False)],
            replay_cache=realm.folder / "replays",
        )  # fmt: skip


def log_on(service, password, **options):
    (realm,) = service.realms
    authority = KerberosPasswords(service, realm, **options)
    return authority.log_on("alice", realm, Secret(password), keep=False).name


@pytest.mark.parametrize("armored", [False, True])
def test_a_right_password_is_no_failure_where_clocks_differ(service, minutes, armored):
    if not minutes:
        assert "alice" == log_on(service, "tiger", armored=armored)
        return
    with pytest.raises(DirectoryUnavailableError, match="clocks") as caught:
        log_on(service, "tiger", armored=armored)
    assert "time servers" in caught.value.advice


def test_a_wrong_password_is_one_whatever_the_time(service):
    with pytest.raises(PasswordMismatchError):
        log_on(service, "lion")


def test_who_is_logged_on_without_a_password_is_not_refused_for_it(service, minutes):
    without, (realm,) = LogonWithoutPassword(service), service.realms
    if minutes > 0:  # what was given just now counts only later
        with pytest.raises(DirectoryUnavailableError, match="clocks"):
            without.log_on("alice", realm)
    else:
        assert "alice" == without.log_on("alice", realm).name
