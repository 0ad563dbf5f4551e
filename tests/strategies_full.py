"""Random tokens, descriptors and whole questions that use every feature of the model.

Like `tests.strategies`: mostly valid, and drawn from small pools so that entries,
conditions, claims and tokens meet. A feature is absent more often than present, since a
question where everything refuses at once shows nothing about any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar

from hypothesis import strategies as st
from tests import strategies as plain
from tests.strategies_full_choice import either, mostly, mostly_from, named
from tests.strategies_full_conditions import (
    claim_lists,
    claims,
    condition_data,
    conditions,
)

from stead.codec.claim_binary import write_claim
from stead.model.access_mask import GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
    AccessDeniedObjectAce,
    AccessFilterAce,
    Ace,
    AceFlags,
    ObjectAce,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAuditAce,
    SystemAuditCallbackAce,
    SystemAuditCallbackObjectAce,
    SystemAuditObjectAce,
)
from stead.model.acl import ABSENT_SACL, NULL_SACL, Acl, NoAcl
from stead.model.claim import Claim, ClaimType
from stead.model.decision import AccessQuestion, AceCallback, Intent, ObjectType
from stead.model.guid import Guid
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes, TokenGroup
from stead.model.well_known import (
    ADMINISTRATORS,
    ALL_APPLICATION_PACKAGES,
    ALL_RESTRICTED_APPLICATION_PACKAGES,
    EVERYONE,
    LOCAL_SYSTEM,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
    RESTRICTED_CODE,
    WRITE_RESTRICTED_CODE,
)

T = TypeVar("T")

GUIDS: Final = tuple(Guid(bytes((number,)) * 16) for number in range(1, 9))
PACKAGES: Final = tuple(Sid.from_parts(15, (2, 7, n)) for n in (1, 2))
CAPABILITIES: Final = tuple(Sid.from_parts(15, (3, n)) for n in (1, 2, 3))
TRUST_LEVELS: Final = tuple(
    Sid.from_parts(19, numbers)
    for numbers in ((0, 0), (512, 4096), (512, 8192), (1024, 4096), (1024, 8192))
)
POLICY_SIDS: Final = tuple(Sid.from_parts(17, (n,)) for n in (1, 2, 3))
RESTRICTING: Final = (
    *plain.PEOPLE[:2],
    *plain.GROUPS[:2],
    *(4 * [EVERYONE]),
    RESTRICTED_CODE,
    WRITE_RESTRICTED_CODE,
)
NO_ALL_PACKAGES: Final = Claim("WIN://NOALLAPPPKG", ClaimType.UINT64, (1,))
DEEPEST_LEVEL: Final = 4


# --- who ---


@named
def trustees() -> st.SearchStrategy[Sid]:
    """Whom an entry may be about, packages and stand-ins included."""
    known = st.sampled_from((*plain.PEOPLE, *plain.GROUPS, *(6 * [EVERYONE])))
    special = st.sampled_from((
        OWNER_RIGHTS, PRINCIPAL_SELF, LOCAL_SYSTEM, RESTRICTED_CODE,
        WRITE_RESTRICTED_CODE, *(3 * [ALL_APPLICATION_PACKAGES]),
        *(3 * [ALL_RESTRICTED_APPLICATION_PACKAGES]), *PACKAGES, *CAPABILITIES,
    ))  # fmt: skip
    return either(known, known, special)


@named
def tokens(
    *,
    restriction: st.SearchStrategy[tuple[Sid, ...]] | None = None,
    package: st.SearchStrategy[Sid | None] | None = None,
) -> st.SearchStrategy[AccessToken]:
    """Tokens with restricting SIDs, packages, claims and trust, each now and then."""
    return st.builds(
        _with,
        plain.tokens(),
        restriction=_unless(restriction, mostly((), restrictions(), 5)),
        is_write_restricted=st.booleans(),
        device_groups=st.lists(plain.groups(), max_size=2).map(tuple),
        user_claims=claim_lists(),
        device_claims=claim_lists(),
        local_claims=claim_lists(),
        package=_unless(package, mostly(None, st.sampled_from(PACKAGES), 7)),
        capabilities=st.lists(_capabilities(), max_size=3).map(tuple),
        is_less_privileged=mostly(False, st.just(True)),
        is_somebody=mostly(True, st.just(False)),
        trust=mostly(None, st.sampled_from(TRUST_LEVELS)),
        more=st.lists(_backup_privileges(), max_size=2).map(tuple),
    )  # fmt: skip


def _unless(
    given: st.SearchStrategy[T] | None, usual: st.SearchStrategy[T]
) -> st.SearchStrategy[T]:
    return usual if given is None else given


@named
def restrictions() -> st.SearchStrategy[tuple[Sid, ...]]:
    """One to three restricting SIDs."""
    return st.lists(st.sampled_from(RESTRICTING), min_size=1, max_size=3).map(tuple)


def _with(
    token: AccessToken,
    *,
    restriction: tuple[Sid, ...],
    is_write_restricted: bool,
    capabilities: tuple[TokenGroup, ...],
    is_less_privileged: bool,
    is_somebody: bool,
    local_claims: tuple[Claim, ...],
    more: tuple[TokenPrivilege, ...],
    **parts: object,
) -> AccessToken:
    if is_less_privileged:
        local_claims = (*local_claims, NO_ALL_PACKAGES)
    return replace(
        token,
        restricting_sids=restriction,
        is_write_restricted=is_write_restricted and bool(restriction),
        capabilities=() if parts["package"] is None else capabilities,
        local_claims=local_claims,
        privileges=(*token.privileges, *more),
        groups=(*token.groups, *((TokenGroup(EVERYONE),) if is_somebody else ())),
        **parts,  # type: ignore[arg-type]  # each part is drawn for its field
    )


@named
def _capabilities() -> st.SearchStrategy[TokenGroup]:
    attributes = st.sampled_from((4, 4, 4, 0, 0x10)).map(GroupAttributes)
    return st.builds(TokenGroup, st.sampled_from(CAPABILITIES), attributes)


@named
def _backup_privileges() -> st.SearchStrategy[TokenPrivilege]:
    kinds = st.sampled_from((Privilege.BACKUP, Privilege.RESTORE, Privilege.SECURITY))
    enabled = st.sampled_from((2, 2, 3, 0)).map(PrivilegeAttributes)
    return st.builds(TokenPrivilege, kinds, enabled)


# --- rights ---


@named
def masks() -> st.SearchStrategy[int]:
    """Rights of an entry: much mostly, since whoever asks asks for more than one."""
    much = st.sampled_from((7, 0xF000F, 0x001F_01FF, 1 << 28, 0x6_0003, 0xF000_0000))
    return either(*(3 * [much]), plain.masks())


@named
def denied_masks() -> st.SearchStrategy[int]:
    """Rights of a deny entry: few mostly, so that something is left to be asked for."""
    few = st.sampled_from((1, 2, 4, 6, 0x20, 0x10000, 0x20000, 0x40000, 0x80000))
    return either(*(5 * [few]), plain.masks())


@named
def desires() -> st.SearchStrategy[int]:
    """Questions: one or two rights mostly; all that there is, nothing, and anything."""
    few = st.lists(st.sampled_from(_RIGHTS), min_size=1, max_size=2).map(
        lambda some: sum(set(some))
    )
    maximum = st.sampled_from((0x0200_0000, 0x0200_0001, 0x0202_0002))
    return either(few, few, few, maximum, maximum, plain.desires())


_RIGHTS: Final = (
    1, 2, 4, 8, 0x20, 0x100, 0x10000, 0x20000, 0x40000, 0x80000, 0x80000, 0x100000,
    0x1000000,
)  # fmt: skip


# --- entries ---


@named
def dacl_entries() -> st.SearchStrategy[Ace]:
    """Allow and deny entries of all eight kinds; seldom one that nobody knows."""
    usual = either(simple_entries(), simple_entries(), conditional_entries())
    return either(*(10 * [usual]), *(5 * [object_entries()]), opaque_entries())


@named
def simple_entries() -> st.SearchStrategy[Ace]:
    allows = _entries(AccessAllowedAce)
    return either(allows, allows, _entries(AccessDeniedAce))


@named
def conditional_entries() -> st.SearchStrategy[Ace]:
    return either(_entries(AccessAllowedCallbackAce), _entries(AccessDeniedCallbackAce))


@named
def object_entries() -> st.SearchStrategy[Ace]:
    """Entries about types; allow ones mostly."""
    allows = _entries(AccessAllowedObjectAce)
    return either(
        allows,
        allows,
        allows,
        _entries(AccessDeniedObjectAce),
        _entries(AccessAllowedCallbackObjectAce),
        _entries(AccessDeniedCallbackObjectAce),
    )


@named
def entries_for(*trustees_: Sid) -> st.SearchStrategy[Ace]:
    """Simple entries for these trustees."""
    who = st.sampled_from(trustees_)
    allows = st.builds(AccessAllowedAce, who, masks())
    return either(allows, allows, st.builds(AccessDeniedAce, who, denied_masks()))


@named
def _entries(kind: type[Ace]) -> st.SearchStrategy[Ace]:
    parts: dict[str, st.SearchStrategy[object]] = {
        "trustee": trustees(),
        "mask": denied_masks() if "Denied" in kind.__name__ else masks(),
        "flags": mostly_flags(),
    }
    if issubclass(kind, ObjectAce):
        parts["object_type"] = either(st.none(), *(3 * [st.sampled_from(GUIDS)]))
        parts["inherited_object_type"] = mostly(None, st.sampled_from(GUIDS))
    if "Callback" in kind.__name__:
        parts["application_data"] = condition_data()
    return st.builds(kind, **parts)


@named
def mostly_flags() -> st.SearchStrategy[AceFlags]:
    return mostly(AceFlags.NONE, plain.flags(), 7)


@named
def opaque_entries() -> st.SearchStrategy[Ace]:
    return st.builds(
        OpaqueAce,
        flags=mostly_flags(),
        type_number=st.sampled_from((0x04, 0x16, 0xFF)),
        body=st.sampled_from((b"", bytes(4))),
    )


@named
def dacls(
    *, of: st.SearchStrategy[Ace] | None = None
) -> st.SearchStrategy[Acl | NoAcl]:
    """Lists of up to eight entries; seldom NULL or absent."""
    entries = dacl_entries() if of is None else of
    some = st.lists(entries, max_size=8).map(lambda aces: Acl(tuple(aces)))
    return mostly_from(some, st.sampled_from((NoAcl.NULL, NoAcl.ABSENT)))


@named
def sacls() -> st.SearchStrategy[Acl | NoAcl]:
    """System lists: labels, attributes, policies, filters, and seldom an unknown."""
    attributes_, policies_ = _resource_attributes(), _policy_entries()
    usual = either(
        attributes_, attributes_, policies_, policies_, plain.labels(), _filters(),
        _trust_labels(), _audits(),
    )  # fmt: skip
    entries = mostly_from(usual, opaque_entries(), 40)
    some = st.lists(entries, max_size=4).map(lambda aces: Acl(tuple(aces)))
    none = st.sampled_from((ABSENT_SACL, NULL_SACL))
    return either(none, none, some)


@named
def _resource_attributes() -> st.SearchStrategy[Ace]:
    readable = claims().map(write_claim)
    broken = either(st.just(b""), st.binary(min_size=1, max_size=24))
    data = mostly_from(readable, broken, 20)
    return st.builds(
        ResourceAttributeAce, st.just(EVERYONE), st.just(0), mostly_flags(), data
    )


@named
def _policy_entries() -> st.SearchStrategy[Ace]:
    return st.builds(
        ScopedPolicyIdAce, st.sampled_from(POLICY_SIDS), st.just(0), mostly_flags()
    )


@named
def _filters() -> st.SearchStrategy[Ace]:
    return st.builds(
        AccessFilterAce, trustees(), masks(), mostly_flags(), condition_data()
    )


@named
def _trust_labels() -> st.SearchStrategy[Ace]:
    levels = mostly_from(st.sampled_from(TRUST_LEVELS), st.just(EVERYONE), 15)
    return st.builds(ProcessTrustLabelAce, levels, masks(), mostly_flags())


@named
def _audits() -> st.SearchStrategy[Ace]:
    return either(
        _entries(SystemAuditAce),
        _entries(SystemAuditObjectAce),
        _entries(SystemAuditCallbackAce),
        _entries(SystemAuditCallbackObjectAce),
    )


@named
def descriptors(
    *,
    dacl: st.SearchStrategy[Acl | NoAcl] | None = None,
    sacl: st.SearchStrategy[Acl | NoAcl] | None = None,
) -> st.SearchStrategy[SecurityDescriptor]:
    """Descriptors with an owner and a group mostly."""
    people = st.sampled_from((*plain.PEOPLE, *plain.GROUPS, ADMINISTRATORS))
    return st.builds(
        SecurityDescriptor,
        dacl=dacls() if dacl is None else dacl,
        owner=mostly_from(people, either(st.none(), st.just(OWNER_RIGHTS)), 20),
        group=mostly_from(people, st.none(), 40),
        sacl=sacls() if sacl is None else sacl,
    )


# --- questions ---


@named
def trees(*, at_least: int = 0) -> st.SearchStrategy[tuple[ObjectType, ...]]:
    """Trees of object types, as walks; seldom a list that is no tree."""
    steps = st.lists(st.integers(1, DEEPEST_LEVEL), min_size=at_least, max_size=6)
    guids = st.permutations(GUIDS)
    right = st.builds(_tree, steps, guids)
    levels = st.lists(st.integers(-1, 5), min_size=1, max_size=4)
    wrong = st.builds(
        lambda numbers, names: tuple(map(ObjectType, numbers, names)),
        levels,
        st.lists(st.sampled_from(GUIDS), min_size=4, max_size=4),
    )
    return mostly_from(right, wrong, 15)


def _tree(steps: list[int], guids: list[Guid]) -> tuple[ObjectType, ...]:
    """Each step is how deep the next node would like to be."""
    levels = [0]
    for step in steps:
        levels.append(min(step, levels[-1] + 1))
    return tuple(map(ObjectType, levels, guids))


@named
def policies() -> st.SearchStrategy[tuple[CentralAccessPolicy, ...]]:
    """One or two configured policies, of up to two rules each."""
    rules = st.builds(
        CentralAccessRule,
        dacl=dacls(),
        applies_to=mostly_from(st.none(), conditions(1), 1),
        staged_dacl=mostly_from(st.none(), dacls()),
    )
    one = st.builds(
        CentralAccessPolicy,
        sid=st.sampled_from(POLICY_SIDS),
        rules=st.lists(rules, max_size=2).map(tuple),
    )
    many = st.lists(one, min_size=1, max_size=2, unique_by=lambda policy: policy.sid)
    return many.map(tuple)


@dataclass(frozen=True)
class MaskCallback:
    """Says yes to entries whose mask has a bit; fails at some others."""

    bit: int
    fails_at: int = 0

    def __call__(self, ace: Ace, token: AccessToken) -> bool:
        if ace.mask & self.fails_at:
            raise ValueError(ace.mask)
        return bool(ace.mask & self.bit)


@named
def callbacks() -> st.SearchStrategy[AceCallback | None]:
    bits = st.sampled_from((0, 1, 2, 4))
    return mostly(None, st.builds(MaskCallback, st.sampled_from((0, 1, 3, 7)), bits), 1)


@named
def mappings() -> st.SearchStrategy[GenericMapping]:
    """Mappings where reading, writing and running overlap now and then."""
    overlapping = st.just(
        GenericMapping(read=0x20003, write=0x10006, execute=0xC, all=0xF000F)
    )
    return either(plain.mappings(), plain.mappings(), overlapping)


@named
def questions() -> st.SearchStrategy[AccessQuestion]:
    """Whole questions: who asks for what, of which object, and with what beside it."""
    return either(
        _questions(),
        _questions(),
        tree_questions(),
        container_questions(),
        restricted_questions(),
        policy_questions(),
    )


@named
def tree_questions() -> st.SearchStrategy[AccessQuestion]:
    """Questions about trees, of lists that speak of types."""
    who = mostly(EVERYONE, trustees(), 5)
    what = st.sampled_from(GUIDS)
    near = either(
        *(3 * [st.builds(AccessAllowedObjectAce, who, masks(), object_type=what)]),
        st.builds(AccessDeniedObjectAce, who, denied_masks(), object_type=what),
        entries_for(EVERYONE),
    )
    entries = mostly_from(near, either(object_entries(), simple_entries()), 3)
    lists = st.lists(entries, min_size=1, max_size=8).map(lambda aces: Acl(tuple(aces)))
    return _questions(
        descriptor=descriptors(dacl=lists, sacl=mostly(ABSENT_SACL, sacls())),
        tree=mostly_from(trees(at_least=2), trees()),
        token=tokens(package=mostly(None, st.sampled_from(PACKAGES), 15)),
    )


@named
def container_questions() -> st.SearchStrategy[AccessQuestion]:
    """AppContainers' questions, of lists that speak of packages."""
    about = entries_for(
        *PACKAGES,
        *CAPABILITIES,
        ALL_APPLICATION_PACKAGES,
        ALL_RESTRICTED_APPLICATION_PACKAGES,
    )
    entries = either(about, entries_for(EVERYONE), dacl_entries())
    return _questions(
        token=tokens(package=st.sampled_from(PACKAGES)),
        descriptor=descriptors(dacl=dacls(of=entries)),
    )


