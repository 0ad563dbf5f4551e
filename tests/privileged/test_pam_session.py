"""A PAM session around a process, on a machine of the test's own."""

import ctypes

import pytest

pytestmark = pytest.mark.root


def has_pam():
    try:
        ctypes.CDLL("libpam.so.0").pam_start_confdir  # noqa: B018  # is it there
    except (AttributeError, OSError):
        return False
    return True


@pytest.mark.skipif(not has_pam(), reason="needs Linux-PAM 1.4 or newer")
def test_sessions_open_around_the_process_or_it_is_not_started(world, outcome_of):
    said = outcome_of("sessions.py", world)
    plain = said["plain"]
    assert "71234" == plain[2]
    assert "77" != plain[0]
    assert ["77", "77", "71234"] == said["session"]
    # A keeper that opened a session is not used again.
    assert plain == said["plain again"] == said["plain at last"]
    refused = "ImpersonationRefusedError: `sh` cannot be started at pam: "
    assert (
        refused + "the account `stead-client` is not uid 71235"
        == (said["another account"])
    )
    assert said["no account"].startswith(refused + "the account `no-such-account` is")
    assert said["no module"].startswith(refused + "pam opens no session: ")
    assert said["no library"].startswith(refused + "`libpam.so.0` 1.4 or newer is")
    # Root needs no password for the machine's own service, and gets nothing from ours.
    assert (True, False) == (said["su"], said["ours"])
