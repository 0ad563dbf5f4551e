"""A handler that reaches others first thing in its process; prints whom they see.

usage: handler_program.py REALM CACHE URL DSN
"""

import sys

import gssapi

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
from stead.model.token import ImpersonationLevel
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


def main(realm, cache, url, dsn):
    issuer = Issuer(realm, names_accounts=True)
    with ProtectedServer(
        "front", enforcement=Enforcement.TOKEN, issuers=[issuer]
    ) as server:
        server.accounts.add("alice")
        shown = gssapi.Credentials(usage="initiate", store={"ccache": cache})
        session = server.admit(
            Authenticated(
                package="kerberos", issuer=realm, name="alice",
                level=ImpersonationLevel.DELEGATION,
                credentials=KerberosCredentials.keep(shown),
            )
        )  # fmt: skip
        client = session.client
        with Block(FrameKind.HANDLER, None, client._guard):
            with client.http() as http:
                print(http.get(url).text)
            with client.postgres(dsn).connection() as connection:
                print(connection.execute("select current_user").fetchone()[0])
            client.smb("files.example")
            client.gss("HTTP@localhost").step()


if __name__ == "__main__":
    main(*sys.argv[1:])