@named
def restricted_questions() -> st.SearchStrategy[AccessQuestion]:
    """Restricted tokens' questions, of lists that speak of restricting SIDs."""
    entries = either(entries_for(*RESTRICTING), dacl_entries())
    return _questions(
        token=tokens(restriction=restrictions()),
        descriptor=descriptors(dacl=dacls(of=entries)),
    )


@named
def policy_questions() -> st.SearchStrategy[AccessQuestion]:
    """Questions of objects that a configured policy, or an unknown one, is about."""
    entries = either(_policy_entries(), _policy_entries(), _resource_attributes())
    lists = st.lists(entries, min_size=1, max_size=3)
    return _questions(
        descriptor=descriptors(sacl=lists.map(lambda aces: Acl(tuple(aces)))),
        configured=policies(),
    )


@named
def _questions(
    *,
    descriptor: st.SearchStrategy[SecurityDescriptor] | None = None,
    token: st.SearchStrategy[AccessToken] | None = None,
    tree: st.SearchStrategy[tuple[ObjectType, ...]] | None = None,
    configured: st.SearchStrategy[tuple[CentralAccessPolicy, ...]] | None = None,
) -> st.SearchStrategy[AccessQuestion]:
    intents = st.sampled_from((1, 2, 3)).map(Intent)
    return st.builds(
        AccessQuestion,
        descriptor=descriptors() if descriptor is None else descriptor,
        token=tokens() if token is None else token,
        desired=mostly_from(desires(), st.just(0), 30),
        mapping=mappings(),
        object_types=mostly((), trees(), 4) if tree is None else tree,
        self_sid=mostly_from(st.sampled_from(plain.PEOPLE), st.none(), 1),
        intent=mostly(Intent.NONE, intents),
        policies=mostly((), policies(), 4) if configured is None else configured,
        callback=callbacks(),
    )
