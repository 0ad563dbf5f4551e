"""Rules of who may be acted as, as values."""

import pytest

from stead.errors import InvalidRequestError
from stead.model.impersonation_policy import (
    Act,
    ImpersonationPolicy,
    ImpersonationRule,
)
from stead.model.well_known import EVERYONE


def test_a_rule_keeps_what_it_is_about():
    rule = ImpersonationRule("all", True, acts=[Act.OPEN], clients=iter([EVERYONE]))
    assert frozenset({Act.OPEN}) == rule.acts
    assert frozenset({EVERYONE}) == rule.clients
    assert rule.gates is None


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\x1b[1m", 81 * "a"])
def test_a_rule_has_a_name_that_fits_a_line(name):
    with pytest.raises(InvalidRequestError, match="name"):
        ImpersonationRule(name, True)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"gates": "http"}, "one by one"),
        ({"clients": [str(EVERYONE)]}, "of another kind"),
        ({"acts": ["open"]}, "of another kind"),
        ({"servers": [None]}, "of another kind"),
        ({"clients": []}, "about no clients"),
        ({"gates": frozenset()}, "about no gates"),
        ({"gates": ["http "]}, "is no word"),
        ({"servers": [""]}, "is no word"),
    ],
)
def test_what_could_be_about_nothing_or_everything_by_mistake_is_refused(parts, said):
    with pytest.raises(InvalidRequestError, match=said):
        ImpersonationRule("a rule", True, **parts)


@pytest.mark.parametrize("word", ["forbid", "", 0, 1, None])
def test_what_allows_is_true_or_false(word):
    with pytest.raises(InvalidRequestError, match="True or False"):
        ImpersonationRule("a rule", word)
    with pytest.raises(InvalidRequestError, match="True or False"):
        ImpersonationPolicy((), otherwise_allows=word)


def test_two_rules_of_one_name_are_refused():
    rule = ImpersonationRule("a rule", True)
    assert (rule,) == ImpersonationPolicy([rule]).rules
    with pytest.raises(InvalidRequestError, match="2 rules are called `a rule`"):
        ImpersonationPolicy((rule, rule))
