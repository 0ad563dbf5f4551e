"""Limits as values: what they refuse to be, and what several layers leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_limits import circumstances, limits

from stead.errors import InvalidAccessMaskError, InvalidRequestError
from stead.model.access_mask import FILE_MAPPING, AccessMask, FileRights
from stead.model.limits import (
    ANY_NAME,
    FILES,
    LONGEST_PURPOSE,
    MOST_LAYERS,
    MOST_NAMED,
    Circumstances,
    FileRoot,
    Host,
    KindRights,
    NamePattern,
    TokenLimits,
    when,
)
from stead.model.luid import Luid
from stead.model.privilege import Privilege

READ = int(FileRights.READ_DATA)
WRITE = int(FileRights.WRITE_DATA)
ALL = int(FileRights.ALL_ACCESS)


def within(*layers):
    """Put each layer within the one before it."""
    made = None
    for layer in layers:
        fields = {name: getattr(layer, name) for name in TokenLimits.__slots__}
        made = TokenLimits(**fields | {"within": made})
    return made


def files(*roots, rights=ALL):
    return TokenLimits(
        expires=1,
        rights=(KindRights(FILES, rights),),
        files=tuple(FileRoot(*root) for root in roots),
    )


# --- what they are not ------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "/", "//", "a", "/a/", "/a//b", "/a/.", "/a/../b", "/..", "/a\0", "./a"],
)
def test_a_root_says_by_itself_where_it_leads(path):
    with pytest.raises(InvalidRequestError, match="no file root"):
        FileRoot(path)


@pytest.mark.parametrize(
    ("name", "port"),
    [("", 1), ("a b", 1), ("ä", 1), ("a\n", 1), ("a", 0), ("a", 65536)],
)
def test_a_host_is_a_name_and_a_port(name, port):
    with pytest.raises(InvalidRequestError, match="is no host"):
        Host(name, port)
    assert "api.example:443" == str(Host("API.example", 443))


def test_a_name_is_printable_and_not_empty():
    for text in ("", "a\n"):
        with pytest.raises(InvalidRequestError, match="printable"):
            NamePattern(text)
    assert (True, True) == (ANY_NAME.matches(""), ANY_NAME.matches("x"))


def test_maximum_allowed_is_no_right():
    with pytest.raises(InvalidRequestError, match="MAXIMUM_ALLOWED"):
        KindRights("Doc", int(AccessMask.MAXIMUM_ALLOWED))
    with pytest.raises(InvalidAccessMaskError):
        KindRights("Doc", -1)


@pytest.mark.parametrize("expires", [0, -1, 1 << 63])
def test_they_end_some_time(expires):
    with pytest.raises(InvalidRequestError, match="no time"):
        TokenLimits(expires)


def test_they_are_bounded():
    names = tuple(NamePattern(str(n)) for n in range(MOST_NAMED + 1))
    TokenLimits(1, objects=names[1:], purpose="x" * LONGEST_PURPOSE)
    with pytest.raises(InvalidRequestError, match="up to 256 objects"):
        TokenLimits(1, objects=names)
    for purpose in ("x" * (LONGEST_PURPOSE + 1), "a\nb"):
        with pytest.raises(InvalidRequestError, match="a purpose is"):
            TokenLimits(1, purpose=purpose)
    deepest = within(*[TokenLimits(1)] * MOST_LAYERS)
    with pytest.raises(InvalidRequestError, match="up to 8 times"):
        TokenLimits(1, within=deepest)


# --- one layer ------------------------------------------------------------------------


def test_a_prefix_means_all_that_begin_with_it():
    pattern = NamePattern("notes/", is_prefix=True)
    assert ["notes/", "notes/a"] == [
        n for n in ("notes", "notes/", "notes/a", "Notes/a") if pattern.matches(n)
    ]
    assert ("notes/...", "plan") == (str(pattern), str(NamePattern("plan")))


@given(limits(), circumstances())
def test_a_layer_leaves_what_time_target_and_rights_leave(layer, about):
    left = layer.rights_to(about, FILE_MAPPING)
    if about.time >= layer.expires or not layer.names(about):
        assert 0 == left
    else:
        assert layer.rights_of(about.kind, FILE_MAPPING) == left


def test_rights_of_a_kind_and_of_every_kind_add_up():
    layer = TokenLimits(9, (KindRights("Doc", 1), KindRights("", 1 << 31)), (ANY_NAME,))
    doc = layer.rights_to(Circumstances("Doc", "x", 0), FILE_MAPPING)
    mail = layer.rights_to(Circumstances("Mail", "x", 0), FILE_MAPPING)
    assert (0x12_0089, 0x12_0089) == (doc, mail)


# --- several ------------------------------------------------------------------------


def test_the_first_to_expire_ends_all():
    assert 2 == within(TokenLimits(2), TokenLimits(5)).ends


def test_every_layer_must_name_an_operation_and_a_host():
    host, other = Host("a", 1), Host("b", 1)
    one = TokenLimits(1, operations=(NamePattern("get"), NamePattern("put")))
    two = TokenLimits(1, operations=(NamePattern("get"),))
    assert [True, False] == [within(one, two).may_ask_for(n) for n in ("get", "put")]
    both = within(TokenLimits(1, hosts=(host, other)), TokenLimits(1, hosts=(host,)))
    assert [True, False] == [both.may_reach(h) for h in (host, other)]


def test_privileges_are_those_that_every_layer_leaves():
    some = frozenset({Privilege.BACKUP, Privilege.RESTORE})
    one = TokenLimits(1, privileges=some)
    two = TokenLimits(1, privileges=some - {Privilege.RESTORE})
    assert {Privilege.BACKUP} == within(one, two).kept_privileges
    assert some == within(one, two).keeping(Privilege.RESTORE).kept_privileges


def test_a_layer_can_be_lifted_for_the_sake_of_reasons():
    one, two = TokenLimits(1, grant=Luid(1)), TokenLimits(2, grant=Luid(2))
    both = within(one, two)
    assert one == both.without(both)
    assert [Luid(2)] == [layer.grant for layer in both.without(one).layers()]
    assert None is one.without(one)
    assert one == one.without(two)


def test_file_roots_are_those_that_every_layer_leaves():
    one = files(("/a",), ("/b",), ("/d/e", READ), ("/x/y",))
    two = files(("/a/in",), ("/b", READ), ("/bc",), ("/d", WRITE | READ), ("/x",))
    left = within(one, two).file_roots()
    assert [("/a/in", ALL), ("/b", READ), ("/d/e", READ), ("/x/y", ALL)] == [
        (root.path, root.rights) for root in left
    ]


@given(st.data())
def test_what_two_layers_leave_of_a_path_each_of_them_leaves(data):
    paths = ("/a", "/a/b", "/a/b/c", "/ab", "/a/d")
    roots = st.lists(
        st.tuples(st.sampled_from(paths), st.sampled_from((0, READ, WRITE, ALL))),
        max_size=4,
    )
    masks = st.sampled_from((READ, READ | WRITE, ALL))
    one, two = (files(*data.draw(roots), rights=data.draw(masks)) for _ in "12")
    for path in paths:
        both = one.rights_at(path) & two.rights_at(path)
        assert both == within(one, two).rights_at(path)


def test_without_rights_to_files_no_root_is_left():
    bare = TokenLimits(1, files=(FileRoot("/a"),))
    assert () == bare.file_roots()
    assert 0 == bare.rights_at("/a")


# --- in words -----------------------------------------------------------------------


def test_they_say_what_they_leave():
    limits = TokenLimits(
        expires=1_000_000_000,
        rights=(KindRights("Doc", 1, "READ"), KindRights("", 1 << 17)),
        objects=(NamePattern("plan"), NamePattern("q", is_prefix=True)),
        files=(FileRoot("/a"), FileRoot("/b", READ)),
        privileges=frozenset({Privilege.BACKUP}),
        purpose="summary",
        grant=Luid(7),
    )
    assert {
        "expires": "1970-01-01T00:00:01+00:00",
        "rights": "Doc: READ; every kind: READ_CONTROL",
        "objects": "plan, q...",
        "operations": "none",
        "files": "/a, /b (READ_DATA)",
        "hosts": "none",
        "kept privileges": "SeBackupPrivilege",
    } == limits.in_words()
    assert ("0x7 (summary)", "0x1") == (str(limits), str(TokenLimits(1, grant=Luid(1))))
    assert "file system: READ_DATA" == files(rights=READ).in_words()["rights"]
    assert "2001-09-09T01:46:40+00:00" == when(10**18)
