"""A realm with services that may send their clients on, by constrained delegation."""

import gssapi
from gssapi.raw import accept_sec_context
from tests.domain_clients import Server, logged_on

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService

NAME = "STEAD.TEST"
ALICE, FRONT, MIDDLE, BACK = (
    f"{each}@{NAME}" for each in ("alice", "HTTP/front", "HTTP/middle", "HTTP/back")
)


class Services:
    """Two services that may send clients on, and the last, which Stead stands at."""

    def __init__(self, realm):
        self.realm = realm
        keys = {}
        for principal in (FRONT, MIDDLE, BACK):
            name = principal.removesuffix(f"@{NAME}")
            keys[principal] = realm.add_service(name, options="-requires_preauth")
        realm.add_principal("alice", "tiger")
        realm.allow_delegation("HTTP/front", ["HTTP/middle", "HTTP/back"])
        realm.allow_delegation("HTTP/middle", ["HTTP/back"])
        self.front = Server(keys[FRONT], FRONT)
        self.middle = Server(keys[MIDDLE], MIDDLE)
        self.keytab = keys[BACK]

    def package(self, **options):
        back = KerberosService(
            self.keytab, BACK, realms=[TrustedRealm(name=NAME, requires_pac=False)],
            replay_cache=self.realm.folder / "replays",
        )  # fmt: skip
        return KerberosPackage(back, **options)

    def shown(self, credentials):
        """Return the message that whoever has credentials sends to the last one."""
        name = gssapi.Name(BACK, gssapi.NameType.kerberos_principal)
        return gssapi.SecurityContext(
            name=name, creds=credentials, usage="initiate",
            mech=gssapi.MechType.kerberos,
        ).step()  # fmt: skip

    def naive(self, blob):
        """Return whom the library alone takes a message's sender for."""
        keys = {"keytab": f"FILE:{self.keytab}", "rcache": "none:"}
        found = accept_sec_context(blob, gssapi.Credentials(usage="accept", store=keys))
        return str(gssapi.Name(found.initiator_name))

    def invented(self):
        """A client who showed nobody anything: the first service says who it is."""
        return self.front.impersonate(ALICE)

    def sent_on(self):
        """A client who showed the first service a ticket."""
        return self.front.accept(alice(), keeps=True).delegated_creds

    def through_both(self):
        """A client whom the first service sends to the second, and that one on."""
        return self.middle.accept(self.invented(), keeps=True).delegated_creds


def alice():
    """A client who comes by herself."""
    return logged_on(ALICE, "tiger")
