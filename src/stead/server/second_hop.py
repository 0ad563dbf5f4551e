"""The second hop: reaching other machines as a client, and never as the server.

    with server.log_on("alice@EXAMPLE.COM", password) as session:
        page = session.http().get("https://files.example/q3")

Whether the way is open, and what is recorded first, `stead.server.way_out` says. Then
an adapter (`stead.adapters.outbound`) connects, shows the client's credentials and no
others, and asks the service who it thinks we are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final

from stead.adapters.extras import require_extra
from stead.adapters.outbound.aside import aside, require_may_wait
from stead.model.arguments import require_text
from stead.model.delegation_policy import NetworkTarget
from stead.monitor.ports import Subject
from stead.server.hops import Hops
from stead.server.way_out import Way

if TYPE_CHECKING:
    import httpx

    from stead.adapters.outbound.gss import AsyncGssClient, GssClient
    from stead.adapters.outbound.postgres import AsyncPostgresHop, PostgresHop
    from stead.adapters.outbound.smb import SmbHop


class SecondHop:
    """The verbs that reach other machines, for one client.

    Each raises `NoCredentialsError`, which explains the double hop, if there is nothing
    to show; `LogonSessionEndedError` once the session has ended; `LoopThreadError` on
    an event loop's thread; `EnforcementUnavailableError` without the extra's library.
    """

    __slots__ = ("_hops", "_keep", "_subject")

    def __init__(self, hops: Hops, subject: Subject, *, keep: object) -> None:
        """Take over what a client is made of.

        Args:
            hops: the server's.
            subject: the client.
            keep: the client itself: its session lives as long as what this hands out.
        """
        self._hops = hops
        self._subject = subject
        self._keep = keep

    def way(self) -> Way:
        """Return the client's way, if its session lives."""
        reach = self._hops.reach_of(self._subject.token)
        return Way(self._hops, self._subject, reach, self._keep)

    def http(
        self, base_url: str, timeout: float, *, follow_redirects: bool
    ) -> httpx.Client:
        """Return a client of `httpx`; see `ClientContext.http`."""
        require_may_wait("http")
        http = _extra("http")
        way = self.way()
        made: httpx.Client = http.http_client(
            way,
            way.reach.http_pool(self._hops.verify),
            self._hops.binding,
            base_url=base_url,
            timeout=timeout,
            follow_redirects=follow_redirects,
        )
        return made

    def async_http(
        self, base_url: str, timeout: float, *, follow_redirects: bool
    ) -> httpx.AsyncClient:
        """Return the same for asyncio, with a pool of its loop's own; this may wait."""
        http = _extra("http")
        made: httpx.AsyncClient = http.async_http_client(
            self.way(),
            self._hops.verify,
            self._hops.binding,
            base_url=base_url,
            timeout=timeout,
            follow_redirects=follow_redirects,
        )
        return made

    def smb(self, host: str, port: int) -> SmbHop:
        """Return a file server; see `ClientContext.smb`."""
        require_may_wait("smb")
        smb, way = _extra("smb"), self.way()
        target = NetworkTarget("smb", host, port)
        made: SmbHop = smb.SmbHop(way, way.reach.smb_pool(), target)
        return made

    def postgres(self, dsn: str) -> PostgresHop:
        """Return a database; see `ClientContext.postgres`."""
        require_text("dsn", dsn)
        require_may_wait("postgres")
        postgres, way = _extra("postgres"), self.way()
        made: PostgresHop = postgres.PostgresHop(way, way.reach.postgres_pool(), dsn)
        return made

    def gss(self, service: str, port: int | None) -> GssClient:
        """Return a context of GSS-API; see `ClientContext.gss`."""
        require_text("service", service)
        require_may_wait("gss")
        gss = _extra("gss")
        made: GssClient = gss.GssClient(self.way(), gss.gss_target(service, port))
        return made


class AsyncSecondHop:
    """The same verbs for asyncio; none of them blocks the loop."""

    __slots__ = ("_hop",)

    def __init__(self, hop: SecondHop) -> None:
        self._hop: Final = hop

    async def http(
        self,
        base_url: str,
        timeout: float,  # noqa: ASYNC109 - of each step of each request
        *,
        follow_redirects: bool,
    ) -> httpx.AsyncClient:
        """Return an asynchronous client of `httpx`; see `ClientAio.http`."""
        return await aside(
            partial(
                self._hop.async_http,
                base_url,
                timeout,
                follow_redirects=follow_redirects,
            )
        )

    async def postgres(self, dsn: str) -> AsyncPostgresHop:
        """Return a database; see `ClientAio.postgres`."""
        postgres = _extra("postgres")
        hop = await aside(partial(self._hop.postgres, dsn))
        made: AsyncPostgresHop = postgres.AsyncPostgresHop(hop)
        return made

    async def gss(self, service: str, port: int | None) -> AsyncGssClient:
        """Return a context of GSS-API; see `ClientAio.gss`."""
        gss = _extra("gss")
        client = await aside(partial(self._hop.gss, service, port))
        made: AsyncGssClient = gss.AsyncGssClient(client)
        return made


_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "http": ("httpx", "cryptography", "gssapi", "krb5"),
    "smb": ("smbprotocol", "spnego", "gssapi", "krb5"),
    "postgres": ("psycopg", "cryptography", "gssapi", "krb5"),
    "gss": ("gssapi", "krb5"),
})  # fmt: skip
"""What each verb needs that the core does not."""


def _extra(verb: str) -> ModuleType:
    """Return the module of a verb.

    What libraries do when they are imported (they look for others, by temporary files
    and compilers) is no act of a handler's: it is done on a thread that is in none.

    Raises:
        MissingExtraError: a library of its extra is not installed.
    """
    require_extra("outbound", *_LIBRARIES[verb])
    name = f"stead.adapters.outbound.{verb}"
    if name in sys.modules:
        return import_module(name)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(import_module, name).result()
