"""What changes a Samba domain's database, run by the system's Python.

Samba's bindings come with Debian's python3-samba, for the system's interpreter alone.
This program imports nothing of Stead's. Each line of its input is a request in JSON,
`{"do": verb, ...}`; each line of its output is `{"is": value}` or `{"fault": text}`.
It ends with its input, or an empty line. `stead.testing.domain` starts it; secrets come
by its input.
"""

# The bindings are not where this project's own tools look.
# mypy: disable-error-code="import-not-found"
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import ldb
from samba import (
    current_unix_time,
    dckeytab,  # noqa: F401  # makes Net.export_keytab
    string_to_byte_array,
    unix2nttime,
)
from samba.auth import system_session
from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.dcerpc import drsblobs, lsa
from samba.dcerpc.security import descriptor, dom_sid
from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
from samba.net import Net
from samba.ntacls import getntacl, setntacl
from samba.param import LoadParm
from samba.provision import provision
from samba.samdb import SamDB
from samba.trust_utils import CreateTrustedDomainRelax

_SCOPES: Final = {"global": 2, "domain local": 4, "universal": 8}
_IS_SECURITY_GROUP: Final = -(2**31)
_AES: Final = 0x18  # AES-128 and AES-256 ([MS-KILE] 2.2.7)
_UNCHECKED: Final = ["relax:0", "local_oid:1.3.6.1.4.1.7165.4.3.12:0"]
"""Controls for what no administrator may write: Samba's own `provision` is the last."""


class Database:
    """The domain's database, which a domain controller may be serving meanwhile."""

    def __init__(self, configuration: str) -> None:
        """Read the configuration; the database is opened when it is needed."""
        self._parameters = LoadParm()
        self._parameters.load(configuration)
        self._configuration = configuration
        self._opened: Any = None

    def provision(self, *, realm: str, domain: str, password: str) -> str:
        """Make the database of a new domain; return the domain's SID."""
        silent = logging.getLogger("provision")
        silent.addHandler(logging.NullHandler())
        silent.propagate = False
        provision(
            silent, system_session(), lp=self._parameters,
            smbconf=self._configuration, realm=realm, domain=domain,
            hostname="dc1", hostip="127.0.0.1", adminpass=password,
            serverrole="dc", dns_backend="NONE", use_ntvfs=False,
            skip_sysvolacl=True, dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2,
        )  # fmt: skip
        never = str(-(2**63))
        self._replace(
            ldb.Dn(self._sam, self._sam.domain_dn()), {"maxPwdAge": [never]}, []
        )
        return self.domain_sid()

    def domain_sid(self) -> str:
        """Return the domain's SID."""
        return str(self._sam.get_domain_sid())

    def add_user(self, *, name: str, password: str) -> None:
        """Add an account that logs on with a password."""
        self._sam.newuser(name, password)

    def set_password(self, *, name: str, password: str) -> None:
        """Give an account another password."""
        self._sam.setpassword(f"(sAMAccountName={name})", password)

    def add_group(self, *, name: str, scope: str) -> None:
        """Add a group."""
        self._sam.newgroup(name, grouptype=_IS_SECURITY_GROUP | _SCOPES[scope])

    def members(self, *, group: str, names: list[str], is_member: bool) -> None:
        """Add accounts and groups to a group, or take them out."""
        self._sam.add_remove_group_members(
            group, names, add_members_operation=is_member
        )

    def add_foreign(self, *, group: str, sids: list[str]) -> None:
        """Add members of other domains to a domain-local group."""
        message = ldb.Message()
        message.dn = self._entry(group, []).dn
        members = [f"<SID={sid}>" for sid in sids]
        message["member"] = ldb.MessageElement(members, ldb.FLAG_MOD_ADD, "member")
        self._sam.modify(message)

    def trust(
        self, *, address: str, password: str, other: dict[str, str], secret: str,
        is_trusting: bool,
    ) -> None:  # fmt: skip
        """Have the running controller know another domain, by a secret of the two.

        Args:
            address: the controller's.
            password: its administrator's.
            other: the other domain: `name`, `short_name`, `sid`.
            secret: what the keys of the trust are made of.
            is_trusting: whether the other's clients come here, or ours go there.
        """
        caller = Credentials()
        caller.guess(self._parameters)
        caller.set_kerberos_state(DONT_USE_KERBEROS)
        caller.set_username("Administrator")
        caller.set_password(password)
        asked = lsa.lsarpc(f"ncacn_np:{address}[]", self._parameters, caller)
        how = lsa.ObjectAttribute()
        how.sec_qos = lsa.QosInfo()
        access = lsa.LSA_POLICY_TRUST_ADMIN | lsa.LSA_POLICY_CREATE_SECRET
        policy = asked.OpenPolicy2("", how, access)
        made = CreateTrustedDomainRelax(
            asked, policy, _trusted(other, is_trusting=is_trusting),
            lsa.LSA_TRUSTED_DOMAIN_ALL_ACCESS,
            _kept(None if is_trusting else secret),
            _kept(secret if is_trusting else None),
        )  # fmt: skip
        kinds = lsa.TrustDomainInfoSupportedEncTypes()
        kinds.enc_types = _AES
        level = lsa.LSA_TRUSTED_DOMAIN_SUPPORTED_ENCRYPTION_TYPES
        asked.SetInformationTrustedDomain(made, level, kinds)

    def attributes(self, *, name: str, wanted: list[str]) -> dict[str, list[str]]:
        """Return an entry's attributes, as LDAP writes them."""
        entry = self._entry(name, wanted)
        return {
            each: [
                self._sam.schema_format_value(each, value).decode()
                for value in entry[each]
            ]
            for each in wanted
            if each in entry
        }

    def replace(
        self, *, name: str, attributes: dict[str, list[str]], is_checked: bool
    ) -> None:
        """Set an entry's attributes; an empty list removes one."""
        dn = self._entry(name, []).dn
        self._replace(dn, attributes, [] if is_checked else _UNCHECKED)

    def allow_acting(self, *, name: str, who: list[str]) -> None:
        """Say which accounts may act for others at a service (its own say)."""
        aces = "".join(f"(A;;0x000F01FF;;;{self.sid_of(name=each)})" for each in who)
        domain = dom_sid(self.domain_sid())
        said = descriptor.from_sddl(f"O:BAD:{aces}", domain).__ndr_pack__()
        attribute = "msDS-AllowedToActOnBehalfOfOtherIdentity"
        self._replace(self._entry(name, []).dn, {attribute: [said]}, [])

    def forge_sid(self, *, name: str, sid: str) -> None:
        """Give an entry another SID, in the file itself, where no rule holds."""
        partition = f"{self._sam.domain_dn().upper()}.ldb"
        file = self._parameters.private_path(f"sam.ldb.d/{partition}")
        dn = str(self._entry(name, []).dn)
        raw = ldb.Ldb(f"tdb://{file}")
        message = ldb.Message(ldb.Dn(raw, dn))
        message["objectSid"] = ldb.MessageElement(
            [dom_sid(sid).__ndr_pack__()], ldb.FLAG_MOD_REPLACE, "objectSid"
        )
        raw.modify(message)

    def sid_of(self, *, name: str) -> str:
        """Return the SID of an account or a group."""
        return self.attributes(name=name, wanted=["objectSid"])["objectSid"][0]

    def export_keytab(self, *, file: str, principals: list[str]) -> None:
        """Add the keys of principals to a file."""
        net = Net(None, self._parameters)
        for principal in principals:
            net.export_keytab(keytab=file, principal=principal)

    def access_of(self, *, path: str) -> str:
        """Return the descriptor that Samba keeps of a file, in SDDL."""
        found = getntacl(
            self._parameters, path, system_session(), direct_db_access=True
        )
        return str(found.as_sddl())

    def set_access(self, *, path: str, sddl: str) -> None:
        """Give a file a descriptor that Samba's file server judges by."""
        setntacl(
            self._parameters, path, sddl, self.domain_sid(), system_session(),
            use_ntvfs=True,
        )  # fmt: skip

    # --- how ---------------------------------------------------------------------

    @property
    def _sam(self) -> Any:
        if self._opened is None:
            self._opened = SamDB(session_info=system_session(), lp=self._parameters)
        return self._opened

    def _entry(self, name: str, wanted: list[str]) -> Any:
        found = self._sam.search(
            self._sam.domain_dn(),
            expression=f"(sAMAccountName={ldb.binary_encode(name)})",
            attrs=wanted or ["objectClass"],
        )
        if len(found) != 1:
            raise LookupError(f"there is no account or group `{name}`")
        return found[0]

    def _replace(
        self, dn: Any, attributes: dict[str, list[Any]], controls: list[str]
    ) -> None:
        message = ldb.Message()
        message.dn = dn
        for name, values in attributes.items():
            message[name] = ldb.MessageElement(values, ldb.FLAG_MOD_REPLACE, name)
        self._sam.modify(message, controls)


