"""Acting for clients by processes of their own: programs, functions, files."""
