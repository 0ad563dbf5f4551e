"""Kerberos: who clients are by tickets and passwords, and reaching others as them.

Needs the extra `kerberos`. Nothing in here uses this process's own identity for a
client: not the default credential cache, and not the client keytab.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("kerberos", "gssapi", "krb5")
