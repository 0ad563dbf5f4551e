"""The counter: `ProtectedServer` and what it hands to handlers."""
