"""A realm with two clients and two services, and what they say to one another."""

from contextlib import contextmanager
from pathlib import Path

import gssapi
import pytest
from gssapi.raw import acquire_cred_with_password

from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.testing.realm import Realm

KERBEROS = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
MUTUAL = gssapi.RequirementFlag.mutual_authentication
DELEGATE = MUTUAL | gssapi.RequirementFlag.delegate_to_peer
HTTP = "HTTP/localhost"
PASSWORDS = {"alice": "tiger", "bob": "lion", "service": "its-own"}


def principal(name):
    return gssapi.Name(name, gssapi.NameType.kerberos_principal)


def stands_in(process, wanted):
    """How often bytes stand in the writable memory of a process."""
    count = 0
    folder = Path(f"/proc/{process.pid}")
    with (folder / "mem").open("rb", 0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            place, mode = line.split()[:2]
            if mode.startswith("rw") and "[v" not in line:
                start, end = (int(part, 16) for part in place.split("-"))
                memory.seek(start)
                try:
                    count += memory.read(end - start).count(wanted)
                except OSError:  # of a thread that ended just now, or a real fault
                    assert line not in (folder / "maps").read_text()
    return count


class Stage:
    """A realm with Alice, Bob and two services, one of which is the server's own."""

    def __init__(self, realm):
        self.realm = realm
        self.folder = realm.folder
        for name, password in PASSWORDS.items():
            realm.add_principal(name, password)
        self.keytab = realm.add_service(HTTP)
        self.back = realm.add_service("HTTP/back")
        realm._administer(
            f"modprinc -requires_preauth {HTTP}",
            f"modprinc +ok_to_auth_as_delegate {HTTP}",
            "modprinc -requires_preauth HTTP/back",
            f"ktadd -norandkey -k {self.folder}/own.keytab service",
        )
        self.own_keytab = self.folder / "own.keytab"

    def service(self, **options):
        options = {
            "realms": [TrustedRealm(name=self.realm.name, requires_pac=False)],
            **options,
        }
        options.setdefault("replay_cache", self.folder / "replays")
        return KerberosService(self.keytab, HTTP, **options)

    def ticket(self, name="alice", *, mechanisms=(KERBEROS, SPNEGO)):
        """What a client of the realm's has: made by the library alone."""
        made = acquire_cred_with_password(
            principal(f"{name}@{self.realm.name}"), PASSWORDS[name].encode(),
            mechs=list(mechanisms), usage="initiate",
        )  # fmt: skip
        return gssapi.Credentials(made.creds)

    def context(self, name="alice", mech=KERBEROS, **options):
        options.setdefault("flags", MUTUAL)
        host = options.pop("target", HTTP)
        return gssapi.SecurityContext(
            name=principal(f"{host}@{self.realm.name}"),
            creds=options.pop("creds", None) or self.ticket(name),
            mech=mech, usage="initiate", **options,
        )  # fmt: skip

    def back_end_hears(self, blob):
        """Whom the other service takes a message's sender for."""
        accepted = gssapi.raw.accept_sec_context(
            blob,
            gssapi.Credentials(
                usage="accept", store={"keytab": f"FILE:{self.back}", "rcache": "none:"}
            ),
        )
        return str(gssapi.Name(accepted.initiator_name))


@contextmanager
def staged(name="STEAD.TEST"):
    """Make a realm with its clients and services, which this process finds."""
    with Realm(name) as realm, pytest.MonkeyPatch.context() as patch:
        for variable, value in realm.environment().items():
            patch.setenv(variable, value)
        yield Stage(realm)


def session_of(server, blob):
    """Return the session that a server opens for whoever shows this."""
    with server.begin_logon("negotiate", gate="test") as exchange:
        exchange.step(blob)
    return exchange.session
