"""Opening files as a client, on the server's hardened threads."""

from __future__ import annotations

from dataclasses import dataclass

from stead.model.token import AccessToken
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import is_hardened
from stead.privileged.opening import open_as
from stead.server.enforcement import ThreadEnforcer


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """Asks the kernel as the client (`stead.server.client_context.FileOpener`).

    Attributes:
        enforcer: knows what the kernel calls a client.
        executor: the hardened threads.
    """

    enforcer: ThreadEnforcer
    executor: KernelExecutor

    def __call__(self, token: AccessToken, path: str, flags: int, /) -> int:
        """Return a descriptor that the kernel opened as the token's client.

        Raises:
            KernelRefusedError, NotARegularFileError, InvalidNameError: see `open_as`.
            ImpersonationRefusedError: the kernel is not asked as this client.
        """
        identity = self.enforcer.identity(token)
        if is_hardened():  # waiting for another of these threads could be for ever
            return open_as(identity, path, flags)
        return self.executor.submit(open_as, identity, path, flags).result()
