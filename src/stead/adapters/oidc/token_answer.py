"""What a token endpoint answers (RFC 6749 5, RFC 8693 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stead.adapters.oidc.compact import LARGEST_TOKEN
from stead.adapters.oidc.exchange_words import ACCESS_TOKEN, JWT
from stead.adapters.oidc.fetching import Document
from stead.adapters.oidc.strict_json import read_object
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    NoCredentialsError,
    WrongIdentityError,
)

_OK: Final = 200
_FIRST_OF_SERVERS: Final = 500
_LARGEST: Final = 65_536
_MOST_LIFE: Final = 86_400
_UNSAID_LIFE: Final = 60


def read_answer(
    answer: Document, endpoint: str, target: str, *, is_exchange: bool
) -> tuple[str, int]:
    """Return the token that an endpoint gives, and its life in seconds.

    Args:
        answer: what it answered.
        endpoint: its address, for errors.
        target: whom the token is for, for errors.
        is_exchange: whether it has to tell the token's type (RFC 8693).

    Raises:
        NoCredentialsError: it gives none.
        WrongIdentityError: it answers with something else.
        DirectoryUnavailableError: it has failed.
    """
    if answer.status >= _FIRST_OF_SERVERS:
        raise DirectoryUnavailableError(
            f"`{endpoint}` answers {answer.status}", advice="see its log"
        )
    try:
        said = read_object(answer.body, largest=_LARGEST, what="what it answers")
    except EvidenceRefusedError as error:
        raise _odd(endpoint, str(error)) from None
    if answer.status != _OK:
        code = said.get("error")
        raise NoCredentialsError(
            f"the issuer gives no token for `{target[:200]}`: "
            f"{code if isinstance(code, str) else answer.status!a:.60}",
            advice="does the issuer let this server go on to that one, and act for "
            "this client (`may_act`)?",
        )
    if is_exchange and said.get("issued_token_type") not in {ACCESS_TOKEN, JWT}:
        raise _odd(endpoint, "it answers with another type of token")
    return _token(said, endpoint), _life(said, endpoint)


def _token(said: Mapping[str, Any], endpoint: str) -> str:
    text, kind = said.get("access_token"), said.get("token_type")
    if not isinstance(text, str) or not 0 < len(text) <= LARGEST_TOKEN:
        raise _odd(endpoint, "it answers without a token")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise _odd(endpoint, "it answers with what is no token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _odd(endpoint, "its token is not sent as a bearer token")
    return text


def _life(said: Mapping[str, Any], endpoint: str) -> int:
    life = said.get("expires_in", _UNSAID_LIFE)
    if isinstance(life, bool) or not isinstance(life, int) or life <= 0:
        raise _odd(endpoint, "its token has no time to live")
    return min(life, _MOST_LIFE)


def _odd(endpoint: str, why: str) -> WrongIdentityError:
    return WrongIdentityError(
        f"`{endpoint}`: {why}", advice="see RFC 8693 2.2 for what it has to answer"
    )
