"""Messages that no honest software makes, by impacket: another hand's Kerberos.

Whoever has the service's key can write tickets for it; tests have it. A client can
write what it likes beside its ticket.
"""

import datetime as dt
import struct

import gssapi
import krb5
from gssapi.raw import store_cred_into
from impacket.krb5 import asn1
from impacket.krb5.crypto import Key, _checksum_table, _enctype_table
from impacket.krb5.types import KerberosTime, Principal
from pyasn1.codec.der import decoder, encoder
from pyasn1.type.univ import noValue
from tests.adapters.kerberos.stage import HTTP, KERBEROS, principal
from tests.codec import pac_builder

IF_RELEVANT, WIN2K_PAC = 1, 128
LOGON, SERVER_CHECKSUM, KDC_CHECKSUM, CLIENT, DELEGATION = 1, 6, 7, 10, 11
AES_CHECKSUM, AES_CHECKSUM_SIZE = 16, 12
PAC_USAGE, TICKET_USAGE, AUTHENTICATOR_USAGE = 17, 2, 11
EPOCH = 11_644_473_600


class Forger:
    """Alice's ticket for the service, taken apart."""

    def __init__(self, stage):
        self.stage = stage
        shown = stage.ticket("alice")
        place = {b"ccache": b"MEMORY:forger"}
        store_cred_into(place, shown, usage="initiate", mech=KERBEROS, overwrite=True)
        self._have_ticket()
        context = krb5.init_context()
        (found,) = [
            each
            for each in krb5.cc_resolve(context, b"MEMORY:forger")
            if str(each.server).startswith(HTTP)
        ]
        self.session_key = key_of(found.keyblock)
        self.ticket = decoder.decode(bytes(found.ticket), asn1Spec=asn1.Ticket())[0]
        keytab = krb5.kt_resolve(context, f"FILE:{stage.keytab}".encode())
        (entry,) = list(keytab)  # which its key lives in
        self.service_key = key_of(entry.key)

    def _have_ticket(self):
        gssapi.SecurityContext(
            name=principal(f"{HTTP}@STEAD.TEST"), mech=KERBEROS, usage="initiate",
            creds=gssapi.Credentials(
                usage="initiate", store={"ccache": "MEMORY:forger"}
            ),
        ).step()  # fmt: skip

    def message(self, *, own_pac=None):
        """A message with the ticket; `own_pac` stands beside it."""
        return message(self.ticket, self.session_key, own_pac=own_pac)

    def with_pac(self, logon, *, is_signed=True, name="alice"):
        """Write another ticket, by the service's key, with this logon information."""
        return self.with_buffers((LOGON, logon), is_signed=is_signed, name=name)

    def with_buffers(self, *buffers, is_signed=True, name="alice", own_pac=None):
        """Write another ticket, by the service's key, with these buffers in its PAC."""
        part = self.ticket["enc-part"]
        profile = _enctype_table[self.service_key.enctype]
        plain = profile.decrypt(self.service_key, TICKET_USAGE, bytes(part["cipher"]))
        inner = decoder.decode(plain, asn1Spec=asn1.EncTicketPart())[0]
        key = self.service_key if is_signed else None
        put(inner, pac_of(inner, name, buffers, key))
        part["cipher"] = sealed(self.service_key, TICKET_USAGE, inner)
        return self.message(own_pac=own_pac)


def pac_of(inner, name, buffers, key):
    """Return a PAC for a ticket, signed by the key of whom the ticket is for.

    Args:
        inner: what the ticket says.
        name: whom the PAC is about.
        buffers: what it has beside that.
        key: None for a signature that is none.
    """
    authenticated = KerberosTime.from_asn1(inner["authtime"])
    seconds = int(authenticated.replace(tzinfo=dt.UTC).timestamp())
    client = pac_builder.client_info(name, (seconds + EPOCH) * 10_000_000)

    def pac(checksum):
        signature = struct.pack("<i", AES_CHECKSUM) + checksum
        other = struct.pack("<i", AES_CHECKSUM) + bytes(AES_CHECKSUM_SIZE)
        return pac_builder.pac(
            *buffers, (CLIENT, client),
            (SERVER_CHECKSUM, signature), (KDC_CHECKSUM, other),
        )  # fmt: skip

    made = pac(bytes(AES_CHECKSUM_SIZE))
    if key is None:
        return made
    return pac(_checksum_table[AES_CHECKSUM].checksum(key, PAC_USAGE, made))


def message(ticket, key, client=("alice", "STEAD.TEST"), *, own_pac=None, beside=b""):
    """Return what shows a ticket to a service (RFC 4121 4.1).

    Args:
        own_pac: what the client says of itself.
        beside: octets after the request that the library does not look at.
    """
    checksum = (0x8003, struct.pack("<I16sI", 16, bytes(16), 0))
    request = ap_request(ticket, key, client, AUTHENTICATOR_USAGE, checksum, own_pac)
    body = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00"
    body += encoder.encode(request) + beside
    return b"\x60\x82" + struct.pack(">H", len(body)) + body


def ap_request(ticket, key, client, usage, checksum, own_pac=None):
    """Return a request with a ticket and what proves its key (RFC 4120 5.5.1)."""
    (name, realm), now = client, dt.datetime.now(dt.UTC)
    made = asn1.Authenticator()
    made["authenticator-vno"] = 5
    made["crealm"] = realm
    asn1.seq_set(made, "cname", Principal(name, type=1).components_to_asn1)
    made["cusec"], made["ctime"] = now.microsecond, KerberosTime.to_asn1(now)
    made["cksum"] = noValue
    made["cksum"]["cksumtype"], made["cksum"]["checksum"] = checksum
    if own_pac is not None:
        put(made, own_pac)
    request = asn1.AP_REQ()
    request["pvno"], request["msg-type"] = 5, 14
    request["ap-options"] = "0" * 32
    tag = request["ticket"].tagSet
    request["ticket"] = ticket.clone(tagSet=tag, cloneValueFlag=True)
    request["authenticator"] = noValue
    request["authenticator"]["etype"] = key.enctype
    request["authenticator"]["cipher"] = sealed(key, usage, made)
    return request


def key_of(block):
    return Key(block.enctype, bytes(block.data))


def sealed(key, usage, value):
    profile = _enctype_table[key.enctype]
    return profile.encrypt(key, usage, encoder.encode(value), None)


def put(value, pac):
    """Set a value's authorization data to a PAC alone (RFC 4120 5.2.6)."""
    inner = asn1.AuthorizationData()
    inner[0] = noValue
    inner[0]["ad-type"], inner[0]["ad-data"] = WIN2K_PAC, pac
    value["authorization-data"] = noValue
    value["authorization-data"][0] = noValue
    value["authorization-data"][0]["ad-type"] = IF_RELEVANT
    value["authorization-data"][0]["ad-data"] = encoder.encode(inner)
