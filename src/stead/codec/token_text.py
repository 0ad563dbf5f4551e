"""What the judge asks of a token, as text: so that the past can be judged again.

The record of a logon holds the text of its session's token, and the record of each
decision the digest of the token that was judged. Who asks later what another descriptor
would have answered takes the token from there; where the digests differ, the token was
another one, and nothing is guessed.

    user=S-1-5-21-1-2-3-1001 groups=S-1-1-0,S-1-5-2,~1005,S-1-5-32-544:f
    privileges=SeChangeNotifyPrivilege integrity=S-1-16-8192 policy=1

A SID `~1005` is of the user's own domain. A group without attributes after it is an
ordinary enabled one, and so is a privilege. Claims are told by a digest, limits by a
word: a token that has them cannot be made again of its text, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final

from stead.errors import InvalidRecordError, SteadError
from stead.model.privilege import (
    ENABLED_PRIVILEGE,
    Privilege,
    PrivilegeAttributes,
    TokenPrivilege,
)
from stead.model.sid import Sid
from stead.model.token import (
    ENABLED_GROUP,
    AccessToken,
    GroupAttributes,
    MandatoryPolicy,
    TokenGroup,
)

DIGEST: Final = "token"
"""The detail that holds the digest of the token that was judged."""

TEXT: Final = "token text"
"""The detail that holds a token's text; a long one goes on in `token text 2`."""

_PART: Final = 1900  # a text of a record is cut at 2048 characters
_PARTS: Final = 8
_DIGEST_BYTES: Final = 16
_RELATIVE: Final = "~"
_CLAIMS: Final = "claims"
_LIMITS: Final = "limits"


@dataclass(frozen=True, slots=True)
class DescribedToken:
    """A token as its text tells it.

    Attributes:
        token: what the judge asks of it, and nothing else.
        lacks: what it had that the text does not tell: `claims`, `limits`.
    """

    token: AccessToken
    lacks: tuple[str, ...]


def token_detail(token: AccessToken) -> dict[str, str]:
    """Return the details by which a record describes a token.

    One with more groups than a record should hold is told by its digest alone.
    """
    text = write_token(token)
    parts = [text[at : at + _PART] for at in range(0, len(text), _PART)]
    told = {DIGEST: token.kept_digest or _keep_digest(token, text)}
    if len(parts) <= _PARTS:
        for number, part in enumerate(parts, 1):
            told[TEXT if number == 1 else f"{TEXT} {number}"] = part
    return told


def described(detail: Mapping[str, str]) -> DescribedToken | None:
    """Return the token that a record's details describe, or None if they do not.

    Raises:
        InvalidRecordError: they describe none, or another one than they say.
    """
    if TEXT not in detail:
        return None
    names = (TEXT, *(f"{TEXT} {number}" for number in range(2, _PARTS + 1)))
    text = "".join(detail.get(name, "") for name in names)
    if detail.get(DIGEST) != _digest(text):
        raise InvalidRecordError("a token's text is not the one its digest names")
    return read_token_text(text)


def token_digest(token: AccessToken) -> str:
    """Return the digest of a token's text, in hexadecimal; kept with the token."""
    return token.kept_digest or _keep_digest(token, write_token(token))


def _keep_digest(token: AccessToken, text: str) -> str:
    digest = _digest(text)
    object.__setattr__(token, "kept_digest", digest)
    return digest


def write_token(token: AccessToken) -> str:
    """Return a token's text."""
    domain = _domain(token.user)
    sid = partial(_sid, domain)
    groups = partial(_groups, domain)
    told = {
        "user": f"{token.user}{':deny' if token.user_is_deny_only else ''}",
        "groups": groups(token.groups),
        "privileges": ",".join(map(_privilege, token.privileges)),
        "integrity": str(token.integrity),
        "policy": f"{int(token.mandatory_policy):x}",
        "restricting": ",".join(map(sid, token.restricting_sids)),
        "writing": "restricted" if token.is_write_restricted else "",
        "device": groups(token.device_groups),
        "package": "" if token.package is None else str(token.package),
        "capabilities": groups(token.capabilities),
        "trust": "" if token.trust is None else str(token.trust),
        _CLAIMS: _claims(token),
        _LIMITS: "yes" if token.limits is not None else "",
    }
    return " ".join(f"{name}={text}" for name, text in told.items() if text)


