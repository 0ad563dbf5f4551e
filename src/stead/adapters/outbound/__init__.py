"""Reaching other machines as a client: GSS, HTTP, SMB and PostgreSQL.

Each is handed a `Passage`: whose credentials may be shown, and what must be said first.
None of them looks for credentials by itself, and none uses the server's own.
"""
