"""What entering and leaving costs on a hardened thread: prints microseconds."""

import statistics
import time

from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock

ROUNDS, EACH = 30, 100


def cost(groups):
    identity = PosixIdentity(70001, 70001, tuple(range(71000, 71000 + groups)))
    samples = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(EACH):
            with KernelBlock(identity):
                pass
        samples.append((time.perf_counter() - started) / EACH * 1e6)
    return statistics.median(samples)


with KernelExecutor(1) as executor:
    for count in (0, 16, 64):
        median = executor.submit(cost, count).result()
        print(f"enter and leave, {count:2} groups: {median:6.1f} us")
    started = time.perf_counter()
    for _ in range(1000):
        executor.submit(int).result()
    print(f"submit and result: {(time.perf_counter() - started) * 1e3:6.1f} us")
