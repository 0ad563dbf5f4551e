"""Which ids belong to the machine."""

import pytest

from stead.model.system_ids import owner_of


@pytest.mark.parametrize(
    ("uid", "whose"),
    [
        (0, "root"),
        (1, "a system account"),
        (999, "a system account"),
        (60001, "a home managed by systemd-homed"),
        (60513, "a home managed by systemd-homed"),
        (60514, "reserved by systemd"),
        (61183, "reserved by systemd"),
        (61184, "a dynamic service user"),
        (65519, "a dynamic service user"),
        (65530, "reserved for guards"),
        (65534, "nobody"),
        (65535, "the 16-bit uid that means none"),
        (2**32 - 1, "the uid that means none"),
    ],
)
def test_system_uids_have_an_owner(uid, whose):
    assert whose == owner_of(uid)


@pytest.mark.parametrize("number", [1000, 60000, 65536, 70001, 2**32 - 2])
def test_a_persons_id_has_no_owner(number):
    assert owner_of(number) is None
