"""What the broker is told: by root alone, and every word of it is known."""

import os

import pytest

from stead.errors import UnsafeConfigurationError
from stead.privileged.broker_config import BrokerConfig
from stead.privileged.broker_file import from_document, load

WHOLE = """
socket = "/run/stead/broker"
guard_uid = 65531
allowed_system_uids = [33]
worker_modules = ["app.jobs"]

[limits]
clients = 7

[services.notes]
uid = 990
gates = ["/run/stead/notes"]
mode = 0o660
may = ["start", "log_on"]
open_roots = ["/srv/notes"]
"""


@pytest.fixture
def place(world):
    return world / "broker.toml"


def written(place, text, mode=0o600):
    place.write_text(text)
    place.chmod(mode)
    return place


def loaded(place, text=WHOLE, mode=0o600):
    return load(written(place, text, mode), owner=os.geteuid())


@pytest.fixture
def world(tmp_path):
    """Give a folder that nobody else may write, whatever lies above it."""
    return tmp_path


def test_what_is_said_is_what_is_read(place):
    found = loaded(place)
    assert "/run/stead/broker" == found.socket
    assert (65531, frozenset({33})) == (found.guard_uid, found.allowed_system_uids)
    assert ("app.jobs",) == found.worker_modules
    assert (7, 512) == (found.limits.clients, found.limits.processes)
    service = found.services[990]
    assert ("notes", 0o660, ("/srv/notes",)) == (
        service.name, service.mode, service.open_roots,
    )  # fmt: skip
    assert {"start", "log_on"} == service.may


@pytest.mark.parametrize(
    ("mode", "why"), [(0o622, "others may write"), (0o660, "others may write")]
)
def test_a_file_that_others_may_write_is_refused(place, mode, why):
    with pytest.raises(UnsafeConfigurationError, match=why) as caught:
        loaded(place, mode=mode)
    assert "chmod go-w" in caught.value.advice


def test_a_folder_that_others_may_write_is_refused(place):
    place.parent.chmod(0o777)
    with pytest.raises(UnsafeConfigurationError, match="others may write"):
        loaded(place)
    place.parent.chmod(0o1777)  # sticky: they cannot replace what is ours
    assert isinstance(loaded(place), BrokerConfig)


@pytest.mark.root
def test_a_file_or_folder_of_somebody_else_is_refused(place):
    written(place, WHOLE)
    os.chown(place, 70_001, 70_001)
    with pytest.raises(UnsafeConfigurationError, match="belongs to uid 70001"):
        load(place)
    os.chown(place, 0, 0)
    os.chown(place.parent, 70_001, 70_001)
    with pytest.raises(UnsafeConfigurationError, match="belongs to uid 70001"):
        load(place)
    os.chown(place.parent, 0, 0)


def test_what_is_no_file_is_none(place):
    with pytest.raises(UnsafeConfigurationError, match="cannot be read"):
        load(place, owner=os.geteuid())
    other = written(place.with_name("other"), WHOLE)
    place.symlink_to(other)
    with pytest.raises(UnsafeConfigurationError, match="cannot be read"):
        load(place, owner=os.geteuid())
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(UnsafeConfigurationError, match="is no file"):
        load(place, owner=os.geteuid())
    with pytest.raises(UnsafeConfigurationError, match="no absolute path"):
        load("broker.toml")


def groups(gids):
    return {"services": {"a": {"uid": 9, "mapped_groups": gids}}}


