"""Names both ways, from a store and from others, with a stated lifetime."""

from __future__ import annotations

import pytest
from tests.name_sources import NameSourceOfTests

from stead.adapters.host import HostNameSource
from stead.authority.issuers import Issuer
from stead.authority.name_lookup import NameLookup
from stead.authority.name_sources import (
    LONGEST_NAME,
    MOST_KEPT,
    NameKind,
    NameSources,
    SourceName,
)
from stead.authority.names import NameTable
from stead.authority.ports import Alias
from stead.errors import (
    AmbiguousNameError,
    DirectoryUnavailableError,
    InvalidSidError,
    UnknownAccountError,
    WrongIdentityError,
)
from stead.model import well_known
from stead.model.sid import Sid
from stead.privileged.name_service import NameService, User

CORP = Sid.from_string("S-1-5-21-7-7-7")
CARL = CORP.with_rid(1105)


class Directory:
    """A directory with one account, that counts how often it is asked."""

    def __init__(self, name="corp", sid=CARL):
        self.name = name
        self.domains = ("CORP", "corp.example")
        self.authorities = (CORP,)
        self.sid = sid
        self.is_up = True
        self.asked = 0

    def _answer(self, is_carl):
        self.asked += 1
        if not self.is_up:
            raise DirectoryUnavailableError("nobody answers")
        if not is_carl:
            return None
        return SourceName(self.sid, NameKind.USER, "carl", "CORP")

    def find(self, name, domain):
        return self._answer(name == "carl")

    def name_of(self, sid):
        return self._answer(sid == CARL)


@pytest.fixture
def corp():
    return Directory()


@pytest.fixture(scope="module")
def dora(tmp_path_factory):
    return NameSourceOfTests(tmp_path_factory.mktemp("nss"), "steadnames")


@pytest.fixture
def host(dora):
    dora.be("up")
    return HostNameSource(NameService.open(dora.switch()), "here")


@pytest.fixture
def look(store, clock, corp, host):
    return NameLookup(store, NameSources((host, corp), monotonic=clock))


@pytest.fixture
def alice(store):
    return store.add_account("Alice", 70500, 70500)


@pytest.mark.parametrize("text", ["CORP\\carl", "carl@corp.example", "carl", str(CARL)])
def test_an_account_of_a_directory_is_found_by_each_of_its_names(look, text):
    found = look.find(text)
    assert (CARL, "CORP\\carl", "corp") == (found.sid, str(found), found.source)
    assert CARL == look.sid_of(text)


@pytest.mark.parametrize(
    "text",
    ["dora", "Unix User\\dora", "UNIX USER\\dora", "here\\dora", "dora@here",
     "uid 70500", "S-1-22-1-70500"],
)  # fmt: skip
def test_a_user_of_the_host_is_found_by_each_of_its_names(look, alice, text):
    found = look.find(text)
    assert well_known.unix_user(70500) == found.sid
    assert ("Unix User\\dora", NameKind.USER, "host") == (
        str(found), found.kind, found.source,
    )  # fmt: skip
    assert (70500, alice.sid) == (found.unix_id, found.account)


@pytest.mark.parametrize("text", ["keepers", "Unix Group\\keepers", "gid 70601"])
def test_a_group_of_the_host_is_found_by_each_of_its_names(look, text):
    found = look.find(text)
    assert (well_known.unix_group(70601), NameKind.GROUP) == (found.sid, found.kind)
    assert ("Unix Group\\keepers", 70601) == (str(found), found.unix_id)


def test_a_user_comes_before_the_group_of_the_same_name(look):
    assert NameKind.USER is look.find("dora").kind
    assert NameKind.GROUP is look.find("Unix Group\\dora").kind
    with pytest.raises(UnknownAccountError):
        look.find("Unix User\\keepers")