def read_token_text(text: str) -> DescribedToken:
    """Return the token that `write_token` told.

    Raises:
        InvalidRecordError: the text tells of none.
    """
    pairs = [word.partition("=") for word in text.split(" ")]
    told = {name: value for name, _, value in pairs}
    try:
        return _read(told, is_plain=len(told) == len(pairs))
    except (SteadError, LookupError, ValueError) as error:
        raise InvalidRecordError(f"the text is no token's: {error}") from error


def _read(told: dict[str, str], *, is_plain: bool) -> DescribedToken:
    user, _, deny = told.pop("user").partition(":")
    domain = _domain(Sid.from_string(user))
    lacks = tuple(name for name in (_CLAIMS, _LIMITS) if told.pop(name, ""))
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "groups": ("groups", partial(_read_groups, domain)),
        "privileges": ("privileges", _read_privileges),
        "integrity": ("integrity", Sid.from_string),
        "policy": ("mandatory_policy", lambda value: MandatoryPolicy(int(value, 16))),
        "restricting": ("restricting_sids", partial(_read_sids, domain)),
        "writing": ("is_write_restricted", "restricted".__eq__),
        "device": ("device_groups", partial(_read_groups, domain)),
        "package": ("package", Sid.from_string),
        "capabilities": ("capabilities", partial(_read_groups, domain)),
        "trust": ("trust", Sid.from_string),
    }
    if not is_plain or deny not in {"", "deny"} or told.keys() - readers.keys():
        raise ValueError("it says something twice, or what nobody knows")
    parts = {readers[name][0]: readers[name][1](value) for name, value in told.items()}
    token = AccessToken(
        user=Sid.from_string(user), user_is_deny_only=bool(deny), **parts
    )
    return DescribedToken(token, lacks)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES].hex()


def _domain(user: Sid) -> Sid | None:
    parts = user.sub_authorities[:-1]
    return Sid.from_parts(user.authority, parts) if parts else None


def _sid(domain: Sid | None, sid: Sid) -> str:
    if domain is not None and sid.is_within(domain):
        return f"{_RELATIVE}{sid.rid}"
    return str(sid)


def _read_sid(domain: Sid | None, text: str) -> Sid:
    if not text.startswith(_RELATIVE):
        return Sid.from_string(text)
    if domain is None:
        raise ValueError(f"`{text}` is of no domain")
    return domain.with_rid(int(text.removeprefix(_RELATIVE)))


def _read_sids(domain: Sid | None, text: str) -> tuple[Sid, ...]:
    return tuple(_read_sid(domain, one) for one in text.split(","))


def _groups(domain: Sid | None, groups: Iterable[TokenGroup]) -> str:
    return ",".join(
        _with_attributes(_sid(domain, one.sid), one.attributes, ENABLED_GROUP)
        for one in groups
    )


def _read_groups(domain: Sid | None, text: str) -> tuple[TokenGroup, ...]:
    pairs = (one.partition(":") for one in text.split(","))
    return tuple(
        TokenGroup(
            _read_sid(domain, sid),
            GroupAttributes(int(number, 16)) if number else ENABLED_GROUP,
        )
        for sid, _, number in pairs
    )


def _privilege(held: TokenPrivilege) -> str:
    return _with_attributes(held.privilege.value, held.attributes, ENABLED_PRIVILEGE)


def _read_privileges(text: str) -> tuple[TokenPrivilege, ...]:
    pairs = (one.partition(":") for one in text.split(","))
    return tuple(
        TokenPrivilege(
            Privilege(name),
            PrivilegeAttributes(int(number, 16)) if number else ENABLED_PRIVILEGE,
        )
        for name, _, number in pairs
    )


def _with_attributes(text: str, attributes: int, usual: int) -> str:
    return text if attributes == usual else f"{text}:{int(attributes):x}"


def _claims(token: AccessToken) -> str:
    sources = (token.user_claims, token.device_claims, token.local_claims)
    if not any(sources):
        return ""
    # Their form for programmers: other forms refuse some claims, a record none.
    return _digest(repr(sources))
