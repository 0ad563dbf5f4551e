"""Whoever stands between a server and its KDC: listens, and leaves out what protects.

Messages are read and written by impacket, which Stead is not.
"""

from __future__ import annotations

import struct

from impacket.krb5.asn1 import AS_REQ, KRB_ERROR, METHOD_DATA, EncryptedData
from impacket.krb5.crypto import InvalidChecksum, decrypt, string_to_key
from pyasn1.codec.der import decoder, encoder
from tests.listening import Relay

TIMESTAMP, ARMORED = 2, 136  # RFC 4120 5.2.7.2, RFC 6113 5.4.1
_PROVES_PASSWORD = 1  # RFC 4120 7.5.1
_AS_REQ, _ERROR = b"\x6a", b"\x7e"


class OnTheWay(Relay):
    """Carries questions to a realm's KDC.

    Attributes:
        asked: what clients asked with their passwords, as it came.
    """

    def __init__(self, realm, *, leaves_out=False):
        """Stand there.

        Args:
            realm: whose KDC.
            leaves_out: whether the KDC seems to know no armor (FAST), and the client.
        """
        self.asked = []
        self._leaves_out = leaves_out
        address, _, port = realm.centre.rpartition(":")
        super().__init__((address, int(port)))

    def configuration(self, realm):
        """Return what has the library ask here; in a file of its own."""
        text = realm.configuration.read_text()
        file = realm.folder / f"way-{self.port}.conf"
        file.write_text(text.replace(realm.centre, f"127.0.0.1:{self.port}"))
        return str(file)

    def carry(self, one, other, *, is_answer):
        """Carry whole messages (RFC 4120 7.2.2)."""
        while head := one.recv(4, 0x100):  # MSG_WAITALL
            (size,) = struct.unpack(">I", head)
            changed = self.changed(one.recv(size, 0x100), is_answer=is_answer)
            other.sendall(struct.pack(">I", len(changed)) + changed)

    def changed(self, content, *, is_answer):
        """Note what is asked, and leave out what is to be."""
        if content[:1] == _AS_REQ and not is_answer:
            self.asked.append(content)
            return self._without(content, AS_REQ(), "padata")
        if content[:1] == _ERROR and is_answer:
            return self._without(content, KRB_ERROR(), "e-data")
        return content

    def _without(self, content, kind, where):
        """Return a message without its armor."""
        message, _ = decoder.decode(content, asn1Spec=kind)
        if not self._leaves_out or not message[where].hasValue():
            return content
        if where == "padata":
            _keep(message[where])
            return encoder.encode(message)
        said, _ = decoder.decode(message[where], asn1Spec=METHOD_DATA())
        _keep(said)
        message[where] = encoder.encode(said)
        return encoder.encode(message)


def kinds(asked):
    """Return of which kinds the proofs in a question are."""
    message, _ = decoder.decode(asked, asn1Spec=AS_REQ())
    return {int(each["padata-type"]) for each in message["padata"]}


def guessed(asked, salt, passwords):
    """Return which of these passwords somebody has, who never asks the KDC."""
    for question in asked:
        message, _ = decoder.decode(question, asn1Spec=AS_REQ())
        for each in message["padata"]:
            if int(each["padata-type"]) != TIMESTAMP:
                continue
            proof, _ = decoder.decode(each["padata-value"], asn1Spec=EncryptedData())
            for password in passwords:
                key = string_to_key(int(proof["etype"]), password, salt)
                try:
                    decrypt(key, _PROVES_PASSWORD, bytes(proof["cipher"]))
                except InvalidChecksum:
                    continue
                return password
    return None


def _keep(proofs):
    """Leave all proofs but the armor."""
    kept = [each for each in proofs if int(each["padata-type"]) != ARMORED]
    proofs.clear()
    proofs.extend(kept)
