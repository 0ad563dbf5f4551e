"""ROOT: the only room that changes who a thread is to the kernel.

It holds raw system calls, the two switches (enter and leave), the hardening of
threads, their executor, opening as a client, and the probe that says what this machine
gives. It imports the standard library, ``stead.errors`` and the POSIX identity, and
nothing else, so that it can be audited in an hour. Whom to impersonate, and whether,
is decided above.

Read ``credentials`` first, then ``seccomp``, ``hardening``, ``headroom`` and
``hardened_thread``.
"""