@pytest.mark.parametrize("text", ["alice", ".\\ALICE", "alice@."])
def test_the_store_s_own_come_first(look, alice, text):
    found = look.find(text)
    assert (alice.sid, "Alice", "store") == (found.sid, str(found), found.source)
    assert (70500, 1.0) == (found.unix_id, found.lifetime)
    assert found == look.name_of(alice.sid)


def test_a_name_of_the_store_hides_another_s_of_the_same_name(look, store):
    dora = store.add_group("dora", None)
    assert dora.sid == look.find("dora").sid
    assert well_known.unix_user(70500) == look.find("here\\dora").sid


@pytest.mark.parametrize(
    "text", ["Everyone", "nt authority\\everyone", "S-1-1-0", "BUILTIN\\EVERYONE"]
)
def test_well_known_names_count_for_ever(look, text):
    found = look.find(text)
    assert (well_known.EVERYONE, None) == (found.sid, found.lifetime)
    assert NameKind.WELL_KNOWN_GROUP is found.kind
    assert "store" == look.find("BUILTIN\\Users").source  # a group of every store


@pytest.mark.parametrize(
    "text", ["mallory", "CORP\\mallory", "OTHER\\carl", "carl@", "@", "\\", ""]
)
def test_nobody_is_an_error(look, text):
    with pytest.raises(UnknownAccountError):
        look.find(text)
    with pytest.raises(UnknownAccountError):
        look.name_of(CORP.with_rid(1))


def test_a_number_without_a_name_is_somebody_all_the_same(look, store):
    bob = store.add_account("bob", 70900, 70900)
    found = look.find("uid 70900")
    assert ("uid 70900", bob.sid, 5.0) == (str(found), found.account, found.lifetime)
    assert ("gid 70900", NameKind.GROUP) == (
        str(look.find("gid 70900")), look.find("gid 70900").kind,
    )  # fmt: skip
    with pytest.raises(InvalidSidError):
        look.find("S-1-x")


def test_an_answer_states_how_long_it_counts(look, corp, clock):
    assert 60.0 == look.find("carl@corp.example").lifetime
    clock.pass_seconds(59)
    assert pytest.approx(1.0) == look.find("carl@corp.example").lifetime
    assert 1 == corp.asked
    clock.pass_seconds(1)
    assert 60.0 == look.find("carl@corp.example").lifetime
    assert 2 == corp.asked


def test_that_nobody_is_known_counts_for_a_shorter_time(look, corp, clock):
    for _ in range(2):
        with pytest.raises(UnknownAccountError) as refused:
            look.find("CORP\\dave")
        assert "asked again in 5 s" in refused.value.advice
    assert 1 == corp.asked
    clock.pass_seconds(5)
    with pytest.raises(UnknownAccountError):
        look.find("CORP\\dave")
    assert 2 == corp.asked


def test_lifetimes_are_arguments(store, clock, corp):
    sources = NameSources((corp,), monotonic=clock, lifetime=2, negative_lifetime=1)
    assert 2.0 == sources.find("carl", "CORP").lifetime
    assert 1.0 == sources.find("dave", "CORP").lifetime


NEW = CORP.with_rid(1106)


@pytest.mark.parametrize(("old", "new"), [(CARL, NEW), (CARL, None), (None, NEW)])
def test_an_answer_that_comes_late_does_not_hide_a_newer_one(clock, corp, old, new):
    """The naive table keeps what comes last: whom a name meant before it was moved."""
    sources, naive, told = NameSources((corp,), monotonic=clock), {}, []

    def account(sid):
        return None if sid is None else SourceName(sid, NameKind.USER, "carl", "CORP")

    def newly(_name, _domain):
        naive["carl"] = account(new)
        return account(new)

    def slowly(_name, _domain):
        corp.find = newly
        clock.pass_seconds(1)
        told.append(sources.find("carl", "CORP").found)  # who asks meanwhile
        naive["carl"] = account(old)
        return account(old)

    corp.find = slowly
    told.append(sources.find("carl", "CORP").found)
    told.append(sources.find("carl", "CORP").found)
    assert account(old) == naive["carl"]
    assert [account(new)] * 3 == told


