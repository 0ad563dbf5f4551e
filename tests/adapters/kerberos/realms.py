"""Four realms: a server's own, one that it trusts, its parent, and one behind that.

    OTHER.TEST <-> STEAD.TEST <- TEST <- THIRD.TEST

`STEAD.TEST` has the service. Each realm has an Alice, who has nothing to do with the
others.
"""

from contextlib import ExitStack, contextmanager

import gssapi
from gssapi.raw import accept_sec_context, display_name
from tests.adapters.kerberos.forging_realms import ForeignKdc
from tests.adapters.kerberos.stage import DELEGATE, KERBEROS, MUTUAL, principal

from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.testing.realm import Realm

OWN, OTHER, PARENT, THIRD = "STEAD.TEST", "OTHER.TEST", "TEST", "THIRD.TEST"
SERVICE, BACK, AWAY = "HTTP/front.stead.test", "HTTP/back.stead.test", "HTTP/127.0.0.2"
ALICE = ("alice", OTHER)


def trusted(name, *through):
    """A realm of MIT's that is believed."""
    return TrustedRealm(name=name, requires_pac=False, through=through)


class Realms:
    """The realms, their keytabs, and who comes to the service."""

    def __init__(self, own, other, parent, third):
        self.own, self.other, self.parent, self.third = own, other, parent, third
        own.trust(other)
        other.trust(own)
        own.trust(parent)
        parent.trust(third)
        own.trust(third, through=[parent])
        for realm in (own, other, third):
            realm.add_principal("alice", f"{realm.name}-pw")
        own.add_principal("bob", "lion")
        quick = "-requires_preauth +ok_as_delegate"
        self.keytab = own.add_service(SERVICE, options=quick)
        self.back = own.add_service(BACK)
        self.away = other.add_service(AWAY)
        self.other_kdc = ForeignKdc(other, own)
        self.parent_kdc = ForeignKdc(parent, own)

    def service(self, *realms):
        return KerberosService(
            self.keytab, SERVICE, realms=[trusted(OWN), *realms],
            replay_cache=self.own.folder / "replays",
        )  # fmt: skip

    def tickets(self, realm, name="alice", password=""):
        """What a client has after it logged on in its own realm."""
        cache = realm.log_on(name, password or f"{realm.name}-pw")
        return gssapi.Credentials(usage="initiate", store={"ccache": cache})

    def message(self, realm, *, flags=MUTUAL, mech=KERBEROS, **who):
        """What a client of a realm shows the service."""
        return gssapi.SecurityContext(
            name=principal(f"{SERVICE}@{OWN}"), creds=self.tickets(realm, **who),
            mech=mech, usage="initiate", flags=flags,
        ).step()  # fmt: skip

    def delegating(self, realm, **who):
        return self.message(realm, flags=DELEGATE, **who)

    def naive(self, blob):
        """Whom the library takes a message's sender for: most programs ask no more."""
        return heard_by(self.keytab, blob)


def heard_by(keytab, blob):
    keys = {"keytab": f"FILE:{keytab}", "rcache": "none:"}
    found = accept_sec_context(blob, gssapi.Credentials(usage="accept", store=keys))
    return display_name(found.initiator_name, name_type=False).name.decode()


@contextmanager
def four_realms():
    """Make them all."""
    with ExitStack() as stack:
        yield Realms(
            *[stack.enter_context(Realm(name)) for name in (OWN, OTHER, PARENT, THIRD)]
        )
