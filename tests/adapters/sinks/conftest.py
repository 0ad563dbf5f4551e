"""Receivers of their own for tests of sinks."""

from tests.receivers import (  # noqa: F401 - fixtures are found by name
    authority,
    certificate,
    certificates,
    rsyslog,
    stranger,
    trusting,
)