@pytest.mark.parametrize(
    ("name", "takes", "left"),
    [("carl", 50, 10.0), ("carl", 60, 0.0), ("dave", 3, 2.0), ("dave", 100, 0.0)],
)
def test_an_answer_counts_from_when_it_was_asked_for(clock, corp, name, takes, left):
    """Who is told "for a minute" from now on would believe it for almost two."""
    sources, answer = NameSources((corp,), monotonic=clock), corp._answer

    def slowly(asked, _domain):
        clock.pass_seconds(takes)
        return answer(asked == "carl")

    corp.find = slowly
    assert left == sources.find(name, "CORP").lifetime
    corp.find = lambda asked, _domain: answer(asked == "carl")
    assert (left > 0) == (sources.find(name, "CORP").lifetime == left)


def test_a_directory_that_is_down_is_an_error_each_time_and_nothing_is_kept(
    look, corp, clock
):
    """The naive cache keeps what it got: "nobody", for as long as anything else."""
    naive = {}

    def naively(name):
        if name not in naive:
            try:
                naive[name] = corp.find(name, "CORP")
            except DirectoryUnavailableError:
                naive[name] = None
        return naive[name]

    corp.is_up = False
    assert naively("carl") is None
    for text in ("CORP\\carl", str(CARL), "carl", "mallory"):
        with pytest.raises(DirectoryUnavailableError):
            look.find(text)
    corp.is_up = True
    assert naively("carl") is None  # still nobody
    assert CARL == look.find("CORP\\carl").sid  # at once


def test_the_host_s_directory_that_is_down_is_an_error_too(look, dora):
    dora.be("down")
    for text in ("Unix User\\dora", "uid 70500", "keepers", "mallory"):
        with pytest.raises(DirectoryUnavailableError):
            look.find(text)
    dora.be("up")
    assert 70500 == look.find("Unix User\\dora").unix_id


def test_what_was_known_before_counts_until_it_ends_and_then_is_an_error(
    look, corp, clock
):
    look.find("CORP\\carl")
    corp.is_up = False
    assert CARL == look.find("CORP\\carl").sid
    clock.pass_seconds(60)
    with pytest.raises(DirectoryUnavailableError):
        look.find("CORP\\carl")


def test_a_name_of_two_sources_must_say_whose(store, clock, corp):
    other = Directory("other", CORP.with_rid(1106))
    look = NameLookup(store, NameSources((corp, other), monotonic=clock))
    with pytest.raises(AmbiguousNameError) as refused:
        look.find("carl")
    assert "CORP\\carl" in refused.value.advice


@pytest.mark.parametrize(
    "sid", [well_known.ADMINISTRATORS, well_known.LOCAL_SYSTEM, well_known.unix_user(0)]
)
def test_a_source_names_nobody_but_its_own(store, clock, sid):
    """A directory that calls its `carl` Administrators makes nobody one."""
    liar = Directory(sid=sid)
    assert sid == liar.find("carl", "CORP").sid  # a naive table believes it
    look = NameLookup(store, NameSources((liar,), monotonic=clock))
    for _ in range(2):
        with pytest.raises(WrongIdentityError):
            look.find("CORP\\carl")


def test_what_is_kept_is_bounded(clock, corp):
    sources = NameSources((corp,), monotonic=clock)
    for number in range(MOST_KEPT + 3):
        sources.find(f"x{number}", "CORP")
    assert MOST_KEPT == len(sources._kept)


def test_a_name_without_end_is_nobody_s_and_is_not_kept(clock, corp):
    """Ten thousand of them, of a megabyte each, would be kept where each is asked."""
    sources, naive = NameSources([corp], monotonic=clock), {}
    for domain in ("CORP", "", "x" * 2_000_000):
        for number in range(5):
            name = f"{number}" + "x" * 1_000_000
            assert sources.find(name, domain).found is None
            naive["corp", "name", domain, name] = corp.find(name, domain)
    assert (0, 15) == (len(sources._kept), len(naive))
    assert sources.find("x" * LONGEST_NAME, "CORP").found is None
    assert 1 == len(sources._kept)
    for number in range(5):
        sources.find("carl", f"{number}" + "x" * 1_000_000)
    assert 1 == len(sources._kept)


