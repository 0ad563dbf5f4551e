"""Passwords of the host's accounts, by Linux-PAM.

PAM's modules may hang, crash or leave anything behind in the process they run in. They
never run in a server: for the broker in `verifier`, for a server that is root itself in
`worker`, which `authority` starts.
"""
