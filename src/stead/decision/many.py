"""One question about many descriptors: to which of these is the token granted this?

`many` answers for a sequence that is asked about once. A `Shelf` is for descriptors
that are asked about again and again, by one client after the other, such as all that a
listing may show: it is made once, and then looks only at those entries that are about
the asker.

Both give what `is_granted` would give for each. Where that would raise, a question that
is wrong in itself (generic rights, an anonymous token) raises here too; a descriptor
that cannot be judged (no owner, no group) is one that grants nothing: one bad object
hides itself, and not its neighbors.

>>> from itertools import compress
>>> from stead.model.access_mask import FILE_MAPPING, FileRights
>>> from stead.model.sid import Sid
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> objects = {"plan": "O:SYG:SYD:(A;;FR;;;S-1-5-21-1-2-3-1001)", "pay": "O:SYG:SYD:"}
>>> shelf = Shelf(map(SecurityDescriptor.from_sddl, objects.values()), FILE_MAPPING)
>>> list(compress(objects, shelf.granted(alice, FileRights.READ_DATA)))
['plan']
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from stead.decision import twin
from stead.decision.access_check import decide, require_mapped, require_token
from stead.decision.fast import is_granted
from stead.decision.judgement import NEVER_BY_ENTRY, OWNERS_RIGHTS
from stead.decision.limiting import rights_within
from stead.decision.plain_list import (
    EVERY_NAMED_RIGHT,
    is_plain,
    own_entries,
    work_out_standing,
)
from stead.decision.privilege_rights import MAXIMUM_ALLOWED
from stead.errors import InvalidRequestError, InvalidSecurityDescriptorError
from stead.model.access_mask import GenericMapping, require_mask
from stead.model.ace import AccessAllowedAce
from stead.model.decision import AccessQuestion
from stead.model.limits import Circumstances
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.model.well_known import OWNER_RIGHTS

_Places: TypeAlias = "array[int]"
_Layer: TypeAlias = dict[int, dict[Sid, _Places]]
"""By mask and trustee, where entries are."""


def many(
    token: AccessToken,
    descriptors: Iterable[SecurityDescriptor],
    desired: int,
    mapping: GenericMapping,
    *,
    circumstances: Sequence[Circumstances] = (),
) -> list[bool]:
    """Tell of each descriptor whether it grants a token all of some rights.

    Args:
        token: who asks.
        descriptors: the objects' descriptors. One that stands there more than once is
            judged once.
        desired: the rights asked for, without generic bits.
        mapping: what generic rights mean on this kind of object.
        circumstances: of each descriptor what its object is called, and what time it
            is. A token with limits is granted nothing without.

    Raises:
        InvalidAccessMaskError: `desired` is not 32 bits.
        InvalidRequestError: there are not as many circumstances as descriptors.
        GenericNotMappedError: `desired` holds generic bits.
        BadImpersonationLevelError: the token's level is anonymous.
    """
    desired = _require_question(token, desired)
    if token.limits is not None:
        return _many_within(token, tuple(descriptors), desired, mapping, circumstances)
    known: dict[int, bool] = {}
    # The list keeps each descriptor, and so its id, for as long as `known` is used.
    asked = list(descriptors)
    for descriptor in asked:
        if id(descriptor) not in known:
            known[id(descriptor)] = _judged(token, descriptor, desired, mapping)
    return [known[id(descriptor)] for descriptor in asked]


class Shelf:
    """Descriptors of objects of one kind, made ready to be asked about often.

    It holds the descriptors and, by the SIDs that their entries are about, where these
    entries are: of whoever asks only the entries about them are looked at. It never
    changes; another descriptor is another shelf.

    Args:
        descriptors: the objects' descriptors; answers come in their order.
        mapping: what generic rights mean on this kind of object.
    """

    __slots__ = ("_descriptors", "_layers", "_mapping", "_odd", "_owned", "_speaking")

    def __init__(
        self, descriptors: Iterable[SecurityDescriptor], mapping: GenericMapping
    ) -> None:
        self._descriptors = tuple(descriptors)
        self._mapping = mapping
        # Entries between which only kind and order differ: of each list all deny
        # entries before the first allow entry, then all allow entries before the next
        # deny entry, and so on. Within a layer order does not matter.
        self._layers: list[_Layer] = []
        self._owned: dict[Sid, _Places] = {}
        self._speaking: dict[Sid, _Places] = {}
        self._odd: _Places = array(_NUMBER)
        for place, descriptor in enumerate(self._descriptors):
            self._add(place, descriptor)

    def __len__(self) -> int:
        return len(self._descriptors)

    def granted(
        self,
        token: AccessToken,
        desired: int,
        *,
        circumstances: Sequence[Circumstances] = (),
    ) -> list[bool]:
        """Tell of each descriptor whether it grants a token all of some rights.

        Args and Raises are those of `many`.
        """
        desired = _require_question(token, desired)
        standing = work_out_standing(token)
        if not (standing.is_ordinary and 0 < desired <= EVERY_NAMED_RIGHT) or (
            desired & MAXIMUM_ALLOWED
        ):
            return many(
                token,
                self._descriptors,
                desired,
                self._mapping,
                circumstances=circumstances,
            )
        missing = array(_NUMBER, [desired & ~standing.by_privilege]) * len(self)
        for owner in token.enabled_sids & self._owned.keys():
            settle(missing, self._owned[owner], OWNERS_RIGHTS, True)  # noqa: FBT003
        for number, layer in enumerate(self._layers):
            grants = bool(number % 2)
            held = token.enabled_sids if grants else token.deny_sids
            for mask, trustees in layer.items():
                bits = mask & desired & ~NEVER_BY_ENTRY
                for sid in held & trustees.keys() if bits else ():
                    settle(missing, trustees[sid], bits, grants)
        found = answers(missing)
        self._judge_odd(found, token, desired)
        return found

    def _judge_odd(self, found: list[bool], token: AccessToken, desired: int) -> None:
        """Put the judge's answer where a list alone does not decide."""
        odd = [self._odd]
        odd += [self._speaking.get(sid, self._odd[:0]) for sid in token.deny_sids]
        for places in odd:
            for place in places:
                descriptor = self._descriptors[place]
                found[place] = _judged(token, descriptor, desired, self._mapping)

    def _add(self, place: int, descriptor: SecurityDescriptor) -> None:
        owner = descriptor.owner
        if owner is None or not is_plain(descriptor):
            self._odd.append(place)
            return
        number, speaks = 0, False
        for ace in own_entries(descriptor):
            speaks = speaks or ace.trustee == OWNER_RIGHTS
            number += number % 2 != (type(ace) is AccessAllowedAce)
            while number >= len(self._layers):
                self._layers.append({})
            mask = self._mapping.map(ace.mask)
            _append(self._layers[number].setdefault(mask, {}), ace.trustee, place)
        _append(self._speaking if speaks else self._owned, owner, place)