def test_a_user_of_the_host_may_have_a_name_that_looks_like_a_domain_s(store, clock):
    """SSSD gives users such names where it is told to."""

    class Full:
        is_local = True

        def user_by_name(self, name):
            user = User("eve@corp.test", 70800, 70800, "/", "")
            return user if name == user.name else None

        def group_by_name(self, _name):
            return None

    sources = NameSources((HostNameSource(Full(), "here"),), monotonic=clock)
    look = NameLookup(store, sources)
    assert well_known.unix_user(70800) == look.find("eve@corp.test").sid
    for text in ("eve", "eve@here", "eve@corp.example"):
        with pytest.raises(UnknownAccountError):
            look.find(text)


def test_a_client_of_an_issuer_is_the_account_that_it_is_here(
    store, clock, alice, corp
):
    realm, strict = "EXAMPLE.TEST", "CORP.TEST"
    store.add_alias(alice.sid, Alias(strict, "al"))
    store.add_alias(alice.sid, Alias(strict, str(CARL)))
    issuers = (
        Issuer(realm, names_accounts=True, ignores_case=True),
        Issuer(strict, domains=(CORP,)),
    )
    look = NameLookup(store, NameSources((corp,), monotonic=clock), issuers)
    for text in (
        "alice@EXAMPLE.TEST",
        "EXAMPLE.TEST\\ALICE",
        "al@CORP.TEST",
        str(CARL),
    ):
        assert alice.sid == look.find(text).sid
    for text in ("alice@CORP.TEST", "alice@example.test", "al@EXAMPLE.TEST"):
        with pytest.raises(UnknownAccountError):
            look.find(text)


def test_trustees_are_found_elsewhere_by_domain_alone(store, clock, look):
    names = NameTable(store, monotonic=clock, elsewhere=look.sid_of)
    assert CARL == names.find("CORP\\carl") == names.find("carl@corp.example")
    with pytest.raises(UnknownAccountError):
        names.find("carl")  # a slip of the pen is nobody else's account


def test_a_new_name_is_seen_after_a_second_whoever_gave_it(store, clock, alice):
    """A table that keeps names for ever goes on with the old one."""
    names, naive = NameTable(store, monotonic=clock), {}
    assert "Alice" == names(alice.sid) == naive.setdefault(alice.sid, names(alice.sid))
    store.rename(alice.sid, "alison")  # as another process does
    assert "Alice" == names(alice.sid)
    clock.pass_seconds(1)
    assert "alison" == names(alice.sid)
    assert "Alice" == naive[alice.sid]


def test_a_name_given_here_is_seen_at_once(store, clock, alice):
    names = NameTable(store, monotonic=clock)
    assert "Alice" == names(alice.sid)
    store.rename(alice.sid, "alison")
    names.expire()
    assert "alison" == names(alice.sid)


def test_while_nothing_changes_a_name_is_read_once(store, clock, alice):
    class Counting:
        reads = 0

        def __getattr__(self, name):
            self.reads += name == "account_by_sid"
            return getattr(store, name)

    counting = Counting()
    names = NameTable(counting, monotonic=clock)
    for _ in range(5):
        assert "Alice" == names(alice.sid)
        clock.pass_seconds(1)
    assert 1 == counting.reads


def test_a_deleted_account_has_no_name(store, clock, alice):
    names = NameTable(store, monotonic=clock)
    assert "Alice" == names(alice.sid)
    store.remove_principal(alice.sid)
    clock.pass_seconds(1)
    assert str(alice.sid) == names(alice.sid)
