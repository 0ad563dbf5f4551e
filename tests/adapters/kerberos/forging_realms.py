"""What another realm's KDC can make: whoever has its database has its keys.

It holds the key that two realms have in common. With that it writes tickets to the
other realm's KDC that say what it likes, asks that KDC for a service by them, and shows
the service what it got. Nothing here is a mock: the KDC that answers is MIT's.
"""

import datetime as dt
import socket
import struct
from secrets import token_bytes

import krb5
from impacket.krb5 import asn1
from impacket.krb5.crypto import Key, _checksum_table, _enctype_table
from impacket.krb5.types import KerberosTime, Principal
from pyasn1.codec.der import decoder, encoder
from pyasn1.type.univ import noValue
from tests.adapters.kerberos.forging import (
    AES_CHECKSUM,
    TICKET_USAGE,
    ap_request,
    key_of,
    message,
    pac_of,
    put,
    sealed,
)

AES = 18
TGS_AUTHENTICATOR, TGS_CHECKSUM, TGS_REPLY = 7, 6, 8
FORWARDABLE, PRE_AUTHENTICATED, CHECKED, OK_AS_DELEGATE = 1, 10, 12, 13
COMPRESSED = 1  # DOMAIN-X500-COMPRESS, RFC 4120 3.3.3.2
DISABLE_TRANSITED_CHECK = 26
HOUR = dt.timedelta(hours=1)


class RefusedByKdcError(Exception):
    """A KDC refuses; its number is that of RFC 4120 7.5.9."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class ForeignKdc:
    """Somebody who has a realm's database, and so what it shares with another."""

    def __init__(self, realm, other):
        """Take the key by which `realm` sends its clients on to `other`."""
        self.name, self.other = realm.name, other.name
        self.port = int(other.centre.partition(":")[2])
        self.principal = f"krbtgt/{other.name}@{realm.name}"
        file = realm.folder / f"{other.name}.stolen"
        realm._administer(f"ktadd -norandkey -k {file} {self.principal}")
        self.key = first_key(file)

    def granting(self, client, *, transited=b"", flags=(), buffers=None):
        """Write a ticket to the other realm's KDC, for whomever; and its key."""
        key = Key(AES, token_bytes(32))
        part = ticket_part(client, key, transited, flags)
        if buffers is not None:
            put(part, pac_of(part, client[0], buffers, self.key))
        return ticket(self.name, f"krbtgt/{self.other}", self.key, part), key

    def ask(self, client, service, *, options=(), **said):
        """Ask the other realm's KDC for a service by such a ticket.

        Returns:
            The ticket that it gives, and its key.

        Raises:
            RefusedByKdcError: it gives none.
        """
        granting, key = self.granting(client, **said)
        request = tgs_request(granting, key, client, (service, self.other), options)
        answer = exchange(self.port, encoder.encode(request))
        if answer[0] == 0x7E:
            error = decoder.decode(answer, asn1Spec=asn1.KRB_ERROR())[0]
            text = error["e-text"]
            raise RefusedByKdcError(
                int(error["error-code"]), str(text) if text.hasValue() else ""
            )
        reply = decoder.decode(answer, asn1Spec=asn1.TGS_REP())[0]
        plain = _enctype_table[key.enctype].decrypt(
            key, TGS_REPLY, bytes(reply["enc-part"]["cipher"])
        )
        inner = decoder.decode(plain, asn1Spec=asn1.EncTGSRepPart())[0]
        session = Key(int(inner["key"]["keytype"]), bytes(inner["key"]["keyvalue"]))
        return reply["ticket"], session

    def shown(self, client, service, **said):
        """Return the message to a service, by a ticket that the other KDC gave."""
        return message(*self.ask(client, service, **said), client)


def first_key(file):
    """Return the first key of a keytab."""
    entries = list(krb5.kt_resolve(krb5.init_context(), f"FILE:{file}".encode()))
    return key_of(entries[0].key)


def ticket_part(client, key, transited=b"", flags=(), *, kind=COMPRESSED):
    """Return what a ticket says of its client (RFC 4120 5.3)."""
    (name, realm), now = client, dt.datetime.now(dt.UTC)
    part = asn1.EncTicketPart()
    bits = {FORWARDABLE, PRE_AUTHENTICATED, *flags}
    part["flags"] = "".join("01"[bit in bits] for bit in range(32))
    part["key"] = noValue
    part["key"]["keytype"], part["key"]["keyvalue"] = key.enctype, key.contents
    part["crealm"] = realm
    asn1.seq_set(part, "cname", Principal(name, type=1).components_to_asn1)
    part["transited"] = noValue
    part["transited"]["tr-type"] = kind
    part["transited"]["contents"] = transited
    part["authtime"] = part["starttime"] = KerberosTime.to_asn1(now)
    part["endtime"] = KerberosTime.to_asn1(now + HOUR)
    return part


def ticket(realm, server, key, part):
    """Return a ticket that a realm gives for a server, sealed by the server's key.

    It does not say which version of the key that is: all are tried.
    """
    made = asn1.Ticket()
    made["tkt-vno"], made["realm"] = 5, realm
    asn1.seq_set(made, "sname", Principal(server, type=2).components_to_asn1)
    made["enc-part"] = noValue
    made["enc-part"]["etype"] = key.enctype
    made["enc-part"]["cipher"] = sealed(key, TICKET_USAGE, part)
    return made


def tgs_request(granting, key, client, service, options):
    """Return the question for a ticket to a service (RFC 4120 5.4.1)."""
    (name, realm), now = service, dt.datetime.now(dt.UTC)
    request = asn1.TGS_REQ()
    request["pvno"], request["msg-type"] = 5, 12
    request["req-body"] = noValue
    body = request["req-body"]
    body["kdc-options"] = "".join("01"[bit in options] for bit in range(32))
    body["realm"] = realm
    asn1.seq_set(body, "sname", Principal(name, type=2).components_to_asn1)
    body["till"] = KerberosTime.to_asn1(now + HOUR)
    body["nonce"] = int.from_bytes(token_bytes(3))
    asn1.seq_set_iter(body, "etype", (AES,))
    checksum = _checksum_table[AES_CHECKSUM].checksum(
        key, TGS_CHECKSUM, without_tag(encoder.encode(body))
    )
    shown = ap_request(
        granting, key, client, TGS_AUTHENTICATOR, (AES_CHECKSUM, checksum)
    )
    request["padata"] = noValue
    request["padata"][0] = noValue
    request["padata"][0]["padata-type"] = 1
    request["padata"][0]["padata-value"] = encoder.encode(shown)
    return request


def without_tag(encoded):
    """Return what stands within an explicit tag (X.690 8.1.3)."""
    length = encoded[1]
    return encoded[2 + (length & 0x7F if length & 0x80 else 0) :]


def exchange(port, question):
    """Ask a KDC over TCP; return its answer (RFC 4120 7.2.2)."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(struct.pack(">I", len(question)) + question)
        with link.makefile("rb") as heard:
            (size,) = struct.unpack(">I", heard.read(4))
            return heard.read(size)
