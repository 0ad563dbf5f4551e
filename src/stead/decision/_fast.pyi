from array import array
from collections.abc import Callable
from typing import Self

from stead.model.access_mask import GenericMapping
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken

class Kept:
    def __new__(
        cls,
        items: tuple[tuple[Sid, int, bool], ...],
        owner: Sid | None,
        flags: int,
        by_privilege: int,
        /,
    ) -> Self: ...
    def keep(
        self, token: AccessToken, mapping: GenericMapping, granted: int, /
    ) -> None: ...

def connect(
    prepare: Callable[[AccessToken | SecurityDescriptor], None],
    judge: Callable[[AccessToken, SecurityDescriptor, int, GenericMapping], bool] = ...,
    /,
) -> None: ...
def is_granted(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
    /,
) -> bool: ...
def plain_mask(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping, /
) -> int | None: ...
def settle(
    missing: array[int], places: array[int], bits: int, grants: bool, /
) -> None: ...
def answers(missing: array[int], /) -> list[bool]: ...
