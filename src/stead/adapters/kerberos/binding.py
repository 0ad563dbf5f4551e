"""What a channel is told by, as GSS-API takes it (RFC 2744 3.11, RFC 5056 2.1)."""

from __future__ import annotations

from gssapi.raw import ChannelBindings

from stead.authority.packages import ChannelBinding


def gss_binding(binding: ChannelBinding | None) -> ChannelBindings | None:
    """Return a channel binding for GSS-API; None for none."""
    if binding is None:
        return None
    return ChannelBindings(application_data=application_data(binding))


def application_data(binding: ChannelBinding) -> bytes:
    """Return the octets that both sides put in: the kind, a colon, and the data."""
    return f"{binding.kind}:".encode() + binding.data