def tickets(**words):
    return {"kerberos": {"keytab": "/k", "realms": ["R"]} | words}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"guard": 1}, "`guard` means nothing"),
        ({"services": {}}, "no service"),
        ({"services": 1}, "no table"),
        ({"services": {"a": 1}}, "no table"),
        ({"services": {"a": {}}}, "`a` lacks `uid`"),
        ({"services": {"a": {"uid": 0}}}, "not 0"),
        ({"services": {"a": {"uid": True}}}, "not 0"),
        ({"services": {"a": {"uid": "990"}}}, "not 0"),
        ({"services": {"a": {"uid": 2**32 - 1}}}, "not 0"),
        ({"services": {"a": {"uid": 9}, "b": {"uid": 9}}}, "another service has uid 9"),
        ({"services": {"a": {"uid": 9, "gates": "/x"}}}, "no list of str"),
        ({"services": {"a": {"uid": 9, "gates": ["x"]}}}, "no absolute path"),
        ({"services": {"a": {"uid": 9, "gates": ["/x/../y"]}}}, "no absolute path"),
        ({"services": {"a": {"uid": 9, "open_roots": ["x"]}}}, "no absolute path"),
        ({"services": {"a": {"uid": 9, "may": ["fly"]}}}, "`fly` is nothing"),
        ({"services": {"a": {"uid": 9, "mode": 0o1777}}}, "no mode"),
        ({"services": {"a": {"uid": 9, "name": "b"}}, "x": 1}, "means nothing"),
        ({"services": {"a": {"uid": 9, "gates": ["/x", "/x"]}}}, "one path"),
        ({"services": {"a": {"uid": 65530}}}, "guard's uid is nobody's"),
        ({"guard_uid": 0}, "never 0"),
        ({"guard_uid": "x"}, "something else"),
        ({"socket": 1}, "something else"),
        ({"allowed_system_uids": [0]}, "never 0"),
        ({"allowed_system_uids": [True]}, "no list of int"),
        ({"allowed_system_uids": [65530]}, "guard's uid is nobody's"),
        ({"worker_modules": "app"}, "no list of str"),
        (groups([0]), "none is the system's"),
        (groups([42]), "none is the system's"),
        (groups([65530]), "none is the system's"),
        (groups(list(range(1000, 1033))), "few"),
        (groups(["1000"]), "no list of int"),
        ({"services": {"a": {"uid": 9, "ticket_gates": ["x"]}}}, "no absolute path"),
        ({"services": {"a": {"uid": 9, "ticket_gates": ["/x"]}}}, "nothing to check"),
        ({"kerberos": 1}, "no table"),
        ({"kerberos": {"realms": ["R"]}}, "`kerberos` lacks `keytab`"),
        (tickets(realms=[]), "names whose principals"),
        (tickets(realms=[""]), "names whose principals"),
        (tickets(realms="R"), "no list of str"),
        (tickets(keytab="k"), "no absolute path"),
        (tickets(keytab=1), "no absolute path"),
        (tickets(configuration="../k"), "no absolute path"),
        (tickets(mapping="any"), "auth_to_local, name"),
        (tickets(principal=1), "is a name"),
        (tickets(requires_pac=0), "true or false"),
        (tickets(uid=0), "not 0"),
        (tickets(uid="1"), "not 0"),
        (tickets(uid=65530), "not the guard"),
        (tickets(uid=9), "verifiers'"),
        (tickets(password="x"), "`password` means nothing in kerberos"),
        ({"limits": {"clients": 0}}, "a number from 1"),
        ({"limits": {"clients": True}}, "a number from 1"),
        ({"limits": {"client": 1}}, "`client` means nothing in limits"),
    ],
)
def test_what_is_not_known_is_refused(change, why):
    with pytest.raises(UnsafeConfigurationError, match=why):
        from_document({"services": {"a": {"uid": 9}}} | change)


@pytest.mark.parametrize("text", ["x", "a = ", "[" * 10_000, "\udcff"])
def test_what_is_no_toml_is_refused(place, text):
    place.write_bytes(text.encode(errors="surrogateescape"))
    place.chmod(0o600)
    with pytest.raises(UnsafeConfigurationError, match="cannot be read"):
        load(place, owner=os.geteuid())


def with_tickets(place):
    keytab = place.with_name("broker.keytab")
    rules = place.with_name("krb5.conf")
    text = (
        f'[kerberos]\nkeytab = "{keytab}"\nrealms = ["R"]\nconfiguration = "{rules}"\n'
        '[services.notes]\nuid = 990\nticket_gates = ["/run/stead/tickets"]\n'
    )
    return keytab, rules, text


def test_tickets_are_checked_by_keys_that_nobody_else_has(place):
    keytab, rules, text = with_tickets(place)
    with pytest.raises(UnsafeConfigurationError, match="cannot be read") as caught:
        loaded(place, text)
    assert "ktadd" in caught.value.advice
    keytab.write_bytes(b"keys")
    for mode in (0o640, 0o604):
        keytab.chmod(mode)
        with pytest.raises(UnsafeConfigurationError, match="others may read"):
            loaded(place, text)
    keytab.chmod(0o600)
    found = loaded(place, text)  # without rules the library has its own
    assert ("/run/stead/tickets",) == found.services[990].all_gates
    told = found.kerberos
    assert (65529, "name", True) == (told.uid, told.mapping, told.requires_pac)
    rules.write_text("")
    rules.chmod(0o666)
    with pytest.raises(UnsafeConfigurationError, match="others may write"):
        loaded(place, text)
