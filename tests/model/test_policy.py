"""Central access policies as values."""

import pytest

from stead.model.acl import NULL_DACL, Acl
from stead.model.condition import Attribute, AttributeSource
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.sid import Sid

SID = Sid.from_string("S-1-17-1")


def test_a_rule_is_about_every_object_and_stages_nothing_unless_it_says_so():
    rule = CentralAccessRule(Acl())
    assert None is rule.applies_to
    assert None is rule.staged_dacl
    assert "" == rule.name


def test_a_policy_without_rules_is_a_policy():
    assert () == CentralAccessPolicy(SID).rules


def test_policies_of_equal_parts_are_equal_and_can_be_keys():
    def make(name):
        condition = Attribute(AttributeSource.RESOURCE, "a")
        rule = CentralAccessRule(Acl(), condition, NULL_DACL, name)
        return CentralAccessPolicy(SID, (rule,), "policy")

    assert make("a") == make("a")
    assert make("a") != make("b")
    assert 1 == len({make("a"), make("a")})


def test_a_policy_cannot_be_changed():
    with pytest.raises(AttributeError):
        CentralAccessPolicy(SID).rules = ()
