from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.authority.account_policy import (
    AccountPolicy,
    end_of_time,
    out_of_time,
    outdated_password,
)
from stead.authority.ports import Account, Password
from stead.errors import (
    AccountExpiredError,
    InvalidRequestError,
    LogonHoursError,
    PasswordExpiredError,
    PasswordMustChangeError,
)
from stead.model.logon_hours import LogonHours
from stead.model.sid import Sid

ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")
HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
THURSDAY_AT_NINE = 9 * HOUR  # the epoch's own day


def account(**times):
    return Account(ALICE, "alice", **times)


def test_an_account_without_times_may_log_on_for_ever():
    assert out_of_time(account(), 0) is None
    assert end_of_time(account(), 0) is None


def test_an_account_ends_at_its_end():
    alice = account(expires_at=100)
    assert out_of_time(alice, 99) is None
    assert isinstance(out_of_time(alice, 100), AccountExpiredError)
    assert 100 == end_of_time(alice, 50)


def test_an_account_logs_on_in_its_hours():
    alice = account(logon_hours=LogonHours.from_string("thu 08-10"))
    assert out_of_time(alice, THURSDAY_AT_NINE) is None
    assert isinstance(out_of_time(alice, THURSDAY_AT_NINE + HOUR), LogonHoursError)
    assert 10 * HOUR == end_of_time(alice, THURSDAY_AT_NINE)


@given(
    st.none() | st.integers(1, 2**62),
    st.none() | st.integers(0, (1 << 168) - 1).map(LogonHours),
    st.integers(0, 2**62),
)
def test_the_end_is_where_an_account_may_log_on_no_more(expires_at, hours, now):
    alice = account(expires_at=expires_at, logon_hours=hours)
    end = end_of_time(alice, now)
    if out_of_time(alice, now) is not None:
        assert end is not None
        assert end <= now
    elif end is not None:
        assert out_of_time(alice, end - 1) is None
        assert out_of_time(alice, end) is not None


def test_a_password_that_must_be_changed_does_not_count():
    never = Password("verifier", 0)
    error = outdated_password(account(), never, AccountPolicy(), 10)
    assert isinstance(error, PasswordMustChangeError)
    lasting = account(password_lasts=True)
    assert outdated_password(lasting, never, AccountPolicy(), 10) is not None


def test_a_password_grows_as_old_as_the_policy_allows():
    policy = AccountPolicy(maximum_password_age=60)
    kept = Password("verifier", 5 * SECOND)
    assert outdated_password(account(), kept, policy, 65 * SECOND - 1) is None
    error = outdated_password(account(), kept, policy, 65 * SECOND)
    assert isinstance(error, PasswordExpiredError)
    assert outdated_password(account(), kept, AccountPolicy(), 10**18) is None
    lasting = account(password_lasts=True)
    assert outdated_password(lasting, kept, policy, 10**18) is None


@pytest.mark.parametrize("age", [-1, float("nan")])
def test_an_age_that_is_none_is_refused(age):
    with pytest.raises(InvalidRequestError):
        AccountPolicy(maximum_password_age=age)