def pure_settle(missing: _Places, places: _Places, bits: int, grants: bool) -> None:  # noqa: FBT001 - the twin's words
    """Grant or deny rights at some places, of those that are missing there.

    Args:
        missing: of each place the rights that are asked for and not granted yet.
        places: where.
        bits: which rights.
        grants: whether they are granted. What is denied while it is missing is marked
            with a bit that nobody asks for here, and stays missing.
    """
    if grants:
        left = ~bits
        for place in places:
            missing[place] &= left
    else:
        for place in places:
            if missing[place] & bits:
                missing[place] |= MAXIMUM_ALLOWED


def pure_answers(missing: _Places) -> list[bool]:
    """Tell of each place whether nothing is missing there."""
    return [not left for left in missing]


settle = twin.natively("settle", pure_settle)
answers = twin.natively("answers", pure_answers)


# --- inside -------------------------------------------------------------------------

_NUMBER: Final = "I"


def _append(places: dict[Sid, _Places], sid: Sid, place: int) -> None:
    found = places.get(sid)
    if found is None:
        places[sid] = array(_NUMBER, (place,))
    else:
        found.append(place)


def _require_question(token: AccessToken, desired: int) -> int:
    desired = require_mask(desired)
    require_mapped(desired)
    require_token(token)
    return desired


def _many_within(
    token: AccessToken,
    descriptors: Sequence[SecurityDescriptor],
    desired: int,
    mapping: GenericMapping,
    circumstances: Sequence[Circumstances],
) -> list[bool]:
    """Answer `many` for a token with limits: the whole judge asks what they leave."""
    if not circumstances:
        return [False] * len(descriptors)
    if len(circumstances) != len(descriptors):
        raise InvalidRequestError("each descriptor has circumstances of its own")
    required = desired & ~MAXIMUM_ALLOWED
    found = []
    for descriptor, about in zip(descriptors, circumstances, strict=True):
        # Most of a list lies outside the limits, and that is told without judging.
        is_within = not required & ~rights_within(token, mapping, about)
        question = AccessQuestion(
            descriptor, token, desired, mapping, circumstances=about
        )
        found.append(is_within and _decided(question))
    return found


def _decided(question: AccessQuestion) -> bool:
    try:
        return decide(question).allowed
    except InvalidSecurityDescriptorError:
        return False


def _judged(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> bool:
    try:
        return is_granted(token, descriptor, desired, mapping)
    except InvalidSecurityDescriptorError:
        return False