def _trusted(other: dict[str, str], *, is_trusting: bool) -> Any:
    """Return what an LSA keeps of a trust ([MS-LSAD] 2.2.7.9)."""
    found = lsa.TrustDomainInfoInfoEx()
    found.domain_name.string = other["name"]
    found.netbios_name.string = other["short_name"]
    found.sid = dom_sid(other["sid"])
    found.trust_type = lsa.LSA_TRUST_TYPE_UPLEVEL
    found.trust_direction = (
        lsa.LSA_TRUST_DIRECTION_OUTBOUND
        if is_trusting
        else lsa.LSA_TRUST_DIRECTION_INBOUND
    )
    found.trust_attributes = lsa.LSA_TRUST_ATTRIBUTE_FOREST_TRANSITIVE
    return found


def _kept(secret: str | None) -> Any:
    """Return a trust's secret as its object has it ([MS-ADTS] 6.1.6.9.1)."""
    kept = drsblobs.trustAuthInOutBlob()
    kept.count = 0
    if secret is None:
        return kept
    word = string_to_byte_array(secret.encode("utf-16-le"))
    clear = drsblobs.AuthInfoClear()
    clear.size, clear.password = len(word), word
    one = drsblobs.AuthenticationInformation()
    one.LastUpdateTime = unix2nttime(current_unix_time())
    one.AuthType = lsa.TRUST_AUTH_TYPE_CLEAR
    one.AuthInfo = clear
    array = drsblobs.AuthenticationInformationArray()
    array.count, array.array = 1, [one]
    kept.count, kept.current = 1, array
    return kept


def main(configuration: str) -> None:
    """Answer until the input ends, or a line is empty."""
    database = Database(configuration)
    for line in iter(sys.stdin.readline, ""):
        if line == "\n":
            break
        request = json.loads(line)
        verb: Callable[..., Any] = getattr(database, request.pop("do"))
        try:
            answer = {"is": verb(**request)}
        except Exception as error:  # noqa: BLE001 - the outermost loop; all is told
            answer = {"fault": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)  # noqa: T201 - its output is its answer


if __name__ == "__main__":
    main(sys.argv[1])
