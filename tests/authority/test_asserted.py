"""Who a client is here, whom an issuer authenticated; and what issuers may not say."""

from __future__ import annotations

import time
from functools import partial

import pytest

from stead.authority.asserted import identify_asserted
from stead.authority.identity import identify_again
from stead.authority.issuers import Issuer, Issuers
from stead.authority.membership import MAXIMUM_GROUPS
from stead.authority.packages import AssertedSids, Authenticated
from stead.authority.ports import Alias
from stead.authority.tokens import client_token
from stead.errors import (
    AccountDisabledError,
    AccountExistsError,
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    TooManyGroupsError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.claim import Claim, ClaimType
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.token import (
    ENABLED_GROUP,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
)

DOMAIN = Sid.from_string("S-1-5-21-7-8-9")
ELSEWHERE = Sid.from_string("S-1-5-21-70-80-90")
ALICE, STAFF = DOMAIN.with_rid(1104), DOMAIN.with_rid(1200)
REALM = "AD.EXAMPLE.TEST"


def group(text):
    return TokenGroup(Sid.from_string(text))


@pytest.fixture
def believe(store):
    def make(*issuers):
        return Issuers(issuers, store.domain(), time.monotonic_ns)

    return make


@pytest.fixture
def domain(believe):
    return believe(Issuer(REALM, domains=(DOMAIN,)))


@pytest.fixture
def identified(store, domain):
    def make(name="alice", issuers=domain, host=lambda _uid: None, **parts):
        client = Authenticated(
            **{"package": "kerberos", "issuer": REALM, "name": name, **parts}
        )
        return identify_asserted(store, client, issuers, host=host)

    return make


def token_of(identity):
    return client_token(
        identity, level=ImpersonationLevel.IMPERSONATION, logon_id=Luid(5),
        token_id=Luid(6),
    )  # fmt: skip


def sids(*groups, user=ALICE, **parts):
    return AssertedSids(user=user, groups=groups, **parts)


def test_a_client_with_a_sid_of_its_domain_is_that_sid(identified):
    identity = identified(sids=sids(TokenGroup(STAFF), primary_group=STAFF))
    token = token_of(identity)
    assert (ALICE, f"alice@{REALM}", None) == (
        identity.user, identity.name, identity.account,
    )  # fmt: skip
    assert {STAFF, well_known.AUTHORITY_ASSERTED_IDENTITY} <= token.enabled_sids
    assert STAFF == token.primary_group
    assert identity.posix is None


def test_whom_a_service_only_names_is_marked(identified):
    token = token_of(identified(sids=sids(), is_verified_by_service=True))
    assert well_known.SERVICE_ASSERTED_IDENTITY in token.enabled_sids
    assert well_known.AUTHORITY_ASSERTED_IDENTITY not in token.enabled_sids


@pytest.mark.parametrize(
    "forbidden",
    [
        "S-1-5-32-544",  # the machine's administrators
        "S-1-5-18",  # the machine itself
        "S-1-22-1-0",  # root
        "S-1-22-2-0",
        "S-1-16-16384",  # an integrity level
        "S-1-5-21-70-80-90-512",  # another domain's administrators
        "S-1-5-21-7-8-9-1-1",  # nothing of the domain's
        "S-1-18-2",  # how it was verified is for the package to say
        "S-1-5-5-0-99",  # a logon session
    ],
)
def test_what_an_issuer_may_not_say_does_not_count(identified, store, forbidden):
    said = sids(group(forbidden), TokenGroup(STAFF))
    # Naive: whoever takes the groups as they come makes an administrator.
    naive = {each.sid for each in said.groups}
    assert Sid.from_string(forbidden) in naive
    token = token_of(identified(sids=said))
    assert Sid.from_string(forbidden) not in token.deny_sids
    assert STAFF in token.enabled_sids


def test_groups_of_another_domain_count_where_that_is_said(identified, believe):
    """Its members do not, nor what each domain has by itself."""
    other = Sid.from_string("S-1-5-21-70-80-90")
    visitors, first, last_of_its_own = map(other.with_rid, (1104, 1000, 999))
    said = sids(*map(TokenGroup, (visitors, first, last_of_its_own, STAFF)))
    both = believe(Issuer(REALM, domains=(DOMAIN,), group_domains=(other,)))
    held = token_of(identified(sids=said, issuers=both)).deny_sids
    assert {visitors, first, STAFF} <= held
    assert last_of_its_own not in held
    assert not {visitors, first} & token_of(identified(sids=said)).deny_sids
    for member in (visitors, other.with_rid(500)):
        with pytest.raises(EvidenceRefusedError, match="of no domain of its"):
            identified(sids=sids(user=member), issuers=both)
    beneath = Sid.from_string(f"{visitors}-1")
    held = token_of(identified(sids=sids(TokenGroup(beneath)), issuers=both)).deny_sids
    assert beneath not in held


@pytest.mark.parametrize(
    "user", ["S-1-5-18", "S-1-22-1-0", "S-1-5-21-70-80-90-500", "S-1-5-32-544"]
)
def test_a_client_of_no_domain_of_the_issuers_is_refused(identified, user):
    with pytest.raises(EvidenceRefusedError, match="of no domain of its"):
        identified(sids=sids(user=Sid.from_string(user)))


def test_sids_count_only_of_issuers_that_have_domains(identified, believe, store):
    store.add_account("alice", None, None)
    named = believe(Issuer(REALM, names_accounts=True))
    token = token_of(identified(issuers=named, sids=sids(TokenGroup(STAFF))))
    assert STAFF not in token.deny_sids
    assert ALICE not in token.deny_sids


def test_an_issuer_that_is_not_named_is_not_believed(identified):
    with pytest.raises(EvidenceRefusedError, match="nobody here believes"):
        identified(issuer="EVIL.TEST", sids=sids())
    with pytest.raises(EvidenceRefusedError, match="nobody here believes"):
        identified(issuer=REALM.lower(), sids=sids())


def test_an_issuer_is_believed_through_its_packages_alone(identified, believe):
    named = believe(Issuer(REALM, packages={"kerberos"}, domains=(DOMAIN,)))
    assert ALICE == identified(issuers=named, sids=sids()).user
    with pytest.raises(EvidenceRefusedError, match="not believed through ntlm"):
        identified(issuers=named, package="ntlm", sids=sids())


def test_a_name_is_an_account_only_where_the_issuer_names_accounts(
    identified, believe, store
):
    account = store.add_account("alice", None, None)
    with pytest.raises(UnknownAccountError):
        identified()
    named = believe(Issuer(REALM, names_accounts=True))
    assert account.sid == identified(issuers=named).user


@pytest.mark.parametrize("name", ["Alice", "ALICE"])
def test_names_that_look_alike_are_two_people_unless_the_issuer_says_otherwise(
    identified, believe, store, name
):
    account = store.add_account("alice", None, None)
    # Naive: the store finds names without regard to case or form.
    assert account == store.account_by_name(name)
    with pytest.raises(UnknownAccountError):
        identified(name, issuers=believe(Issuer(REALM, names_accounts=True)))
    same = believe(Issuer(REALM, names_accounts=True, ignores_case=True))
    assert account.sid == identified(name, issuers=same).user


@pytest.mark.parametrize(
    ("kept", "name"),
    [
        ("alice", "\uff41lice"),  # a wide a
        ("kim", "\u212aim"),  # the sign of the kelvin
        ("office", "o\ufb03ce"),  # a ligature
        ("strasse", "stra\u00dfe"),
        ("susan", "\u017fusan"),  # a long s
        ("chi", "ch\u0131"),  # an i without a dot
    ],
)
def test_names_that_differ_in_more_than_case_are_two_people(
    identified, believe, store, kept, name
):
    store.add_account(kept, None, None)
    same = believe(Issuer(REALM, names_accounts=True, ignores_case=True))
    # Naive: the store's own way of finding names is no issuer's way of giving them.
    found = store.account_by_name(name)
    assert (None if kept == "chi" else kept) == (found and found.name)
    with pytest.raises(UnknownAccountError):
        identified(name, issuers=same)


@pytest.mark.parametrize("spelled", [str, lambda sid: str(sid).lower()])
def test_who_is_called_like_a_sid_is_not_whom_it_names(identified, store, spelled):
    account = store.add_account("al", None, None)
    name = spelled(ALICE)
    store.add_alias(account.sid, Alias(REALM, name))
    # Naive: a realm's user may be called what it likes, and brings no SID.
    assert account == store.account_by_alias(REALM, name)
    with pytest.raises(UnknownAccountError):
        identified(name)
    other = DOMAIN.with_rid(1105)
    assert other == identified(name, sids=sids(user=other)).user


def test_an_alias_makes_the_client_the_account(identified, store):
    account = store.add_account("al", 70001, 70001)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    identity = identified(sids=sids(TokenGroup(STAFF)))
    token = token_of(identity)
    assert (account.sid, "al") == (identity.user, identity.name)
    assert PosixIdentity(70001, 70001) == identity.posix
    assert {ALICE, STAFF, well_known.USERS} <= token.enabled_sids
    assert account.sid == identified("mallory", sids=sids()).user
    # The same SID of another issuer, or the name without the SID, is somebody else.
    assert store.account_by_alias("OTHER", str(ALICE)) is None
    assert store.account_by_alias(REALM, "alice") is None


@pytest.mark.parametrize("by_name", [True, False], ids=["an alias", "the account"])
def test_a_name_that_was_given_again_is_not_whose_sid_is_known(
    identified, believe, store, by_name
):
    """Alice left, and the domain calls somebody else alice now."""
    account = store.add_account("alice", None, None)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    if by_name:
        store.add_alias(account.sid, Alias(REALM, "alice"))
    naming = Issuer(REALM, domains=(DOMAIN,), names_accounts=not by_name)
    another = sids(user=DOMAIN.with_rid(1250))
    issuers = believe(naming)

    def naive(client_name):
        if by_name:
            return store.account_by_alias(REALM, client_name)
        return store.account_by_name(client_name)

    assert account == naive("alice"), "whoever has the name"
    found = identified(issuers=issuers, sids=another)
    assert (DOMAIN.with_rid(1250), None) == (found.user, found.account)
    assert account == identified(issuers=issuers, sids=sids()).account
    # Who comes without a SID is who the name says, as is whom no SID is known of.
    assert account == identified(issuers=issuers).account
    store.remove_alias(account.sid, Alias(REALM, str(ALICE)))
    store.add_alias(account.sid, Alias("OTHER", str(ALICE)))
    named = identified(issuers=issuers, sids=another)
    assert account == named.account
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    with pytest.raises(UnknownAccountError, match="somebody else by now"):
        identify_again(store, named)


def test_an_alias_is_one_accounts(store):
    one, other = (store.add_account(name, None, None) for name in ("one", "other"))
    alias = Alias(REALM, "alice")
    assert store.add_alias(one.sid, alias)
    assert not store.add_alias(one.sid, alias)
    with pytest.raises(AccountExistsError, match=r"is taken\n.*`one` has it"):
        store.add_alias(other.sid, alias)
    with pytest.raises(UnknownAccountError):
        store.add_alias(DOMAIN.with_rid(1), Alias(REALM, "bob"))
    assert (alias,) == store.aliases_of(one.sid)
    assert not store.remove_alias(other.sid, alias)
    assert store.remove_alias(one.sid, alias)
    assert store.account_by_alias(REALM, "alice") is None


def test_aliases_go_with_their_account(store):
    account = store.add_account("alice", None, None)
    store.add_alias(account.sid, Alias(REALM, "alice"))
    store.remove_principal(account.sid)
    assert store.account_by_alias(REALM, "alice") is None


def test_what_is_no_text_is_nobodys_alias(store):
    assert store.account_by_alias(REALM, "\udc80") is None
    assert not store.remove_alias(DOMAIN.with_rid(1), Alias("\udc80", "x"))


def test_groups_of_the_store_may_hold_members_of_a_domain(identified, store):
    editors = store.add_group("editors", None)
    store.add_member(editors.sid, STAFF)
    store.add_right(editors.sid, "SeBackupPrivilege")
    identity = identified(sids=sids(TokenGroup(STAFF)))
    assert {"editors"} == {m.group.name for m in identity.memberships}
    assert "SeBackupPrivilege" in identity.rights


def test_a_group_for_deny_only_gives_no_rights(identified, store):
    store.add_right(STAFF, "SeBackupPrivilege")
    editors = store.add_group("editors", None)
    store.add_member(editors.sid, STAFF)
    deny = TokenGroup(STAFF, GroupAttributes.USE_FOR_DENY_ONLY)
    identity = identified(sids=sids(deny))
    assert "SeBackupPrivilege" not in identity.rights
    assert not identity.memberships
    assert token_of(identity).group(STAFF).is_deny_only


def test_who_owns_and_which_session_it_is_are_decided_here(identified):
    everything = TokenGroup(STAFF, GroupAttributes(0xFFFF_FFEF))
    token = token_of(identified(sids=sids(everything)))
    resource = GroupAttributes.RESOURCE
    assert ENABLED_GROUP | resource == token.group(STAFF).attributes


def test_more_groups_than_a_token_holds_are_an_error(identified):
    groups = [TokenGroup(DOMAIN.with_rid(2000 + n)) for n in range(MAXIMUM_GROUPS + 1)]
    identified(sids=sids(*groups[1:]))
    with pytest.raises(TooManyGroupsError, match="of a domain"):
        identified(sids=sids(*groups))


def test_claims_come_along(identified):
    claim = Claim("department", ClaimType.STRING, ("sales",))
    device = TokenGroup(DOMAIN.with_rid(515))
    token = token_of(
        identified(
            sids=sids(
                user_claims=(claim,),
                device_claims=(claim,),
                device_groups=(device, group("S-1-5-32-544")),
            )
        )
    )
    assert ((claim,), (claim,), (device,)) == (
        token.user_claims, token.device_claims, token.device_groups,
    )  # fmt: skip


def test_a_disabled_account_is_refused_by_its_alias(identified, store):
    account = store.add_account("alice", None, None)
    store.add_alias(account.sid, Alias(REALM, "alice"))
    store.set_account_disabled(account.sid, is_disabled=True)
    with pytest.raises(AccountDisabledError):
        identified()


@pytest.mark.parametrize(
    "name",
    ["", "x" * 1025, "a\nb", "a\0", "\udc80", "\u202eecila", "alice\u200b", "a\x1b[2J"],
)
def test_a_name_that_is_none_is_refused(identified, name):
    with pytest.raises(EvidenceRefusedError):
        identified(name, sids=sids())


def test_who_somebody_is_can_change_under_a_session(identified, store):
    before = identified(sids=sids())
    assert before.user == identify_again(store, before).user
    account = store.add_account("alice", None, None)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    with pytest.raises(UnknownAccountError, match="somebody else by now"):
        identify_again(store, before)
    by_alias = identified(sids=sids())
    store.remove_alias(account.sid, Alias(REALM, str(ALICE)))
    with pytest.raises(UnknownAccountError, match="somebody else by now"):
        identify_again(store, by_alias)


@pytest.mark.parametrize(
    "parts",
    [
        {"name": ""},
        {"name": REALM, "domains": "S-1-5-21-7-8-9"},
        {"name": REALM, "packages": "kerberos"},
        {"name": REALM, "domains": (Sid.from_string("S-1-5-32"),)},
        {"name": REALM, "domains": (ALICE,)},
        {"name": REALM, "domains": (Sid.from_string("S-1-22-1"),)},
    ],
)
def test_an_issuer_that_cannot_be_meant_is_refused(parts):
    with pytest.raises(InvalidRequestError):
        Issuer(**parts)


def test_issuers_are_named_once_and_none_speaks_for_the_store(believe, store):
    with pytest.raises(InvalidRequestError, match="two issuers"):
        believe(Issuer(REALM), Issuer(REALM, domains=(DOMAIN,)))
    with pytest.raises(InvalidRequestError, match="the store's own"):
        believe(Issuer(REALM, domains=(store.domain(),)))
    assert [REALM] == [issuer.name for issuer in believe(Issuer(REALM))]
    assert not Issuer(REALM, domains=(DOMAIN,)).speaks_for(ELSEWHERE.with_rid(1))


def test_who_comes_again_is_looked_up_again_once_the_store_has_changed(
    store, identified
):
    said = sids(TokenGroup(STAFF))
    first = identified(sids=said)
    assert first == identified(sids=said)
    assert identified(sids=said) is identified(sids=said)
    store.add_group("readers", None)
    assert identified(sids=said) is not identified(sids=said)
    changed = identified(sids=sids())
    assert STAFF not in token_of(changed).enabled_sids
    assert STAFF in token_of(identified(sids=said)).enabled_sids


def test_a_client_that_is_disabled_is_not_remembered(store, identified):
    account = store.add_account("al", None, None)
    for _ in range(3):
        assert ALICE == identified(sids=sids()).user
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    for _ in range(3):
        assert account.sid == identified(sids=sids()).user
    store.set_account_disabled(account.sid, is_disabled=True)
    for _ in range(3):
        with pytest.raises(AccountDisabledError):
            identified(sids=sids())


def test_what_a_host_says_of_a_uid_is_asked_each_time(store, identified):
    account = store.add_account("al", 70001, 70001)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    asked = []

    def host(uid):
        asked.append(uid)
        return PosixIdentity(uid, uid, (uid + len(asked),))

    groups = [identified(sids=sids(), host=host).posix.groups for _ in range(5)]
    assert [70001] * 5 == asked
    assert [(70001 + n,) for n in range(1, 6)] == groups


def test_an_account_that_a_host_says_the_same_of_is_looked_up_once(store, identified):
    account = store.add_account("al", 70001, 70001)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    host = partial(PosixIdentity, gid=70001, groups=(70005,))
    first, second, third = (identified(sids=sids(), host=host) for _ in range(3))
    assert first == second
    assert second is third
    assert (70005,) == third.posix.groups
    gone = identified(sids=sids(), host=lambda _uid: None)
    assert () == gone.posix.groups


def test_a_host_that_does_not_answer_lets_in_nobody_whom_it_knew(store, identified):
    account = store.add_account("al", 70001, 70001)
    store.add_alias(account.sid, Alias(REALM, str(ALICE)))
    for _ in range(3):
        identified(sids=sids(), host=partial(PosixIdentity, gid=70001, groups=()))

    def silent(_uid):
        raise DirectoryUnavailableError("the directory is down")

    with pytest.raises(DirectoryUnavailableError):
        identified(sids=sids(), host=silent)
