"""A server that logs clients on as it is told, so that its memory can be searched.

Each line of its input is a command. A password follows on a line of its own, which is
read into memory that is wiped: what is then found of it, Stead and its libraries left.
"""

import gc
import json
import os
import sys

from stead import ProtectedServer
from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import LogonFailureError
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight
from stead.model.secret import Secret
from stead.server.enforcement import Enforcement

QUICK = LockoutPolicy(threshold=100, first_delay=0.001, longest_delay=0.002)


def line():
    """Read a line, without reading ahead and without leaving a copy."""
    held = bytearray(256)
    for place in range(len(held)):
        with memoryview(held) as view:
            if os.readv(0, [view[place : place + 1]]) == 0 or held[place] == ord("\n"):
                return held, place
    raise ValueError("too long")


def word():
    held, length = line()
    return held[:length].decode()


def secret():
    held, length = line()
    with memoryview(held) as view:
        made = Secret(b"")
        made._content = bytearray(view[:length])
    held[:] = bytes(len(held))
    return made


def main():
    said = json.loads(open(sys.argv[1], encoding="utf-8").read())  # noqa: PTH123, SIM115
    service = KerberosService(
        said["keytab"], said["principal"],
        realms=[TrustedRealm(name=said["realm"], requires_pac=False)],
        replay_cache=said["replays"],
    )  # fmt: skip
    server = ProtectedServer(
        "holder", said["store"], enforcement=Enforcement.TOKEN, lockout=QUICK,
        packages=[KerberosPackage(service, negotiates=False,
                                  targets=tuple(said["targets"]))],
        password_authorities=[KerberosPasswords(service, said["realm"])],
        issuers=[Issuer(said["realm"], names_accounts=True)],
    )  # fmt: skip
    for name in ("alice", "bob"):
        server.accounts.add(name)
        server.accounts.grant(name, LogonRight.INTERACTIVE)
    sessions = []
    with server:
        while command := word():
            if command == "set":
                with secret() as password:
                    server.accounts.set_password(word(), password)
            elif command == "password":
                name = word()
                with secret() as password:
                    try:
                        session = server.log_on(name, password, LogonType.INTERACTIVE)
                    except LogonFailureError:
                        session = None
                if session is not None:
                    sessions.append(session)
            elif command == "ticket":
                exchange = server.begin_logon("kerberos", gate="test")
                with open(word(), "rb") as file:  # noqa: PTH123
                    exchange.step(file.read())
                sessions.append(exchange.session)
            elif command == "end":
                for each in sessions:
                    each.close()
                sessions.clear()
                session = exchange = each = None
                gc.collect()
            print(len(sessions), flush=True)


if __name__ == "__main__":
    main()
