"""The registrar: accounts, rights, logon sessions, and the tokens they are given."""
