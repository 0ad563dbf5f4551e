r"""Whose passwords others know: which authority a qualified name goes to.

`alice@DOMAIN` and `DOMAIN\alice` go to the authority of that domain. An unqualified
name is the store's: names of its accounts hold neither `@` nor a backslash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from stead.authority.guesses import LONGEST_SPELLING
from stead.authority.host_clients import HostClients
from stead.authority.identity import HostIdentity
from stead.authority.issuers import Issuers
from stead.authority.logon_rules import logon_rule
from stead.authority.names import split_name
from stead.authority.newcomer import Newcomer, newcomer_of
from stead.authority.packages import Authenticated, PasswordAuthority
from stead.authority.ports import AccountStore
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    SteadError,
)
from stead.model.logon_record import LogonType
from stead.model.secret import Secret


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    """Those who know passwords that are not the store's.

    Attributes:
        authorities: them; no two of one domain.
        issuers: who is believed.
        store: where accounts live.
        host: what this host knows of a uid.
        hosts: who users of this host are.
    """

    authorities: Collection[PasswordAuthority]
    issuers: Issuers
    store: AccountStore
    host: HostIdentity
    hosts: HostClients

    def __post_init__(self) -> None:
        """Refuse two for one domain, and none's; raises `InvalidRequestError`."""
        seen: set[str] = set()
        for authority in self.authorities:
            for domain in {each.casefold() for each in authority.domains}:
                if not domain:
                    raise InvalidRequestError(
                        "names without a domain are the store's",
                        advice=f"name the domains of {authority.name}",
                    )
                if domain in seen:
                    raise InvalidRequestError(
                        f"two password authorities know domain `{domain}`"
                    )
                seen.add(domain)

    def knows(
        self, name: str, secret: Secret, logon_type: LogonType
    ) -> Callable[[], Authenticated] | None:
        """Return what asks the authority of a name; None if none is of its domain."""
        account, domain = split_name(name)
        authority = self._authority_of(domain)
        if authority is None:
            return None
        keep = logon_rule(logon_type).keeps_credentials
        return partial(_ask, authority, account, domain, secret, keep=keep)

    def is_theirs(self, name: str) -> bool:
        """Whether one of them is asked about a name."""
        return self._authority_of(split_name(name)[1]) is not None

    def newcomer(self, client: Authenticated, logon_type: LogonType) -> Newcomer:
        """Return who somebody is here, whose password an authority knows.

        Raises:
            SteadError: as `newcomer_of`.
        """
        return newcomer_of(
            self.store, client, self.issuers, host=self.host, logon_type=logon_type,
            on_host=self.hosts.identify,
        )  # fmt: skip

    def counted_as(self, name: str) -> str:
        r"""Return under what name the failures of an account are counted.

        One for all its spellings: who tries `HOST\alice` and `alice@HOST`, or another
        name of the domain, has not twice as many guesses. Nor has who names the domain
        twice: sources of the host's names that know it take `HOST\alice@HOST`, too.
        """
        account, domain = split_name(name)
        authority = self._authority_of(domain)
        if authority is None:
            return name
        while len(account) <= LONGEST_SPELLING and (
            self._authority_of(split_name(account)[1]) is authority
        ):
            account, _ = split_name(account)
        known = (each.casefold() for each in authority.domains)
        return f"{account.strip()}@{max(known, key=_by_length)}"

    def _authority_of(self, domain: str) -> PasswordAuthority | None:
        for authority in self.authorities:
            if domain.casefold() in {each.casefold() for each in authority.domains}:
                return authority
        return None


def _ask(
    authority: PasswordAuthority,
    account: str,
    domain: str,
    secret: Secret,
    *,
    keep: bool,
) -> Authenticated:
    """Return whom an authority knows by a password; raises why it is nobody."""
    try:
        client = authority.log_on(account, domain, secret, keep=keep)
    except SteadError:
        raise
    except MemoryError:
        raise DirectoryUnavailableError(
            f"{authority.name} cannot be asked: this machine lacks the memory"
        ) from None
    except Exception as error:  # noqa: BLE001 - names break libraries in many ways
        raise EvidenceRefusedError(
            f"asking {authority.name} failed: {type(error).__name__}"
        ) from None
    if not client.issuer:
        client.close()
        raise EvidenceRefusedError(
            f"{authority.name} speaks for accounts of the store, which are not its"
        )
    return client


def _by_length(domain: str) -> tuple[int, str]:
    return len(domain), domain
